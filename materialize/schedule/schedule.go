// Package schedule calls a function for each feature view when its cron expression says so. It knows nothing of runs.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// look is the longest the scheduler sleeps: a wall clock that was set is noticed within it.
const look = 30 * time.Second

// Config is what a Scheduler works with.
type Config struct {
	// Fire is called for a view whose time has come, in a goroutine of its own, never twice at once for one view. ctx
	// ends with Run's.
	Fire func(ctx context.Context, view string)
	Now  func() time.Time // the wall clock; default time.Now
}

// Entry is the schedule of one view.
type Entry struct {
	View string
	Spec string // five cron fields
	Zone string // IANA name; "" is UTC
	// Since is when the view was last served by its schedule: ticks missed since then make one call at once. Zero, or in
	// the future: ticks count from now on.
	Since time.Time
}

// Scheduler calls Fire as the entries say. Safe for concurrent use.
type Scheduler struct {
	fire func(context.Context, string)
	now  func() time.Time
	wake chan struct{}

	mu    sync.Mutex
	tasks map[string]*task
	seen  time.Time // the wall clock when ticks were last looked for
}

type task struct {
	entry   Entry
	spec    *Spec
	next    time.Time // zero: never
	running bool
	removed bool // running, but no longer scheduled
}

// New returns a scheduler without entries.
func New(cfg Config) *Scheduler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Scheduler{fire: cfg.Fire, now: cfg.Now, wake: make(chan struct{}, 1), tasks: map[string]*task{}}
}

// Update replaces the entries. A view whose expression and zone stay keeps its next tick. Entries that can't be read
// are left out and told in the error; the others hold.
func (s *Scheduler) Update(entries []Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	var errs []error
	kept := make(map[string]bool, len(entries))
	for _, e := range entries {
		t := s.tasks[e.View]
		if t != nil && t.entry.Spec == e.Spec && t.entry.Zone == e.Zone && !t.removed {
			kept[e.View] = true
			continue
		}
		spec, err := Parse(e.Spec, e.Zone)
		if err != nil {
			errs = append(errs, fmt.Errorf("view %s: %w", e.View, err))
			continue
		}
		kept[e.View] = true
		from := now
		if !e.Since.IsZero() && e.Since.Before(now) {
			from = e.Since
		}
		if t == nil {
			t = &task{}
			s.tasks[e.View] = t
		}
		t.entry, t.spec, t.next, t.removed = e, spec, spec.Next(from), false
	}
	for view, t := range s.tasks {
		switch {
		case kept[view]:
		case t.running:
			t.removed, t.next = true, time.Time{}
		default:
			delete(s.tasks, view)
		}
	}
	s.poke()
	return errors.Join(errs...)
}

// Next returns when a view's next tick is, zero where it has none. One in the past is due as soon as the call under
// way returns.
func (s *Scheduler) Next(view string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[view]; t != nil {
		return t.next
	}
	return time.Time{}
}

// Run fires until ctx ends, waits for the calls under way, and returns nil. Ticks that were missed, because a call
// took long or the process stood still, become one. A wall clock that was set back starts the ticks anew from there.
func (s *Scheduler) Run(ctx context.Context) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		if ctx.Err() != nil {
			return nil
		}
		due, sleep := s.due()
		for _, view := range due {
			calls.Go(func() {
				defer s.done(view)
				s.fire(ctx, view)
			})
		}
		timer.Reset(sleep)
	}
}

// due marks the views whose time has come as running and returns them, with how long to sleep.
func (s *Scheduler) due() ([]string, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	// Corrections of a few seconds are left to pass: starting anew would repeat the tick just made.
	setBack := now.Before(s.seen.Add(-look))
	s.seen = now
	var due []string
	sleep := look
	for view, t := range s.tasks {
		if setBack && !t.removed {
			t.next = t.spec.Next(now)
		}
		if t.next.IsZero() || t.running {
			continue
		}
		if wait := t.next.Sub(now); wait > 0 {
			sleep = min(sleep, wait)
			continue
		}
		t.running, t.next = true, t.spec.Next(now)
		due = append(due, view)
	}
	return due, sleep
}

func (s *Scheduler) done(view string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[view]
	t.running = false
	if t.removed {
		delete(s.tasks, view)
	}
	s.poke()
}

// clock reads the wall clock, without the monotonic reading, which does not follow when the clock is set.
func (s *Scheduler) clock() time.Time { return s.now().Round(0) }

// poke makes Run look again.
func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
