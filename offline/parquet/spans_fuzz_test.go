package parquet

import (
	"bytes"
	"context"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// FuzzSpans reads a page index of any bytes: what it says are rows of the row group, in order and apart, all of them where
// every page is wanted.
func FuzzSpans(f *testing.F) {
	offsets := []byte{0x19, 0x2c, 0x16, 8, 0x15, 20, 0x16, 0, 0, 0x16, 60, 0x15, 20, 0x16, 20, 0, 0}
	texts := []byte{0x19, 0x22, 2, 2, 0x19, 0x28, 1, 'a', 1, 'b', 0x19, 0x28, 1, 'b', 1, 'd', 0x15, 2, 0}
	f.Add(uint16(20), []byte("a"), []byte("d"), offsets, texts)
	f.Add(uint16(20), []byte(nil), []byte(nil), offsets, texts)
	f.Add(uint16(20), []byte("b"), []byte("c"), offsets, texts)
	f.Fuzz(func(t *testing.T, rows uint16, least, greatest, offsets, columns []byte) {
		c := chunkMeta{
			offsetIndex: extent{4, int32(len(offsets))}, columnIndex: extent{4 + int64(len(offsets)), int32(len(columns))},
			least: least, greatest: greatest,
		}
		file := &File{
			r:      bytes.NewReader(append(append([]byte("PAR1"), offsets...), columns...)),
			footer: &footer{ordered: []bool{true}, groups: []rowGroup{{rows: int64(rows), chunks: []chunkMeta{c}}}},
		}
		text := columnar.Type{Kind: columnar.String}
		r := &Reader{file: file, columns: []binding{{
			Column: Column{Type: text},
			leaf:   &leaf{ColumnInfo: ColumnInfo{Type: text}, form: formText, elem: element{physical: format.ByteArray}},
		}}}
		keepAll := func(_, _ Bound) bool { return true }
		keepOdd := func(low, _ Bound) bool { return len(low.Bytes) > 0 && low.Bytes[0]&1 == 1 }
		for _, keep := range []func(_, _ Bound) bool{keepAll, keepOdd} {
			spans, ok := r.Spans(context.Background(), 0, 0, keep)
			at := -1
			for _, s := range spans {
				if !ok || s.From <= at || s.From >= s.To || s.To > int(rows) {
					t.Fatalf("%v, %v of %d rows", spans, ok, rows)
				}
				at = s.To
			}
		}
		if spans, ok := r.Spans(context.Background(), 0, 0, keepAll); ok && (len(spans) != 1 || spans[0] != (Span{0, int(rows)})) {
			t.Fatalf("all rows are %v of %d", spans, rows)
		}
	})
}
