package schedule_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize/schedule"
)

// calls records what a scheduler fired; a call lasts as long as its view's entry in takes says, and asks to be repeated
// as often as the one in again says, after a minute each.
type calls struct {
	mu    sync.Mutex
	all   []call
	at    map[string][]time.Time
	takes map[string]time.Duration
	again map[string]int
	now   map[string]int
	most  int // calls of one view at once
	total int // calls now
	peak  int // calls at once
}

type call struct {
	schedule.Call
	at time.Time
}

func (c *calls) fire(ctx context.Context, made schedule.Call) time.Duration {
	c.mu.Lock()
	view := made.View
	c.all = append(c.all, call{made, time.Now()})
	c.at[view] = append(c.at[view], time.Now())
	c.now[view]++
	c.total++
	c.most, c.peak = max(c.most, c.now[view]), max(c.peak, c.total)
	d := c.takes[view]
	c.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[view]--
	c.total--
	if c.again[view] == 0 {
		return 0
	}
	c.again[view]--
	return time.Minute
}

// take sets how long calls of a view last from now on.
func (c *calls) take(view string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takes[view] = d
}

// repeat makes the next n calls of a view ask to be repeated.
func (c *calls) repeat(view string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again[view] = n
}

func (c *calls) count(view string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at[view])
}

// tell returns the calls of a view, each as its tick and when it was made since begin; "again" where it was asked for.
func (c *calls) tell(view string, begin time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var told []string
	for _, made := range c.all {
		if made.View == view {
			text := fmt.Sprintf("%v at %v", made.Tick.Sub(begin), made.at.Sub(begin))
			if made.Again {
				text += " again"
			}
			told = append(told, text)
		}
	}
	return told
}

// start runs a scheduler in a bubble whose clock begins at 2000-01-01T00:00:00Z.
func start(t *testing.T, now func() time.Time, entries ...schedule.Entry) (*schedule.Scheduler, *calls) {
	return startWith(t, schedule.Config{Now: now}, entries...)
}

func startWith(t *testing.T, cfg schedule.Config, entries ...schedule.Entry) (*schedule.Scheduler, *calls) {
	c := &calls{
		at: map[string][]time.Time{}, takes: map[string]time.Duration{}, again: map[string]int{}, now: map[string]int{},
	}
	cfg.Fire = c.fire
	s := schedule.New(cfg)
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

// clock is a wall clock that can be set.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) set(shift time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift = shift
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
	const year = 365 * 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		var wall clock
		s, c := start(t, wall.now, schedule.Entry{View: "a", Spec: "0 * * * *"})
		begin := time.Now()
		pass(time.Minute)
		wall.set(year)
		pass(time.Minute)
		if c.count("a") != 1 || !c.all[0].Tick.Equal(begin.Add(year)) {
			t.Fatalf("a year forward: fired %v", c.all)
		}
		wall.set(0)
		pass(time.Minute)
		if next := s.Next("a"); time.Until(next) > time.Hour {
			t.Errorf("set back: next is %v at %v", next, time.Now())
		}
		pass(time.Hour)
		if c.count("a") != 2 {
			t.Errorf("set back: fired %d times", c.count("a"))
		}
		wall.set(-year)
		pass(time.Hour)
		if c.count("a") != 3 {
			t.Errorf("a year back: fired %d times in an hour", c.count("a")-2)
		}
		if stats := s.Stats(); stats.Ticks != 3 || stats.Coalesced != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

// A repeated call waits by the monotonic clock, wherever the wall clock is set to.
func TestRepeatsWhileTheClockIsSet(t *testing.T) {
	for _, shift := range []time.Duration{0, 9 * time.Second, -9 * time.Second, -365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var wall clock
			s, c := start(t, wall.now, schedule.Entry{View: "a", Spec: "0 0 * * *", Since: time.Now().Add(-time.Second)})
			c.repeat("a", 2)
			begin := time.Now()
			pass(30 * time.Second)
			wall.set(shift)
			if next := s.Next("a"); next.Sub(wall.now()) != 30*time.Second {
				t.Errorf("set by %v: the next call is in %v", shift, next.Sub(wall.now()))
			}
			pass(10 * time.Minute)
			want := []string{"0s at 0s", "0s at 1m0s again", "0s at 2m0s again"}
			if got := c.tell("a", begin); !slices.Equal(got, want) {
				t.Errorf("set by %v: %q", shift, got)
			}
		})
	}
}

// A newer tick takes the place of a call that waits to be repeated.
func TestTickReplacesRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := start(t, nil, schedule.Entry{View: "a", Spec: "*/2 * * * *"})
		c.take("a", 20*time.Second)
		c.repeat("a", 2)
		begin := time.Now()
		if got := s.Next("a").Sub(begin); got != 2*time.Minute {
			t.Errorf("next is in %v", got)
		}
		pass(6*time.Minute + 30*time.Second)
		want := []string{
			"2m0s at 2m0s", "2m0s at 3m20s again", "4m0s at 4m0s", // 3m40s asks for 4m40s
			"6m0s at 6m0s",
		}
		if got := c.tell("a", begin); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if stats := s.Stats(); stats != (schedule.Stats{Ticks: 3, Repeated: 1, Last: stats.Last}) || !stats.Last.Equal(begin.Add(6*time.Minute)) {
			t.Errorf("%+v", stats)
		}
	})
}

// Calls beyond the bound wait; those that have been due for longest go first.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := startWith(t, schedule.Config{Concurrency: 2},
			schedule.Entry{View: "d", Spec: "0 1 * * *"}, schedule.Entry{View: "c", Spec: "0 1 * * *"},
			schedule.Entry{View: "b", Spec: "1 1 * * *"}, schedule.Entry{View: "a", Spec: "2 1 * * *"},
			schedule.Entry{View: "e", Spec: "0 1 * * *"})
		for _, view := range []string{"a", "b", "c", "d", "e"} {
			c.take(view, 5*time.Minute)
		}
		c.take("d", 6*time.Minute)
		pass(time.Hour + 3*time.Minute)
		if stats := s.Stats(); stats != (schedule.Stats{Ticks: 2, Running: 2, Waiting: 3, Last: stats.Last}) || stats.Last.IsZero() {
			t.Errorf("%+v", stats)
		}
		if next := s.Next("a"); !next.Equal(time.Now().Add(-time.Minute)) {
			t.Errorf("a has been due since %v at %v", next, time.Now())
		}
		pass(30 * time.Minute)
		var order []string
		for _, made := range c.all {
			order = append(order, made.View)
		}
		slices.Sort(order[:2]) // both begin at once
		if got := strings.Join(order, ""); got != "cdeba" || c.peak != 2 {
			t.Errorf("order %s, %d at once", got, c.peak)
		}
	})
}

// Jitter is a view's own, the same in every process, and within its bound; no tick is lost or doubled by it.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10 * time.Minute
		var entries []schedule.Entry
		for i := range 50 {
			entries = append(entries, schedule.Entry{View: fmt.Sprintf("view_%d", i), Spec: "*/5 * * * *"})
		}
		begin := time.Now()
		s, c := startWith(t, schedule.Config{Jitter: most}, entries...)
		other, _ := startWith(t, schedule.Config{Jitter: most}, entries...)
		early := 0
		for _, e := range entries {
			next := s.Next(e.View)
			if !next.Equal(other.Next(e.View)) {
				t.Errorf("%s: %v in one process, %v in another", e.View, next, other.Next(e.View))
			}
			// A tick of before begin may be due after it.
			if wait := next.Sub(begin); wait <= 0 || wait > 5*time.Minute {
				t.Errorf("%s: next in %v", e.View, wait)
			} else if wait < 150*time.Second {
				early++
			}
		}
		if early < 10 || early > 40 {
			t.Errorf("%d of %d views in the first half", early, len(entries))
		}
		pass(time.Hour)
		for _, e := range entries {
			if n := c.count(e.View); n != 12 {
				t.Errorf("%s fired %d times in an hour", e.View, n)
			}
		}
		for _, made := range c.all {
			if late := made.at.Sub(made.Tick); late < 0 || late > most {
				t.Errorf("%s: %v after its tick", made.View, late)
			}
		}
		if s.Stats().Coalesced != 0 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

// What was missed in a pause is made up by one call, for the last tick.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := func(paused bool) []schedule.Entry {
			return []schedule.Entry{{View: "a", Spec: "*/10 * * * *", Paused: paused}, {View: "b", Spec: "0 * * * *"}}
		}
		begin := time.Now()
		s, c := start(t, nil, entries(false)...)
		pass(10 * time.Minute)
		c.repeat("a", 1)
		pass(10 * time.Minute) // asks to be repeated at 21m
		if err := s.Update(entries(true)); err != nil {
			t.Fatal(err)
		}
		if next := s.Next("a"); !next.IsZero() {
			t.Errorf("a schedule that rests is due at %v", next)
		}
		pass(45 * time.Minute)
		if got := s.Stats(); got.Paused != 1 || c.count("a") != 2 || c.count("b") != 1 {
			t.Errorf("%+v; fired %v", got, c.at)
		}
		if err := s.Update(entries(false)); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		want := []string{"10m0s at 10m0s", "20m0s at 20m0s", "1h0m0s at 1h5m0s", "1h10m0s at 1h10m0s"}
		if got := c.tell("a", begin); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

// Whatever calls take, ask for and wait for: no more than the bound at once, one per view, and every tick has a call
// that began after it.
func TestRandomCalls(t *testing.T) {
	rnd := testenv.Rand(t)
	rounds := 5
	if testenv.Long() {
		rounds = 100
	}
	for range rounds {
		synctest.Test(t, func(t *testing.T) {
			cfg := schedule.Config{Concurrency: 1 + rnd.IntN(4), Jitter: time.Duration(rnd.IntN(3)) * time.Minute}
			var entries []schedule.Entry
			for i := range 1 + rnd.IntN(8) {
				entries = append(entries, schedule.Entry{View: fmt.Sprint(i), Spec: fmt.Sprintf("*/%d * * * *", 1+rnd.IntN(20))})
			}
			begin := time.Now()
			s, c := startWith(t, cfg, entries...)
			for range 60 {
				e := &entries[rnd.IntN(len(entries))]
				switch rnd.IntN(4) {
				case 0:
					c.take(e.View, time.Duration(rnd.IntN(300))*time.Second)
				case 1:
					c.repeat(e.View, rnd.IntN(3))
				case 2:
					e.Paused = !e.Paused
				}
				if err := s.Update(entries); err != nil {
					t.Fatal(err)
				}
				pass(time.Duration(rnd.IntN(600)) * time.Second)
			}
			for i := range entries {
				entries[i].Paused = false
				c.take(entries[i].View, 0)
			}
			if err := s.Update(entries); err != nil {
				t.Fatal(err)
			}
			pass(2 * time.Hour)
			if c.most > 1 || c.peak > cfg.Concurrency {
				t.Errorf("%d of a view, %d in all at once, of at most %d", c.most, c.peak, cfg.Concurrency)
			}
			for _, e := range entries {
				checkCalls(t, e, cfg.Jitter, begin, c)
			}
		})
	}
}

func checkCalls(t *testing.T, e schedule.Entry, jitter time.Duration, begin time.Time, c *calls) {
	t.Helper()
	spec, err := schedule.Parse(e.Spec, e.Zone)
	if err != nil {
		t.Fatal(err)
	}
	var before schedule.Call
	for _, made := range c.all {
		if made.View != e.View {
			continue
		}
		switch next := spec.Next(made.Tick); {
		case made.Again:
			if !made.Tick.Equal(before.Tick) {
				t.Errorf("%s: a repeated call for %v, after one for %v", e.View, made.Tick, before.Tick)
			}
		case made.Tick.Before(begin.Add(-jitter)) || !made.Tick.After(before.Tick):
			t.Errorf("%s: a call for %v after one for %v", e.View, made.Tick, before.Tick)
		case made.at.Before(made.Tick) || !made.at.Before(next.Add(jitter)):
			t.Errorf("%s: a call at %v for %v", e.View, made.at, made.Tick)
		}
		before = made.Call
	}
	if late := spec.Next(before.Tick).Add(jitter); !time.Now().Before(late) {
		t.Errorf("%s: no call after that for %v", e.View, before.Tick)
	}
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
		s := schedule.New(schedule.Config{Fire: func(ctx context.Context, _ schedule.Call) time.Duration {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return 0
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
