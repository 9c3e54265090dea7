package asof

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
)

// Batch is some entities and their newest rows. Valid during the callback.
type Batch struct {
	Keys     []*columnar.Vector // in the view's KeyColumns order
	Event    []int64
	Created  []int64            // row.NoCreated for none
	Features []*columnar.Vector // all of the view's
	Entities int                // in all batches of the call
}

// Latest calls fn, from one goroutine, with the newest row (R4) of every entity that has one with event time in
// [since, in.Cutoff]; each entity once, in no particular order. An error of fn ends it. An error of a file names it.
func Latest(ctx context.Context, in Input, since int64, opts Options, fn func(*Batch) error) (Stats, error) {
	k, err := newKernel(in, opts)
	if err != nil {
		return Stats{}, err
	}
	s := scan{kernel: k, entities: newEntities(in.View.KeyColumns), add: true, least: since, greatest: in.Cutoff, board: newBoard()}
	s.slots = s.entities.size
	s.place = func(_ int, b block, out *sink) {
		for i, e := range b.ids {
			if e >= 0 {
				b.offer(out, i, e)
			}
		}
	}
	stats, err := s.run(ctx)
	if err != nil {
		return Stats{}, err
	}
	var wants []want
	for e := range int32(s.entities.size()) {
		if c := s.board.at(e); c != nil {
			wants = append(wants, want{c.pos, e})
		}
	}
	s.found = len(wants)
	return stats, k.deliver(ctx, wants, &s, fn)
}

// deliver gathers all features of the wanted rows in parallel and hands them to fn, batch by batch.
func (k *kernel) deliver(ctx context.Context, wants []want, s *scan, fn func(*Batch) error) error {
	batches := make(chan *Batch)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		if err := k.sort(ctx, wants); err != nil {
			return err
		}
		reads := k.valueColumns()
		if k.hasCreated() {
			reads = append(reads, k.createdColumn())
		}
		return k.gather(ctx, positions(wants), reads, func(ctx context.Context, _ int, p *part) error {
			features, err := p.all(ctx)
			if err != nil {
				return err
			}
			created, err := p.created(ctx, nil)
			if err != nil {
				return err
			}
			select {
			case batches <- s.batch(wants[p.lo:p.hi], created, features):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	g.Go(func() error {
		for b := range batches {
			if err := fn(b); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// batch adds keys and event times to the created times and features of wants, which go by entity.
func (s *scan) batch(wants []want, created []int64, features []*columnar.Vector) *Batch {
	b := &Batch{Features: features, Entities: s.found, Event: make([]int64, len(wants)), Created: created}
	for _, key := range s.kernel.in.View.KeyColumns {
		b.Keys = append(b.Keys, columnar.NewVector(columnar.Type{Kind: key.Kind}, len(wants)))
	}
	for i, w := range wants {
		s.entities.appendKeys(b.Keys, w.id)
		b.Event[i] = s.board.at(w.id).event
	}
	return b
}
