package materialize_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
)

// twoViews is the tests' project with a view w beside v, on the same source.
func twoViews(t *testing.T) *registry.Snapshot {
	t.Helper()
	defs := definitions(nil)
	second := *defs.Views[0]
	second.Name = "w"
	defs.Views = append(defs.Views, &second)
	snap, err := registry.Compile(7, defs)
	check(t, err)
	return snap
}

// hangs is a store whose writes wait for the end of their context; writing is closed by the first.
func (w *world) hangs() (s *intercepted, writing chan struct{}) {
	s, writing = &intercepted{Store: w.store}, make(chan struct{})
	var once sync.Once
	s.before = func(ctx context.Context, call string) error {
		if call != "write" {
			return nil
		}
		once.Do(func() { close(writing) })
		<-ctx.Done()
		return ctx.Err()
	}
	return s, writing
}

// outcome is what a call of Run returned.
type outcome struct {
	runs []materialize.Run
	err  error
}

// inBackground runs req on another service.
func (w *world) inBackground(ctx context.Context, svc *materialize.Service, req materialize.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		runs, err := svc.Run(ctx, req, nil)
		done <- outcome{runs, err}
	}()
	return done
}

// states lists the runs that there are, newest first: "w queued, v running".
func (w *world) states(now time.Time) string {
	w.t.Helper()
	runs, err := w.state.Runs(w.t.Context(), w.cfg.StoreName, state.Selection{}, now)
	check(w.t, err)
	var out []string
	for _, r := range runs {
		out = append(out, r.View+" "+string(r.State))
	}
	return strings.Join(out, ", ")
}

// Views wait their turn as queued runs; one that is cancelled before ends at once, one that is running soon.
func TestCancel(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = twoViews(t)
		w.write("1.parquet", history()...)
		s, writing := w.hangs()
		hang, answered := s.before, make(chan struct{})
		s.before = func(ctx context.Context, call string) error {
			err := hang(ctx, call)
			if err != nil {
				<-answered // Cancel looks at the run once more after it has asked for its end
			}
			return err
		}
		done := w.inBackground(t.Context(), w.service(s, nil), materialize.Request{})
		<-writing
		w.want(w.states(w.now), "w queued, v running")
		queued, err := w.svc.Cancel(t.Context(), 2, "10.0.0.7:55")
		if err != nil || queued.State != materialize.RunCancelled || queued.Error != "cancelled by 10.0.0.7:55 through "+w.cfg.By {
			t.Errorf("run %+v, %v", queued, err)
		}
		running, err := w.svc.Cancel(t.Context(), 1, "")
		if err != nil || running.State != materialize.RunRunning || running.CancelBy != w.cfg.By || running.CancelAsked != w.now {
			t.Errorf("run %+v, %v", running, err)
		}
		close(answered)
		got := <-done
		if problem.CodeOf(got.err) != problem.Canceled || len(got.runs) != 2 {
			t.Errorf("runs %+v, %v", got.runs, got.err)
		}
		w.want(w.states(w.now), "w cancelled, v cancelled")
		for i, by := range []string{w.cfg.By, "10.0.0.7:55 through " + w.cfg.By} {
			run, err := w.svc.GetRun(t.Context(), int64(i+1))
			check(t, err)
			if !strings.Contains(run.Error, "cancelled by "+by) || run.Finished.IsZero() || got.runs[i].State != materialize.RunCancelled ||
				!strings.Contains(got.runs[i].Error, "cancelled by "+by) {
				t.Errorf("run %+v\nreturned %+v", run, got.runs[i])
			}
			if _, err := w.svc.Cancel(t.Context(), run.ID, "x"); err != nil && problem.CodeOf(err) != problem.Precondition {
				t.Errorf("cancelled again: %v", err)
			}
		}
		w.wantState(materialize.ViewNever)
		w.run(materialize.Request{Views: []string{"v"}})
		w.clean()
	})
}

// keptAlive waits until the expiry that a query returns has been put off for twice its ttl, each time before it had come,
// and returns it. What a busy machine does later does not count.
func (w *world) keptAlive(query string, ttl time.Duration) (expires time.Time) {
	w.t.Helper()
	var kept time.Duration
	testenv.Until(w.t, "it is kept alive: "+query, func() bool {
		var us int64
		check(w.t, w.db.QueryRowContext(w.t.Context(), query).Scan(&us))
		last := expires
		expires = time.UnixMicro(us)
		if more := expires.Sub(last); more < ttl {
			kept += more
		}
		return kept > 2*ttl
	})
	return expires
}

// A queued run lives as long as its process does, however long it waits.
func TestQueuedForLong(t *testing.T) {
	t.Parallel()
	w := one(t)
	w.snap = twoViews(t)
	w.write("1.parquet", history()...)
	s, writing := w.hangs()
	const leaseTTL = 3 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := w.inBackground(ctx, w.service(s, func(c *materialize.Config) {
		c.Now, c.LeaseTTL = time.Now, leaseTTL
	}), materialize.Request{To: noon})
	<-writing
	expires := w.keptAlive(`SELECT expires FROM run WHERE view_name = 'w'`, leaseTTL)
	if run, err := w.state.Run(t.Context(), w.cfg.StoreName, 2, expires.Add(-time.Microsecond)); err != nil || run.State != state.RunQueued {
		t.Errorf("run %+v, %v", run, err)
	}
	cancel()
	got := <-done
	if len(got.runs) != 2 || !strings.Contains(got.runs[1].Error, "not begun") || problem.CodeOf(got.err) != problem.Canceled {
		t.Errorf("runs %+v, %v", got.runs, got.err)
	}
	w.want(w.states(time.Now()), "w cancelled, v cancelled")
}

// A run that failed or was cancelled is repeated as it was asked for; another is not.
func TestRetry(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	w.run(materialize.Request{})
	s := &intercepted{Store: w.store}
	s.before = func(context.Context, string) error { return errCut }
	to := noon.Add(-time.Second / 2)
	failed, err := w.service(s, nil).Run(t.Context(), materialize.Request{To: to, Full: true, Trigger: materialize.TriggerSchedule}, nil)
	if err == nil {
		t.Fatal("the run succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(ctx context.Context, call string) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	again, err := w.service(s, nil).Retry(ctx, failed[0].ID, "", nil)
	if err == nil || again[0].State != materialize.RunCancelled || again[0].Attempt != 2 {
		t.Errorf("runs %+v, %v", again, err)
	}
	runs, err := w.svc.Retry(t.Context(), again[0].ID, "", nil)
	check(t, err)
	r := runs[0]
	if r.Attempt != 3 || r.RetryOf != failed[0].ID || r.Trigger != materialize.TriggerRetry || r.T != to || !r.Full || r.Reason != "--full" {
		t.Errorf("run %+v", r)
	}
	kept, err := w.svc.GetRun(t.Context(), r.ID)
	check(t, err)
	if kept.Attempt != 3 || kept.RetryOf != failed[0].ID || kept.Trigger != materialize.TriggerRetry || kept.Asked.To != to || !kept.Asked.Full {
		t.Errorf("record %+v", kept)
	}
	w.clean()
	if _, err := w.svc.Retry(t.Context(), r.ID, "", nil); problem.CodeOf(err) != problem.Precondition {
		t.Errorf("retry of a run that succeeded: %v", err)
	}
	if _, err := w.svc.Retry(t.Context(), 99, "", nil); problem.CodeOf(err) != problem.NotFound {
		t.Errorf("retry of no run: %v", err)
	}
}

// What is turned away leaves no record.
func TestTurnedAway(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	w.run(materialize.Request{})
	w.fails(materialize.Request{To: noon.Add(-time.Hour)}, problem.Invalid, "before the last one")
	s, writing := w.hangs()
	w.write("2.parquet", at("a", 10, 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := w.inBackground(ctx, w.service(s, nil), materialize.Request{})
	<-writing
	w.fails(materialize.Request{}, problem.Conflict, "is being materialized by")
	w.want(w.states(w.now), "v running, v succeeded")
	cancel()
	<-done
}

// nearDeadline is a context that is always about to end and never does.
type nearDeadline struct{ context.Context }

func (nearDeadline) Deadline() (time.Time, bool) { return time.Now().Add(time.Second / 4), true }

// A run keeps to its rate, in small batches, and ends at once when it is told to while it waits.
func TestRate(t *testing.T) {
	w := one(t)
	var rows []fact
	for i := range 60 {
		rows = append(rows, at(fmt.Sprintf("e%d", i), 30, float64(i)))
	}
	w.write("1.parquet", rows...)
	begun := time.Now()
	svc := w.service(w.store, func(c *materialize.Config) { c.Rate, c.BatchRows = 200, 0 })
	runs, err := svc.Run(t.Context(), materialize.Request{}, nil)
	check(t, err)
	if took := time.Since(begun); runs[0].Written != 60 || took < 50*time.Second/200 {
		t.Errorf("%d rows in %v", runs[0].Written, took)
	}
	w.clean()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &intercepted{Store: w.store}
	s.before = func(_ context.Context, call string) error {
		if call == "write" {
			cancel()
		}
		return nil
	}
	svc = w.service(s, func(c *materialize.Config) { c.Rate = 1 })
	runs, err = svc.Run(ctx, materialize.Request{Full: true}, nil)
	if problem.CodeOf(err) != problem.Canceled || runs[0].State != materialize.RunCancelled {
		t.Errorf("runs %+v, %v", runs, err)
	}
	svc = w.service(w.store, func(c *materialize.Config) { c.Rate = 1 })
	if _, err := svc.Run(nearDeadline{t.Context()}, materialize.Request{Full: true}, nil); problem.CodeOf(err) != problem.Canceled {
		t.Errorf("a deadline before the end: %v", err)
	}
}
