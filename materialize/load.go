package materialize

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

const (
	// batchBytes bounds a batch of long rows.
	batchBytes = 4 << 20
	// rateSteps is how many batches a second a run with a rate makes at least, fastSteps where they have rateRows or
	// more: lookups wait behind a whole one, but smaller ones cost more than they save.
	rateSteps = 20
	fastSteps = 100
	rateRows  = 100
)

// batch is entries on their way to the store; their bytes lie in arena.
type batch struct {
	arena   []byte
	entries []online.Entry
}

func (b *batch) reset() { b.arena, b.entries = b.arena[:0], b.entries[:0] }

// load writes the newest row of every entity in files, and returns when every batch is acknowledged; also what the ledger
// shall say of the files, and in how many rounds they were read.
func (j *job) load(ctx context.Context, files []source.File, win online.Win) (asof.Stats, []state.LedgerFile, int, error) {
	var stats asof.Stats
	read, err := j.newLedger(ctx, files)
	if err != nil {
		return stats, nil, 0, err
	}
	rounds := 0
	var mu sync.Mutex // of the run's counts, which the writers share
	var entities atomic.Int64
	before := j.run.Written + j.run.Older
	full := make(chan *batch)
	free := make(chan *batch, j.cfg.Writers+1)
	for range cap(free) {
		free <- &batch{}
	}
	g, ctx := errgroup.WithContext(ctx)
	for range j.cfg.Writers {
		g.Go(func() error {
			for b := range full {
				res, err := j.cfg.Online.Write(ctx, j.gen, b.entries, win)
				if err != nil {
					return storeFailure("write to", err)
				}
				mu.Lock()
				j.run.Written += res.Written
				j.run.Older += res.Older
				j.run.BytesWritten += int64(len(b.arena))
				j.report("write", j.run.Written+j.run.Older, before+entities.Load())
				mu.Unlock()
				if err := failpoint.Hit(failpoint.RunAfterWrite); err != nil {
					return err
				}
				b.reset()
				free <- b
			}
			return nil
		})
	}
	g.Go(func() (err error) {
		defer close(full)
		e := &encoder{job: j, full: full, free: free, expire: j.expiry(), rows: j.cfg.BatchRows}
		e.slow(j.cfg.Rate)
		j.phases.enter(phaseRead)
		defer j.phases.enter(phaseWrite)
		stats, err = asof.Latest(ctx, j.input(files), j.since(), asof.Options{
			Workers: j.cfg.Workers, Limits: j.cfg.Limits, Memory: j.cfg.Memory, RoundRows: j.cfg.RoundRows,
			Progress: j.reading(&mu), Held: read.held, Tolerate: j.cfg.MaxRejected > 0,
			RoundDone: func(done int) error {
				rounds++
				more := read.next(done)
				if !j.plan.full || !j.cfg.strict() || len(more) == 0 || done == len(files) {
					return nil // the commit records the last
				}
				j.phases.enter(phaseWrite)
				defer j.phases.enter(phaseRead)
				if err := e.settle(ctx); err != nil {
					return err
				}
				return j.goOnFrom(ctx, more)
			},
		}, func(rows *asof.Batch) error {
			j.phases.enter(phaseWrite)
			defer j.phases.enter(phaseRead)
			entities.Store(int64(rows.Entities))
			return e.add(ctx, rows)
		})
		if err != nil {
			return err
		}
		return e.flush(ctx)
	})
	err = g.Wait()
	return stats, read.entries, rounds, err
}

// encoder turns rows into batches.
type encoder struct {
	job        *job
	full, free chan *batch
	expire     int64 // from a row's event time; 0: never
	rows       int   // of a batch
	limit      *rate.Limiter
	current    *batch
}

// slow bounds the rows per second that leave, unless perSecond is 0.
func (e *encoder) slow(perSecond int64) {
	if perSecond > 0 {
		e.rows = min(e.rows, int(max(1, perSecond/fastSteps, min(rateRows, perSecond/rateSteps))))
		e.limit = rate.NewLimiter(rate.Limit(perSecond), e.rows)
	}
}

func (e *encoder) add(ctx context.Context, rows *asof.Batch) error {
	layout := e.job.view.Layout
	for i, event := range rows.Event {
		if e.current == nil {
			select {
			case e.current = <-e.free:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		b := e.current
		start := len(b.arena)
		arena, ok := row.AppendKey(b.arena, rows.Keys, i)
		if !ok {
			continue // a null key: no entity
		}
		middle := len(arena)
		b.arena = layout.AppendRow(arena, event, rows.Created[i], rows.Features, i)
		entry := online.Entry{Key: b.arena[start:middle:middle], Row: b.arena[middle:len(b.arena):len(b.arena)]}
		if e.expire != 0 {
			entry.Expire = event + e.expire
		}
		b.entries = append(b.entries, entry)
		e.job.newest = max(e.job.newest, event)
		if len(b.entries) >= e.rows || len(b.arena) >= batchBytes {
			if err := e.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *encoder) flush(ctx context.Context) error {
	if e.current == nil || len(e.current.entries) == 0 {
		return nil
	}
	if err := e.job.beforeWrite(); err != nil {
		return err
	}
	if e.limit != nil {
		if err := e.limit.WaitN(ctx, len(e.current.entries)); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return problem.New(problem.Canceled, "at %d rows per second the run would not be done in time: %w", e.job.cfg.Rate, err)
		}
	}
	select {
	case e.full <- e.current:
		e.current = nil
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle returns when every row that was added is acknowledged.
func (e *encoder) settle(ctx context.Context) error {
	if err := e.flush(ctx); err != nil {
		return err
	}
	if e.current != nil {
		e.free <- e.current
		e.current = nil
	}
	idle := make([]*batch, cap(e.free))
	for i := range idle {
		select {
		case idle[i] = <-e.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, b := range idle {
		e.free <- b
	}
	return nil
}

// beforeWrite is the step between the first row decoded, or none, and the first row written.
func (j *job) beforeWrite() error {
	if j.decoded {
		return nil
	}
	j.decoded = true
	return failpoint.Hit(failpoint.RunBeforeWrite)
}

// reading reports rows read; the kernel calls it from several goroutines.
func (j *job) reading(mu *sync.Mutex) func(done, about int64) {
	var most atomic.Int64
	return func(rows, about int64) {
		for seen := most.Load(); rows > seen; seen = most.Load() {
			if most.CompareAndSwap(seen, rows) {
				mu.Lock()
				j.report("read", most.Load(), about)
				mu.Unlock()
				return
			}
		}
	}
}

func (j *job) input(files []source.File) asof.Input {
	return asof.Input{View: j.view, Source: j.cfg.Files, Files: files, Cutoff: j.run.T.UnixMicro()}
}

func (j *job) since() int64 { return since(j.view, j.run.T, j.run.Started) }

func (j *job) expiry() int64 { return expiry(j.view, j.run.T) }

// since is the least event time that can still be part of an answer at T or later, and from now on where T is ahead.
func since(v *registry.View, t, now time.Time) int64 {
	if v.TTLMicros == 0 {
		return math.MinInt64
	}
	return min(t.UnixMicro(), now.UnixMicro()) - 2*v.TTLMicros
}

// expiry is how long after its event time a row of a run up to T may leave the store, 0 for never. Stores expire by the
// machine's clock, so that is the one that counts, whatever the run takes for now.
func expiry(v *registry.View, t time.Time) int64 {
	if v.TTLMicros == 0 || time.Since(t) > expiryGrace {
		return 0
	}
	return 2*v.TTLMicros + expiryGrace.Microseconds()
}

// ledger is what the run's ledger shall say of files that are being read.
type ledger struct {
	mu      sync.Mutex
	entries []state.LedgerFile
	told    int // by next
}

// newLedger must be made before the files are read: one that changes later and does not show it has another footer then.
func (j *job) newLedger(ctx context.Context, files []source.File) (_ *ledger, err error) {
	l := &ledger{entries: make([]state.LedgerFile, len(files))}
	for i, f := range files {
		e := state.LedgerFile{
			Path: f.Path, Size: f.Size, Identity: f.Identity, HeldFrom: state.NoTime, Unsettled: unsettled(f, j.listed),
		}
		if e.Unsettled {
			if e.Footer, err = j.cfg.Files.FooterDigest(ctx, f); err != nil {
				return nil, err
			}
		}
		l.entries[i] = e
	}
	return l, nil
}

// next returns the entries of files up to done that it has not returned yet. All their rows must have been read.
func (l *ledger) next(done int) []state.LedgerFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := slices.Clone(l.entries[l.told:done])
	l.told = done
	return more
}

// held adds rows of a file that are dated after T, and the least event time of those.
func (l *ledger) held(file int, rows, least int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[file]
	if e.Held == 0 || least < e.HeldFrom {
		e.HeldFrom = least
	}
	e.Held += rows
}
