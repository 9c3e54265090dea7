package materialize

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// batchBytes bounds a batch of long rows.
const batchBytes = 4 << 20

// batch is entries on their way to the store; their bytes lie in arena.
type batch struct {
	arena   []byte
	entries []online.Entry
}

func (b *batch) reset() { b.arena, b.entries = b.arena[:0], b.entries[:0] }

// load writes the newest row of every entity in files, and returns when every batch is acknowledged; also what the ledger
// shall say of the files.
func (j *job) load(ctx context.Context, files []source.File, win online.Win) (asof.Stats, []state.LedgerFile, error) {
	read := newLedger(files)
	var stats asof.Stats
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
		e := &encoder{job: j, full: full, free: free, expire: j.expiry()}
		stats, err = asof.Latest(ctx, j.input(files), j.since(), asof.Options{
			Workers: j.cfg.Workers, Limits: j.cfg.Limits, Progress: j.reading(&mu), Held: read.held,
		}, func(rows *asof.Batch) error {
			entities.Store(int64(rows.Entities))
			return e.add(ctx, rows)
		})
		if err != nil {
			return err
		}
		return e.flush(ctx)
	})
	err := g.Wait()
	return stats, read.entries, err
}

// encoder turns rows into batches.
type encoder struct {
	job        *job
	full, free chan *batch
	expire     int64 // from a row's event time; 0: never
	current    *batch
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
		if len(b.entries) >= e.job.cfg.BatchRows || len(b.arena) >= batchBytes {
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
	select {
	case e.full <- e.current:
		e.current = nil
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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

func (j *job) since() int64 { return since(j.view, j.run.T) }

func (j *job) expiry() int64 { return expiry(j.view, j.run.T) }

// since is the least event time that can still be part of an answer at T or later.
func since(v *registry.View, t time.Time) int64 {
	if v.TTLMicros == 0 {
		return math.MinInt64
	}
	return t.UnixMicro() - 2*v.TTLMicros
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
}

func newLedger(files []source.File) *ledger {
	l := &ledger{entries: make([]state.LedgerFile, len(files))}
	for i, f := range files {
		l.entries[i] = state.LedgerFile{Path: f.Path, Size: f.Size, Identity: f.Identity, HeldFrom: state.NoTime}
	}
	return l
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
