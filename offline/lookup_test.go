package offline

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
)

func TestLookup(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	service := w.snapshot.Services["one"]
	got, err := Lookup(ctx, LookupRequest{Service: service, Source: w.files, Keys: []*columnar.Vector{vec(stringType, "JFK", "SFO", nil, "XXX")}, At: noon})
	if err != nil {
		t.Fatal(err)
	}
	if want := vec(int64Type, nil, 0, 0, 0); !equalVectors(got.Columns[0], want) {
		t.Errorf("departures %s", show(got.Columns[0]))
	}
	if want := vec(stringType, "b", nil, nil, nil); !equalVectors(got.Columns[3], want) {
		t.Errorf("note %s", show(got.Columns[3]))
	}
	n, p, e, x := columnar.Null, columnar.Present, columnar.Expired, columnar.NotFound
	if want := []columnar.Status{n, e, x, x}; !slices.Equal(got.Status[0], want) {
		t.Errorf("statuses %v, want %v", got.Status[0], want)
	}
	if want := []columnar.Status{p, e, x, x}; !slices.Equal(got.Status[1], want) {
		t.Errorf("statuses %v, want %v", got.Status[1], want)
	}
	if want := []int64{noon, noon - 10*hour, math.MinInt64, math.MinInt64}; !slices.Equal(got.Events[0], want) {
		t.Errorf("events %v, want %v", got.Events[0], want)
	}
}

// A lookup is an export of one instant.
func TestLookupEqualsExport(t *testing.T) {
	w := newWorld(t)
	service := w.snapshot.Services["all"]
	keys := map[string]*columnar.Vector{
		"user":        vec(int64Type, 1, 2, 3, nil),
		"destination": vec(stringType, "SFO", "JFK", nil, "XXX"),
		"airport":     vec(stringType, "JFK", "JFK", "SFO", "SFO"),
	}
	for _, at := range []int64{noon - 20*hour, noon - 2*hour, noon - 1, noon, noon + hour, noon + 7*hour, noon + 13*hour + 1} {
		fields := []field{{"t", vec(timeType, at, at, at, at)}}
		var asked []*columnar.Vector
		for _, key := range service.RequestKeys {
			fields = append(fields, field{key.Name, keys[key.Name]})
			asked = append(asked, keys[key.Name])
		}
		writeFile(t, w.path("spine.parquet"), 3, fields...)
		req := w.request("all", w.path("spine.parquet"))
		w.export(t, req)
		got, err := Lookup(context.Background(), LookupRequest{Service: service, Source: w.files, Keys: asked, At: at})
		if err != nil {
			t.Fatal(err)
		}
		for i, output := range service.Outputs {
			wantColumn(t, req.Out, output.Name, got.Columns[i])
		}
	}
}

func TestLookupWithoutKeys(t *testing.T) {
	w := newWorld(t)
	got, err := Lookup(context.Background(), LookupRequest{Service: w.snapshot.Services["global"], Source: w.files, Keys: nil, At: noon})
	if err != nil || !equalVectors(got.Columns[0], vec(int32Type, int32(4))) {
		t.Errorf("%v %v", got, err)
	}
}

func TestLookupRefusesKeys(t *testing.T) {
	w := newWorld(t)
	for name, keys := range map[string][]*columnar.Vector{
		"none":         nil,
		"another type": {vec(int64Type, 1)},
		"too many":     {vec(stringType, "JFK"), vec(stringType, "JFK")},
	} {
		if _, err := Lookup(context.Background(), LookupRequest{Service: w.snapshot.Services["one"], Source: w.files, Keys: keys, At: noon}); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func equalVectors(a, b *columnar.Vector) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !a.EqualAt(i, b, i) {
			return false
		}
	}
	return true
}

func show(v *columnar.Vector) string {
	var b []byte
	for i := range v.Len() {
		b = append(columnar.AppendJSON(b, v, i), ' ')
	}
	return string(b)
}
