package schedule_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/materialize/schedule"
)

// calls records what a scheduler fired; a call lasts as long as its view's entry in takes says.
type calls struct {
	mu    sync.Mutex
	at    map[string][]time.Time
	takes map[string]time.Duration
	now   map[string]int
	most  int // calls of one view at once
}

func (c *calls) fire(ctx context.Context, view string) {
	c.mu.Lock()
	c.at[view] = append(c.at[view], time.Now())
	c.now[view]++
	c.most = max(c.most, c.now[view])
	d := c.takes[view]
	c.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.now[view]--
	c.mu.Unlock()
}

// take sets how long calls of a view last from now on.
func (c *calls) take(view string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takes[view] = d
}

func (c *calls) count(view string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at[view])
}

// start runs a scheduler in a bubble whose clock begins at 2000-01-01T00:00:00Z.
func start(t *testing.T, now func() time.Time, entries ...schedule.Entry) (*schedule.Scheduler, *calls) {
	c := &calls{at: map[string][]time.Time{}, takes: map[string]time.Duration{}, now: map[string]int{}}
	s := schedule.New(schedule.Config{Fire: c.fire, Now: now})
	if err := s.Update(entries); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func TestFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := start(t, nil, schedule.Entry{View: "a", Spec: "*/15 * * * *"}, schedule.Entry{View: "b", Spec: "0 * * * *"})
		begin := time.Now()
		if got := s.Next("a").Sub(begin); got != 15*time.Minute {
			t.Errorf("next is in %v", got)
		}
		pass(2*time.Hour + time.Second)
		var got []time.Duration
		for _, at := range c.at["a"] {
			got = append(got, at.Sub(begin)/time.Minute)
		}
		if want := []time.Duration{15, 30, 45, 60, 75, 90, 105, 120}; !slices.Equal(got, want) {
			t.Errorf("a fired at minutes %v", got)
		}
		if c.count("b") != 2 {
			t.Errorf("b fired %d times", c.count("b"))
		}
	})
}

// A call that takes longer than three intervals is not doubled; the ticks it missed become one.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := start(t, nil, schedule.Entry{View: "a", Spec: "* * * * *"}, schedule.Entry{View: "b", Spec: "* * * * *"})
		c.take("a", 3*time.Minute+30*time.Second)
		pass(10*time.Minute + time.Second)
		if c.most != 1 {
			t.Errorf("%d calls of one view at once", c.most)
		}
		// 1:00–4:30, the missed ticks at once 4:30–8:00, 8:00–.
		if c.count("a") != 3 {
			t.Errorf("a fired %d times: %v", c.count("a"), c.at["a"])
		}
		if c.count("b") != 10 {
			t.Errorf("b waited for a: it fired %d times", c.count("b"))
		}
	})
}

// A process that was stopped for three intervals makes one call.
func TestMissedTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := start(t, nil, schedule.Entry{View: "a", Spec: "*/10 * * * *", Since: time.Now().Add(-35 * time.Minute)})
		pass(time.Second)
		if c.count("a") != 1 {
			t.Errorf("fired %d times at once", c.count("a"))
		}
		pass(10 * time.Minute)
		if c.count("a") != 2 {
			t.Errorf("fired %d times", c.count("a"))
		}
	})
}

func TestClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var shift time.Duration
		set := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); shift = d }
		now := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(shift) }
		s, c := start(t, now, schedule.Entry{View: "a", Spec: "0 * * * *"})
		pass(time.Minute)
		set(365 * 24 * time.Hour)
		pass(time.Minute)
		if c.count("a") != 1 {
			t.Fatalf("a year forward: fired %d times", c.count("a"))
		}
		set(0)
		pass(time.Minute)
		if next := s.Next("a"); time.Until(next) > time.Hour {
			t.Errorf("set back: next is %v at %v", next, time.Now())
		}
		pass(time.Hour)
		if c.count("a") != 2 {
			t.Errorf("set back: fired %d times", c.count("a"))
		}
	})
}

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := start(t, nil, schedule.Entry{View: "a", Spec: "*/10 * * * *"}, schedule.Entry{View: "b", Spec: "* * * * *"})
		c.take("b", 90*time.Second)
		pass(61 * time.Second)
		err := s.Update([]schedule.Entry{
			{View: "a", Spec: "*/10 * * * *"},
			{View: "c", Spec: "*/5 * * * *"},
			{View: "bad", Spec: "TZ=0"},
		})
		if err == nil || !strings.Contains(err.Error(), "view bad") {
			t.Errorf("error %v", err)
		}
		if !s.Next("b").IsZero() {
			t.Error("a removed view has a next tick")
		}
		pass(9 * time.Minute)
		if c.count("a") != 1 || c.count("b") != 1 || c.count("c") != 2 || c.count("bad") != 0 {
			t.Errorf("fired %v", c.at)
		}
		// A view that comes back while the call from before is under way.
		c.take("c", time.Minute)
		pass(5 * time.Minute)
		if err := s.Update(nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Update([]schedule.Entry{{View: "c", Spec: "* * * * *"}}); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		if c.most != 1 {
			t.Errorf("%d calls of one view at once", c.most)
		}
		if got := c.count("c"); got < 10 {
			t.Errorf("c fired %d times after it came back", got)
		}
	})
}

// Run ends after the calls under way, whose context has ended.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		s := schedule.New(schedule.Config{Fire: func(ctx context.Context, _ string) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		}})
		if err := s.Update([]schedule.Entry{{View: "a", Spec: "* * * * *"}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := s.Run(ctx); err != nil || !ended {
			t.Errorf("Run ended with %v, call ended: %v", err, ended)
		}
	})
}
