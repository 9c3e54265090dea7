package parquet_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	arrowparquet "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	parquetgo "github.com/parquet-go/parquet-go"
	parquetgocompress "github.com/parquet-go/parquet-go/compress"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

// arrowColumns are the columns of the files that arrow-go writes, and what each is read as.
var arrowColumns = []struct {
	field arrow.Field
	names []string // dotted, where the column has fields
	as    []string
}{
	{nullable("i8", arrow.PrimitiveTypes.Int8), nil, []string{"int32"}},
	{nullable("i16", arrow.PrimitiveTypes.Int16), nil, []string{"int64"}},
	{nullable("i32", arrow.PrimitiveTypes.Int32), nil, []string{"int32"}},
	{nullable("i64", arrow.PrimitiveTypes.Int64), nil, []string{"int64"}},
	{nullable("u8", arrow.PrimitiveTypes.Uint8), nil, []string{"int64"}},
	{nullable("u16", arrow.PrimitiveTypes.Uint16), nil, []string{"int32"}},
	{nullable("u32", arrow.PrimitiveTypes.Uint32), nil, []string{"int64"}},
	{nullable("u64", arrow.PrimitiveTypes.Uint64), nil, []string{"int64"}},
	{nullable("f16", arrow.FixedWidthTypes.Float16), nil, []string{"float64"}},
	{nullable("f32", arrow.PrimitiveTypes.Float32), nil, []string{"float32"}},
	{nullable("f64", arrow.PrimitiveTypes.Float64), nil, []string{"float64"}},
	{arrow.Field{Name: "must", Type: arrow.PrimitiveTypes.Int64}, nil, []string{"int64"}},
	{nullable("flag", arrow.FixedWidthTypes.Boolean), nil, []string{"bool"}},
	{nullable("text", arrow.BinaryTypes.String), nil, []string{"string"}},
	{nullable("large", arrow.BinaryTypes.LargeString), nil, []string{"string"}},
	{nullable("raw", arrow.BinaryTypes.Binary), nil, []string{"bytes"}},
	{nullable("fixed", &arrow.FixedSizeBinaryType{ByteWidth: 5}), nil, []string{"bytes"}},
	{nullable("d9", &arrow.Decimal128Type{Precision: 9}), nil, []string{"int32"}},
	{nullable("d18", &arrow.Decimal128Type{Precision: 18}), nil, []string{"int64"}},
	{nullable("d38", &arrow.Decimal128Type{Precision: 38}), nil, []string{"int64"}},
	{nullable("ms", &arrow.TimestampType{Unit: arrow.Millisecond}), nil, []string{"timestamp"}},
	{nullable("us", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}), nil, []string{"timestamp"}},
	{nullable("list", arrow.ListOf(arrow.PrimitiveTypes.Int64)), nil, []string{"list<int64>"}},
	{nullable("texts", arrow.ListOf(arrow.BinaryTypes.String)), nil, []string{"list<string>"}},
	{
		nullable("s", arrow.StructOf(nullable("a", arrow.PrimitiveTypes.Int64), nullable("deep", arrow.StructOf(nullable("b", arrow.BinaryTypes.String), nullable("l", arrow.ListOf(arrow.PrimitiveTypes.Int32)))))),
		[]string{"s.a", "s.deep.b", "s.deep.l"},
		[]string{"int64", "string", "list<int32>"},
	},
	{
		nullable("structs", arrow.ListOf(arrow.StructOf(nullable("x", arrow.PrimitiveTypes.Int64), nullable("in", arrow.StructOf(nullable("y", arrow.BinaryTypes.String)))))),
		[]string{"structs.x", "structs.in.y"},
		[]string{"list<int64>", "list<string>"},
	},
}

func nullable(name string, typ arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: typ, Nullable: true}
}

// appendRandom appends a value of a builder's type, or a null.
func appendRandom(b array.Builder, rnd *rand.Rand, null bool) {
	if null && rnd.IntN(5) == 0 {
		b.AppendNull()
		return
	}
	words := []string{"", "a", "é", "日本", "a longer text that repeats", strconv.Itoa(rnd.Int())}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(rnd.Int()))
	case *array.Int16Builder:
		b.Append(int16(rnd.Int()))
	case *array.Int32Builder:
		b.Append(int32(rnd.Int()) >> rnd.IntN(32))
	case *array.Int64Builder:
		b.Append(int64(rnd.Uint64()) >> rnd.IntN(64))
	case *array.Uint8Builder:
		b.Append(uint8(rnd.Int()))
	case *array.Uint16Builder:
		b.Append(uint16(rnd.Int()))
	case *array.Uint32Builder:
		b.Append(rnd.Uint32())
	case *array.Uint64Builder:
		b.Append(rnd.Uint64() >> (1 + rnd.IntN(60)))
	case *array.Float16Builder:
		b.Append(float16.FromBits([]uint16{0, 0x8000, 0x3555, 0x7bff, 0x7c00, 0xfc00}[rnd.IntN(6)]))
	case *array.Float32Builder:
		b.Append(float32(rnd.NormFloat64()))
	case *array.Float64Builder:
		b.Append([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), rnd.NormFloat64()}[rnd.IntN(5)])
	case *array.BooleanBuilder:
		b.Append(rnd.IntN(2) == 0)
	case *array.StringBuilder:
		b.Append(words[rnd.IntN(len(words))])
	case *array.LargeStringBuilder:
		b.Append(words[rnd.IntN(len(words))])
	case *array.BinaryBuilder:
		b.Append([]byte(words[rnd.IntN(len(words))] + "\xff"))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(fmt.Sprintf("%05d", rnd.IntN(1e5))))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(int64(rnd.Uint64()) >> (64 - min(62, b.Type().(*arrow.Decimal128Type).Precision*3))))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(int64(rnd.Uint64()) >> 20))
	case *array.ListBuilder:
		b.Append(true)
		for range rnd.IntN(4) {
			appendRandom(b.ValueBuilder(), rnd, true)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(b.FieldBuilder(i), rnd, true)
		}
	default:
		panic(fmt.Sprintf("builder %T", b))
	}
}

// arrowText returns what text does, of value i of an array; path leads to a field.
func arrowText(a arrow.Array, i int, path []string, as columnar.Kind) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.List:
		list := []any{}
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			list = append(list, arrowText(a.ListValues(), int(j), path, as))
		}
		return list
	case *array.Struct:
		field, _ := a.DataType().(*arrow.StructType).FieldIdx(path[0])
		return arrowText(a.Field(field), i, path[1:], as)
	case *array.Float16:
		return floatText(float64(a.Value(i).Float32()), as)
	case *array.Float32:
		return floatText(float64(a.Value(i)), as)
	case *array.Float64:
		return floatText(a.Value(i), as)
	case *array.Binary:
		return hex.EncodeToString(a.Value(i))
	case *array.FixedSizeBinary:
		return hex.EncodeToString(a.Value(i))
	case *array.Timestamp:
		v := int64(a.Value(i))
		if a.DataType().(*arrow.TimestampType).Unit == arrow.Millisecond {
			v *= 1000
		}
		return strconv.FormatInt(v, 10)
	case *array.Decimal128:
		return a.Value(i).BigInt().String()
	}
	return a.ValueStr(i)
}

func floatText(v float64, as columnar.Kind) string {
	if as == columnar.Float32 {
		return fmt.Sprintf("%08x", math.Float32bits(float32(v)))
	}
	return fmt.Sprintf("%016x", math.Float64bits(v))
}

// Files by arrow-go, in its codecs, page versions and encodings.
func TestFilesOfArrowGo(t *testing.T) {
	rnd := testenv.Rand(t)
	var fields []arrow.Field
	for _, c := range arrowColumns {
		fields = append(fields, c.field)
	}
	schema := arrow.NewSchema(fields, nil)
	for _, codec := range []compress.Compression{
		compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Zstd, compress.Codecs.Lz4Raw,
	} {
		for _, version := range []arrowparquet.DataPageVersion{arrowparquet.DataPageV1, arrowparquet.DataPageV2} {
			for _, dictionary := range []bool{true, false} {
				name := fmt.Sprintf("%s, pages %d, dictionary %v", codec, version+1, dictionary)
				b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
				rows := []int{0, 1, 63, 64, 200}[rnd.IntN(5)]
				for i, f := range fields {
					for range rows {
						appendRandom(b.Field(i), rnd, f.Nullable)
					}
				}
				record := b.NewRecordBatch()
				table := array.NewTableFromRecords(schema, []arrow.RecordBatch{record})
				options := []arrowparquet.WriterProperty{
					arrowparquet.WithCompression(codec), arrowparquet.WithDataPageVersion(version), arrowparquet.WithDictionaryDefault(dictionary),
					arrowparquet.WithDataPageSize([]int64{1, 100, 1 << 20}[rnd.IntN(3)]), arrowparquet.WithBatchSize([]int64{1, 10, 1024}[rnd.IntN(3)]),
					arrowparquet.WithDictionaryPageSizeLimit([]int64{50, 1 << 20}[rnd.IntN(2)]), arrowparquet.WithStats(rnd.IntN(2) == 0),
					arrowparquet.WithBloomFilterEnabledFor("text", true), arrowparquet.WithStoreDecimalAsInteger(rnd.IntN(2) == 0),
				}
				if !dictionary {
					for column, encoding := range map[string]arrowparquet.Encoding{
						"i32": arrowparquet.Encodings.DeltaBinaryPacked, "i64": arrowparquet.Encodings.DeltaBinaryPacked, "u8": arrowparquet.Encodings.DeltaBinaryPacked,
						"text": arrowparquet.Encodings.DeltaByteArray, "large": arrowparquet.Encodings.DeltaLengthByteArray, "raw": arrowparquet.Encodings.DeltaByteArray,
						"f32": arrowparquet.Encodings.ByteStreamSplit, "f64": arrowparquet.Encodings.ByteStreamSplit, "us": arrowparquet.Encodings.DeltaBinaryPacked,
						"list.list.element": arrowparquet.Encodings.DeltaBinaryPacked,
					} {
						options = append(options, arrowparquet.WithEncodingFor(column, encoding))
					}
				}
				var out bytes.Buffer
				err := pqarrow.WriteTable(table, &out, max(1, int64(rnd.IntN(100))), arrowparquet.NewWriterProperties(options...), pqarrow.DefaultWriterProps())
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for i, c := range arrowColumns {
					names := c.names
					if names == nil {
						names = []string{c.field.Name}
					}
					for j, column := range names {
						typ, err := columnar.ParseType(c.as[j])
						if err != nil {
							t.Fatal(err)
						}
						want := []any{}
						for row := range rows {
							want = append(want, arrowText(record.Column(i), row, splitPath(column)[1:], typ.Kind))
						}
						if diff := cmp.Diff(want, readColumnText(t, out.Bytes(), parquet.Column{Name: column, Type: typ})); diff != "" {
							t.Errorf("%s: %s (-arrow +ours):\n%s", name, column, diff)
						}
					}
				}
			}
		}
	}
}

func splitPath(name string) []string {
	var path []string
	for part := range bytes.SplitSeq([]byte(name), []byte(".")) {
		path = append(path, string(part))
	}
	return path
}

// readColumnText reads a column in every way, which must agree.
func readColumnText(t *testing.T, b []byte, c parquet.Column) []any {
	t.Helper()
	agree(t, b, c)
	r := bind(t, b, "x.parquet", c)
	v := columnar.NewVector(c.Type, 0)
	for g := range r.RowGroups() {
		if err := r.Read(context.Background(), g, 0, v); err != nil {
			t.Fatal(err)
		}
	}
	return texts(v)
}

// parquetGoRow is a row of the files that parquet-go writes.
type parquetGoRow struct {
	Delta   int64            `parquet:"delta,delta"`
	Small   int32            `parquet:"small,delta"`
	Dict    *int64           `parquet:"dict,dict"`
	Split   float64          `parquet:"split,split"`
	Text    *string          `parquet:"text,dict"`
	Long    string           `parquet:"long,delta"`
	Word    string           `parquet:"word,dict"`
	Flag    *bool            `parquet:"flag"`
	Unsign  uint32           `parquet:"unsign"`
	Wide    uint64           `parquet:"wide"`
	Decimal int64            `parquet:"decimal,decimal(0:18)"`
	ID      [16]byte         `parquet:"id,uuid"`
	Enum    string           `parquet:"enum,enum"`
	JSON    string           `parquet:"json,json"`
	List    []int64          `parquet:"list,list"`
	Bare    []string         `parquet:"bare"`
	Nested  *parquetGoNested `parquet:"nested"`
	Items   []parquetGoItem  `parquet:"items,list"`
	Bag     []parquetGoItem  `parquet:"bag"`
}

type parquetGoNested struct {
	Deep *struct {
		N *int64   `parquet:"n"`
		L []string `parquet:"l,list"`
	} `parquet:"deep"`
}

type parquetGoItem struct {
	Price float64 `parquet:"price"`
	Name  *string `parquet:"name"`
}

// Files by parquet-go, in its codecs, page versions and encodings.
func TestFilesOfParquetGo(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, codec := range []parquetgocompress.Codec{
		&parquetgo.Uncompressed, &parquetgo.Snappy, &parquetgo.Gzip, &parquetgo.Brotli, &parquetgo.Zstd, &parquetgo.Lz4Raw,
	} {
		for version := 1; version <= 2; version++ {
			rows := make([]parquetGoRow, []int{1, 7, 100, 257}[rnd.IntN(4)])
			want := map[string][]any{}
			for i := range rows {
				rows[i] = randomRow(rnd)
				for name, value := range rows[i].texts() {
					want[name] = append(want[name], value)
				}
			}
			var out bytes.Buffer
			w := parquetgo.NewGenericWriter[parquetGoRow](&out, parquetgo.Compression(codec), parquetgo.DataPageVersion(version),
				parquetgo.PageBufferSize([]int{16, 256, 1 << 20}[rnd.IntN(3)]), parquetgo.MaxRowsPerRowGroup(int64(1+rnd.IntN(150))),
				parquetgo.DataPageStatistics(rnd.IntN(2) == 0), parquetgo.BloomFilters(parquetgo.SplitBlockFilter(10, "word")))
			if _, err := w.Write(rows); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for name, typ := range map[string]string{
				"delta": "int64", "small": "int64", "dict": "int64", "split": "float64", "text": "string", "long": "string", "word": "string",
				"flag": "bool", "unsign": "int64", "wide": "int64", "decimal": "int64", "id": "string", "enum": "string", "json": "string",
				"list": "list<int64>", "bare": "list<string>", "nested.deep.n": "int64", "nested.deep.l": "list<string>",
				"items.price": "list<float64>", "items.name": "list<string>", "bag.price": "list<float64>", "bag.name": "list<string>",
			} {
				if diff := cmp.Diff(want[name], readColumnText(t, out.Bytes(), column(name, typ))); diff != "" {
					t.Errorf("%s, pages %d, %s (-parquet-go +ours):\n%s", codec, version, name, diff)
				}
			}
		}
	}
}

func randomRow(rnd *rand.Rand) parquetGoRow {
	words := []string{"", "a", "é", "prefix-1", "prefix-2"}
	word := func() string { return words[rnd.IntN(len(words))] }
	r := parquetGoRow{
		Delta: int64(rnd.Uint64()) >> rnd.IntN(64), Small: int32(rnd.Uint32()), Split: rnd.NormFloat64(), Long: word() + strconv.Itoa(rnd.IntN(1000)), Word: word(),
		Unsign: rnd.Uint32(), Wide: rnd.Uint64() >> 1, Decimal: rnd.Int64N(1e18), Enum: word(), JSON: "[]",
	}
	for i := range r.ID {
		r.ID[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(3) > 0 {
		n, s, b := rnd.Int64N(9), word(), rnd.IntN(2) == 0
		r.Dict, r.Text, r.Flag = &n, &s, &b
	}
	for range rnd.IntN(4) {
		r.List, r.Bare = append(r.List, rnd.Int64()), append(r.Bare, word())
	}
	item := func() parquetGoItem {
		i := parquetGoItem{Price: rnd.Float64()}
		if rnd.IntN(2) == 0 {
			s := word()
			i.Name = &s
		}
		return i
	}
	for range rnd.IntN(3) {
		r.Items, r.Bag = append(r.Items, item()), append(r.Bag, item())
	}
	if rnd.IntN(3) > 0 {
		r.Nested = new(parquetGoNested)
		if rnd.IntN(3) > 0 {
			r.Nested.Deep = &struct {
				N *int64   `parquet:"n"`
				L []string `parquet:"l,list"`
			}{L: slices.Clone(r.Bare)}
			if n := rnd.Int64(); n%3 > 0 {
				r.Nested.Deep.N = &n
			}
		}
	}
	return r
}

// texts returns the row as the reader's texts are; parquet-go writes a nil slice as an empty list.
func (r *parquetGoRow) texts() map[string]any {
	number := func(n *int64) any {
		if n == nil {
			return nil
		}
		return strconv.FormatInt(*n, 10)
	}
	str := func(s *string) any {
		if s == nil {
			return nil
		}
		return *s
	}
	list := func(n int, value func(int) any) any {
		l := []any{}
		for i := range n {
			l = append(l, value(i))
		}
		return l
	}
	id := hex.EncodeToString(r.ID[:])
	all := map[string]any{
		"delta": number(&r.Delta), "small": strconv.Itoa(int(r.Small)), "dict": number(r.Dict), "split": floatText(r.Split, columnar.Float64),
		"text": str(r.Text), "long": r.Long, "word": r.Word, "flag": nil, "unsign": fmt.Sprint(r.Unsign), "wide": fmt.Sprint(r.Wide),
		"decimal": fmt.Sprint(r.Decimal), "id": id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:],
		"enum": r.Enum, "json": r.JSON, "nested.deep.n": nil, "nested.deep.l": nil,
		"list": list(len(r.List), func(i int) any { return number(&r.List[i]) }), "bare": list(len(r.Bare), func(i int) any { return r.Bare[i] }),
		"items.price": list(len(r.Items), func(i int) any { return floatText(r.Items[i].Price, columnar.Float64) }),
		"items.name":  list(len(r.Items), func(i int) any { return str(r.Items[i].Name) }),
		"bag.price":   list(len(r.Bag), func(i int) any { return floatText(r.Bag[i].Price, columnar.Float64) }),
		"bag.name":    list(len(r.Bag), func(i int) any { return str(r.Bag[i].Name) }),
	}
	if r.Flag != nil {
		all["flag"] = strconv.FormatBool(*r.Flag)
	}
	if r.Nested != nil && r.Nested.Deep != nil {
		all["nested.deep.n"] = number(r.Nested.Deep.N)
		all["nested.deep.l"] = list(len(r.Nested.Deep.L), func(i int) any { return r.Nested.Deep.L[i] })
	}
	return all
}
