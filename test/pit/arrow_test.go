package pit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// The columns of cases as Arrow arrays, in every physical type that holds their values, and back.

// fits returns Arrow types that hold every value of a column exactly, the plain one first.
func fits(c column, rows int) []arrow.DataType {
	elem, list := strings.CutPrefix(c.typ, "list<")
	elem = strings.TrimSuffix(elem, ">")
	var values []Value
	for r := range rows {
		if v := c.at(r); list {
			values = append(values, v.List...)
		} else {
			values = append(values, v)
		}
	}
	types := scalarFits(elem, slices.DeleteFunc(values, func(v Value) bool { return v.Null }))
	if list {
		for i, t := range types {
			types[i] = arrow.ListOf(t)
		}
	}
	return types
}

func scalarFits(typ string, values []Value) []arrow.DataType {
	every := func(ok func(v Value) bool) bool {
		return !slices.ContainsFunc(values, func(v Value) bool { return !ok(v) })
	}
	within := func(least, greatest int64) bool {
		return every(func(v Value) bool { return int64(v.Bits) >= least && int64(v.Bits) <= greatest })
	}
	var types []arrow.DataType
	may := func(ok bool, t ...arrow.DataType) {
		if ok {
			types = append(types, t...)
		}
	}
	switch typ {
	case "bool":
		may(true, arrow.FixedWidthTypes.Boolean)
	case "int32", "int64":
		may(typ == "int64", arrow.PrimitiveTypes.Int64)
		may(within(math.MinInt32, math.MaxInt32), arrow.PrimitiveTypes.Int32)
		may(within(math.MinInt8, math.MaxInt8), arrow.PrimitiveTypes.Int8)
		may(within(math.MinInt16, math.MaxInt16), arrow.PrimitiveTypes.Int16)
		may(within(0, math.MaxUint8), arrow.PrimitiveTypes.Uint8)
		may(within(0, math.MaxUint16), arrow.PrimitiveTypes.Uint16)
		may(typ == "int64" && within(0, math.MaxUint32), arrow.PrimitiveTypes.Uint32)
		may(typ == "int64" && within(0, math.MaxInt64), arrow.PrimitiveTypes.Uint64)
		may(typ == "int64" && within(-1e17, 1e17), &arrow.Decimal128Type{Precision: 18})
	case "float32":
		may(true, arrow.PrimitiveTypes.Float32)
		may(every(func(v Value) bool {
			f := math.Float32frombits(uint32(v.Bits))
			return math.Float32bits(float16.New(f).Float32()) == uint32(v.Bits)
		}), arrow.FixedWidthTypes.Float16)
	case "float64":
		may(true, arrow.PrimitiveTypes.Float64)
		may(every(func(v Value) bool {
			f := math.Float64frombits(v.Bits)
			return !math.IsNaN(f) && math.Float64bits(float64(float32(f))) == v.Bits
		}), arrow.PrimitiveTypes.Float32)
	case "string":
		may(true, arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString)
	case "bytes":
		may(true, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary)
		may(len(values) > 0 && len(values[0].Str) > 0 && every(func(v Value) bool { return len(v.Str) == len(values[0].Str) }),
			fixedOf(values))
	case "timestamp", "instant":
		micros := int64(1)
		if typ == "instant" {
			micros = 1000
		}
		whole := func(n int64) bool { return every(func(v Value) bool { return int64(v.Bits)%n == 0 }) }
		for _, zone := range []string{"UTC", ""} {
			ns := arrow.DataType(&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: zone})
			may(typ == "instant", ns)
			may(whole(micros), &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone})
			may(typ == "timestamp" && within(math.MinInt64/1000, math.MaxInt64/1000), ns)
			may(whole(micros*1000), &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: zone})
		}
	default:
		panic("no Arrow type for " + typ)
	}
	return types
}

func fixedOf(values []Value) arrow.DataType {
	if len(values) == 0 {
		return arrow.BinaryTypes.Binary
	}
	return &arrow.FixedSizeBinaryType{ByteWidth: len(values[0].Str)}
}

// arrowArray returns a column as an array.
func arrowArray(c column, rows int, t arrow.DataType) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	for r := range rows {
		appendArrow(b, c.typ, c.at(r))
	}
	return b.NewArray()
}

func appendArrow(b array.Builder, typ string, v Value) {
	if v.Null {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.Bits != 0)
	case *array.Int8Builder:
		b.Append(int8(v.Bits))
	case *array.Int16Builder:
		b.Append(int16(v.Bits))
	case *array.Int32Builder:
		b.Append(int32(v.Bits))
	case *array.Int64Builder:
		b.Append(int64(v.Bits))
	case *array.Uint8Builder:
		b.Append(uint8(v.Bits))
	case *array.Uint16Builder:
		b.Append(uint16(v.Bits))
	case *array.Uint32Builder:
		b.Append(uint32(v.Bits))
	case *array.Uint64Builder:
		b.Append(v.Bits)
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(int64(v.Bits)))
	case *array.Float16Builder:
		b.Append(float16.New(math.Float32frombits(uint32(v.Bits))))
	case *array.Float32Builder:
		if typ == "float64" {
			b.Append(float32(math.Float64frombits(v.Bits)))
		} else {
			b.Append(math.Float32frombits(uint32(v.Bits)))
		}
	case *array.Float64Builder:
		b.Append(math.Float64frombits(v.Bits))
	case *array.StringBuilder:
		b.Append(v.Str)
	case *array.LargeStringBuilder:
		b.Append(v.Str)
	case *array.BinaryBuilder:
		b.Append([]byte(v.Str))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(v.Str))
	case *array.BinaryDictionaryBuilder:
		if err := b.AppendString(v.Str); err != nil {
			panic(err)
		}
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(rescale(int64(v.Bits), perSecond(typ), unitPerSecond(b.Type()))))
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range v.List {
			appendArrow(b.ValueBuilder(), strings.TrimSuffix(strings.TrimPrefix(typ, "list<"), ">"), e)
		}
	default:
		panic(fmt.Sprintf("no builder for %s", b.Type()))
	}
}

func perSecond(typ string) int64 {
	if typ == "instant" {
		return 1e9
	}
	return 1e6
}

func unitPerSecond(t arrow.DataType) int64 {
	return int64(1e9 / t.(*arrow.TimestampType).Unit.Multiplier())
}

// rescale turns a count of units into another one; what does not go in is a mistake of the test or of the engine.
func rescale(n, from, to int64) int64 {
	if to >= from {
		return n * (to / from)
	}
	if n%(from/to) != 0 {
		panic(fmt.Sprintf("%d/%d s in units of 1/%d s", n, from, to))
	}
	return n / (from / to)
}

// fromArrow reads a value back as one of a type.
func fromArrow(a arrow.Array, typ string, i int) Value {
	if a.IsNull(i) {
		return Value{Null: true}
	}
	switch a := a.(type) {
	case *array.Boolean:
		return Value{Bits: uint64(boolInt(a.Value(i)))}
	case *array.Int8:
		return Value{Bits: uint64(int64(a.Value(i)))}
	case *array.Int16:
		return Value{Bits: uint64(int64(a.Value(i)))}
	case *array.Int32:
		return Value{Bits: uint64(int64(a.Value(i)))}
	case *array.Int64:
		return Value{Bits: uint64(a.Value(i))}
	case *array.Uint8:
		return Value{Bits: uint64(a.Value(i))}
	case *array.Uint16:
		return Value{Bits: uint64(a.Value(i))}
	case *array.Uint32:
		return Value{Bits: uint64(a.Value(i))}
	case *array.Uint64:
		return Value{Bits: a.Value(i)}
	case *array.Decimal128:
		return Value{Bits: a.Value(i).LowBits()}
	case *array.Float16:
		return Value{Bits: uint64(math.Float32bits(a.Value(i).Float32()))}
	case *array.Float32:
		if typ == "float64" {
			return Value{Bits: math.Float64bits(float64(a.Value(i)))}
		}
		return Value{Bits: uint64(math.Float32bits(a.Value(i)))}
	case *array.Float64:
		return Value{Bits: math.Float64bits(a.Value(i))}
	case *array.String:
		return Value{Str: a.Value(i)}
	case *array.LargeString:
		return Value{Str: a.Value(i)}
	case *array.Binary:
		return Value{Str: string(a.Value(i))}
	case *array.LargeBinary:
		return Value{Str: string(a.Value(i))}
	case *array.FixedSizeBinary:
		return Value{Str: string(a.Value(i))}
	case *array.Dictionary:
		return fromArrow(a.Dictionary(), typ, a.GetValueIndex(i))
	case *array.Timestamp:
		return Value{Bits: uint64(rescale(int64(a.Value(i)), unitPerSecond(a.DataType()), perSecond(typ)))}
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		v := Value{}
		for j := from; j < to; j++ {
			v.List = append(v.List, fromArrow(a.ListValues(), strings.TrimSuffix(strings.TrimPrefix(typ, "list<"), ">"), int(j)))
		}
		return v
	}
	panic(fmt.Sprintf("no value of %s", a.DataType()))
}

// frame is a file read back: columns in order, each in chunks.
type frame struct {
	names  []string
	chunks [][]arrow.Array
}

func (f *frame) add(batch arrow.RecordBatch) {
	if f.names == nil {
		for _, field := range batch.Schema().Fields() {
			f.names = append(f.names, field.Name)
		}
		f.chunks = make([][]arrow.Array, len(f.names))
	}
	for i, c := range batch.Columns() {
		c.Retain()
		f.chunks[i] = append(f.chunks[i], c)
	}
}

// values returns a column's values as those of a type.
func (f *frame) values(i int, typ string) (out []Value) {
	for _, a := range f.chunks[i] {
		for r := range a.Len() {
			out = append(out, fromArrow(a, typ, r))
		}
	}
	return out
}

// readParquet reads a Parquet file with arrow-go into f.
func (f *frame) readParquet(t testing.TB, raw []byte) {
	t.Helper()
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(raw), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatalf("read the output: %v", err)
	}
	batches := array.NewTableReader(table, 0)
	defer batches.Release()
	if table.NumRows() == 0 {
		f.add(array.NewRecordBatch(table.Schema(), emptyColumns(table.Schema()), 0))
	}
	for batches.Next() {
		f.add(batches.RecordBatch())
	}
}

func emptyColumns(s *arrow.Schema) (out []arrow.Array) {
	for _, field := range s.Fields() {
		out = append(out, array.NewBuilder(memory.DefaultAllocator, field.Type).NewArray())
	}
	return out
}

// readArrow reads an Arrow file or stream into f.
func (f *frame) readArrow(t testing.TB, raw []byte, stream bool) {
	t.Helper()
	if stream {
		r, err := ipc.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("read the output: %v", err)
		}
		for r.Next() {
			f.add(r.RecordBatch())
		}
		if err := r.Err(); err != nil {
			t.Fatalf("read the output: %v", err)
		}
		return
	}
	r, err := ipc.NewFileReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("read the output: %v", err)
	}
	for i := range r.NumRecords() {
		batch, err := r.RecordBatchAt(i)
		if err != nil {
			t.Fatalf("read the output: %v", err)
		}
		f.add(batch)
	}
}

// arrowBatch holds columns, in types chosen at random.
func arrowBatch(rng *rand.Rand, columns []column, rows int) arrow.RecordBatch {
	var fields []arrow.Field
	var arrays []arrow.Array
	for _, c := range columns {
		types := fits(c, rows)
		dt := types[rng.IntN(len(types))]
		if c.typ == "string" && rng.IntN(4) == 0 {
			dt = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
		}
		fields = append(fields, arrow.Field{Name: c.name, Type: dt, Nullable: true})
		arrays = append(arrays, arrowArray(c, rows, dt))
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(rows))
}

// arrowIPC returns columns as an Arrow file or stream of several batches.
func arrowIPC(t testing.TB, rng *rand.Rand, columns []column, rows int) []byte {
	t.Helper()
	batch := arrowBatch(rng, columns, rows)
	step := int64([]int{1, 2, 7, 1000}[rng.IntN(4)])
	var out bytes.Buffer
	var w interface {
		Write(arrow.RecordBatch) error
		Close() error
	}
	options := []ipc.Option{ipc.WithSchema(batch.Schema())}
	switch rng.IntN(3) {
	case 0:
		options = append(options, ipc.WithZstd())
	case 1:
		options = append(options, ipc.WithLZ4())
	}
	if rng.IntN(2) == 0 {
		w = ipc.NewWriter(&out, options...)
	} else {
		f, err := ipc.NewFileWriter(&out, options...)
		if err != nil {
			t.Fatal(err)
		}
		w = f
	}
	for lo := int64(0); lo < batch.NumRows(); lo += step {
		if err := w.Write(batch.NewSlice(lo, min(lo+step, batch.NumRows()))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
