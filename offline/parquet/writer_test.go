package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/arrowipc"
	"github.com/provender-dev/provender/offline/source"
)

// spines are files of many types, written by pyarrow (offline/testdata/make_spines.py).
func spines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/*.parquet")
	if err != nil || len(files) < 2 {
		t.Fatalf("fixtures %v: %v", files, err)
	}
	return files
}

func passthrough(t *testing.T, b []byte) *Passthrough {
	t.Helper()
	f, err := Open(context.Background(), bytes.NewReader(b), source.File{Path: "test.parquet", Size: int64(len(b))}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Passthrough(int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readAll reads a whole column as one chunk.
func readAll(t *testing.T, p *Passthrough, column int) *Chunk {
	t.Helper()
	c, err := tryRead(p, column)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryRead(p *Passthrough, column int) (*Chunk, error) {
	rows := p.file.NumRows()
	cursor := p.Cursor(column)
	defer cursor.Close()
	c := NewChunk(p.Schema().Leaves()[column], int(rows))
	if err := cursor.Next(context.Background(), int(rows), c); err != nil {
		return nil, err
	}
	return c, cursor.End(context.Background())
}

// repeat copies a file in row groups of step rows.
func repeat(t *testing.T, p *Passthrough, step int, add func(*Schema), added func(lo, hi int) []*columnar.Vector) []byte {
	t.Helper()
	schema := p.Schema()
	width := len(schema.Leaves())
	if add != nil {
		add(schema)
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	cursors := make([]*Cursor, width)
	for i := range cursors {
		cursors[i] = p.Cursor(i)
	}
	rows := p.file.NumRows()
	for lo := 0; lo < int(rows); lo += step {
		hi := min(lo+step, int(rows))
		var group []*Encoded
		var vectors []*columnar.Vector
		if added != nil {
			vectors = added(lo, hi)
		}
		for i, leaf := range schema.Leaves() {
			c := NewChunk(leaf, 0)
			if i < width {
				if err := cursors[i].Next(context.Background(), hi-lo, c); err != nil {
					t.Fatal(err)
				}
			} else {
				c.Append(vectors[i-width])
			}
			group = append(group, mustEncode(t, c))
		}
		if err := w.WriteRowGroup(group); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cursors {
		if err := c.End(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func mustEncode(t *testing.T, c *Chunk) *Encoded {
	t.Helper()
	e, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWriterRepeatsEveryType(t *testing.T) {
	for _, path := range spines(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := passthrough(t, b)
		for _, step := range []int{1, 2, 3, 4, 6, 7, 100} {
			out := passthrough(t, repeat(t, in, step, func(s *Schema) { s.Add("x", columnar.Type{Kind: columnar.Int64}) },
				func(lo, hi int) []*columnar.Vector {
					v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
					for i := lo; i < hi; i++ {
						v.AppendInt64(int64(i))
					}
					return []*columnar.Vector{v}
				}))
			if got, want := out.Names(), append(in.Names(), "x"); !slices.Equal(got, want) {
				t.Errorf("%s: columns %v, want %v", path, got, want)
			}
			elements := in.Schema().elements
			if got := out.Schema().elements[:len(elements)]; !reflect.DeepEqual(got, elements) {
				t.Errorf("%s: schema %v, want %v", path, got, elements)
			}
			for i, leaf := range in.Schema().Leaves() {
				if got, want := readAll(t, out, i), readAll(t, in, i); !reflect.DeepEqual(got, want) {
					t.Errorf("%s in steps of %d: column %s: %+v, want %+v", path, step, leaf.name(), got, want)
				}
			}
		}
	}
}

func TestWriterExtendsArrowSchema(t *testing.T) {
	for _, path := range spines(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := passthrough(t, b)
		schema := in.Schema()
		for _, kind := range []columnar.Kind{columnar.Bool, columnar.Timestamp, columnar.String, columnar.Bytes} {
			schema.Add("added_"+kind.String(), columnar.Type{Kind: kind})
			schema.Add("list_"+kind.String(), columnar.Type{Kind: kind, List: true})
		}
		found := false
		for _, kv := range schema.keyValues() {
			if kv.Key != arrowipc.SchemaKey {
				continue
			}
			found = true
			got, err := arrowipc.ReadSchema(kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			if got.NumFields() != len(in.Names())+8 {
				t.Errorf("%s: %d fields, want %d", path, got.NumFields(), len(in.Names())+8)
			}
			if zone := got.Field(0).Type.String(); zone != "timestamp[us, tz=America/New_York]" {
				t.Errorf("%s: the first column is %s", path, zone)
			}
		}
		if !found {
			t.Errorf("%s: no Arrow schema", path)
		}
	}
	if _, ok := extendArrowSchema("AAAA", 1, nil); ok {
		t.Error("took bytes that are no schema")
	}
}

// randomVector returns n values of a type: nulls, repeats, and the values that compare oddly.
func randomVector(rng *rand.Rand, typ columnar.Type, n int) *columnar.Vector {
	v := columnar.NewVector(typ, n)
	nulls, distinct := rng.Float64(), 1+rng.IntN(1+rng.IntN(2*n+2))
	if rng.IntN(3) == 0 {
		nulls = 0
	}
	for range n {
		switch {
		case rng.Float64() < nulls*0.5:
			v.AppendNull()
		case typ.List:
			for range rng.IntN(4) {
				randomScalar(rng, v.Elem, distinct, nulls)
			}
			v.EndList()
		default:
			randomScalar(rng, v, distinct, 0)
		}
	}
	return v
}

func randomScalar(rng *rand.Rand, v *columnar.Vector, distinct int, nulls float64) {
	if rng.Float64() < nulls*0.5 {
		v.AppendNull()
		return
	}
	x := rng.IntN(distinct)
	odd := []float64{math.NaN(), math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), math.MaxFloat64, -1}
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(x&1 == 0)
	case columnar.Int32:
		v.AppendInt32(int32(x*2654435761 - 7))
	case columnar.Int64, columnar.Timestamp:
		v.AppendInt64(int64(uint64(x) * 0x9E3779B97F4A7C15))
	case columnar.Float32:
		if x < len(odd) {
			v.AppendFloat32(float32(odd[x]))
		} else {
			v.AppendFloat32(float32(x) / 3)
		}
	case columnar.Float64:
		if x < len(odd) {
			v.AppendFloat64(odd[x])
		} else {
			v.AppendFloat64(float64(x) / 3)
		}
	default:
		v.AppendBytes(bytes.Repeat([]byte{byte(x), byte(x >> 8)}, x%40))
	}
}

func TestWriterRandomVectors(t *testing.T) {
	rng := testenv.Rand(t)
	for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 150_000} {
		var schema Schema
		var want []*columnar.Vector
		for _, name := range columnar.TypeNames() {
			typ, err := columnar.ParseType(name)
			if err != nil {
				t.Fatal(err)
			}
			if n > 1000 && rng.IntN(3) > 0 {
				continue
			}
			schema.Add(name, typ)
			want = append(want, randomVector(rng, typ, n))
		}
		if len(want) == 0 {
			continue
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, &schema)
		if err != nil {
			t.Fatal(err)
		}
		var group []*Encoded
		var chunks []*Chunk
		for i, v := range want {
			c := NewChunk(schema.Leaves()[i], n)
			c.Append(v)
			chunks = append(chunks, c)
			group = append(group, mustEncode(t, c))
		}
		if n > 0 {
			if err := w.WriteRowGroup(group); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		back := passthrough(t, out.Bytes())
		for i := range want {
			got := readAll(t, back, i)
			if got.rows != n || got.slots != chunks[i].slots || got.values != chunks[i].values ||
				!bytes.Equal(got.rep, chunks[i].rep) || !bytes.Equal(got.def, chunks[i].def) ||
				!bytes.Equal(got.fixed, chunks[i].fixed) || !bytes.Equal(got.data, chunks[i].data) ||
				!slices.Equal(got.ends, chunks[i].ends) {
				t.Fatalf("%d rows of %s came back otherwise", n, schema.Leaves()[i].name())
			}
		}
	}
}

func TestWriterStatistics(t *testing.T) {
	nan, negative := math.NaN(), math.Copysign(0, -1)
	le := func(x float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)) }
	for _, tt := range []struct {
		name   string
		values []float64
		lo, hi []byte
	}{
		{"plain", []float64{3, -1, 2}, le(-1), le(3)},
		{"NaN is no bound", []float64{nan, 2, nan}, le(2), le(2)},
		{"only NaN", []float64{nan, nan}, nil, nil},
		{"a zero stands for both", []float64{0, 0}, le(negative), le(0)},
		{"negative zero too", []float64{negative, negative}, le(negative), le(0)},
		{"infinities", []float64{math.Inf(-1), math.Inf(1)}, le(math.Inf(-1)), le(math.Inf(1))},
		{"nothing", nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var schema Schema
			schema.Add("x", columnar.Type{Kind: columnar.Float64})
			v := columnar.NewVector(columnar.Type{Kind: columnar.Float64}, 0)
			v.AppendNull()
			for _, x := range tt.values {
				v.AppendFloat64(x)
			}
			c := NewChunk(schema.Leaves()[0], 0)
			c.Append(v)
			s := c.statistics()
			if s.NullCount != 1 || !bytes.Equal(s.MinValue, tt.lo) || !bytes.Equal(s.MaxValue, tt.hi) {
				t.Errorf("nulls %d, bounds %x and %x; want 1, %x and %x", s.NullCount, s.MinValue, s.MaxValue, tt.lo, tt.hi)
			}
		})
	}
}

// Readers compare decimals, unsigned integers and half floats each in their own order: such columns have no bounds.
func TestWriterLeavesOutDoubtfulBounds(t *testing.T) {
	for _, path := range spines(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := passthrough(t, b)
		for i, leaf := range in.Schema().Leaves() {
			switch leaf.path[0] {
			case "decimal_fixed", "unsigned", "half", "fixed":
				if s := readAll(t, in, i).statistics(); s.MinValue != nil || s.MaxValue != nil {
					t.Errorf("%s: %s has bounds %x and %x", path, leaf.name(), s.MinValue, s.MaxValue)
				}
			}
		}
	}
}

// Every page carries a checksum: whatever bit of the pages flips, reading fails.
func TestWriterChecksums(t *testing.T) {
	var schema Schema
	schema.Add("x", columnar.Type{Kind: columnar.Float64})
	schema.Add("s", columnar.Type{Kind: columnar.String, List: true})
	rng := testenv.Rand(t)
	var out bytes.Buffer
	w, err := NewWriter(&out, &schema)
	if err != nil {
		t.Fatal(err)
	}
	var group []*Encoded
	for _, leaf := range schema.Leaves() {
		typ := columnar.Type{Kind: columnar.Float64}
		if leaf.maxRep > 0 {
			typ = columnar.Type{Kind: columnar.String, List: true}
		}
		c := NewChunk(leaf, 0)
		c.Append(randomVector(rng, typ, 40))
		group = append(group, mustEncode(t, c))
	}
	if err := w.WriteRowGroup(group); err != nil {
		t.Fatal(err)
	}
	end := out.Len()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for at := len(magic); at < end; at++ {
		b := bytes.Clone(out.Bytes())
		b[at] ^= 1 << rng.IntN(8)
		p := passthrough(t, b)
		for i := range schema.Leaves() {
			got, err := tryRead(p, i)
			if err != nil {
				continue
			}
			if want := readAll(t, passthrough(t, out.Bytes()), i); !reflect.DeepEqual(got, want) {
				t.Fatalf("byte %d of %d flipped: other values, no error", at, end)
			}
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	var schema Schema
	schema.Add("x", columnar.Type{Kind: columnar.Int64})
	schema.Add("y", columnar.Type{Kind: columnar.Int64})
	w, err := NewWriter(&bytes.Buffer{}, &schema)
	if err != nil {
		t.Fatal(err)
	}
	one := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
	one.AppendInt64(1)
	short, long := NewChunk(schema.Leaves()[0], 1), NewChunk(schema.Leaves()[1], 1)
	short.Append(one)
	long.Append(one)
	long.Append(one)
	if err := w.WriteRowGroup([]*Encoded{mustEncode(t, short)}); err == nil {
		t.Error("took a row group that lacks a column")
	}
	if err := w.WriteRowGroup([]*Encoded{mustEncode(t, short), mustEncode(t, long)}); err == nil {
		t.Error("took columns of different lengths")
	}
}

// The library that most Go programs read Parquet with agrees on what was written.
func TestWriterReadByParquetGo(t *testing.T) {
	var schema Schema
	schema.Add("b", columnar.Type{Kind: columnar.Int64})
	schema.Add("a", columnar.Type{Kind: columnar.String})
	var out bytes.Buffer
	w, err := NewWriter(&out, &schema)
	if err != nil {
		t.Fatal(err)
	}
	b, a := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0), columnar.NewVector(columnar.Type{Kind: columnar.String}, 0)
	for i := range 100 {
		b.AppendInt64(int64(i))
		a.AppendString("same")
	}
	cb, ca := NewChunk(schema.Leaves()[0], 0), NewChunk(schema.Leaves()[1], 0)
	cb.Append(b)
	ca.Append(a)
	if err := w.WriteRowGroup([]*Encoded{mustEncode(t, cb), mustEncode(t, ca)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := pq.Read[struct {
		B int64  `parquet:"b,optional"`
		A string `parquet:"a,optional"`
	}](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(rows) != 100 || rows[7].B != 7 || rows[99].A != "same" {
		t.Errorf("read %d rows: %v", len(rows), err)
	}
}
