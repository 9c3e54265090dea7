// Package schedule calls a function for each feature view when its cron expression says so. It knows nothing of runs.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// look is the longest the scheduler sleeps: a wall clock that was set is noticed within it.
const look = 30 * time.Second

// Config is what a Scheduler works with.
type Config struct {
	// Fire is called for a view whose time has come, in a goroutine of its own, never twice at once for one view. It
	// returns how long to wait before it is called again for the same tick, zero for not at all; a newer tick that comes
	// meanwhile takes its place. ctx ends with Run's.
	Fire func(ctx context.Context, call Call) (again time.Duration)
	Now  func() time.Time // the wall clock; default time.Now
	// Concurrency bounds calls at once, of all views; others wait, those that are due first go first. Zero: no bound.
	Concurrency int
	// Jitter is the most by which calls are later than their ticks. A view has its own share of it, the same in every
	// process. Zero: none.
	Jitter time.Duration
}

// Call is one call of Fire.
type Call struct {
	View  string
	Tick  time.Time // the last of the ticks that the call is for, without jitter
	Again bool      // Fire asked for it
}

// Entry is the schedule of one view.
type Entry struct {
	View string
	Spec string // as Parse takes it
	Zone string // IANA name; "" is UTC
	// Since is when the view was last served by its schedule: ticks missed since then make one call at once. Zero, or in
	// the future: ticks count from now on.
	Since time.Time
	// Paused: the schedule rests. Ticks missed meanwhile make one call when it no longer does.
	Paused bool
}

// Stats counts since New.
type Stats struct {
	Ticks     int64     // calls for a tick
	Coalesced int64     // those of them that stood for several ticks
	Repeated  int64     // calls that Fire asked for
	Running   int       // calls under way now
	Waiting   int       // calls that are due now and wait for others
	Paused    int       // schedules that rest now
	Last      time.Time // the last tick that was called for; zero: none
}

// Scheduler calls Fire as the entries say. Safe for concurrent use.
type Scheduler struct {
	cfg  Config
	wake chan struct{}

	mu    sync.Mutex
	tasks map[string]*task
	seen  time.Time // the wall clock when ticks were last looked for
	stats Stats
}

type task struct {
	entry   Entry
	spec    *Spec
	jitter  time.Duration // this view's
	next    time.Time     // when the next tick's call is due by the wall clock; zero: never
	tick    time.Time     // that the last call was for
	again   time.Time     // when that call is repeated, by the monotonic clock; zero: it is not
	running bool
	removed bool // running, but no longer scheduled
}

// New returns a scheduler without entries.
func New(cfg Config) *Scheduler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Scheduler{cfg: cfg, wake: make(chan struct{}, 1), tasks: map[string]*task{}}
}

// Update replaces the entries. A view whose expression and zone stay keeps its next call. Entries that can't be read
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
			t.entry.Paused = e.Paused
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
			t = &task{jitter: jitter(e.View, s.cfg.Jitter)}
			s.tasks[e.View] = t
		}
		t.entry, t.spec, t.again, t.removed = e, spec, time.Time{}, false
		// Since is when a call was made, or a moment later: its own tick has passed.
		t.next = t.after(from)
	}
	for view, t := range s.tasks {
		switch {
		case kept[view]:
		case t.running:
			t.removed = true
		default:
			delete(s.tasks, view)
		}
	}
	s.poke()
	return errors.Join(errs...)
}

// jitter returns a view's share of most.
func jitter(view string, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	share, _ := bits.Mul64(xxh3.HashString(view), uint64(most)+1)
	return time.Duration(share).Truncate(time.Millisecond)
}

// after returns when the call is due of the first tick whose call is due after now.
func (t *task) after(now time.Time) time.Time {
	tick := t.spec.Next(now.Add(-t.jitter))
	if tick.IsZero() {
		return tick
	}
	return tick.Add(t.jitter)
}

// Next returns when a view's next call is due, zero where it has none or rests. One in the past is due as soon as the
// call under way returns, or as fewer are.
func (s *Scheduler) Next(view string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[view]
	if t == nil {
		return time.Time{}
	}
	now := s.clock()
	wait, ok := t.wait(now)
	if !ok {
		return time.Time{}
	}
	return now.Add(wait)
}

// Stats returns the counters.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	now := s.clock()
	for _, t := range s.tasks {
		if t.running {
			stats.Running++
			continue
		}
		if t.entry.Paused {
			stats.Paused++
		}
		if wait, ok := t.wait(now); ok && wait <= 0 {
			stats.Waiting++
		}
	}
	return stats
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
		for _, call := range due {
			calls.Go(func() { s.done(call.View, s.cfg.Fire(ctx, call)) })
		}
		timer.Reset(sleep)
	}
}

// wait returns how long it is until a task's next call is due, negative where it is overdue; false where there is none.
func (t *task) wait(now time.Time) (wait time.Duration, ok bool) {
	if t.removed || t.entry.Paused {
		return 0, false
	}
	if !t.next.IsZero() {
		wait, ok = t.next.Sub(now), true
	}
	if !t.again.IsZero() {
		if w := time.Until(t.again); !ok || w < wait {
			wait, ok = w, true
		}
	}
	return wait, ok
}

// due marks the tasks whose time has come, as many as may run, as running and returns their calls, with how long to
// sleep.
func (s *Scheduler) due() ([]Call, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	// Corrections of a few seconds are left to pass: starting anew would repeat the tick just made.
	setBack := now.Before(s.seen.Add(-look))
	s.seen = now
	type waiting struct {
		*task
		wait time.Duration
	}
	var ready []waiting
	sleep, running := look, 0
	for _, t := range s.tasks {
		if setBack {
			t.next = t.after(now)
		}
		if t.running {
			running++
			continue
		}
		switch wait, ok := t.wait(now); {
		case !ok:
		case wait > 0:
			sleep = min(sleep, wait)
		default:
			ready = append(ready, waiting{t, wait})
		}
	}
	slices.SortFunc(ready, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(a.wait, b.wait), cmp.Compare(a.entry.View, b.entry.View))
	})
	if s.cfg.Concurrency > 0 {
		ready = ready[:min(len(ready), max(s.cfg.Concurrency-running, 0))]
	}
	calls := make([]Call, len(ready))
	for i, t := range ready {
		calls[i] = s.begin(t.task, now)
	}
	return calls, sleep
}

// begin marks a task that is due as running.
func (s *Scheduler) begin(t *task, now time.Time) Call {
	c := Call{View: t.entry.View, Again: true}
	if !t.next.IsZero() && !t.next.After(now) {
		first := t.next.Add(-t.jitter)
		// The clock may be set on between two ticks by any number of them.
		t.tick, t.next, c.Again = t.spec.Last(first.Add(-1), now.Add(-t.jitter)), t.after(now), false
		s.stats.Ticks++
		if t.tick.After(s.stats.Last) {
			s.stats.Last = t.tick
		}
		if t.tick.After(first) {
			s.stats.Coalesced++
		}
	} else {
		s.stats.Repeated++
	}
	t.running, t.again = true, time.Time{}
	c.Tick = t.tick
	return c
}

func (s *Scheduler) done(view string, again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[view]
	t.running = false
	if again > 0 {
		t.again = time.Now().Add(again)
	}
	if t.removed {
		delete(s.tasks, view)
	}
	s.poke()
}

// clock reads the wall clock, without the monotonic reading, which does not follow when the clock is set.
func (s *Scheduler) clock() time.Time { return s.cfg.Now().Round(0) }

// poke makes Run look again.
func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
