package asof

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
)

// Join answers every row of the spine. features are indexes into the view's Features. The result depends on the rows
// of the files alone: not on their names, order, row groups or the number of workers. An error of a file names it.
func Join(ctx context.Context, spine Spine, in Input, features []int, opts Options) (*Result, error) {
	k, err := newKernel(in, opts)
	if err != nil {
		return nil, err
	}
	if err := k.checkFeatures(features); err != nil {
		return nil, err
	}
	t, err := newTimeline(ctx, spine, in.View, k.workers)
	if err != nil {
		return nil, err
	}
	n := len(spine.Times)
	r := &Result{
		Status: slices.Repeat([]columnar.Status{columnar.NotFound}, n),
		Event:  slices.Repeat([]int64{math.MinInt64}, n),
		Stats:  Stats{NewestEvent: math.MinInt64},
		pos:    slices.Repeat([]int64{nowhere}, n),
		cells:  slices.Repeat([]int64{nowhere}, n),
	}
	if t.slots() == 0 {
		return r, nil
	}
	b, err := r.scan(ctx, k, t)
	if err != nil {
		return nil, err
	}
	wants, err := r.carry(ctx, k, t, b)
	if err != nil {
		return nil, err
	}
	return r, r.gather(ctx, k, wants, t.slots(), features)
}

// scan finds the newest row of every slot's interval.
func (r *Result) scan(ctx context.Context, k *kernel, t *timeline) (*board, error) {
	ttl := k.in.View.TTLMicros
	searches := make([]*search, k.workers)
	for i := range searches {
		searches[i] = t.newSearch()
	}
	s := scan{kernel: k, entities: t.entities, board: newBoard()}
	s.least, s.greatest = t.reach(ttl)
	s.greatest = min(s.greatest, k.in.Cutoff)
	s.slots = func() int { return t.slots() }
	s.place = func(worker int, b block, out *sink) {
		searches[worker].each(b.ids, b.event, func(i int, slot int32) {
			// A row that is past 2 × ttl at the first instant that could see it is so at every later one.
			if columnar.Judge(b.event[i], t.times[slot], ttl) != columnar.NotFound {
				out.add(hit{slot, b.event[i], b.created[i], b.pos + int64(i)})
			}
		})
	}
	stats, err := s.run(ctx)
	r.Stats = stats
	return s.board, err
}

// carry takes the newest row along each entity and judges it at every spine row. It leaves the slot that answers a
// Present spine row in r.cells, and returns the rows whose features are wanted, by slot.
func (r *Result) carry(ctx context.Context, k *kernel, t *timeline, b *board) ([]want, error) {
	ttl := k.in.View.TTLMicros
	var mu sync.Mutex // guards wants
	var wants []want
	err := t.eachChunk(ctx, k.workers, func(from, to int) {
		var found []want
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
				r.Status[i], r.Event[i], r.pos[i] = status, newest.event, newest.pos
				if status == columnar.Present {
					r.cells[i] = int64(holder)
					if c != nil {
						found = append(found, want{c.pos, slot})
					}
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		wants = append(wants, found...)
	})
	return wants, err
}

// gather reads the features of the wanted rows and turns r.cells from slots to cells.
func (r *Result) gather(ctx context.Context, k *kernel, wants []want, slots int, features []int) error {
	if len(features) == 0 {
		return nil
	}
	places := make([]int64, slots)
	var mu sync.Mutex // guards r.chunks
	err := k.gather(ctx, wants, features, func(_ context.Context, _ int, c chunk) error {
		mu.Lock()
		first := int64(len(r.chunks)) << 32
		r.chunks = append(r.chunks, c.features)
		mu.Unlock()
		for i, w := range c.wants {
			places[w.id] = first + int64(i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, slot := range r.cells {
		if slot != nowhere {
			r.cells[i] = places[slot]
		}
	}
	return nil
}

// Where returns the file (index into Input.Files) and row within the file that answered spine row i; ok is false for
// NotFound. Among rows equal in everything it is the first.
func (r *Result) Where(i int) (file int, position int64, ok bool) {
	pos := r.pos[i]
	if pos == nowhere {
		return 0, 0, false
	}
	return fileOf(pos), rowOf(pos), true
}
