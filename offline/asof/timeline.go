package asof

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// Timeline is a spine by entity: what Match makes of it first. Views with join keys of the same kinds, bound to the same
// columns, can share one. Slots are the spine's rows with keys, ordered by entity and time: those of entity e are
// [start[e], start[e+1]). A slot stands for the interval that ends at its time, inclusive, and begins after the time of
// the slot before it. Immutable.
type Timeline struct {
	kinds    []columnar.Kind // of the join keys
	size     int             // rows of the spine
	entities *entities
	filter   *keyFilter
	start    []int32
	times    []int64 // per slot
	rows     []int32 // per slot, the row of the spine
}

// entityChunk is how many entities a worker takes at a time.
const entityChunk = 4096

// NewTimeline orders a spine whose keys are those of view. workers 0 means GOMAXPROCS.
func NewTimeline(ctx context.Context, spine Spine, view *registry.View, workers int) (*Timeline, error) {
	if err := checkSpine(spine, view); err != nil {
		return nil, err
	}
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	n := len(spine.Times)
	t := &Timeline{kinds: keyKinds(view), size: n, entities: newEntities(view.KeyColumns)}
	ids := t.entities.number(spine.Keys, n)
	t.start = make([]int32, t.entities.size()+1)
	for _, id := range ids {
		if id >= 0 {
			t.start[id+1]++
		}
	}
	for e := range t.entities.size() {
		t.start[e+1] += t.start[e]
	}
	slots := t.start[len(t.start)-1]
	type instant struct {
		time int64
		row  int32
	}
	order := make([]instant, slots)
	next := slices.Clone(t.start)
	for i, id := range ids {
		if id >= 0 {
			order[next[id]] = instant{spine.Times[i], int32(i)}
			next[id]++
		}
	}
	t.times, t.rows = make([]int64, slots), make([]int32, slots)
	err := t.eachChunk(ctx, workers, func(from, to int) {
		for e := from; e < to; e++ {
			slices.SortFunc(order[t.start[e]:t.start[e+1]], func(a, b instant) int { return cmp.Compare(a.time, b.time) })
		}
		for i := t.start[from]; i < t.start[to]; i++ {
			t.times[i], t.rows[i] = order[i].time, order[i].row
		}
	})
	t.filter = newKeyFilter(t.entities)
	return t, err
}

func keyKinds(view *registry.View) []columnar.Kind {
	kinds := make([]columnar.Kind, len(view.KeyColumns))
	for i, key := range view.KeyColumns {
		kinds[i] = key.Kind
	}
	return kinds
}

func checkSpine(spine Spine, view *registry.View) error {
	n := len(spine.Times)
	if n > math.MaxInt32 {
		return problem.New(problem.Exhausted, "a spine of %d rows; at most %d are joined at once", n, math.MaxInt32)
	}
	if len(spine.Keys) != len(view.KeyColumns) {
		return problem.New(problem.Invalid, "view %s has %d join keys, the spine gives %d", view.Name, len(view.KeyColumns), len(spine.Keys))
	}
	for i, key := range view.KeyColumns {
		v := spine.Keys[i]
		if v.Type.Kind != key.Kind || v.Type.List {
			return problem.New(problem.Invalid, "join key %s of view %s is %s, the spine's is %s", key.Name, view.Name, key.Kind, v.Type)
		}
		if v.Len() != n {
			return problem.New(problem.Invalid, "join key %s: %d values for %d spine rows", key.Name, v.Len(), n)
		}
	}
	return nil
}

// eachChunk calls fn for ranges of entities in parallel.
func (t *Timeline) eachChunk(ctx context.Context, workers int, fn func(from, to int)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	entities := len(t.start) - 1
	for from := 0; from < entities; from += entityChunk {
		g.Go(func() error {
			if ctx.Err() == nil {
				fn(from, min(from+entityChunk, entities))
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// slots returns the number of slots.
func (t *Timeline) slots() int { return len(t.times) }

// reach returns the event times that can answer a slot; least > greatest for no slots.
func (t *Timeline) reach(ttl int64) (least, greatest int64) {
	if t.slots() == 0 {
		return math.MaxInt64, math.MinInt64
	}
	least, greatest = slices.Min(t.times), slices.Max(t.times)
	if ttl == 0 || least < math.MinInt64+2*ttl || ttl > math.MaxInt64/2 {
		return math.MinInt64, greatest
	}
	return least - 2*ttl, greatest
}
