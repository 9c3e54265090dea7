package offline

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/arrowipc"
	"github.com/provender-dev/provender/registry"
)

// arrowFields are the columns of an Arrow spine; fill appends to the builders after t and airport.
type arrowFields struct {
	fields []arrow.Field
	fill   func(b *array.RecordBuilder)
}

// arrowSpine returns an IPC file or stream of some batches of 3 rows.
func arrowSpine(t *testing.T, stream bool, batches int, more arrowFields, options ...ipc.Option) []byte {
	t.Helper()
	fields := append([]arrow.Field{
		{Name: "t", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
		{Name: "airport", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true},
	}, more.fields...)
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	var out bytes.Buffer
	options = append(options, ipc.WithSchema(schema))
	var w arrowWriter = ipc.NewWriter(&out, options...)
	if !stream {
		var err error
		if w, err = ipc.NewFileWriter(&out, options...); err != nil {
			t.Fatal(err)
		}
	}
	for range batches {
		for i, airport := range []string{"JFK", "SFO", ""} {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(noon + int64(i)))
			if airport == "" {
				b.Field(1).AppendNull()
			} else if err := b.Field(1).(*array.BinaryDictionaryBuilder).AppendString(airport); err != nil {
				t.Fatal(err)
			}
		}
		if more.fill != nil {
			more.fill(b)
		}
		batch := b.NewRecordBatch()
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
		batch.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var oddFields = arrowFields{
	fields: []arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.StringView, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
		{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true},
		{Name: "null", Type: arrow.Null, Nullable: true},
		{Name: "large", Type: arrow.BinaryTypes.LargeString, Nullable: true},
	},
	fill: func(b *array.RecordBuilder) {
		for i := range 3 {
			b.Field(2).(*array.StringViewBuilder).Append(strings.Repeat("v", i*10))
			list := b.Field(3).(*array.ListBuilder)
			list.Append(true)
			list.ValueBuilder().(*array.StringBuilder).Append("e")
			record := b.Field(4).(*array.StructBuilder)
			record.Append(i > 0)
			record.FieldBuilder(0).(*array.Int64Builder).Append(int64(i))
			b.Field(5).AppendNull()
			b.Field(6).(*array.LargeStringBuilder).Append("large")
		}
	},
}

// readArrow reads bytes as an Arrow spine.
func readArrow(t *testing.T, b []byte) (*spine, error) {
	t.Helper()
	path := t.TempDir() + "/spine.arrow"
	s, err := readArrowAt(t, path, b)
	t.Cleanup(func() { _ = s.close() })
	return s, err
}

// readArrowAt is readArrow with a path for the bytes. The caller closes the spine.
func readArrowAt(t *testing.T, path string, b []byte) (*spine, error) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := openSpine(context.Background(), &ExportRequest{Spine: path})
	if err != nil {
		t.Fatal(err)
	}
	return s, s.read(context.Background(), SpineOptions{Time: "t"}, []registry.RequestKey{{Name: "airport", Kind: columnar.String}})
}

func wantInvalid(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if code := problem.CodeOf(err); err == nil || code == problem.Internal {
		t.Errorf("%s: code %d: %v", what, code, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %q does not say %q", what, err, text)
		}
	}
}

// Cut anywhere, an Arrow spine is an error, never fewer rows.
func TestArrowSpineCutShort(t *testing.T) {
	for _, stream := range []bool{false, true} {
		whole := arrowSpine(t, stream, 2, oddFields)
		s, err := readArrow(t, whole)
		if err != nil || len(s.times) != 6 || string(s.keys[0].BytesAt(1)) != "SFO" || !s.keys[0].IsNull(2) {
			t.Fatal(err)
		}
		step := 7
		if testenv.Long() {
			step = 1
		}
		for n := 0; n < len(whole); n += step {
			_, err := readArrow(t, whole[:n])
			wantInvalid(t, "cut at "+strconv.Itoa(n), err, "spine.arrow")
		}
		_, err = readArrow(t, append(bytes.Clone(whole), whole...))
		if stream {
			wantInvalid(t, "two streams", err, "several streams in one file")
		}
	}
	whole := arrowSpine(t, true, 2, arrowFields{})
	_, err := readArrow(t, whole[:len(whole)-8])
	wantInvalid(t, "without its end", err, "cut short")
}

// Bytes that lie are an error or other values, never a panic, and take no memory that the file does not have.
func TestArrowSpineDamaged(t *testing.T) {
	rounds := 600
	if testenv.Long() {
		rounds *= 50
	}
	r := testenv.Rand(t)
	var files [][]byte
	for _, stream := range []bool{false, true} {
		files = append(files, arrowSpine(t, stream, 2, oddFields), arrowSpine(t, stream, 2, oddFields, ipc.WithLZ4()), arrowSpine(t, stream, 2, oddFields, ipc.WithZstd()))
	}
	odd := []uint64{0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	path := t.TempDir() + "/spine.arrow"
	for range rounds {
		b := bytes.Clone(files[r.IntN(len(files))])
		for range 1 + r.IntN(2) {
			at := r.IntN(len(b) - 8)
			switch r.IntN(3) {
			case 0:
				b[at] ^= 1 << r.IntN(8)
			case 1:
				binary.LittleEndian.PutUint32(b[at&^3:], uint32(odd[r.IntN(len(odd))]))
			default:
				binary.LittleEndian.PutUint64(b[at&^7:min(len(b), at&^7+8)], odd[r.IntN(len(odd))])
			}
		}
		s, err := readArrowAt(t, path, b)
		if err != nil {
			wantInvalid(t, "damaged", err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if most := uint64(rounds) * 64 << 20; after.TotalAlloc-before.TotalAlloc > most {
		t.Errorf("%d bytes were allocated for %d small files", after.TotalAlloc-before.TotalAlloc, rounds)
	}
}

// A column that can't be read is an error that names it.
func TestArrowSpineColumns(t *testing.T) {
	union := arrow.DenseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}}, []arrow.UnionTypeCode{0})
	for _, tt := range []struct {
		name   string
		fields arrowFields
		want   []string
	}{
		{"interval", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.FixedWidthTypes.MonthInterval, Nullable: true}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendNulls(3)
		}}, []string{`column "x"`, "is not read", "cast or drop"}},
		{"list of intervals", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.ListOf(arrow.FixedWidthTypes.MonthInterval), Nullable: true}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendNulls(3)
		}}, []string{`column "x"`, "is not read"}},
		{"union", arrowFields{[]arrow.Field{{Name: "x", Type: union}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendEmptyValues(3)
		}}, []string{`column "x"`, "is not read"}},
		{"struct without fields", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.StructOf(), Nullable: true}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendNulls(3)
		}}, []string{`column "x"`, "without fields"}},
		{"two of a name", arrowFields{[]arrow.Field{{Name: "t", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendNulls(3)
		}}, []string{`column "t"`, "two of this name"}},
		{"nulls where there are none", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, func(b *array.RecordBuilder) {
			b.Field(2).AppendNulls(3)
		}}, []string{`column "x"`, "says that it has none"}},
		{"half a day", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.FixedWidthTypes.Date64}}, func(b *array.RecordBuilder) {
			b.Field(2).(*array.Date64Builder).AppendValues([]arrow.Date64{0, 1, 2}, nil)
		}}, []string{`column "x"`, "1 ms is not a whole day"}},
		{"seconds out of range", arrowFields{[]arrow.Field{{Name: "x", Type: arrow.FixedWidthTypes.Timestamp_s}}, func(b *array.RecordBuilder) {
			b.Field(2).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{0, 1 << 62, 2}, nil)
		}}, []string{`column "x"`, "out of range"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readArrow(t, arrowSpine(t, true, 1, tt.fields))
			wantInvalid(t, tt.name, err, tt.want...)
		})
	}
	for text, want := range map[string]string{
		"": "too short", "FEA1....": "Feather version 1", "PAR1....": "--spine-format parquet", "t,airport\n1,2\n": "Arrow IPC file or stream",
	} {
		_, err := readArrow(t, []byte(text))
		wantInvalid(t, text, err, want)
	}
}

// A value of a dictionary that many rows repeat is decoded some rows at a time; the memory of a batch is bounded, and given
// back.
func TestArrowSpineMemory(t *testing.T) {
	long := strings.Repeat("x", 8<<20)
	repeated := arrowFields{
		[]arrow.Field{{Name: "x", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true}},
		func(b *array.RecordBuilder) {
			for range 3 {
				if err := b.Field(2).(*array.BinaryDictionaryBuilder).AppendString(long); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	s, err := readArrow(t, arrowSpine(t, true, 10, repeated))
	if err != nil || len(s.times) != 30 {
		t.Fatal(err)
	}
	mem := arrowipc.NewAllocator(1<<20, 1<<30)
	b := arrowSpine(t, false, 2, oddFields, ipc.WithZstd())
	batches, err := arrowipc.Open(newSection(b), mem)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newArrowPlainer(batches.Schema(), mem)
	if err != nil {
		t.Fatal(err)
	}
	temp, err := newSpineTemp(p.schema, batches.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer temp.file.Close()
	for range 2 {
		batch, err := batches.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.write(context.Background(), temp, batch, 0, 3); err != nil {
			t.Fatal(err)
		}
	}
	batches.Close()
	if mem.Used() != 0 {
		t.Errorf("%d bytes are still in use", mem.Used())
	}
}

func newSection(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}
