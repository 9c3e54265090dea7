package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source"
)

// encodeOne encodes one vector as the only column of a schema.
func encodeOne(t *testing.T, v *columnar.Vector) (*Schema, *Encoded) {
	t.Helper()
	var schema Schema
	schema.Add("x", v.Type)
	c := NewChunk(schema.Leaves()[0], 0)
	c.Append(v)
	return &schema, mustEncode(t, c)
}

// TestWriterPagesHaveChecksums: the header of every page, dictionaries too, has the checksum of its bytes.
func TestWriterPagesHaveChecksums(t *testing.T) {
	rng := testenv.Rand(t)
	for _, typ := range []columnar.Type{
		{Kind: columnar.Float64}, {Kind: columnar.String}, {Kind: columnar.Bool}, {Kind: columnar.Int64, List: true},
	} {
		_, e := encodeOne(t, randomVector(rng, typ, 3000))
		pages := 0
		for rest := e.bytes; len(rest) > 0; pages++ {
			r := thrift{buf: rest}
			h := r.pageHeader()
			if r.err != nil {
				t.Fatalf("%s: page %d: %v", typ, pages, r.err)
			}
			body := rest[r.pos:][:h.compressed]
			if !h.hasCRC || h.crc != crc32.ChecksumIEEE(body) {
				t.Errorf("%s: page %d has checksum %x (%v), its bytes %x", typ, pages, h.crc, h.hasCRC, crc32.ChecksumIEEE(body))
			}
			rest = rest[r.pos+int(h.compressed):]
		}
		if pages == 0 {
			t.Errorf("%s: no page", typ)
		}
	}
}

// TestWriterBounds: bounds of integers, instants and texts are the least and the greatest value, at the ends of their
// types too.
func TestWriterBounds(t *testing.T) {
	four := func(x int32) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(x)) }
	eight := func(x int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(x)) }
	number := func(kind columnar.Kind, values ...int64) *columnar.Vector {
		v := columnar.NewVector(columnar.Type{Kind: kind}, 0)
		v.AppendNull()
		for _, x := range values {
			if kind == columnar.Int32 {
				v.AppendInt32(int32(x))
			} else {
				v.AppendInt64(x)
			}
		}
		return v
	}
	texts := func(values ...string) *columnar.Vector {
		v := columnar.NewVector(columnar.Type{Kind: columnar.String}, 0)
		for _, s := range values {
			v.AppendString(s)
		}
		return v
	}
	for _, tt := range []struct {
		v      *columnar.Vector
		lo, hi []byte
	}{
		{number(columnar.Int32, 3, -1, 2), four(-1), four(3)},
		{number(columnar.Int32, math.MaxInt32, math.MinInt32), four(math.MinInt32), four(math.MaxInt32)},
		{number(columnar.Int64, 3, -1, 2), eight(-1), eight(3)},
		{number(columnar.Int64, math.MaxInt64, math.MinInt64), eight(math.MinInt64), eight(math.MaxInt64)},
		{number(columnar.Timestamp, 7, 5, 6), eight(5), eight(7)},
		{texts("b", "é", "a", "ab"), []byte("a"), []byte("é")},
		{texts("b", "", "a"), nil, nil}, // an empty bound would read as none
	} {
		_, e := encodeOne(t, tt.v)
		s := e.meta.Statistics
		if !bytes.Equal(s.MinValue, tt.lo) || !bytes.Equal(s.MaxValue, tt.hi) {
			t.Errorf("%s: bounds %x and %x, want %x and %x", tt.v.Type, s.MinValue, s.MaxValue, tt.lo, tt.hi)
		}
	}
}

// TestRowsOfLists: a list column whose pages hold fewer rows, or more, than its row group is an error in every way of
// reading, as nothing but the footer says how many there must be.
func TestRowsOfLists(t *testing.T) {
	typ := columnar.Type{Kind: columnar.Int64, List: true}
	schema, e := encodeOne(t, randomVector(testenv.Rand(t), typ, 100))
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup([]*Encoded{e}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, more := range []int64{-1, 0, 1} {
		f, err := Open(ctx, bytes.NewReader(out.Bytes()), source.File{Path: "x.parquet", Size: int64(out.Len())}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		f.footer.groups[0].rows += more
		r, err := f.Bind([]Column{{Name: "x", Type: typ}})
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"Read":   r.Read(ctx, 0, 0, columnar.NewVector(typ, 0)),
			"Gather": r.Gather(ctx, 0, 0, []int32{0, 50, 98}, columnar.NewVector(typ, 0)),
			"Pages":  r.Pages(ctx, 0, 0, func(Page) error { return nil }),
		} {
			if (err == nil) != (more == 0) {
				t.Errorf("%s, %+d rows in the footer: %v", name, more, err)
			}
		}
	}
}

// TestPageContradicts: the header's count of nulls must be that of the levels, or 0, which arrow-go says without statistics.
func TestPageContradicts(t *testing.T) {
	levels := []byte{2 << 1, 1, 2 << 1, 0} // two values, two nulls
	body := append(levels, make([]byte, 16)...)
	for nulls, ok := range map[int32]bool{0: true, 1: false, 2: true, 3: false} {
		c := &chunk{
			limits: Limits{PageBytes: 1 << 20}, meta: &chunkMeta{codec: format.Uncompressed, values: 4},
			leaf: &leaf{form: formInt64, maxDef: 1}, elem: columnar.Type{Kind: columnar.Int64}, rows: 4,
			win: window{r: bytes.NewReader(body), end: int64(len(body))},
		}
		h := pageHeader{
			kind: format.DataPageV2, has: true, values: 4, rows: 4, nulls: nulls, defBytes: int32(len(levels)),
			encoding: format.Plain, compressed: int32(len(body)), uncompressed: int32(len(body)),
		}
		if _, err := c.decode(&h); (err == nil) != ok {
			t.Errorf("%d nulls in the header: %v", nulls, err)
		}
	}
}

// TestLevelsOverSchema: a level that the schema does not have is damage, and no null.
func TestLevelsOverSchema(t *testing.T) {
	for level, ok := range map[byte]bool{1: true, 2: true, 3: false} {
		for name, src := range map[string][]byte{"run": {4 << 1, level}, "packed": {1<<1 | 1, level, 0}} {
			if _, err := appendLevels(nil, 4, 2, src); (err == nil) != ok {
				t.Errorf("level %d of 2 at most, %s: %v", level, name, err)
			}
		}
	}
}

// TestRunOverWidth: a run of a value that its width can't hold is damage, and no smaller value.
func TestRunOverWidth(t *testing.T) {
	for width, values := range map[uint][]uint32{1: {1, 2}, 3: {7, 8}, 8: {255}, 9: {511, 512}, 20: {1<<20 - 1, 1 << 20}, 31: {1<<31 - 1, 1 << 31}} {
		for i, v := range values {
			src := append([]byte{4 << 1}, binary.LittleEndian.AppendUint32(nil, v)[:(width+7)/8]...)
			if got, err := appendHybrid[int32](nil, 4, width, src); (err == nil) != (i == 0) || i == 0 && got[3] != int32(v) {
				t.Errorf("%d in %d bits: %v, %v", v, width, got, err)
			}
		}
	}
}
