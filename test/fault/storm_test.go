package fault

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/link"
	"github.com/provender-dev/provender/test/load"
)

// storm is a server under load while harm comes over its store.
type storm struct {
	*world
	s       *server
	history *load.History
	patient *load.Load    // calls that have more time than the store is given
	hasty   *load.Load    // calls that have less
	within  time.Duration // what a recovery takes at most
}

const (
	longDeadline  = 10 * time.Second
	shortDeadline = 300 * time.Millisecond
	callers       = 16 // of each kind
	// recovery is how long after a fault's end calls may fail. It takes milliseconds; machines are busy.
	recovery = 3 * time.Second
)

// newStorm begins to look up what was materialized.
func newStorm(t *testing.T, store string) *storm {
	t.Helper()
	w := newWorld(t, store)
	w.Must("materialize")
	x := &storm{world: w, s: w.serve(""), history: load.NewHistory(drivers), within: recovery}
	x.history.Put(1, 0, drivers)
	x.history.Settle()
	c, err := client.Dial(t.Context(), x.s.addr, client.WithoutRepeats())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	config := load.Config{History: x.history, Asks: []load.Ask{load.Client(c)}, Callers: callers, Pace: 400, Seed: testenv.Seed(t), Deadline: longDeadline}
	x.patient = load.Start(config)
	t.Cleanup(func() { x.patient.Stop() })
	config.Deadline = shortDeadline
	x.hasty = load.Start(config)
	t.Cleanup(func() { x.hasty.Stop() })
	x.answered()
	return x
}

// answered waits for answers of calls that begin now.
func (x *storm) answered() {
	x.t.Helper()
	x.more("lookups are answered", 50, func(l *load.Load) uint64 { n, _ := l.Counts(); return n })
}

// refused waits for calls that are refused.
func (x *storm) refused() { x.t.Helper(); x.refuses(50) }

func (x *storm) refuses(calls uint64) {
	x.t.Helper()
	x.more("lookups are refused", calls, func(l *load.Load) uint64 { _, n := l.Counts(); return n })
}

func (x *storm) more(what string, calls uint64, count func(*load.Load) uint64) {
	x.t.Helper()
	patient, hasty := count(x.patient), count(x.hasty)
	testenv.Until(x.t, what, func() bool { return count(x.patient) > patient+calls && count(x.hasty) > hasty+calls })
}

// away checks that the server knows that its store is away: it lives, is not ready, and refuses at once.
func (x *storm) away() {
	x.t.Helper()
	testenv.Until(x.t, "the server is not ready", func() bool { return !x.s.Ready() })
	x.patient.Cut()
	x.hasty.Cut()
	x.refuses(16 * callers) // when this machine stands still for a moment, all callers are late once
	if !x.s.Alive() {
		x.t.Error("the server says that it does not live")
	}
	patient, hasty := x.patient.Cut(), x.hasty.Cut()
	x.t.Logf("away: patient %s", &patient)
	x.t.Logf("away: hasty %s", &hasty)
	for _, part := range []load.Tally{patient, hasty} {
		if r := part.Refusals[client.CodeUnavailable]; part.Answers > 0 || r.Quick < 3*part.Failed()/4 {
			x.t.Errorf("refused slowly: %s", &part)
		}
	}
}

// back ends the harm, and waits until all is as before.
func (x *storm) back(end func()) {
	x.t.Helper()
	end()
	begun := time.Now()
	x.patient.FaultEnds()
	x.hasty.FaultEnds()
	testenv.Until(x.t, "the server is ready", x.s.Ready)
	ready := time.Since(begun)
	for _, l := range []*load.Load{x.patient, x.hasty} {
		last := -time.Hour
		testenv.Until(x.t, "no lookup fails", func() bool {
			_, steady, ok := l.Recovery()
			last = max(last, steady)
			return ok && time.Since(begun) > last+time.Second
		})
	}
	x.answered()
	first, steady, _ := x.patient.Recovery()
	hastyFirst, hastySteady, _ := x.hasty.Recovery()
	x.t.Logf("back: patient first %s, last failure %s; hasty %s, %s; ready %s", first, steady, hastyFirst, hastySteady, ready)
	for _, took := range []time.Duration{first, steady, hastyFirst, hastySteady, ready} {
		if took > x.within {
			x.t.Errorf("back only after %s", took)
		}
	}
}

// check ends the load: every answer was right, every call had its time at most, and nothing has piled up.
func (x *storm) check(codes ...string) {
	x.t.Helper()
	for deadline, l := range map[time.Duration]*load.Load{longDeadline: x.patient, shortDeadline: x.hasty} {
		all := l.Stop()
		x.t.Logf("calls of %s: %s", deadline, &all)
		if all.Wrong+all.Missing > 0 || all.FailedBut(codes...) > 0 || all.Longest > deadline+2*time.Second {
			x.t.Errorf("calls of %s: %s", deadline, &all)
		}
	}
}

// TestStorms lets harm come over Redis under load.
func TestStorms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		begin, end func(*testing.T, *onlinetest.Redis, *link.Link)
	}{
		{"killed", func(_ *testing.T, r *onlinetest.Redis, _ *link.Link) { r.Kill() }, func(t *testing.T, r *onlinetest.Redis, _ *link.Link) { r.Restart(t) }},
		{"stopped", signal(syscall.SIGSTOP), signal(syscall.SIGCONT)},
		{"hangs", on((*link.Link).Hang), on((*link.Link).Restore)},
		{"refused", on((*link.Link).Sever), on((*link.Link).Restore)},
		{"too slow", on(func(l *link.Link) { l.Slow(3 * time.Second) }), on((*link.Link).Restore)},
		{"too narrow", on(func(l *link.Link) { l.Narrow(50) }), on((*link.Link).Restore)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := onlinetest.StartRedisServer(t, "--dir", t.TempDir(), "--appendonly", "yes", "--appendfsync", "no")
			l := newLink(t, r.Addr)
			x := newStorm(t, "redis://"+l.Addr)
			before := x.s.Metric("go_goroutines")
			c.begin(t, r, l)
			x.refused()
			x.away()
			meanwhile := x.s.Metric("go_goroutines")
			x.back(func() { c.end(t, r, l) })
			after := x.s.Metric("go_goroutines")
			t.Logf("goroutines %v, %v, %v", before, meanwhile, after)
			if max(meanwhile, after) > before+2*callers {
				t.Errorf("goroutines pile up: %v, %v, %v", before, meanwhile, after)
			}
			x.check(client.CodeUnavailable, client.CodeDeadlineExceeded)
		})
	}
}

// TestSqualls lets harm come over Redis that lookups hardly feel: connections that are reset fail none; such that go dumb
// fail those that wait for them, once; delays that leave time enough fail none that have it.
func TestSqualls(t *testing.T) {
	t.Parallel()
	l := newLink(t, onlinetest.StartRedisServer(t).Addr)
	x := newStorm(t, "redis://"+l.Addr)
	refused := func() uint64 { _, n := x.patient.Counts(); return n }
	for range 5 {
		l.Lose()
		x.answered()
	}
	l.Slow(50 * time.Millisecond)
	x.answered()
	l.Restore()
	x.answered()
	if n := refused(); n > 0 {
		all := x.patient.Total()
		t.Errorf("%d patient calls failed: %v", n, all.Refusals)
	}
	_, before := x.hasty.Counts()
	l.Forget()
	testenv.Until(t, "a lookup waits in vain", func() bool { _, n := x.hasty.Counts(); return n > before })
	x.within *= 4 // each of the dead connections takes its timeout, once
	x.back(func() {})
	x.check(client.CodeUnavailable, client.CodeDeadlineExceeded)
}

// TestLossUnderLoad: a Redis that loses everything, again and again. No driver is ever absent, and lookups are answered again
// as soon as a run has filled it.
func TestLossUnderLoad(t *testing.T) {
	t.Parallel()
	r := onlinetest.StartRedisServer(t)
	x := newStorm(t, r.URL)
	for _, lose := range []func(){
		func() {
			if err := r.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		func() { r.Kill(); r.Restart(t) },
	} {
		lose()
		x.refused()
		x.back(func() { x.Must("materialize") })
	}
	x.check(client.CodeUnavailable, client.CodeDeadlineExceeded)
	x.Must("verify", "--full")
}

// TestBeginsWithoutStore: a server that starts while its store is away lives, and answers when it is there.
func TestBeginsWithoutStore(t *testing.T) {
	t.Parallel()
	r := onlinetest.StartRedisServer(t, "--dir", t.TempDir(), "--appendonly", "yes", "--appendfsync", "no")
	w := newWorld(t, r.URL)
	w.Must("materialize")
	r.Kill()
	s := w.Begin("127.0.0.1:0", "127.0.0.1:0", "")
	c, err := client.Dial(t.Context(), s.GRPC, client.WithoutRepeats())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	one := client.Request{Features: []string{"stats:trips"}, Keys: []client.Key{client.Int64s("driver", 1)}}
	var failed *client.Error
	if _, err := c.GetFeatures(t.Context(), one); !errors.As(err, &failed) || failed.Code != client.CodeUnavailable || s.Ready() {
		t.Errorf("got %v, ready %t", err, s.Ready())
	}
	r.Restart(t)
	testenv.Until(t, "the server is ready", s.Ready)
	if answer, err := c.GetFeatures(t.Context(), one); err != nil || answer.Columns[0].Int64(0) != trips(1, 1) {
		t.Errorf("%+v, %v", answer, err)
	}
}

func on(harm func(*link.Link)) func(*testing.T, *onlinetest.Redis, *link.Link) {
	return func(_ *testing.T, _ *onlinetest.Redis, l *link.Link) { harm(l) }
}

func signal(s syscall.Signal) func(*testing.T, *onlinetest.Redis, *link.Link) {
	return func(t *testing.T, r *onlinetest.Redis, _ *link.Link) {
		if err := r.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
}
