package asof

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
)

// Batch is some entities and their newest rows. Valid during the callback.
type Batch struct {
	Keys     []*columnar.Vector // in the view's KeyColumns order
	Event    []int64
	Created  []int64            // row.NoCreated for none
	Features []*columnar.Vector // all of the view's
	Entities int                // in all batches of this round and those before it; a row that is refused then counts, too
}

const (
	defaultMemory    = 256 << 20
	defaultRoundRows = 100_000_000
	batchBytes       = 16 << 20 // of text and lists that a batch of more than one row has at most
)

// Latest calls fn, from one goroutine, with the newest row (R4) of every entity that has one with event time in
// [since, in.Cutoff], in no particular order. An error of fn ends it. An error of a file names it.
//
// It works in rounds, each of as many rows, in the order of files, as have entities that fit opts.Memory. Within a round
// each entity comes once; where it comes in several, the newest of what came is its newest row. Which rows are a round's
// may depend on the workers, where keys are text.
func Latest(ctx context.Context, in Input, since int64, opts Options, fn func(*Batch) error) (Stats, error) {
	k, err := newKernel(in, opts)
	if err != nil {
		return Stats{}, err
	}
	l := newLatest(k, since)
	defer l.pass.abandon()
	for {
		if err := l.read(ctx); err != nil {
			return Stats{}, err
		}
		if err := l.deliver(ctx, fn); err != nil {
			return Stats{}, err
		}
		files, more := l.pass.waiting()
		if !more {
			return l.stats(), l.roundDone(len(in.Files))
		}
		if err := l.roundDone(files); err != nil {
			return Stats{}, err
		}
		l.rounds.next()
		l.board.reset()
	}
}

// latest is one call of Latest.
type latest struct {
	scan
	rounds rounds
	wants  []want // of a round, ordered by position
	found  int    // entities with a newest row, in all rounds so far

	mu    sync.Mutex // guards again
	again []int32    // entities whose newest row was refused
}

func newLatest(k *kernel, since int64) *latest {
	l := &latest{scan: scan{
		kernel: k, entities: newEntities(k.in.View.KeyColumns), add: true, least: since, greatest: k.in.Cutoff, board: newBoard(),
		refused: &refusals{},
	}}
	l.slots = l.entities.size
	l.place = func(_ int, b block, out *sink) {
		for i, e := range b.ids {
			if e >= 0 {
				b.offer(out, i, e)
			}
		}
	}
	files := make([]int, len(k.in.Files))
	for i := range files {
		files[i] = i
	}
	l.begin(files)
	l.rounds = rounds{
		entities: l.entities,
		memory:   cmp.Or(k.opts.Memory, defaultMemory),
		most:     cmp.Or(k.opts.RoundRows, defaultRoundRows),
	}
	l.pass.rounds = &l.rounds
	return l
}

func (l *latest) roundDone(files int) error {
	if l.kernel.opts.RoundDone == nil {
		return nil
	}
	return l.kernel.opts.RoundDone(files)
}

// winners lists the newest rows of the round.
func (l *latest) winners() {
	l.wants = slices.Grow(l.wants[:0], l.entities.size())
	for e := range int32(l.entities.size()) {
		if c := l.board.at(e); c != nil {
			l.wants = append(l.wants, want{c.pos, e})
		}
	}
	l.found += len(l.wants)
}

// deliver hands the round's newest rows to fn, and where some are refused those that come next.
func (l *latest) deliver(ctx context.Context, fn func(*Batch) error) error {
	if err := l.gather(ctx, fn); err != nil {
		return err
	}
	l.ties += l.board.tied()
	if len(l.again) == 0 {
		return nil
	}
	for _, id := range l.again {
		l.ties -= l.board.tiedWith(id)
	}
	next := l.without()
	defer next.pass.abandon()
	if err := next.read(ctx); err != nil {
		return err
	}
	err := next.deliver(ctx, fn)
	l.found, l.ties, l.again = next.found, l.ties+next.ties, l.again[:0]
	return err
}

// without scans the round again for the entities whose newest row was refused.
func (l *latest) without() *latest {
	k := *l.kernel
	k.opts.Progress, k.opts.Held = nil, nil
	next := &latest{
		scan: scan{
			kernel: &k, entities: newEntities(k.in.View.KeyColumns), least: l.least, greatest: l.greatest, board: newBoard(),
			refused: l.refused,
		},
		rounds: rounds{from: l.rounds.from, to: l.rounds.to}, // only where they are
		found:  l.found - len(l.again),
	}
	keys := l.newKeys(len(l.again))
	for _, id := range l.again {
		l.entities.appendKeys(keys, id)
	}
	next.entities.number(keys, len(l.again))
	next.filter = newKeyFilter(next.entities)
	next.slots = next.entities.size
	next.place = func(_ int, b block, out *sink) {
		for i, e := range b.ids {
			if e < 0 {
				continue
			}
			if pos := b.position(i); pos >= next.rounds.from && pos < next.rounds.to && !next.refused.refuses(pos) {
				b.offer(out, i, e)
			}
		}
	}
	var files []int
	for file := fileOf(next.rounds.from); file <= fileOf(next.rounds.to); file++ {
		files = append(files, file)
	}
	next.begin(files)
	return next
}

// gather reads all features of the round's newest rows in parallel and hands them to fn, batch by batch.
func (l *latest) gather(ctx context.Context, fn func(*Batch) error) error {
	l.winners()
	k := l.kernel
	batches := make(chan *Batch)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		if err := k.sort(ctx, l.wants); err != nil {
			return err
		}
		reads := k.valueColumns()
		if k.hasCreated() {
			reads = append(reads, k.createdColumn())
		}
		return k.gather(ctx, positions(l.wants), reads, func(ctx context.Context, _ int, p *part) error {
			return p.allWithin(ctx, batchBytes, func(p *part, features []*columnar.Vector) error {
				b, err := l.batch(ctx, p, features)
				if err != nil || len(b.Event) == 0 {
					return err
				}
				select {
				case batches <- b:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
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

// batch adds keys and times to the features of a part, and leaves out what is refused.
func (l *latest) batch(ctx context.Context, p *part, features []*columnar.Vector) (*Batch, error) {
	wants := l.wants[p.lo:p.hi]
	created, err := p.created(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(p.flaws) > 0 {
		if wants, created, features, err = l.refuse(p, created, features); err != nil {
			return nil, err
		}
	}
	b := &Batch{Features: features, Entities: l.found, Event: make([]int64, len(wants)), Created: created, Keys: l.newKeys(len(wants))}
	for i, w := range wants {
		l.entities.appendKeys(b.Keys, w.id)
		b.Event[i] = l.board.at(w.id).event
	}
	return b, nil
}

// refuse leaves the rows of a part that have flaws for another scan, and returns the others.
func (l *latest) refuse(p *part, created []int64, features []*columnar.Vector) ([]want, []int64, []*columnar.Vector, error) {
	for i := range p.flaws {
		if err := l.kernel.refuse(l.refused, p, &p.flaws[i]); err != nil {
			return nil, nil, nil, err
		}
	}
	var wants []want
	var times []int64
	kept := make([]*columnar.Vector, len(features))
	for f, v := range features {
		kept[f] = columnar.NewVector(v.Type, v.Len())
	}
	for i, w := range l.wants[p.lo:p.hi] {
		if p.flawed(i) {
			l.mu.Lock()
			l.again = append(l.again, w.id)
			l.mu.Unlock()
			continue
		}
		wants, times = append(wants, w), append(times, created[i])
		for f, v := range features {
			kept[f].AppendFrom(v, i)
		}
	}
	return wants, times, kept, nil
}

func (l *latest) newKeys(n int) []*columnar.Vector {
	var keys []*columnar.Vector
	for _, key := range l.kernel.in.View.KeyColumns {
		keys = append(keys, columnar.NewVector(columnar.Type{Kind: key.Kind}, n))
	}
	return keys
}
