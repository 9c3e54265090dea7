package offline

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/offline/arrowipc"
)

// arrowPlainer turns batches into ones that Parquet has types for: dictionaries and views become their values,
// extension types what they are stored as, durations integers, seconds milliseconds.
type arrowPlainer struct {
	original *arrow.Schema
	schema   *arrow.Schema
	memory   *arrowipc.Allocator
}

// arrowColumnError is a column that can't be written as Parquet.
type arrowColumnError struct{ column, what, fix string }

func (e *arrowColumnError) Error() string { return fmt.Sprintf("column %q: %s", e.column, e.what) }

func newArrowPlainer(original *arrow.Schema, mem *arrowipc.Allocator) (*arrowPlainer, error) {
	p := &arrowPlainer{original: original, memory: mem}
	fields := original.Fields()
	for i, f := range fields {
		t, err := plainType(f.Type)
		if err != nil {
			return nil, &arrowColumnError{f.Name, err.Error(), "cast or drop the column"}
		}
		fields[i].Type = t
	}
	metadata := original.Metadata()
	p.schema = arrow.NewSchema(fields, &metadata)
	return p, nil
}

// plainType returns the type that values of a type are written as.
func plainType(t arrow.DataType) (arrow.DataType, error) {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return plainType(t.ValueType)
	case arrow.ExtensionType:
		return plainType(t.StorageType())
	case *arrow.StringViewType:
		return arrow.BinaryTypes.String, nil
	case *arrow.BinaryViewType:
		return arrow.BinaryTypes.Binary, nil
	case *arrow.DurationType:
		return arrow.PrimitiveTypes.Int64, nil
	case *arrow.TimestampType:
		if t.Unit == arrow.Second {
			return &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: t.TimeZone}, nil
		}
		return t, nil
	case *arrow.Decimal32Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}, nil
	case *arrow.Decimal64Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}, nil
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return nil, fmt.Errorf("a %s without fields is not read", t)
		}
		fields, err := plainFields(t.Fields()...)
		if err != nil {
			return nil, err
		}
		return arrow.StructOf(fields...), nil
	case *arrow.ListType:
		fields, err := plainFields(t.ElemField())
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(fields[0]), nil
	case *arrow.LargeListType:
		fields, err := plainFields(t.ElemField())
		if err != nil {
			return nil, err
		}
		return arrow.LargeListOfField(fields[0]), nil
	case *arrow.FixedSizeListType:
		fields, err := plainFields(t.ElemField())
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(fields[0]), nil // which may have nulls
	case *arrow.MapType:
		fields, err := plainFields(t.KeyField(), t.ItemField())
		if err != nil {
			return nil, err
		}
		return arrow.MapOfFields(fields[0], fields[1]), nil
	case *arrow.NullType, *arrow.BooleanType,
		*arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type,
		*arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type,
		*arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type,
		*arrow.StringType, *arrow.LargeStringType, *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType,
		*arrow.Decimal128Type, *arrow.Decimal256Type, *arrow.Date32Type, *arrow.Date64Type, *arrow.Time32Type, *arrow.Time64Type:
		return t, nil
	}
	return nil, fmt.Errorf("type %s is not read", t)
}

func plainFields(fields ...arrow.Field) ([]arrow.Field, error) {
	for i, f := range fields {
		t, err := plainType(f.Type)
		if err != nil {
			return nil, err
		}
		fields[i].Type = t
	}
	return fields, nil
}

// write writes rows [lo, hi) of a batch, by halves where they decode to too much at once.
func (p *arrowPlainer) write(ctx context.Context, temp *spineTemp, batch arrow.RecordBatch, lo, hi int64) error {
	rows := batch.NewSlice(lo, hi)
	defer rows.Release()
	if hi-lo > 1 && decodedBytes(rows) > arrowBytes {
		middle := lo + (hi-lo)/2
		if err := p.write(ctx, temp, batch, lo, middle); err != nil {
			return err
		}
		return p.write(ctx, temp, batch, middle, hi)
	}
	columns := make([]arrow.Array, rows.NumCols())
	defer func() {
		for _, column := range columns {
			if column != nil {
				column.Release()
			}
		}
	}()
	for i, f := range p.original.Fields() {
		column, err := p.plain(ctx, rows.Column(i), p.schema.Field(i).Type)
		if err != nil {
			return &arrowColumnError{f.Name, err.Error(), "cast or drop the column"}
		}
		columns[i] = column
		if !f.Nullable && column.NullN() > 0 {
			return &arrowColumnError{f.Name, "it has nulls, and its schema says that it has none", "write the schema with nullable columns"}
		}
	}
	plain := array.NewRecordBatch(p.schema, columns, rows.NumRows())
	defer plain.Release()
	return temp.write(plain)
}

// decodedBytes returns the bytes of the text of dictionaries, which a few bytes may repeat without end.
func decodedBytes(rows arrow.RecordBatch) int {
	size := 0
	for _, column := range rows.Columns() {
		d, ok := column.(*array.Dictionary)
		if !ok {
			continue
		}
		values, ok := d.Dictionary().(array.BinaryLike)
		if !ok {
			continue
		}
		for i := range d.Len() {
			if !d.IsNull(i) {
				size += values.ValueLen(d.GetValueIndex(i))
			}
		}
	}
	return size
}

// plain returns an array's values as the type that plainType has for them. The caller releases it. What the file says
// of lengths, offsets and nulls is checked.
func (p *arrowPlainer) plain(ctx context.Context, a arrow.Array, to arrow.DataType) (arrow.Array, error) {
	switch a := a.(type) {
	case *array.Dictionary:
		values, err := p.plain(ctx, a.Dictionary(), to)
		if err != nil {
			return nil, err
		}
		defer values.Release()
		return compute.TakeArray(compute.WithAllocator(ctx, p.memory), values, a.Indices())
	case array.ExtensionArray:
		return p.plain(ctx, a.Storage(), to)
	case *array.StringView:
		b := array.NewStringBuilder(p.memory)
		defer b.Release()
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
			} else {
				b.Append(a.Value(i))
			}
		}
		return b.NewArray(), nil
	case *array.BinaryView:
		b := array.NewBinaryBuilder(p.memory, arrow.BinaryTypes.Binary)
		defer b.Release()
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
			} else {
				b.Append(a.Value(i))
			}
		}
		return b.NewArray(), nil
	case *array.Timestamp:
		if a.DataType().(*arrow.TimestampType).Unit != arrow.Second {
			break
		}
		b := array.NewTimestampBuilder(p.memory, to.(*arrow.TimestampType))
		defer b.Release()
		for i, x := range a.TimestampValues() {
			switch {
			case a.IsNull(i):
				b.AppendNull()
			case x > math.MaxInt64/1000 || x < math.MinInt64/1000:
				return nil, fmt.Errorf("%d seconds are out of range", x)
			default:
				b.Append(x * 1000)
			}
		}
		return b.NewArray(), nil
	case *array.Decimal32:
		return p.decimals(to, a, func(i int) int64 { return int64(a.Value(i)) }), nil
	case *array.Decimal64:
		return p.decimals(to, a, func(i int) int64 { return int64(a.Value(i)) }), nil
	case *array.Date64:
		for i, x := range a.Date64Values() {
			if !a.IsNull(i) && int64(x)%(daySeconds*1000) != 0 {
				return nil, fmt.Errorf("%d ms is not a whole day", x)
			}
		}
	case *array.Time32:
		if a.DataType().(*arrow.Time32Type).Unit != arrow.Second {
			break
		}
		for i, x := range a.Time32Values() {
			if !a.IsNull(i) && (x < 0 || x >= daySeconds) {
				return nil, fmt.Errorf("%d s is not a time of day", x)
			}
		}
	case array.ListLike:
		return p.list(ctx, a, to)
	case *array.Struct:
		return p.structs(ctx, a, to.(*arrow.StructType))
	}
	if checked, ok := a.(interface{ ValidateFull() error }); ok {
		if err := checked.ValidateFull(); err != nil {
			return nil, err
		}
	}
	return rebuilt(a, to, a.Data().Buffers(), a.Data().Children(), a.Data().Offset()), nil
}

// rebuilt returns an array of parts of another, with its nulls counted anew: the file's count is not believed.
func rebuilt(a arrow.Array, to arrow.DataType, buffers []*memory.Buffer, children []arrow.ArrayData, offset int) arrow.Array {
	nulls := 0
	if to.ID() == arrow.NULL {
		nulls = a.Len()
	} else if bits := buffers[0]; bits != nil && bits.Len() > 0 {
		nulls = a.Len() - bitutil.CountSetBits(bits.Bytes(), offset, a.Len())
	}
	data := array.NewData(to, a.Len(), buffers, children, nulls, offset)
	defer data.Release()
	return array.MakeFromData(data)
}

func (p *arrowPlainer) decimals(to arrow.DataType, a arrow.Array, value func(int) int64) arrow.Array {
	b := array.NewDecimal128Builder(p.memory, to.(*arrow.Decimal128Type))
	defer b.Release()
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
		} else {
			b.Append(decimal128.FromI64(value(i)))
		}
	}
	return b.NewArray()
}

func (p *arrowPlainer) structs(ctx context.Context, a *array.Struct, to *arrow.StructType) (arrow.Array, error) {
	children := make([]arrow.ArrayData, a.NumField())
	defer releaseData(children)
	for i := range children {
		// Field slices the child as the struct is.
		child, err := p.plain(ctx, a.Field(i), to.Field(i).Type)
		if err != nil {
			return nil, err
		}
		if child.Len() != a.Len() {
			return nil, fmt.Errorf("field %s has %d values of %d", to.Field(i).Name, child.Len(), a.Len())
		}
		children[i] = child.Data()
		children[i].Retain()
		child.Release()
	}
	validity := p.validity(a)
	defer releaseBuffer(validity)
	return rebuilt(a, to, []*memory.Buffer{validity}, children, 0), nil
}

func releaseData(data []arrow.ArrayData) {
	for _, d := range data {
		if d != nil {
			d.Release()
		}
	}
}

func releaseBuffer(b *memory.Buffer) {
	if b != nil {
		b.Release()
	}
}

// arrowListValues bounds the values of the lists in rows that are converted at once, some of which take no bytes.
const arrowListValues = 1 << 26

// list returns lists whose nulls are empty, as Parquet has them.
func (p *arrowPlainer) list(ctx context.Context, a array.ListLike, to arrow.DataType) (arrow.Array, error) {
	offsets := make([]int64, 1, a.Len()+1)
	values := a.ListValues()
	var runs []arrow.Array // of values, those of nulls left out
	defer func() {
		for _, run := range runs {
			run.Release()
		}
	}()
	runStart, runEnd := int64(0), int64(0)
	endRun := func() {
		if runEnd > runStart {
			runs = append(runs, array.NewSlice(values, runStart, runEnd))
		}
	}
	total := int64(0)
	for i := range a.Len() {
		if a.IsNull(i) {
			offsets = append(offsets, total)
			continue
		}
		start, end := a.ValueOffsets(i)
		if start < 0 || start > end || end > int64(values.Len()) {
			return nil, fmt.Errorf("row %d has the list [%d, %d) of %d values", i, start, end, values.Len())
		}
		if total += end - start; total > arrowListValues {
			return nil, fmt.Errorf("lists of more than %d values in %d rows", arrowListValues, a.Len())
		}
		if start != runEnd {
			endRun()
			runStart = start
		}
		runEnd = end
		offsets = append(offsets, total)
	}
	endRun()
	elem := to.(arrow.ListLikeType).Elem()
	child, err := p.concatenated(ctx, values, runs, elem)
	if err != nil {
		return nil, err
	}
	defer child.Release()
	if pairs, ok := child.(*array.Struct); ok && to.ID() == arrow.MAP && pairs.Field(0).NullN() > 0 {
		return nil, errors.New("a map has a null key")
	}
	validity := p.validity(a)
	defer releaseBuffer(validity)
	buffer := memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(offsets))
	if to.ID() != arrow.LARGE_LIST {
		narrow := make([]int32, len(offsets))
		for i, x := range offsets {
			narrow[i] = int32(x)
		}
		buffer = memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(narrow))
	}
	return rebuilt(a, to, []*memory.Buffer{validity, buffer}, []arrow.ArrayData{child.Data()}, 0), nil
}

// concatenated returns runs of values, one after the other, as their plain type.
func (p *arrowPlainer) concatenated(ctx context.Context, values arrow.Array, runs []arrow.Array, to arrow.DataType) (arrow.Array, error) {
	switch len(runs) {
	case 0:
		none := array.NewSlice(values, 0, 0)
		defer none.Release()
		return p.plain(ctx, none, to)
	case 1:
		return p.plain(ctx, runs[0], to)
	}
	plain := make([]arrow.Array, 0, len(runs))
	defer func() {
		for _, run := range plain {
			run.Release()
		}
	}()
	for _, run := range runs {
		a, err := p.plain(ctx, run, to)
		if err != nil {
			return nil, err
		}
		plain = append(plain, a)
	}
	return array.Concatenate(plain, p.memory)
}

// validity returns the validity of an array's values from bit 0 on; nil: none is null.
func (p *arrowPlainer) validity(a arrow.Array) *memory.Buffer {
	bits := a.NullBitmapBytes()
	if len(bits) == 0 {
		return nil
	}
	buffer := memory.NewResizableBuffer(p.memory)
	buffer.Resize(int(bitutil.BytesForBits(int64(a.Len()))))
	bitutil.CopyBitmap(bits, a.Data().Offset(), a.Len(), buffer.Bytes(), 0)
	return buffer
}
