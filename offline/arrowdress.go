package offline

import (
	"context"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// arrowDress gives arrays read from Parquet the types that they had before they were written, as far as ARROW:schema
// tells them: what arrowPlainer takes away.
type arrowDress interface {
	dataType() arrow.DataType
	// dress returns the values of a in dataType. The caller releases it.
	dress(ctx context.Context, a arrow.Array) (arrow.Array, error)
}

// newArrowDress returns how arrays of one type become another's. Where original does not say more than Parquet, or has
// nothing to do with it, they stay as they are.
func newArrowDress(from, original arrow.DataType) arrowDress {
	if arrow.TypeEqual(from, original) {
		return dressSame{from}
	}
	if extension, ok := from.(arrow.ExtensionType); ok {
		return dressStorage{newArrowDress(extension.StorageType(), original)}
	}
	switch to := original.(type) {
	case arrow.ExtensionType:
		storage := newArrowDress(from, to.StorageType())
		if arrow.TypeEqual(storage.dataType(), to.StorageType()) {
			return dressExtension{to, storage}
		}
		return storage
	case *arrow.DictionaryType:
		if from.ID() == arrow.STRING || from.ID() == arrow.BINARY {
			plain := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: from}
			builder := array.NewDictionaryBuilder(memory.DefaultAllocator, plain)
			return &dressDictionary{index: to.IndexType, values: newArrowDress(from, to.ValueType), builder: builder}
		}
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		if from.ID() == arrow.STRING && to.ID() == arrow.LARGE_STRING || from.ID() == arrow.BINARY && to.ID() == arrow.LARGE_BINARY {
			return dressLarge{to}
		}
	case *arrow.StringViewType, *arrow.BinaryViewType:
		if from.ID() == arrow.STRING && to.ID() == arrow.STRING_VIEW || from.ID() == arrow.BINARY && to.ID() == arrow.BINARY_VIEW {
			return dressView{to}
		}
	case *arrow.DurationType:
		if from.ID() == arrow.INT64 {
			return dressBits{to}
		}
	case *arrow.TimestampType:
		if t, ok := from.(*arrow.TimestampType); ok && t.TimeZone != "" && to.TimeZone != "" {
			return dressBits{&arrow.TimestampType{Unit: t.Unit, TimeZone: to.TimeZone}}
		}
	case *arrow.Decimal32Type, *arrow.Decimal64Type:
		t, ok := from.(*arrow.Decimal128Type)
		if to := to.(arrow.DecimalType); ok && t.Precision == to.GetPrecision() && t.Scale == to.GetScale() {
			return dressDecimal{to}
		}
	case *arrow.StructType:
		if t, ok := from.(*arrow.StructType); ok && t.NumFields() == to.NumFields() {
			return newDressStruct(t, to)
		}
	case *arrow.MapType:
		if t, ok := from.(*arrow.MapType); ok {
			key, item := newArrowDress(t.KeyType(), to.KeyType()), newArrowDress(t.ItemType(), to.ItemType())
			return &dressNested{children: []arrowDress{key, item}, pairs: true, build: func(c []arrow.DataType) arrow.DataType {
				return arrow.MapOfFields(dressedField(t.KeyField(), c[0]), dressedField(t.ItemField(), c[1]))
			}}
		}
	case *arrow.ListType:
		if t, ok := from.(*arrow.ListType); ok {
			return &dressNested{children: []arrowDress{newArrowDress(t.Elem(), to.Elem())}, build: func(c []arrow.DataType) arrow.DataType {
				return arrow.ListOfField(dressedElem(to.ElemField(), c[0]))
			}}
		}
	case *arrow.LargeListType:
		if t, ok := from.(*arrow.ListType); ok {
			return &dressNested{children: []arrowDress{newArrowDress(t.Elem(), to.Elem())}, wide: true, build: func(c []arrow.DataType) arrow.DataType {
				return arrow.LargeListOfField(dressedElem(to.ElemField(), c[0]))
			}}
		}
	case *arrow.FixedSizeListType:
		if t, ok := from.(*arrow.ListType); ok {
			return &dressNested{children: []arrowDress{newArrowDress(t.Elem(), to.Elem())}, fixed: to.Len(), build: func(c []arrow.DataType) arrow.DataType {
				return arrow.FixedSizeListOfField(to.Len(), dressedElem(to.ElemField(), c[0]))
			}}
		}
	}
	return dressSame{from}
}

// dressedField returns a field with another type.
func dressedField(f arrow.Field, t arrow.DataType) arrow.Field {
	f.Type, f.Metadata = t, withoutFieldID(f.Metadata)
	return f
}

// dressedElem is dressedField for elements of lists, which a Parquet file may have as optional whatever they were.
func dressedElem(f arrow.Field, t arrow.DataType) arrow.Field {
	f = dressedField(f, t)
	f.Nullable = true
	return f
}

// withoutFieldID drops what stands for no id.
func withoutFieldID(m arrow.Metadata) arrow.Metadata {
	if id, ok := m.GetValue("PARQUET:field_id"); !ok || id != "-1" {
		return m
	}
	kept := m.ToMap()
	delete(kept, "PARQUET:field_id")
	return arrow.MetadataFrom(kept)
}

// dressSame leaves arrays as they are.
type dressSame struct{ t arrow.DataType }

func (d dressSame) dataType() arrow.DataType { return d.t }

func (d dressSame) dress(_ context.Context, a arrow.Array) (arrow.Array, error) {
	a.Retain()
	return a, nil
}

// dressStorage dresses what an extension type is stored as.
type dressStorage struct{ arrowDress }

func (d dressStorage) dress(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	return d.arrowDress.dress(ctx, a.(array.ExtensionArray).Storage())
}

// dressBits gives the same bytes another type.
type dressBits struct{ t arrow.DataType }

func (d dressBits) dataType() arrow.DataType { return d.t }

func (d dressBits) dress(_ context.Context, a arrow.Array) (arrow.Array, error) {
	return rebuilt(a, d.t, a.Data().Buffers(), nil, a.Data().Offset()), nil
}

// dressDecimal makes narrow decimals of wide ones, whose precision says that they fit.
type dressDecimal struct{ t arrow.DataType }

func (d dressDecimal) dataType() arrow.DataType { return d.t }

func (d dressDecimal) dress(_ context.Context, a arrow.Array) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, d.t)
	defer b.Release()
	for i, x := range a.(*array.Decimal128).Values() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch b := b.(type) {
		case *array.Decimal32Builder:
			b.Append(decimal.Decimal32(int32(x.LowBits())))
		case *array.Decimal64Builder:
			b.Append(decimal.Decimal64(int64(x.LowBits())))
		}
	}
	return b.NewArray(), nil
}

// dressExtension wraps storage.
type dressExtension struct {
	t       arrow.ExtensionType
	storage arrowDress
}

func (d dressExtension) dataType() arrow.DataType { return d.t }

func (d dressExtension) dress(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	storage, err := d.storage.dress(ctx, a)
	if err != nil {
		return nil, err
	}
	defer storage.Release()
	return array.NewExtensionArrayWithStorage(d.t, storage), nil
}

// dressLarge widens the offsets of text.
type dressLarge struct{ t arrow.DataType }

func (d dressLarge) dataType() arrow.DataType { return d.t }

func (d dressLarge) dress(_ context.Context, a arrow.Array) (arrow.Array, error) {
	buffers := a.Data().Buffers()
	return rebuilt(a, d.t, []*memory.Buffer{buffers[0], wideOffsets(a), buffers[2]}, nil, a.Data().Offset()), nil
}

// wideOffsets returns the 32-bit offsets of text or lists in 64 bits.
func wideOffsets(a arrow.Array) *memory.Buffer {
	n := a.Data().Offset() + a.Len() + 1
	wide := make([]int64, n)
	if narrow := a.Data().Buffers()[1]; narrow != nil && narrow.Len() > 0 {
		for i, x := range arrow.Int32Traits.CastFromBytes(narrow.Bytes())[:n] {
			wide[i] = int64(x)
		}
	}
	return memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(wide))
}

// dressView makes views of text.
type dressView struct{ t arrow.DataType }

func (d dressView) dataType() arrow.DataType { return d.t }

func (d dressView) dress(_ context.Context, a arrow.Array) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, d.t)
	defer b.Release()
	b.Reserve(a.Len())
	switch b := b.(type) {
	case *array.StringViewBuilder:
		for i, text := 0, a.(*array.String); i < a.Len(); i++ {
			if a.IsNull(i) {
				b.AppendNull()
			} else {
				b.Append(text.Value(i))
			}
		}
	case *array.BinaryViewBuilder:
		for i, text := 0, a.(*array.Binary); i < a.Len(); i++ {
			if a.IsNull(i) {
				b.AppendNull()
			} else {
				b.Append(text.Value(i))
			}
		}
	}
	return b.NewArray(), nil
}

// dressDictionary makes a dictionary of text. A first pass over the rows collects it, so that all batches share one, as
// an Arrow file needs. Its values are in the order of the rows, so that it is not an ordered one, whatever it was.
type dressDictionary struct {
	index   arrow.DataType
	values  arrowDress              // of the dictionary
	builder array.DictionaryBuilder // of values as Parquet has them
	whole   arrow.Array             // nil: still collecting
}

func (d *dressDictionary) dataType() arrow.DataType {
	return &arrow.DictionaryType{IndexType: d.index, ValueType: d.values.dataType()}
}

func (d *dressDictionary) dress(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	if err := d.builder.AppendArray(a); err != nil {
		return nil, err
	}
	encoded := d.builder.NewDictionaryArray()
	defer encoded.Release()
	if d.whole == nil {
		encoded.Retain()
		return encoded, nil
	}
	indices, err := compute.CastArray(ctx, encoded.Indices(), compute.SafeCastOptions(d.index))
	if err != nil {
		return nil, err
	}
	defer indices.Release()
	return array.NewDictionaryArray(d.dataType(), indices, d.whole), nil
}

// collected ends the first pass. The index type that the dictionary had stays, unless it is too narrow.
func (d *dressDictionary) collected(ctx context.Context) (err error) {
	last := d.builder.NewDictionaryArray()
	defer last.Release()
	if d.whole, err = d.values.dress(ctx, last.Dictionary()); err != nil {
		return err
	}
	most := map[arrow.Type]int{
		arrow.INT8: math.MaxInt8, arrow.UINT8: math.MaxUint8, arrow.INT16: math.MaxInt16, arrow.UINT16: math.MaxUint16,
	}
	if limit, narrow := most[d.index.ID()]; narrow && d.whole.Len() > limit {
		d.index = arrow.PrimitiveTypes.Int32
	}
	return nil
}

func (d *dressDictionary) release() {
	d.builder.Release()
	if d.whole != nil {
		d.whole.Release()
	}
}

// dictionariesOf returns the dictionaries in a column.
func dictionariesOf(d arrowDress) []*dressDictionary {
	var children []arrowDress
	switch d := d.(type) {
	case *dressDictionary:
		return []*dressDictionary{d}
	case dressExtension:
		children = []arrowDress{d.storage}
	case dressStorage:
		children = []arrowDress{d.arrowDress}
	case *dressStruct:
		children = d.children
	case *dressNested:
		children = d.children
	}
	var all []*dressDictionary
	for _, child := range children {
		all = append(all, dictionariesOf(child)...)
	}
	return all
}

// dressStruct dresses the fields of a struct.
type dressStruct struct {
	fields   []arrow.Field
	children []arrowDress
}

func newDressStruct(from, to *arrow.StructType) *dressStruct {
	d := &dressStruct{}
	for i, f := range from.Fields() {
		f.Metadata = to.Field(i).Metadata
		d.fields = append(d.fields, f)
		d.children = append(d.children, newArrowDress(f.Type, to.Field(i).Type))
	}
	return d
}

func (d *dressStruct) dataType() arrow.DataType {
	fields := make([]arrow.Field, len(d.fields))
	for i, f := range d.fields {
		fields[i] = f
		fields[i].Type = d.children[i].dataType()
	}
	return arrow.StructOf(fields...)
}

func (d *dressStruct) dress(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	children, err := dressAll(ctx, a.Data().Children(), d.children)
	defer releaseData(children)
	if err != nil {
		return nil, err
	}
	return rebuilt(a, d.dataType(), a.Data().Buffers(), children, a.Data().Offset()), nil
}

func dressAll(ctx context.Context, from []arrow.ArrayData, by []arrowDress) ([]arrow.ArrayData, error) {
	children := make([]arrow.ArrayData, len(by))
	for i, data := range from {
		plain := array.MakeFromData(data)
		child, err := by[i].dress(ctx, plain)
		plain.Release()
		if err != nil {
			return children, err
		}
		children[i] = child.Data()
		children[i].Retain()
		child.Release()
	}
	return children, nil
}

// dressNested dresses the elements of lists and the pairs of maps, and makes large or fixed lists of plain ones.
type dressNested struct {
	children []arrowDress
	pairs    bool
	wide     bool
	fixed    int32 // 0: not of a fixed length
	build    func(children []arrow.DataType) arrow.DataType
}

func (d *dressNested) dataType() arrow.DataType {
	types := make([]arrow.DataType, len(d.children))
	for i, child := range d.children {
		types[i] = child.dataType()
	}
	return d.build(types)
}

func (d *dressNested) dress(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	to := d.dataType()
	buffers := a.Data().Buffers()
	inner := a.Data().Children()[0]
	if d.pairs {
		children, err := dressAll(ctx, inner.Children(), d.children)
		defer releaseData(children)
		if err != nil {
			return nil, err
		}
		plain := array.MakeFromData(inner)
		defer plain.Release()
		pairs := rebuilt(plain, to.(*arrow.MapType).Elem(), inner.Buffers(), children, inner.Offset())
		defer pairs.Release()
		return rebuilt(a, to, buffers, []arrow.ArrayData{pairs.Data()}, a.Data().Offset()), nil
	}
	children, err := dressAll(ctx, []arrow.ArrayData{inner}, d.children)
	defer releaseData(children)
	switch {
	case err != nil:
		return nil, err
	case d.fixed > 0:
		return d.fixedLists(ctx, a.(*array.List), children[0], to)
	case d.wide:
		buffers = []*memory.Buffer{buffers[0], wideOffsets(a)}
	}
	return rebuilt(a, to, buffers, children, a.Data().Offset()), nil
}

// fixedLists lays lists of one length out, nulls as long as the others.
func (d *dressNested) fixedLists(ctx context.Context, a *array.List, elements arrow.ArrayData, to arrow.DataType) (arrow.Array, error) {
	indices := array.NewInt32Builder(memory.DefaultAllocator)
	defer indices.Release()
	indices.Reserve(a.Len() * int(d.fixed))
	for i := range a.Len() {
		start, end := a.ValueOffsets(i)
		if !a.IsNull(i) && end-start != int64(d.fixed) {
			return nil, fmt.Errorf("a list of %d values in a column of lists of %d", end-start, d.fixed)
		}
		for j := range int64(d.fixed) {
			if a.IsNull(i) {
				indices.AppendNull()
			} else {
				indices.Append(int32(start + j))
			}
		}
	}
	at := indices.NewArray()
	defer at.Release()
	all := array.MakeFromData(elements)
	defer all.Release()
	child, err := compute.TakeArray(ctx, all, at)
	if err != nil {
		return nil, err
	}
	defer child.Release()
	var validity *memory.Buffer
	if bits := a.NullBitmapBytes(); len(bits) > 0 {
		validity = memory.NewBufferBytes(make([]byte, bitutil.BytesForBits(int64(a.Len()))))
		bitutil.CopyBitmap(bits, a.Data().Offset(), a.Len(), validity.Bytes(), 0)
	}
	return rebuilt(a, to, []*memory.Buffer{validity}, []arrow.ArrayData{child.Data()}, 0), nil
}
