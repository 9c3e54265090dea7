package pit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	arrowparquet "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
)

// writeAnyhow writes columns as a Parquet file by one of three writers, in one of many forms: types, columns' order,
// nesting, row groups, pages, codecs, encodings, statistics, page index. A dotted name may become nested fields.
func writeAnyhow(t testing.TB, rng *rand.Rand, path string, rows int, columns []column) {
	t.Helper()
	columns = slices.Clone(columns)
	rng.Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
	switch n := rng.IntN(6); {
	case n == 0 && wholeMicros(columns, rows):
		writeBytes(t, path, ownParquet(t, rng, columns, rows))
	case n <= 2:
		writeParquet(t, path, rows, columns, randomLayout(rng))
	default:
		writeBytes(t, path, arrowGoParquet(t, rng, columns, rows))
	}
}

func writeBytes(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// arrowGoParquet writes a file with arrow-go.
func arrowGoParquet(t testing.TB, rng *rand.Rand, columns []column, rows int) []byte {
	t.Helper()
	pick := func(sizes ...int64) int64 { return sizes[rng.IntN(len(sizes))] }
	perGroup := pick(1, 2, 3, 7, 16, 64, 1<<20)
	properties := []arrowparquet.WriterProperty{
		arrowparquet.WithMaxRowGroupLength(perGroup),
		arrowparquet.WithBatchSize(pick(1, 3, 16, 1024)),
		arrowparquet.WithDataPageSize(pick(1, 64, 1<<20)),
		arrowparquet.WithCompression([]compress.Compression{
			compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli,
			compress.Codecs.Zstd, compress.Codecs.Lz4Raw,
		}[rng.IntN(6)]),
		arrowparquet.WithDataPageVersion([]arrowparquet.DataPageVersion{arrowparquet.DataPageV1, arrowparquet.DataPageV2}[rng.IntN(2)]),
		arrowparquet.WithStats(rng.IntN(4) > 0),
		arrowparquet.WithPageIndexEnabled(rng.IntN(2) == 0),
		arrowparquet.WithMaxStatsSize(pick(4, 64, 4096)),
	}
	var fields []arrow.Field
	var arrays []arrow.Array
	int96 := rng.IntN(6) == 0
	dictionaries := rng.IntN(3)
	for _, c := range columns {
		types := fits(c, rows)
		dt := types[rng.IntN(len(types))]
		int96 = int96 && !strings.Contains(c.typ, "timestamp")
		fields = append(fields, arrow.Field{Name: c.name, Type: dt, Nullable: true})
		arrays = append(arrays, arrowArray(c, rows, dt))
		leaf := c.name
		if list, ok := dt.(*arrow.ListType); ok {
			leaf, dt = leaf+".list.element", list.Elem()
		}
		if dictionary := dictionaries == 1 || dictionaries == 2 && rng.IntN(2) == 0; dictionary {
			properties = append(properties, arrowparquet.WithDictionaryFor(leaf, true))
			continue
		}
		properties = append(properties, arrowparquet.WithDictionaryFor(leaf, false))
		if encodings := encodingsOf(dt); rng.IntN(2) == 0 && encodings != nil && !int96 {
			properties = append(properties, arrowparquet.WithEncodingFor(leaf, encodings[rng.IntN(len(encodings))]))
		}
	}
	fields, arrays = nest(t, fields, arrays, rows)
	options := []pqarrow.WriterOption{pqarrow.WithDeprecatedInt96Timestamps(int96)}
	if rng.IntN(2) == 0 {
		options = append(options, pqarrow.WithStoreSchema())
	}
	var out bytes.Buffer
	schema := arrow.NewSchema(fields, nil)
	w, err := pqarrow.NewFileWriter(schema, &out, arrowparquet.NewWriterProperties(properties...), pqarrow.NewArrowWriterProperties(options...))
	if err != nil {
		t.Fatalf("write with arrow-go: %v", err)
	}
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{array.NewRecordBatch(schema, arrays, int64(rows))})
	if err := w.WriteTable(table, perGroup); err != nil {
		t.Fatalf("write with arrow-go: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("write with arrow-go: %v", err)
	}
	return out.Bytes()
}

// encodingsOf returns encodings besides PLAIN that arrow-go writes a type with. Booleans in RLE it mixes up from a chunk's
// second page on.
func encodingsOf(t arrow.DataType) []arrowparquet.Encoding {
	e := arrowparquet.Encodings
	switch t.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64, arrow.TIMESTAMP:
		return []arrowparquet.Encoding{e.DeltaBinaryPacked, e.ByteStreamSplit}
	case arrow.STRING, arrow.BINARY, arrow.LARGE_STRING, arrow.LARGE_BINARY:
		return []arrowparquet.Encoding{e.DeltaLengthByteArray, e.DeltaByteArray}
	case arrow.FLOAT32, arrow.FLOAT64:
		return []arrowparquet.Encoding{e.ByteStreamSplit}
	}
	return nil
}

// nest makes a struct of the columns whose names begin with deep and a dot. It is null where all of them are.
func nest(t testing.TB, fields []arrow.Field, arrays []arrow.Array, rows int) ([]arrow.Field, []arrow.Array) {
	t.Helper()
	var flatFields, deepFields []arrow.Field
	var flat, deep []arrow.Array
	for i, f := range fields {
		if name, ok := strings.CutPrefix(f.Name, "deep."); ok {
			f.Name = name
			deepFields, deep = append(deepFields, f), append(deep, arrays[i])
		} else {
			flatFields, flat = append(flatFields, f), append(flat, arrays[i])
		}
	}
	if deep == nil {
		return flatFields, flat
	}
	valid := make([]byte, (rows+7)/8)
	nulls := rows
	for r := range rows {
		if slices.ContainsFunc(deep, func(a arrow.Array) bool { return a.IsValid(r) }) {
			valid[r/8] |= 1 << (r % 8)
			nulls--
		}
	}
	s, err := array.NewStructArrayWithFieldsAndNulls(deep, deepFields, memory.NewBufferBytes(valid), nulls, 0)
	if err != nil {
		t.Fatal(err)
	}
	return append(flatFields, arrow.Field{Name: "deep", Type: s.DataType(), Nullable: true}), append(flat, s)
}

func wholeMicros(columns []column, rows int) bool {
	for _, c := range columns {
		for r := range rows {
			if v := c.at(r); c.typ == "instant" && int64(v.Bits)%1000 != 0 {
				return false
			}
		}
	}
	return true
}

// ownParquet writes a file with Provender's own writer.
func ownParquet(t testing.TB, rng *rand.Rand, columns []column, rows int) []byte {
	t.Helper()
	names := parquet.CodecNames()
	codec, _ := parquet.ParseCodec(names[rng.IntN(len(names))])
	schema := new(parquet.Schema)
	var vectors []*columnar.Vector
	for _, c := range columns {
		v := vector(t, c, rows)
		vectors = append(vectors, v)
		schema.Add(c.name, v.Type)
	}
	var out bytes.Buffer
	w, err := parquet.NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	encoder := parquet.NewEncoder(codec)
	perGroup := []int{1, 7, 64, 1 << 20}[rng.IntN(4)]
	for lo := 0; lo < rows; lo += perGroup {
		hi := min(lo+perGroup, rows)
		var chunks []*parquet.Encoded
		for i, leaf := range schema.Leaves() {
			part := columnar.NewVector(vectors[i].Type, hi-lo)
			for r := lo; r < hi; r++ {
				part.AppendFrom(vectors[i], r)
			}
			chunk := parquet.NewChunk(leaf, hi-lo)
			chunk.Append(part)
			encoded, err := encoder.Encode(chunk)
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, encoded)
		}
		if err := w.WriteRowGroup(chunks); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// vector holds a column as the engine does.
func vector(t testing.TB, c column, rows int) *columnar.Vector {
	t.Helper()
	name := c.typ
	if name == "instant" {
		name = "timestamp"
	}
	typ, err := columnar.ParseType(name)
	if err != nil {
		t.Fatal(err)
	}
	v := columnar.NewVector(typ, rows)
	for r := range rows {
		x := c.at(r)
		if c.typ == "instant" {
			x.Bits = uint64(int64(x.Bits) / 1000)
		}
		appendTo(v, x)
	}
	return v
}

func appendTo(v *columnar.Vector, x Value) {
	switch {
	case x.Null:
		v.AppendNull()
		return
	case v.Type.List:
		for _, e := range x.List {
			appendTo(v.Elem, e)
		}
		v.EndList()
		return
	}
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(x.Bits != 0)
	case columnar.Int32:
		v.AppendInt32(int32(x.Bits))
	case columnar.Int64, columnar.Timestamp:
		v.AppendInt64(int64(x.Bits))
	case columnar.Float32:
		v.AppendFloat32(math.Float32frombits(uint32(x.Bits)))
	case columnar.Float64:
		v.AppendFloat64(math.Float64frombits(x.Bits))
	case columnar.String, columnar.Bytes:
		v.AppendString(x.Str)
	default:
		panic(fmt.Sprintf("no value of type %s", v.Type))
	}
}
