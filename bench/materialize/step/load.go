package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/online"
)

// What a run has by default.
const (
	writers   = 3
	batchRows = 4096
)

// gen is what the rows are written to.
var gen = online.Generation{ID: 1, Keyspace: 1}

// rows are the newest rows as they go to a store, and once more with events a second later.
type rows struct{ new, over []online.Entry }

// phase is a load of one kind, and what it took.
type phase struct {
	Kind string        `json:"kind"`
	Rows int           `json:"rows"`
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"` // of this process, and of Redis
}

// prepare reads and encodes the rows that are to be written.
func (s *settings) prepare(ctx context.Context) (r rows, err error) {
	in, since, err := s.input(ctx)
	if err != nil {
		return r, err
	}
	var arena []byte // small pieces of their own would be the garbage collector's work
	encode := func(b *asof.Batch, i int, later int64) online.Entry {
		if cap(arena)-len(arena) < 1<<10 {
			arena = make([]byte, 0, 1<<20)
		}
		start := len(arena)
		key, _ := row.AppendKey(arena, b.Keys, i)
		arena = in.View.Layout.AppendRow(key, b.Event[i]+later, b.Created[i], b.Features, i)
		middle := len(key)
		return online.Entry{Key: arena[start:middle:middle], Row: arena[middle:len(arena):len(arena)]}
	}
	_, err = asof.Latest(ctx, in, since, asof.Options{}, func(b *asof.Batch) error {
		for i := range b.Event {
			r.new = append(r.new, encode(b, i, 0))
			r.over = append(r.over, encode(b, i, time.Second.Microseconds()))
		}
		return nil
	})
	return r, err
}

// measure loads new rows, then those over them. cpu is what the store has used so far.
func (r rows) measure(load func([]online.Entry) error, cpu func() (time.Duration, error)) (phases []phase, err error) {
	for _, p := range []struct {
		kind    string
		entries []online.Entry
	}{{"new keys", r.new}, {"overwrite", r.over}} {
		before, err := cpu()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if err := load(p.entries); err != nil {
			return nil, fmt.Errorf("%s: %w", p.kind, err)
		}
		wall := time.Since(start)
		after, err := cpu()
		if err != nil {
			return nil, err
		}
		phases = append(phases, phase{p.kind, len(p.entries), wall, after - before})
	}
	return phases, nil
}

// own writes through a store as a run does.
func own(ctx context.Context, s online.Store, entries []online.Entry) error {
	return batches(ctx, entries, func(ctx context.Context, batch []online.Entry) error {
		done, err := s.Write(ctx, gen, batch, online.WinNewest)
		if err == nil && done.Written+done.Older != int64(len(batch)) {
			err = fmt.Errorf("%d of %d rows are counted", done.Written+done.Older, len(batch))
		}
		return err
	})
}

// batches hands batches to writers.
func batches(ctx context.Context, entries []online.Entry, write func(context.Context, []online.Entry) error) error {
	todo := make(chan []online.Entry)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(todo)
		for batch := range slices.Chunk(entries, batchRows) {
			select {
			case todo <- batch:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	for range writers {
		g.Go(func() error {
			for batch := range todo {
				if err := write(ctx, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func open(ctx context.Context, s online.Store) error {
	if _, err := s.Claim(ctx, "bench", "bench"); err != nil {
		return err
	}
	return s.CreateGeneration(ctx, gen)
}

// selfTime is the CPU time of this process.
func selfTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}
