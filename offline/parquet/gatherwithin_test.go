package parquet

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/source"
)

// Values beyond the limit are refused before they are copied, be there ever so many of one in the dictionary.
func TestGatherWithin(t *testing.T) {
	const rows, width = 5000, 1000
	text := strings.Repeat("x", width)
	notes := columnar.NewVector(columnar.Type{Kind: columnar.String}, rows)
	names := columnar.NewVector(columnar.Type{Kind: columnar.String, List: true}, rows)
	sizes := columnar.NewVector(columnar.Type{Kind: columnar.Float64, List: true}, rows)
	for range rows {
		notes.AppendString(text)
		names.Elem.AppendString(text)
		names.EndList()
		for range width / 8 {
			sizes.Elem.AppendFloat64(1)
		}
		sizes.EndList()
	}
	var wanted []int32
	for i := range int32(rows) {
		wanted = append(wanted, i)
	}
	for _, v := range []*columnar.Vector{notes, names, sizes} {
		var schema Schema
		schema.Add("x", v.Type)
		chunk := NewChunk(schema.Leaves()[0], rows)
		chunk.Append(v)
		encoded, err := Encode(chunk)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, &schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.WriteRowGroup([]*Encoded{encoded}), w.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := Open(context.Background(), bytes.NewReader(out.Bytes()), source.File{Path: "x", Size: int64(out.Len())}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Bind([]Column{{Name: "x", Type: v.Type}})
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int64{0, 1 << 20, rows*width - 1, rows * width, math.MaxInt64} {
			dst := columnar.NewVector(v.Type, 0)
			err := r.GatherWithin(context.Background(), 0, 0, wanted, dst, limit)
			values := dst
			if v.Type.List {
				values = dst.Elem
			}
			switch held := int64(max(cap(values.Data), 8*cap(values.Float64s))); {
			case limit >= rows*width && (err != nil || !dst.EqualAt(rows-1, v, rows-1)):
				t.Errorf("%s: %v with a limit of %d", v.Type, err, limit)
			case limit < rows*width && (!errors.Is(err, ErrOverLimit) || held > 2*limit):
				t.Errorf("%s: %v, %d bytes with a limit of %d", v.Type, err, held, limit)
			}
		}
	}
}
