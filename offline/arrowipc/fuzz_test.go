package arrowipc

import (
	"bytes"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Any bytes are batches or an error, or Arrow's library panics over them: they never take memory beyond the limit.
func FuzzOpen(f *testing.F) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int64},
		{Name: "b", Type: arrow.ListOf(arrow.BinaryTypes.StringView), Nullable: true},
		{Name: "c", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).AppendEmptyValues(3)
	b.Field(1).AppendNulls(3)
	b.Field(2).AppendNulls(3)
	batch := b.NewRecordBatch()
	defer batch.Release()
	for _, options := range [][]ipc.Option{{ipc.WithSchema(schema)}, {ipc.WithSchema(schema), ipc.WithLZ4()}} {
		var stream, file bytes.Buffer
		w := ipc.NewWriter(&stream, options...)
		v, err := ipc.NewFileWriter(&file, options...)
		if err != nil {
			f.Fatal(err)
		}
		for _, err := range []error{w.Write(batch), w.Close(), v.Write(batch), v.Close()} {
			if err != nil {
				f.Fatal(err)
			}
		}
		f.Add(stream.Bytes())
		f.Add(file.Bytes())
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := NewAllocator(int64(len(b)), limit)
		defer func() {
			_ = recover() // as the package says, the caller's to do
			if mem.Used() > limit {
				t.Errorf("%d bytes are in use", mem.Used())
			}
		}()
		batches, err := Open(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), mem)
		if err != nil {
			return
		}
		defer batches.Close()
		for err == nil {
			_, err = batches.Next()
		}
	})
}
