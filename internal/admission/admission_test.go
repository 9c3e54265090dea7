package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
)

var (
	one   = Call{Keys: 10, Bytes: 40}
	large = Call{Keys: 80_000, Bytes: 80_100} // 10,000 entities
)

// work takes a turn and works for some time.
func work(ctx context.Context, c *Controller, call Call, d time.Duration) error {
	t, err := c.Enter(ctx, call)
	if err != nil {
		return err
	}
	time.Sleep(d)
	t.Release()
	return nil
}

// hold keeps a turn until ctx ends, where it gets one.
func hold(ctx context.Context, c *Controller, call Call) {
	if turn, err := c.Enter(ctx, call); err == nil {
		<-ctx.Done()
		turn.Release()
	}
}

// taken takes all turns of small calls, and returns what gives one back.
func taken(t *testing.T, c *Controller) *turns {
	t.Helper()
	held := make(turns, c.small.turns)
	for i := range held {
		var err error
		if held[i], err = c.Enter(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	return &held
}

// turns are those that a test holds.
type turns []Turn

func (held *turns) release() {
	(*held)[0].Release()
	*held = (*held)[1:]
}

func (held *turns) releaseAll() {
	for len(*held) > 0 {
		held.release()
	}
}

func quiet(t *testing.T, c *Controller) {
	t.Helper()
	for name, l := range map[string]*lane{"small": &c.small, "bulk": &c.bulk} {
		if l.busy != 0 || l.held != 0 || l.queued != 0 || len(l.queue) != 0 {
			t.Errorf("%s: %d turns, %d calls, %d waiting of weight %d", name, l.busy, l.held, len(l.queue), l.queued)
		}
	}
	if s := c.Stats(); c.bytes != 0 || s.Working != 0 || s.Waiting != 0 {
		t.Errorf("%d bytes, %+v", c.bytes, s)
	}
}

// TestOrder: who has little time passes those that have more; others come in their order.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		held := taken(t, c)
		var mu sync.Mutex
		var order []string
		var running sync.WaitGroup
		for _, x := range []struct {
			name string
			time time.Duration // 0: no deadline
		}{{"a", 0}, {"b", time.Hour}, {"c", 5 * time.Second}, {"d", 6 * time.Second}, {"e", 5 * time.Second}, {"f", 0}} {
			running.Go(func() {
				ctx := t.Context()
				if x.time > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, x.time)
					defer cancel()
				}
				turn, err := c.Enter(ctx, one)
				if err != nil {
					t.Error(x.name, err)
					return
				}
				mu.Lock()
				order = append(order, x.name)
				mu.Unlock()
				turn.Release()
			})
			synctest.Wait()
			time.Sleep(time.Microsecond)
		}
		if s := c.Stats(); s.Waiting != 6 || s.Working != c.small.turns {
			t.Errorf("%+v", s)
		}
		held.release()
		running.Wait()
		want := "cedabf"
		var got string
		for _, name := range order {
			got += name
		}
		if got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		held.releaseAll()
		quiet(t, c)
	})
}

// TestLimits: beyond the limit calls are refused with advice when to come again, bulk beyond half of it; small ones still
// come in then.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Requests: 10, Processors: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		enter := func(call Call) {
			running.Go(func() { hold(ctx, c, call) })
			synctest.Wait()
		}
		refused := func(call Call, reason Reason) {
			t.Helper()
			_, err := c.Enter(ctx, call)
			var p *problem.Error
			if !errors.As(err, &p) || p.Code != problem.Exhausted || p.RetryAfter < retry/2 || p.RetryAfter > 2*retry || p.Suggestion == "" || p.Field != "" {
				t.Errorf("%+v", err)
			}
			if c.Stats().Refused[reason] == 0 {
				t.Errorf("%v is not counted as %s: %+v", err, reason, c.Stats())
			}
		}
		for range 5 {
			enter(large)
		}
		refused(large, Bulk)
		for range 5 {
			enter(one)
		}
		refused(one, Full)
		cancel()
		running.Wait()
		quiet(t, c)
		if n := c.Stats().Refused[Cancelled]; n == 0 {
			t.Error("nobody waited")
		}
	})
}

// TestBytes: messages that wait are bounded in memory.
func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		huge := Call{Keys: 40 << 20, Bytes: 40 << 20}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 3 { // two work
			running.Go(func() { _ = work(ctx, c, huge, time.Minute) })
			synctest.Wait()
		}
		if _, err := c.Enter(ctx, huge); problem.CodeOf(err) != problem.Exhausted || c.Stats().Refused[Bulk] != 1 {
			t.Error(err)
		}
		cancel()
		running.Wait()
		quiet(t, c)
	})
}

// TestDeadlines: whose deadline passes in the queue leaves it then; at a known speed, who would not be answered in time is
// refused at once.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		held := taken(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := c.Enter(ctx, one)
		if !errors.Is(err, context.DeadlineExceeded) || problem.CodeOf(err) != problem.Canceled || time.Since(began) != 50*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if c.Stats().Refused[Expired] != 1 {
			t.Errorf("%+v", c.Stats())
		}
		held.releaseAll()
		quiet(t, c)

		// Each call takes 32 ms: with 32 turns one ends per millisecond. 1,000 callers wait for a second or so.
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 1000 {
			running.Go(func() {
				for ctx.Err() == nil {
					_ = work(ctx, c, Call{Keys: 10, Stream: true}, 32*time.Millisecond)
				}
			})
		}
		time.Sleep(3 * time.Second)
		for _, x := range []struct {
			time time.Duration
			ok   bool
		}{{20 * time.Millisecond, false}, {40 * time.Millisecond, false}, {200 * time.Millisecond, true}, {2 * time.Second, true}} {
			ctx, cancel := context.WithTimeout(t.Context(), x.time)
			began := time.Now()
			err := work(ctx, c, one, 32*time.Millisecond)
			if (err == nil) != x.ok || !x.ok && (time.Since(began) > 0 || problem.CodeOf(err) != problem.Exhausted) {
				t.Errorf("with %s: after %s: %v", x.time, time.Since(began), err)
			}
			cancel()
		}
		stop()
		running.Wait()
		quiet(t, c)
	})
}

// TestStalled: where no turn comes free any more, calls with a deadline are refused at once after a while, and taken again
// when turns come free.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		held := taken(t, c)
		var running sync.WaitGroup
		if err := c.RefuseEarly(t.Context()); err != nil {
			t.Errorf("while nobody waits: %v", err)
		}
		running.Go(func() { _ = work(t.Context(), c, one, 0) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.RefuseEarly(ctx); problem.CodeOf(err) != problem.Exhausted || c.Stats().Refused[Deadline] != 1 {
			t.Errorf("%v, %+v", err, c.Stats())
		}
		if err := c.RefuseEarly(t.Context()); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
		began := time.Now()
		if _, err := c.Enter(ctx, one); problem.CodeOf(err) != problem.Exhausted || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		held.releaseAll()
		running.Wait()
		if err := errors.Join(c.RefuseEarly(ctx), work(ctx, c, one, 0)); err != nil {
			t.Error(err)
		}
		quiet(t, c)
	})
}

// TestBulk: bulk leaves small calls their turns, and half of the processors while they come; without them it has all; it goes
// on whatever they do.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 4})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var done, now, most atomic.Int64
		for range 50 {
			running.Go(func() {
				for ctx.Err() == nil {
					turn, err := c.Enter(ctx, large)
					if err != nil {
						continue
					}
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(50 * time.Millisecond)
					now.Add(-1)
					done.Add(1)
					turn.Release()
				}
			})
		}
		time.Sleep(time.Second)
		if n := most.Load(); n != 8 {
			t.Errorf("%d at once, want two per processor", n)
		}
		alone := done.Load()
		if alone < 100 {
			t.Errorf("%d done alone", alone)
		}
		for range 2 * c.small.turns { // more than there are turns, for two seconds
			running.Go(func() {
				for ctx.Err() == nil {
					_ = work(ctx, c, one, time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		done.Store(0)
		most.Store(0)
		time.Sleep(time.Second)
		if n := most.Load(); n != 2 {
			t.Errorf("%d at once beside small calls, want half of the processors", n)
		}
		if n := done.Load(); n < 35 || n > 45 {
			t.Errorf("%d done beside small calls, want two at a time", n)
		}
		stop()
		running.Wait()
		quiet(t, c)
	})
}

// TestOverload: callers who do not wait for each other ask for four times of what can be done, with a deadline. Nearly all
// that can be done is answered in time.
func TestOverload(t *testing.T) {
	for name, refused := range map[string]func(*Controller, context.Context) error{
		"early": (*Controller).RefuseEarly, "late": func(*Controller, context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) { overload(t, refused) })
	}
}

func overload(t *testing.T, refused func(*Controller, context.Context) error) {
	rnd := testenv.Rand(t)
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Processors: 1})
		work := make(chan chan struct{}, 1000) // the processor: a call each 100 µs
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			for {
				select {
				case answer := <-work:
					time.Sleep(100 * time.Microsecond)
					close(answer)
				case <-ctx.Done():
					return
				}
			}
		})
		var good atomic.Int64
		call := func() {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			if refused(c, ctx) != nil {
				return
			}
			turn, err := c.Enter(ctx, one)
			if err != nil {
				return
			}
			answer := make(chan struct{})
			work <- answer
			select {
			case <-answer:
				if ctx.Err() == nil {
					good.Add(1)
				}
			case <-ctx.Done():
			}
			turn.Release()
		}
		const seconds = 2
		for range seconds * 40_000 {
			running.Go(call)
			time.Sleep(time.Duration(rnd.ExpFloat64() * float64(25*time.Microsecond)))
		}
		if n := good.Load(); n < seconds*9_000 {
			t.Errorf("%d answers per second in time, of 10,000 that can be done; %+v", n/seconds, c.Stats())
		}
		stop()
		running.Wait()
		quiet(t, c)
	})
}

// TestCancelStorm: callers that leave at any moment leave nothing behind.
func TestCancelStorm(t *testing.T) {
	seed := testenv.Rand(t).Uint64()
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Requests: 500, Processors: 1})
		var running sync.WaitGroup
		for i := range 2000 {
			running.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				upTo := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
				for range 10 {
					ctx, cancel := context.WithCancel(t.Context())
					if rnd.IntN(2) == 0 {
						ctx, cancel = context.WithTimeout(t.Context(), upTo(50*time.Millisecond))
					}
					stop := time.AfterFunc(upTo(50*time.Millisecond), cancel)
					call := one
					if rnd.IntN(4) == 0 {
						call.Keys = rnd.IntN(100_000)
					}
					_ = work(ctx, c, call, upTo(5*time.Millisecond))
					stop.Stop()
					cancel()
				}
			})
		}
		running.Wait()
		quiet(t, c)
		s := c.Stats()
		if s.Admitted == 0 || s.Refused[Cancelled] == 0 || s.Refused[Full] == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAllocations: a call that need not wait allocates nothing.
func TestAllocations(t *testing.T) {
	c := New(Options{})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		turn, err := c.Enter(ctx, one)
		if err != nil {
			t.Fatal(err)
		}
		turn.Release()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKeysOfJSON(t *testing.T) {
	features := `"features":["` + string(make([]byte, 1000)) + `"]`
	for text, want := range map[string]int{
		`{"keys":{"id":[1]}}`:                        19,
		`{` + features + `,"keys":{"id":[1]}}`:       18,
		`{"keys":{"id":[1]},` + features + `}`:       18,
		`{` + features + `}`:                         len(features) + 2,
		`{"keys":["` + string(make([]byte, 1000)):    1009,
		`{"entities":["` + string(make([]byte, 500)): 514,
	} {
		if got := KeysOfJSON([]byte(text), "keys"); got != want {
			t.Errorf("%.40s: %d, want %d", text, got, want)
		}
	}
}

func BenchmarkEnter(b *testing.B) {
	c := New(Options{})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			turn, err := c.Enter(context.Background(), one)
			if err == nil {
				turn.Release()
			}
		}
	})
}
