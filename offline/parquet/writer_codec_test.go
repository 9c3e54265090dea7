package parquet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
)

// Every codec comes back, for compressible and incompressible pages of every size around the powers of two, and one
// encoder gives the bytes that a new one gives.
func TestWriterCodecs(t *testing.T) {
	rng := testenv.Rand(t)
	for _, name := range CodecNames() {
		codec, ok := ParseCodec(name)
		if !ok {
			t.Fatalf("no codec %s", name)
		}
		used := NewEncoder(codec)
		for _, n := range []int{1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 200_000} {
			for _, typ := range []columnar.Type{{Kind: columnar.Float64}, {Kind: columnar.Int32}, {Kind: columnar.String, List: true}} {
				if n > 4096 && typ.List {
					continue
				}
				v := randomVector(rng, typ, n)
				var schema Schema
				schema.Add("x", typ)
				c := NewChunk(schema.Leaves()[0], 0)
				c.Append(v)
				e, err := used.Encode(c)
				if err != nil {
					t.Fatal(err)
				}
				fresh, err := NewEncoder(codec).Encode(c)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(e.Bytes(), fresh.Bytes()) {
					t.Errorf("%s: %d rows of %s: other bytes by a used encoder", name, n, typ)
				}
				var out bytes.Buffer
				w, err := NewWriter(&out, &schema)
				if err == nil {
					err = errors.Join(w.WriteRowGroup([]*Encoded{e}), w.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, passthrough(t, out.Bytes()), 0); !sameChunk(got, c) {
					t.Errorf("%s: %d rows of %s came back otherwise", name, n, typ)
				}
			}
		}
	}
	if _, ok := ParseCodec("lzo"); ok {
		t.Error("took lzo")
	}
}

func sameChunk(a, b *Chunk) bool {
	return a.rows == b.rows && a.slots == b.slots && a.values == b.values && bytes.Equal(a.rep, b.rep) && bytes.Equal(a.def, b.def) &&
		bytes.Equal(a.fixed, b.fixed) && bytes.Equal(a.data, b.data) && slices.Equal(a.ends, b.ends)
}

// Rows of encoded chunks come back in runs of any length, also from chunks whose bytes are elsewhere, and encode to what
// they would have been encoded to at once.
func TestReread(t *testing.T) {
	rng := testenv.Rand(t)
	for _, name := range columnar.TypeNames() {
		typ, err := columnar.ParseType(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema Schema
		schema.Add("x", typ)
		leaf := schema.Leaves()[0]
		const rows = 300
		all := randomVector(rng, typ, rows)
		slice := func(lo, hi int) *Chunk {
			part := columnar.NewVector(typ, hi-lo)
			for i := lo; i < hi; i++ {
				part.AppendFrom(all, i)
			}
			c := NewChunk(leaf, 0)
			c.Append(part)
			return c
		}
		var pieces []*Encoded
		var elsewhere []byte
		for lo := 0; lo < rows; {
			hi := min(rows, lo+1+rng.IntN(80))
			e := mustEncode(t, slice(lo, hi))
			if rng.IntN(2) == 0 {
				at := len(elsewhere)
				elsewhere = append(elsewhere, e.Bytes()...)
				e.Move(readerAt{&elsewhere}, int64(at))
			}
			pieces = append(pieces, e)
			lo = hi
		}
		cursor := Reread(leaf, pieces)
		c := NewChunk(leaf, 0)
		for lo := 0; lo < rows; {
			hi := min(rows, lo+1+rng.IntN(100))
			c.Restart(leaf)
			if err := cursor.Next(context.Background(), hi-lo, c); err != nil {
				t.Fatal(err)
			}
			want := slice(lo, hi)
			if !sameChunk(c, want) || !bytes.Equal(mustEncode(t, c).Bytes(), mustEncode(t, want).Bytes()) ||
				!reflect.DeepEqual(c.statistics(), want.statistics()) {
				t.Fatalf("%s: rows %d to %d came back otherwise", name, lo, hi)
			}
			lo = hi
		}
		if err := cursor.End(context.Background()); err != nil {
			t.Error(err)
		}
		cursor.Close()
	}
}

type readerAt struct{ b *[]byte }

func (r readerAt) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(*r.b).ReadAt(p, at) }

// Bytes that can't be read back are an error, never other bytes.
func TestMovedBytesLost(t *testing.T) {
	var schema Schema
	schema.Add("x", columnar.Type{Kind: columnar.Int64})
	c := NewChunk(schema.Leaves()[0], 0)
	c.Append(randomVector(testenv.Rand(t), columnar.Type{Kind: columnar.Int64}, 1000))
	e := mustEncode(t, c)
	short := e.Bytes()[:len(e.Bytes())-1]
	e.Move(readerAt{&short}, 0)
	w, err := NewWriter(io.Discard, &schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup([]*Encoded{e}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("write: %v", err)
	}
	cursor := Reread(schema.Leaves()[0], []*Encoded{e})
	defer cursor.Close()
	if err := cursor.Next(context.Background(), 1000, NewChunk(schema.Leaves()[0], 0)); err == nil {
		t.Error("read again without an error")
	}
}

// A dictionary is made where it is smaller by a quarter, and only there.
func TestWriterDictionaries(t *testing.T) {
	rng := testenv.Rand(t)
	const rows = 122_880
	for _, tt := range []struct {
		name string
		typ  columnar.Type
		add  func(v *columnar.Vector, i int)
		want bool
	}{
		{"full entropy", columnar.Type{Kind: columnar.Float64}, func(v *columnar.Vector, _ int) { v.AppendFloat64(rng.NormFloat64()) }, false},
		{"prices", columnar.Type{Kind: columnar.Float64}, func(v *columnar.Vector, _ int) { v.AppendFloat64(math.Round(rng.ExpFloat64()*5000) / 100) }, true},
		{"counters", columnar.Type{Kind: columnar.Int64}, func(v *columnar.Vector, _ int) { v.AppendInt64(rng.Int64N(500)) }, true},
		{"counters of four bytes", columnar.Type{Kind: columnar.Int32}, func(v *columnar.Vector, _ int) { v.AppendInt32(rng.Int32N(500)) }, true},
		{"row numbers", columnar.Type{Kind: columnar.Int64}, func(v *columnar.Vector, i int) { v.AppendInt64(int64(i)) }, false},
		{"one value, then others", columnar.Type{Kind: columnar.Int64}, func(v *columnar.Vector, i int) { v.AppendInt64(int64(max(0, i-rows/2))) }, false},
		{"airports", columnar.Type{Kind: columnar.String}, func(v *columnar.Vector, _ int) {
			v.AppendBytes([]byte{'A' + byte(rng.IntN(26)), 'A' + byte(rng.IntN(26))})
		}, true},
		{"keys", columnar.Type{Kind: columnar.String}, func(v *columnar.Vector, i int) { v.AppendBytes([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }, false},
		{"a few long texts", columnar.Type{Kind: columnar.Bytes}, func(v *columnar.Vector, i int) { v.AppendString(strings.Repeat("x", i%7*100)) }, true},
		{"booleans", columnar.Type{Kind: columnar.Bool}, func(v *columnar.Vector, i int) { v.AppendBool(i%3 == 0) }, false},
		{"nothing", columnar.Type{Kind: columnar.Float64}, func(v *columnar.Vector, _ int) { v.AppendNull() }, false},
	} {
		v := columnar.NewVector(tt.typ, rows)
		for i := range rows {
			tt.add(v, i)
		}
		var schema Schema
		schema.Add("x", tt.typ)
		c := NewChunk(schema.Leaves()[0], rows)
		c.Append(v)
		e := mustEncode(t, c)
		if got := e.dictionary > 0; got != tt.want {
			t.Errorf("%s: dictionary %v", tt.name, got)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, &schema)
		if err == nil {
			err = errors.Join(w.WriteRowGroup([]*Encoded{e}), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, passthrough(t, out.Bytes()), 0); !sameChunk(got, c) {
			t.Errorf("%s came back otherwise", tt.name)
		}
		f, err := pq.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil || f.NumRows() != rows {
			t.Errorf("%s: parquet-go reads %v", tt.name, err)
		}
	}
}
