package row_test

import (
	"bytes"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

// The field that decides between two rows orders them the same way when it is all that they differ in.
func TestDecides(t *testing.T) {
	r := testenv.Rand(t)
	decided := 0
	for range 2000 {
		fields := everyType()
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		fields = fields[:r.IntN(len(fields)+1)]
		layout := row.NewLayout(fields)
		a, b, mixed := vectors(fields), vectors(fields), vectors(fields)
		nulls := r.IntN(3) > 0
		for f := range fields {
			appendRandom(r, a[f], nulls)
			if r.IntN(3) == 0 {
				appendRandom(r, b[f], nulls)
			} else {
				b[f].AppendFrom(a[f], 0)
			}
		}
		order := bytes.Compare(layout.AppendBody(nil, a, 0), layout.AppendBody(nil, b, 0))
		f := layout.Decides(a, 0, b, 0)
		if f != layout.Decides(b, 0, a, 0) {
			t.Fatalf("%v: which row comes first makes a difference", fields)
		}
		if (f < 0) != (order == 0) {
			t.Fatalf("%v: field %d decides where the encodings compare %d", fields, f, order)
		}
		if f < 0 {
			continue
		}
		decided++
		for g := range fields {
			from := a
			if g == f {
				from = b
			}
			mixed[g].AppendFrom(from[g], 0)
		}
		if got := bytes.Compare(layout.AppendBody(nil, a, 0), layout.AppendBody(nil, mixed, 0)); got != order {
			t.Fatalf("%v: the rows compare %d, by %s alone %d", fields, order, fields[f].Name, got)
		}
	}
	if decided == 0 {
		t.Error("nothing to decide")
	}
}

func TestDecidesByNulls(t *testing.T) {
	fields := []row.Field{
		{Name: "a", Type: columnar.Type{Kind: columnar.Int64}},
		{Name: "b", Type: columnar.Type{Kind: columnar.Int64}},
		{Name: "c", Type: columnar.Type{Kind: columnar.Int64}},
	}
	layout := row.NewLayout(fields)
	of := func(values ...any) []*columnar.Vector {
		cols := vectors(fields)
		for i, x := range values {
			if x == nil {
				cols[i].AppendNull()
			} else {
				cols[i].AppendInt64(int64(x.(int)))
			}
		}
		return cols
	}
	for _, c := range []struct {
		a, b []*columnar.Vector
		want string
	}{
		{of(1, 2, 3), of(9, nil, nil), "b"},  // any null comes after none
		{of(nil, 2, 3), of(1, 2, nil), "c"},  // of two bitmaps the highest bit
		{of(nil, 2, 3), of(nil, 2, 4), "c"},  // equal bitmaps: the values
		{of(1, nil, 3), of(2, nil, -3), "a"}, // in the order of names
	} {
		if got := fields[layout.Decides(c.a, 0, c.b, 0)].Name; got != c.want {
			t.Errorf("%s decides, want %s", got, c.want)
		}
	}
}
