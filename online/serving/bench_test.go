package serving

import (
	"context"
	"fmt"
	"testing"

	"github.com/provender-dev/provender/online"
)

// instant answers every key with the same rows, so that a benchmark sees this package alone.
type instant map[online.GenerationID][]byte

func (s instant) Read(_ context.Context, groups []online.Group, out *online.Rows) error {
	out.Reset(groups)
	for g, group := range groups {
		for k := range group.Keys {
			for f, id := range group.Generations {
				out.Cells[out.Starts[g]+k*len(group.Generations)+f] = s[id]
			}
		}
	}
	return nil
}

func benchServer(b testing.TB, views, features int) *Server {
	snapshot := compileViews(b, 1, views, features)
	generations := live(snapshot, 1)
	store := instant{}
	for _, g := range generations {
		store[g.ID] = encode(snapshot.Views[g.View], 123_456)
	}
	s := New(store, Options{Now: fixed})
	s.Update(snapshot, generations)
	return s
}

func distinct(n int) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i)
	}
	return ids
}

// BenchmarkLookup measures a lookup less its store.
func BenchmarkLookup(b *testing.B) {
	for _, w := range []struct{ entities, views, features int }{{1, 1, 10}, {1, 5, 10}, {100, 5, 10}, {100, 5, 100}} {
		b.Run(fmt.Sprintf("entities=%d/features=%d", w.entities, w.views*w.features), func(b *testing.B) {
			s, req := benchServer(b, w.views, w.features), drivers(distinct(w.entities)...)
			b.ReportAllocs()
			for b.Loop() {
				a, err := s.Lookup(context.Background(), req)
				if err != nil {
					b.Fatal(err)
				}
				a.Release()
			}
		})
	}
}

// TestAllocations: what a lookup allocates does not depend on the number of features or rows.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		return // the race detector empties pools at random
	}
	for _, features := range []int{1, 100} {
		s, req := benchServer(t, 2, features), drivers(distinct(50)...)
		got := testing.AllocsPerRun(100, func() {
			a, err := s.Lookup(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			a.Release()
		})
		if got >= 1 {
			t.Errorf("%d features: %v allocations", features, got)
		}
	}
}
