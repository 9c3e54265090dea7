package asof

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
)

// Join is Match, then Gather of features.
func Join(ctx context.Context, spine Spine, in Input, features []int, opts Options) (*Result, error) {
	r, err := Match(ctx, spine, in, opts)
	if err != nil {
		return nil, err
	}
	return r, r.Gather(ctx, features)
}

// Match finds the row that answers each row of the spine. Its features are for Gather. The result depends on the rows of
// the files alone: not on their names, order, row groups or the number of workers. An error of a file names it.
func Match(ctx context.Context, spine Spine, in Input, opts Options) (*Result, error) {
	t, err := NewTimeline(ctx, spine, in.View, opts.Workers)
	if err != nil {
		return nil, err
	}
	return t.Match(ctx, in, opts)
}

// Match is Match of the spine that t was made of.
func (t *Timeline) Match(ctx context.Context, in Input, opts Options) (*Result, error) {
	if !slices.Equal(t.kinds, keyKinds(in.View)) {
		return nil, fmt.Errorf("view %s has join keys %v, the timeline %v", in.View.Name, keyKinds(in.View), t.kinds)
	}
	opts.Tolerate = false
	k, err := newKernel(in, opts)
	if err != nil {
		return nil, err
	}
	n := t.size
	r := &Result{Status: make([]columnar.Status, n), Event: make([]int64, n), kernel: k, rows: make([]int32, n)}
	for i := range n {
		r.Status[i], r.Event[i], r.rows[i] = columnar.NotFound, math.MinInt64, nowhere
	}
	r.Stats.NewestEvent = math.MinInt64
	r.Least, r.Greatest = math.MaxInt64, math.MinInt64
	if t.slots() == 0 {
		return r, nil
	}
	b, err := r.scan(ctx, k, t)
	if err != nil {
		return nil, err
	}
	present, expired, err := r.carry(ctx, k, t, b)
	if err != nil {
		return nil, err
	}
	b.segments = nil
	return r, r.number(ctx, t.slots(), present, expired)
}

// scan finds the newest row of every slot's interval.
func (r *Result) scan(ctx context.Context, k *kernel, t *Timeline) (*board, error) {
	ttl := k.in.View.TTLMicros
	searches := make([]*search, k.workers)
	for i := range searches {
		searches[i] = t.newSearch()
	}
	s := scan{kernel: k, entities: t.entities, board: newBoard(), filter: t.filter, refused: &refusals{}}
	s.least, s.greatest = t.reach(ttl)
	s.greatest = min(s.greatest, k.in.Cutoff)
	s.slots = func() int { return t.slots() }
	s.place = func(worker int, b block, out *sink) {
		searches[worker].each(b.ids, b.event, func(i int, slot int32) {
			// A row that is past 2 × ttl at the first instant that could see it is so at every later one.
			if columnar.Judge(b.event[i], t.times[slot], ttl) != columnar.NotFound {
				b.offer(out, i, slot)
			}
		})
	}
	stats, err := s.run(ctx)
	r.Stats, r.Footers = stats, s.footers
	r.Least, r.Greatest = s.events.bounds()
	return s.board, err
}

// carry takes the newest row along each entity and judges it at every spine row. It leaves the slot of the row that
// answers in r.rows, and returns the rows that answer: those that are Present somewhere, and those that never are.
func (r *Result) carry(ctx context.Context, k *kernel, t *Timeline, b *board) (present, expired []want, err error) {
	ttl := k.in.View.TTLMicros
	var mu sync.Mutex // guards present and expired
	err = t.eachChunk(ctx, k.workers, func(from, to int) {
		var alive, past []want
		for e := from; e < to; e++ {
			var newest *candidate
			var holder int32 // the slot whose candidate newest is
			for slot := t.start[e]; slot < t.start[e+1]; slot++ {
				c := b.at(slot)
				if c != nil {
					newest, holder = c, slot
				}
				if newest == nil {
					continue
				}
				status := columnar.Judge(newest.event, t.times[slot], ttl)
				if status == columnar.NotFound {
					continue
				}
				i := t.rows[slot]
				r.Status[i], r.Event[i], r.rows[i] = status, newest.event, holder
				// The first instant that sees a row sees it youngest.
				switch {
				case c == nil:
				case status == columnar.Present:
					alive = append(alive, want{c.pos, slot})
				default:
					past = append(past, want{c.pos, slot})
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		present, expired = append(present, alive...), append(expired, past...)
	})
	return present, expired, err
}

// number takes up the rows that answer, in the order of their positions, and turns r.rows from slots to them.
func (r *Result) number(ctx context.Context, slots int, present, expired []want) error {
	places := make([]int32, slots)
	r.found, r.present = make([]int64, 0, len(present)+len(expired)), len(present)
	for _, wants := range [][]want{present, expired} {
		if err := r.kernel.sort(ctx, wants); err != nil {
			return err
		}
		for _, w := range wants {
			places[w.id] = int32(len(r.found))
			r.found = append(r.found, w.pos)
		}
	}
	for i, slot := range r.rows {
		if slot != nowhere {
			r.rows[i] = places[slot]
		}
	}
	return nil
}

// Where returns the file (index into Input.Files) and row within the file that answered spine row i; ok is false for
// NotFound. Among rows equal in everything it is the first.
func (r *Result) Where(i int) (file int, position int64, ok bool) {
	at := r.rows[i]
	if at == nowhere {
		return 0, 0, false
	}
	pos := r.found[at]
	return fileOf(pos), rowOf(pos), true
}
