package admission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// queued enters a call from a goroutine of its own, and returns what it came to once it has.
func queued(ctx context.Context, c *Controller, call Call) func() (Turn, error) {
	var turn Turn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		turn, err = c.Enter(ctx, call)
	}()
	synctest.Wait()
	return func() (Turn, error) {
		<-done
		return turn, err
	}
}

// served waits until a queued call has its turn, and gives it back.
func served(t *testing.T, end func() (Turn, error)) {
	t.Helper()
	turn, err := end()
	if err != nil {
		t.Error(err)
	}
	turn.Release()
}

// withDeadline returns a context that ends after d, with the test at the latest.
func withDeadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// atPace is a controller whose small turns are taken, and known to come free one per millisecond.
func atPace(t *testing.T) (c *Controller, held *turns) {
	t.Helper()
	c = New(Options{Processors: 1})
	held = taken(t, c)
	c.small.pace, c.small.begun, c.small.last = time.Millisecond, time.Now(), time.Now()
	return c, held
}

// TestWeights: how many calls of so many bytes of keys work at once.
func TestWeights(t *testing.T) {
	for _, x := range []struct{ keys, atOnce int }{
		{0, 32}, {512, 32}, {513, 10}, {767, 10}, {768, 8}, {256 * 14, 2}, {256 * 15, 2}, {1 << 20, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := New(Options{Processors: 1})
			var entered sync.WaitGroup
			for range 40 {
				entered.Go(func() { hold(ctx, c, Call{Keys: x.keys}) })
			}
			synctest.Wait()
			if n := c.Stats().Working; n != x.atOnce {
				t.Errorf("%d bytes of keys: %d at once, want %d", x.keys, n, x.atOnce)
			}
			cancel()
			entered.Wait()
			quiet(t, c)
		})
	}
}

// TestNobodyPasses: a light call that there would be room for waits behind a heavy one that came before.
func TestNobodyPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		heavy, light := Call{Keys: 1 << 20}, Call{Keys: 600}
		first, _ := c.Enter(t.Context(), heavy)
		second, _ := c.Enter(t.Context(), light)
		waiting := []func() (Turn, error){queued(t.Context(), c, heavy), queued(t.Context(), c, light)}
		if s := c.Stats(); s.Working != 2 || s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		first.Release()
		second.Release()
		for _, end := range waiting {
			served(t, end)
		}
		quiet(t, c)
	})
}

// TestSameDeadline: of calls that are due at the same time, the first that came is the first that is served.
func TestSameDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		held := taken(t, c)
		var order []int
		var running sync.WaitGroup
		for i, d := range []time.Duration{2, 1, 2, 1, 2, 1} { // each second one passes those that are due later
			ctx := withDeadline(t, d*time.Second)
			running.Go(func() {
				turn, err := c.Enter(ctx, one)
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
				turn.Release()
			})
			synctest.Wait()
		}
		held.release()
		running.Wait()
		if want := []int{1, 3, 5, 0, 2, 4}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		held.releaseAll()
		quiet(t, c)
	})
}

// TestForecast: what a call is told follows from how many are before it, whatever waits behind it, and from the time that it
// has. A message of a stream waits all the same.
func TestForecast(t *testing.T) {
	const ms = time.Millisecond
	for _, x := range []struct {
		name   string
		before []time.Duration // deadlines of those that wait
		call   Call
		time   time.Duration
		taken  bool
	}{
		// 32 under way and itself take 33 ms; a quarter of the time is left.
		{"none waits", nil, one, 44 * ms, true},
		{"none waits, too little time", nil, one, 43 * ms, false},
		{"behind two", []time.Duration{45 * ms, 46 * ms}, one, 47 * ms, true},
		{"behind two, too little time", []time.Duration{45 * ms, 46 * ms}, one, 46 * ms, false},
		{"behind one of three", []time.Duration{45 * ms, time.Second, time.Second}, one, 46 * ms, true},
		{"behind one of three, too little time", []time.Duration{44 * ms, time.Second, time.Second}, one, 45 * ms, false},
		{"a stream", nil, Call{Keys: 10, Stream: true}, 43 * ms, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, held := atPace(t)
				var ends []func() (Turn, error)
				for _, d := range x.before {
					ends = append(ends, queued(withDeadline(t, d), c, one))
				}
				if n := c.Stats().Waiting; n != len(x.before) {
					t.Fatalf("%d wait: %+v", n, c.Stats())
				}
				end := queued(withDeadline(t, x.time), c, x.call)
				if waits := c.Stats().Waiting > len(x.before); waits != x.taken {
					t.Errorf("waits: %t; %+v", waits, c.Stats())
				}
				held.releaseAll()
				turn, err := end()
				if (err == nil) != x.taken || err != nil && problem.CodeOf(err) != problem.Exhausted {
					t.Errorf("got %v", err)
				}
				if err == nil {
					turn.Release()
				}
				for _, end := range ends {
					served(t, end)
				}
				quiet(t, c)
			})
		})
	}
}

// TestRefuseEarly: while others wait, half of a call's time is left for what is not seen.
func TestRefuseEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, held := atPace(t)
		if err := c.RefuseEarly(withDeadline(t, time.Millisecond)); err != nil {
			t.Errorf("while nobody waits: %v", err)
		}
		end := queued(t.Context(), c, one)
		// 32 under way, one that waits and itself take 34 ms.
		if err := c.RefuseEarly(withDeadline(t, 67*time.Millisecond)); problem.CodeOf(err) != problem.Exhausted || c.Stats().Refused[Deadline] != 1 {
			t.Errorf("got %v, %+v", err, c.Stats())
		}
		if err := c.RefuseEarly(withDeadline(t, 68*time.Millisecond)); err != nil {
			t.Errorf("got %v", err)
		}
		held.releaseAll()
		served(t, end)
		quiet(t, c)
	})
}

// TestTooLate: a call whose turn comes when it can't be answered in time any more is refused then, and the turn is the next
// one's. A message of a stream takes it.
func TestTooLate(t *testing.T) {
	for _, stream := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, held := atPace(t)
			late := queued(withDeadline(t, time.Second), c, Call{Keys: 10, Stream: stream})
			next := queued(withDeadline(t, time.Hour), c, one)
			c.small.pace = 100 * time.Millisecond // 32 of them: more than a second
			held.release()
			synctest.Wait()
			if s := c.Stats(); s.Working != 32 || stream != (s.Refused[Deadline] == 0) {
				t.Errorf("stream %t: %+v", stream, s)
			}
			held.releaseAll()
			if turn, err := late(); err == nil {
				turn.Release()
			} else if stream || problem.CodeOf(err) != problem.Exhausted {
				t.Error(err)
			}
			served(t, next)
			quiet(t, c)
		})
	}
}

// TestPace: speed is what was done while all turns were taken, over no less than the window, and no less than what was under
// way or a second. Who finds turns free forgets it.
func TestPace(t *testing.T) {
	began := time.Now()
	l := &lane{turns: 10, busy: 10}
	l.watch(began)
	for _, x := range []struct {
		at           time.Duration
		weight       int
		pace, behind time.Duration // behind: since when the next measure begins
	}{
		{5 * time.Millisecond, 20, 0, 5 * time.Millisecond},                                      // within the window
		{20 * time.Millisecond, 20, 500 * time.Microsecond, 0},                                   // 40 in 20 ms
		{60 * time.Millisecond, 5, 500 * time.Microsecond, 40 * time.Millisecond},                // not yet all turns
		{80 * time.Millisecond, 15, (500*time.Microsecond + 3*time.Millisecond) / 2, 0},          // 20 in 60 ms
		{1080 * time.Millisecond, 1, (1750*time.Microsecond + 1000*time.Millisecond) / 2, 0},     // a second
		{1081 * time.Millisecond, 100, (1750*time.Microsecond + 1000*time.Millisecond) / 2, 1e6}, // within the window
	} {
		l.measure(x.weight, began.Add(x.at))
		if behind := l.last.Sub(l.begun); l.pace != x.pace || behind != x.behind || !l.last.Equal(began.Add(x.at)) {
			t.Errorf("after %s: pace %s, measured for %s; want %s, %s", x.at, l.pace, behind, x.pace, x.behind)
		}
	}
	// No surprise that none came free within the window; then it counts.
	for at, want := range map[time.Duration]time.Duration{0: 12, window: 12, window + time.Second: 12 + time.Second} {
		l.pace = 1
		if got := l.takes(0, 2, l.last.Add(at)); got != want {
			t.Errorf("after %s: takes %s, want %s", at, got, want)
		}
	}
	l.forget()
	if l.pace != 0 || !l.begun.IsZero() {
		t.Errorf("%+v", l)
	}
}

// TestSpeedIsSeen: a controller measures while all turns are taken, though nobody waits, and forgets once some are free.
func TestSpeedIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		var turns []Turn
		for range 4 * c.small.turns {
			turn, err := c.Enter(t.Context(), one)
			if err != nil {
				t.Fatal(err)
			}
			if turns = append(turns, turn); len(turns) == c.small.turns {
				time.Sleep(time.Millisecond)
				turns[0].Release()
				turns = turns[1:]
			}
		}
		if c.small.pace < 900*time.Microsecond || c.small.pace > 1100*time.Microsecond {
			t.Errorf("pace %s, of one per millisecond", c.small.pace)
		}
		for _, turn := range turns {
			turn.Release()
		}
		if c.small.pace != 0 {
			t.Errorf("pace %s, while turns are free", c.small.pace)
		}
		quiet(t, c)
	})
}

// TestStats: what waited, for how long, and who is told of it.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		c := New(Options{Processors: 1, Waited: func(_ context.Context, d time.Duration) { told = append(told, d) }})
		held := taken(t, c)
		end := queued(t.Context(), c, one)
		time.Sleep(3 * time.Millisecond)
		held.release()
		served(t, end)
		s := c.Stats()
		at := slices.Index(WaitBounds(), 5*time.Millisecond)
		if s.Admitted != 33 || s.Waits[0] != 32 || s.Waits[at] != 1 || s.Waited != 3*time.Millisecond || !slices.Equal(told, []time.Duration{3 * time.Millisecond}) {
			t.Errorf("%+v, told %v", s, told)
		}
		held.releaseAll()
		quiet(t, c)
	})
}

// TestHugeMessage: one message that is larger than all that may wait does wait, alone.
func TestHugeMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		huge := Call{Keys: 1 << 20, Bytes: maxWaitingBytes + 1}
		ctx, cancel := context.WithCancel(t.Context())
		var turns []Turn
		for range 2 {
			turn, err := c.Enter(ctx, huge)
			if err != nil {
				t.Fatal(err)
			}
			turns = append(turns, turn)
		}
		end := queued(ctx, c, huge)
		if s := c.Stats(); s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := c.Enter(ctx, huge); problem.CodeOf(err) != problem.Exhausted {
			t.Errorf("got %v", err)
		}
		cancel()
		if _, err := end(); !errors.Is(err, context.Canceled) || c.Stats().Refused[Cancelled] != 1 {
			t.Errorf("got %v, %+v", err, c.Stats())
		}
		for _, turn := range turns {
			turn.Release()
		}
		quiet(t, c)
	})
}

// TestAdvice: those that are refused at once do not come back at once.
func TestAdvice(t *testing.T) {
	c := New(Options{Requests: 1})
	turn, err := c.Enter(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Release()
	least, most := 2*retry, time.Duration(0)
	for range 100 {
		var p *problem.Error
		if _, err := c.Enter(t.Context(), one); !errors.As(err, &p) {
			t.Fatal(err)
		}
		least, most = min(least, p.RetryAfter), max(most, p.RetryAfter)
	}
	if least < retry/2 || most >= retry*3/2 || most-least < retry/2 {
		t.Errorf("from %s to %s", least, most)
	}
}
