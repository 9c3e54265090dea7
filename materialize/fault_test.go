package materialize_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/registry"
)

// history is more rows than a batch takes.
func history() []fact {
	var rows []fact
	for i := range 9 {
		rows = append(rows, at(fmt.Sprintf("e%d", i), 60, float64(i)), at(fmt.Sprintf("e%d", i), 30, float64(10+i)))
	}
	return rows
}

// A process killed at any step leaves nothing half done, and repeating the run converges.
func TestKilled(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		w.run(materialize.Request{})
		served := w.values("e0", "new")
		for i, c := range []struct {
			point     string
			full      bool
			committed bool
		}{
			{failpoint.RunBeforeWrite, false, false},
			{failpoint.RunAfterWrite, false, false},
			{failpoint.RunBeforeCommit, false, false},
			{failpoint.RunAfterCommit, false, true},
			{failpoint.RunBeforeWrite, true, false},
			{failpoint.RunAfterWrite, true, false},
			{failpoint.RunBeforeCommit, true, false},
			{failpoint.SwapBeforeCommit, true, false},
			{failpoint.RunAfterCommit, true, true},
			{failpoint.SwapAfterCommit, true, true},
		} {
			before, err := w.svc.Live(t.Context())
			check(t, err)
			w.now = w.now.Add(time.Minute)
			w.write(fmt.Sprintf("new%d.parquet", i), at("e0", 20-float64(i), float64(100+i)), at("e1", 20-float64(i), 1), at("e2", 20-float64(i), 1), at("new", 5, float64(i)))
			if !w.killed(c.point, childSpec{Full: c.full}) {
				t.Fatalf("%s: the child was not killed", c.point)
			}
			after, err := w.svc.Live(t.Context())
			check(t, err)
			if committed := after[0].T != before[0].T; committed != c.committed || c.full && c.committed != (after[0].ID != before[0].ID) {
				t.Errorf("%s: live %+v, before %+v", c.point, after, before)
			}
			st := w.status()
			if st.PendingFiles != 1 && !c.committed || st.PendingFiles != 0 && c.committed {
				t.Errorf("%s: %d files pending", c.point, st.PendingFiles)
			}
			if c.committed {
				w.clean()
			} else if c.full {
				// The serving generation was not touched.
				if r := w.verify(materialize.VerifyRequest{Full: true}); !r.Sound() || r.Behind == 0 {
					t.Errorf("%s: %+v", c.point, r)
				}
			}
			// Nobody waits for the lease of a process that is gone.
			if !c.committed {
				st = w.wantState(materialize.ViewFailed)
				if !strings.Contains(st.Error, "interrupted") {
					t.Errorf("%s: status %+v", c.point, st)
				}
			}
			run := w.run(materialize.Request{})
			if c.committed && run.Files != 0 || !c.committed && run.Files != 1 {
				t.Errorf("%s: the next run read %d files", c.point, run.Files)
			}
			runs, err := w.svc.Runs(t.Context(), nil, 2)
			check(t, err)
			if c.committed != (runs[1].State == materialize.RunSucceeded) {
				t.Errorf("%s: runs %+v", c.point, runs)
			}
			w.wantState(materialize.ViewOK)
			w.clean()
		}
		if got := w.values("e0", "new"); got == served {
			t.Error("nothing changed")
		}
		// What killed runs left behind is gone.
		w.now = w.now.Add(time.Hour)
		w.run(materialize.Request{})
		gens, err := w.state.Generations(t.Context(), "v")
		check(t, err)
		if len(gens) != 1 {
			t.Errorf("generations %+v", gens)
		}
	})
}

// A run with rewrites: replace that is killed half-way is repeated as a whole.
func TestKilledReplacing(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = snapshot(replace)
		w.write("1.parquet", history()...)
		w.run(materialize.Request{})
		changed := history()
		for i := range changed {
			changed[i].F, changed[i].N = new(0.0), new(int64(-1))
		}
		w.write("1.parquet", changed...)
		if !w.killed(failpoint.RunAfterWrite, childSpec{Replace: true}) {
			t.Fatal("the child was not killed")
		}
		w.run(materialize.Request{})
		w.want(w.values("e0", "e8"), "0 -1 | 0 -1")
		if r := w.verify(materialize.VerifyRequest{Full: true}); r.Equal != r.Cells || !strings.Contains(r.Note, "diverged") {
			t.Errorf("verify %+v", r)
		}
	})
}

// A T before what an unfinished run may have written is refused: its rows would be served at a T that hides them.
func TestReachedAfterKill(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 60, 1))
	w.run(materialize.Request{To: noon.Add(-30 * time.Minute)})
	w.write("2.parquet", at("a", 20, 2))
	if !w.killed(failpoint.RunBeforeCommit, childSpec{}) {
		t.Fatal("the child was not killed")
	}
	if r := w.verify(materialize.VerifyRequest{}); r.Behind != 2 || !r.Sound() {
		t.Errorf("verify %+v", r)
	}
	back := noon.Add(-25 * time.Minute)
	w.fails(materialize.Request{To: back}, problem.Invalid, "a run that did not end well", "--full")
	if run := w.run(materialize.Request{To: back, Full: true}); run.T != back {
		t.Errorf("run %+v", run)
	}
	w.clean()
}

// What a run that was cut off wrote ahead of now is not served by the next run.
func TestReachedAhead(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 60, 1), at("a", -60, 2))
		first := w.run(materialize.Request{})
		s := &intercepted{Store: w.store}
		s.before = func(_ context.Context, call string) error {
			if call == "identity" {
				return errCut
			}
			return nil
		}
		_, err := w.service(s, nil).Run(t.Context(), materialize.Request{To: noon.Add(2 * time.Hour), AllowFuture: true}, nil)
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		run := w.run(materialize.Request{})
		if run.T != last || run.Generation == first.Generation || !strings.Contains(run.Reason, "did not end well") {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("a"), "1 10")
		w.clean()
	})
}

// A file that a run read before it was cut off, and that then changed or went: what was written of it does not stay.
func TestRewrittenAfterCut(t *testing.T) {
	for _, way := range []string{"rewritten", "removed"} {
		for _, replacing := range []bool{false, true} {
			t.Run(fmt.Sprint(way, " replace=", replacing), func(t *testing.T) {
				w := one(t)
				if replacing {
					w.snap = snapshot(replace)
				}
				w.write("1.parquet", at("a", 60, 1))
				w.run(materialize.Request{})
				w.write("2.parquet", at("a", 10, 2))
				s := &intercepted{Store: w.store}
				s.before = func(_ context.Context, call string) error {
					if call == "identity" {
						return errCut
					}
					return nil
				}
				if _, err := w.service(s, nil).Run(t.Context(), materialize.Request{}, nil); !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				w.want(w.values("a"), "2 20")
				if w.remove("2.parquet"); way == "rewritten" {
					w.write("2.parquet", at("b", 20, 3))
				}
				if st := w.status(); st.PendingFiles != 1 {
					t.Errorf("status %+v", st)
				}
				run := w.run(materialize.Request{})
				if replacing {
					w.wantState(materialize.ViewDiverged)
					w.run(materialize.Request{Full: true})
				} else if !strings.HasPrefix(run.Reason, "source files changed: 1 ") {
					t.Errorf("run %+v", run)
				}
				w.want(w.values("a"), "1 10")
				w.clean()
			})
		}
	}
}

// FLUSHALL, or a removed folder: noticed, told, and everything is read again.
func TestLostStore(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		first := w.run(materialize.Request{})
		w.lose()
		st := w.wantState(materialize.ViewLost)
		if st.Generation != first.Generation {
			t.Errorf("status %+v", st)
		}
		live, err := w.svc.Live(t.Context())
		check(t, err)
		if len(live) != 1 {
			t.Fatalf("live %+v", live)
		}
		var rows online.Rows
		err = w.store.Read(t.Context(), []online.Group{{Keyspace: live[0].Keyspace, Generations: []onlineID{live[0].ID}, Keys: [][]byte{{1}}}}, &rows)
		if !errors.Is(err, online.ErrGenerationLost) {
			t.Errorf("a lookup of what is lost: %v", err)
		}
		if _, err := w.svc.Verify(t.Context(), materialize.VerifyRequest{}, nil); problem.CodeOf(err) != problem.Unavailable {
			t.Errorf("verify of what is lost: %v", err)
		}
		run := w.run(materialize.Request{})
		if !run.Full || run.Reason != "store lost its data" || run.Generation <= first.Generation || run.Files != 1 {
			t.Errorf("run %+v", run)
		}
		w.wantState(materialize.ViewOK)
		w.clean()
		if run = w.run(materialize.Request{}); run.Full {
			t.Errorf("run %+v", run)
		}
	})
}

// A Redis that starts from a snapshot has lost what came after it: that is told, served to nobody as absent, and
// everything is read again.
func TestStoreWentBack(t *testing.T) {
	w, r := snapshotWorld(t)
	w.write("1.parquet", history()...)
	first := w.run(materialize.Request{})
	check(t, r.Client(t).Save(t.Context()).Err())
	w.write("2.parquet", at("late", 10, 1))
	w.run(materialize.Request{})
	w.want(w.values("late"), "1 10")
	r.Kill()
	r.Restart(t)
	if st := w.wantState(materialize.ViewLost); st.Generation != first.Generation {
		t.Errorf("status %+v", st)
	}
	live, err := w.svc.Live(t.Context())
	check(t, err)
	var rows online.Rows
	err = w.store.Read(t.Context(), []online.Group{{
		Keyspace: live[0].Keyspace, Generations: []onlineID{live[0].ID}, Keys: [][]byte{row.AppendStringKey(nil, []byte("late"))},
	}}, &rows)
	if !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("a lookup of what is lost: %v", err)
	}
	if run := w.run(materialize.Request{}); run.Reason != "store lost its data" || run.Files != 2 {
		t.Errorf("run %+v", run)
	}
	w.want(w.values("late"), "1 10")
	w.clean()
}

// A Redis that starts from a snapshot in the middle of a run may have lost rows of that run: nothing is recorded.
func TestWentBackInMidRun(t *testing.T) {
	w, r := snapshotWorld(t)
	w.write("1.parquet", history()...)
	w.run(materialize.Request{})
	w.write("2.parquet", at("late", 10, 1))
	check(t, r.Client(t).Save(t.Context()).Err())
	s := &intercepted{Store: w.store}
	s.before = func(_ context.Context, call string) error {
		if call == "identity" { // every row is written
			r.Kill()
			r.Restart(t)
		}
		return nil
	}
	_, err := w.service(s, nil).Run(t.Context(), materialize.Request{}, nil)
	if problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "restarted") {
		t.Fatalf("the run: %v", err)
	}
	if run := w.run(materialize.Request{}); run.Files != 1 {
		t.Errorf("run %+v", run)
	}
	w.want(w.values("late"), "1 10")
	w.clean()
}

// snapshotWorld is a world on a Redis that starts from its last snapshot.
func snapshotWorld(t *testing.T) (*world, *onlinetest.Redis) {
	r := onlinetest.StartRedisServer(t, "--dir", t.TempDir())
	return newWorld(t, backend{URL: r.URL, redis: r}), r
}

// A store that lost one generation's marker, by eviction, is filled again too.
func TestLostMarker(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		run := w.run(materialize.Request{})
		live, err := w.svc.Live(t.Context())
		check(t, err)
		check(t, w.store.DropGeneration(t.Context(), live[0].Generation))
		w.wantState(materialize.ViewLost)
		again := w.run(materialize.Request{})
		if again.Reason != "store lost its data" || again.Generation == run.Generation {
			t.Errorf("run %+v", again)
		}
		w.clean()
	})
}

// A cluster of which one primary has lost its data is filled again as a whole, and nothing is told to be absent meanwhile.
func TestLostPrimary(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, false)
	w := newWorld(t, backend{URL: cluster.URL})
	w.write("1.parquet", history()...)
	run := w.run(materialize.Request{})
	w.clean()
	w.write("2.parquet", at("late", 10, 1))
	if next := w.run(materialize.Request{}); next.Generation != run.Generation || next.Files != 1 {
		t.Errorf("run %+v", next)
	}
	check(t, cluster.Primaries[2].Client(t).FlushAll(t.Context()).Err())
	w.wantState(materialize.ViewLost)
	again := w.run(materialize.Request{})
	if again.Reason != "store lost its data" || again.Generation == run.Generation || again.Files != 2 {
		t.Errorf("run %+v", again)
	}
	w.want(w.values("late"), "1 10")
	w.clean()
}

// Another store has a ledger of its own, and does not disturb the first one's.
func TestAnotherStore(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	first := w.run(materialize.Request{})
	b := backend{URL: t.TempDir()}
	s, err := b.open()
	check(t, err)
	defer s.Close()
	other := w.service(s, func(c *materialize.Config) { c.StoreName = b.URL })
	if st, err := other.Status(t.Context(), nil); err != nil || st[0].State != materialize.ViewNever {
		t.Errorf("status %+v %v", st, err)
	}
	runs, err := other.Run(t.Context(), materialize.Request{}, nil)
	check(t, err)
	if runs[0].Reason != "another store" || runs[0].Files != 1 {
		t.Errorf("run %+v", runs[0])
	}
	if run := w.run(materialize.Request{}); run.Full || run.Generation != first.Generation {
		t.Errorf("the first store: %+v", run)
	}
	if all, err := w.svc.Runs(t.Context(), nil, 0); err != nil || len(all) != 2 {
		t.Errorf("runs of the first store: %+v %v", all, err)
	}
	reports, err := other.Verify(t.Context(), materialize.VerifyRequest{Full: true}, nil)
	if err != nil || reports[0].Equal != reports[0].Cells || reports[0].Cells != 18 {
		t.Errorf("verify %+v %v", reports, err)
	}
	w.clean()
}

// A store that loses acknowledged writes in mid-run: nothing is recorded.
func TestLostInMidRun(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		w.run(materialize.Request{})
		w.write("2.parquet", at("late", 10, 1))
		s := &intercepted{Store: w.store}
		s.before = func(ctx context.Context, call string) error {
			if call != "identity" {
				return nil
			}
			live, err := w.svc.Live(ctx)
			if err != nil {
				return err
			}
			return w.store.DropGeneration(ctx, live[0].Generation) // as a failover that loses the last second
		}
		_, err := w.service(s, nil).Run(t.Context(), materialize.Request{}, nil)
		if problem.CodeOf(err) != problem.Unavailable || !errors.Is(err, online.ErrGenerationLost) {
			t.Fatalf("the run: %v", err)
		}
		st := w.wantState(materialize.ViewLost)
		if st.PendingFiles != 1 || st.LastRun.State != materialize.RunFailed {
			t.Errorf("status %+v", st)
		}
		if run := w.run(materialize.Request{}); run.Reason != "store lost its data" || run.Files != 2 {
			t.Errorf("run %+v", run)
		}
		w.clean()
	})
}

// Two runs of one view exclude each other; a view that is being materialized goes on serving.
func TestConcurrentRuns(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		first := w.run(materialize.Request{})
		served := w.values("e0")
		s := &intercepted{Store: w.store}
		writing, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.before = func(_ context.Context, call string) error {
			if call == "write" {
				once.Do(func() { close(writing); <-goOn })
			}
			return nil
		}
		done := make(chan error)
		go func() {
			_, err := w.service(s, nil).Run(t.Context(), materialize.Request{Full: true}, nil)
			done <- err
		}()
		<-writing
		w.fails(materialize.Request{}, problem.Conflict, "view v: it is being materialized by other:1 since 2026-05-01T12:00:00Z")
		if st := w.wantState(materialize.ViewRunning); st.Generation != first.Generation || st.LastRun.State != materialize.RunRunning {
			t.Errorf("status %+v", st)
		}
		w.want(w.values("e0"), served)
		close(goOn)
		check(t, <-done)
		w.wantState(materialize.ViewOK)
		w.clean()
		if runs, err := w.svc.Runs(t.Context(), nil, 0); err != nil || len(runs) != 2 {
			t.Errorf("a run that never began was recorded: %+v", runs)
		}
	})
}

// A run that stood still past its lease, while another one took over, can't commit and moves nothing back.
func TestZombie(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		w.run(materialize.Request{})
		w.write("2.parquet", at("e0", 20, 50))
		s := &intercepted{Store: w.store}
		writing, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.before = func(_ context.Context, call string) error {
			if call == "write" {
				once.Do(func() { close(writing); <-goOn })
			}
			return nil
		}
		done := make(chan error)
		go func() {
			_, err := w.service(s, func(c *materialize.Config) {
				c.Now = func() time.Time { return noon }
			}).Run(t.Context(), materialize.Request{}, nil)
			done <- err
		}()
		<-writing
		w.now = noon.Add(time.Minute)
		w.write("3.parquet", at("e0", 10, 60))
		run := w.run(materialize.Request{})
		if run.Files != 2 {
			t.Errorf("run %+v", run)
		}
		close(goOn)
		if err := <-done; problem.CodeOf(err) != problem.Conflict || !errors.Is(err, state.ErrLeaseLost) {
			t.Errorf("the zombie: %v", err)
		}
		w.want(w.values("e0"), "60 600")
		if st := w.wantState(materialize.ViewOK); st.T != run.T {
			t.Errorf("status %+v", st)
		}
		runs, err := w.svc.Runs(t.Context(), nil, 2)
		check(t, err)
		if runs[1].State != materialize.RunFailed || runs[1].Error != state.Interrupted {
			t.Errorf("runs %+v", runs)
		}
		w.clean()
	})
}

// A run that finds at its commit that another has taken over leaves the generation alone that the other one fills.
func TestZombieSweepsNothing(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	w.run(materialize.Request{})
	w.write("2.parquet", at("e0", 20, 50))
	zombie, writing, goOn := &intercepted{Store: w.store}, make(chan struct{}), make(chan struct{})
	zombie.before = func(_ context.Context, call string) error {
		if call == "identity" { // every row is written
			close(writing)
			<-goOn
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := w.service(zombie, func(c *materialize.Config) {
			c.Now = func() time.Time { return noon }
		}).Run(t.Context(), materialize.Request{}, nil)
		done <- err
	}()
	<-writing
	w.now = noon.Add(time.Minute)
	s := &intercepted{Store: w.store}
	var once sync.Once
	s.before = func(_ context.Context, call string) error {
		if call == "write" {
			once.Do(func() {
				close(goOn)
				if err := <-done; !errors.Is(err, state.ErrLeaseLost) {
					t.Errorf("the zombie: %v", err)
				}
			})
		}
		return nil
	}
	runs, err := w.service(s, nil).Run(t.Context(), materialize.Request{Full: true}, nil)
	check(t, err)
	if st := w.wantState(materialize.ViewOK); st.Generation != runs[0].Generation {
		t.Errorf("status %+v, run %+v", st, runs[0])
	}
	w.clean()
}

// The heartbeat keeps a lease, and ends the run where another has taken it.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	w := one(t)
	w.write("1.parquet", history()...)
	s := &intercepted{Store: w.store}
	writing := make(chan struct{})
	var once sync.Once
	s.before = func(ctx context.Context, call string) error {
		if call == "write" {
			once.Do(func() { close(writing) })
			<-ctx.Done() // a store that hangs
			return ctx.Err()
		}
		return nil
	}
	const leaseTTL = 3 * time.Second
	done := make(chan error)
	go func() {
		_, err := w.service(s, func(c *materialize.Config) {
			c.Now, c.LeaseTTL = time.Now, leaseTTL
		}).Run(t.Context(), materialize.Request{To: noon}, nil)
		done <- err
	}()
	<-writing
	// Held for as long as it runs, however long that is.
	expires := w.keptAlive(`SELECT expires FROM lease`, leaseTTL)
	last, err := w.state.LastRuns(t.Context(), w.cfg.StoreName, expires.Add(-time.Microsecond))
	check(t, err)
	if last["v"].State != state.RunRunning {
		t.Errorf("the lease ran out under a running run: %+v", last["v"])
	}
	if _, err := w.state.Acquire(t.Context(), "v", w.cfg.StoreName, "thief", time.Now().Add(time.Hour), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, state.ErrLeaseLost) {
		t.Errorf("the run ended with %v", err)
	}
}

// An interrupted run is recorded as cancelled at once, and frees the view.
func TestCanceled(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &intercepted{Store: w.store}
		s.before = func(ctx context.Context, call string) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		runs, err := w.service(s, nil).Run(ctx, materialize.Request{}, nil)
		if problem.CodeOf(err) != problem.Canceled || len(runs) != 1 || runs[0].State != materialize.RunCancelled || !strings.Contains(runs[0].Error, "interrupted") {
			t.Errorf("runs %+v, %v", runs, err)
		}
		w.wantState(materialize.ViewNever)
		w.run(materialize.Request{})
		w.clean()
	})
}

// A damaged file fails the run, which publishes nothing.
func TestDamagedFile(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", history()...)
		first := w.run(materialize.Request{})
		w.write("2.parquet", at("a", 10, 1), at("b", 10, 1), at("c", 10, 1), at("d", 10, 1))
		whole, err := os.ReadFile(w.path("2.parquet"))
		check(t, err)
		check(t, os.WriteFile(w.path("2.parquet"), whole[:len(whole)-20], 0o644))
		w.now = noon.Add(time.Minute)
		_, err = w.svc.Run(t.Context(), materialize.Request{}, nil)
		if err == nil || !strings.Contains(err.Error(), "2.parquet") {
			t.Fatalf("the run: %v", err)
		}
		st := w.wantState(materialize.ViewFailed)
		if st.T != first.T || st.PendingFiles != 1 || !strings.Contains(st.Error, "2.parquet") {
			t.Errorf("status %+v", st)
		}
		w.want(w.values("a"), "-")
		check(t, os.WriteFile(w.path("2.parquet"), whole, 0o644))
		w.run(materialize.Request{})
		w.clean()
	})
}

// A file that is replaced while it is read: the run aborts and names it.
func TestReplacedWhileRead(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	w.write("2.parquet", history()...)
	var once sync.Once
	_, err := w.svc.Run(t.Context(), materialize.Request{}, func(p materialize.Progress) {
		if p.Stage == "read" {
			once.Do(func() { w.write("1.parquet", at("e0", 10, 1)); w.write("2.parquet", at("e0", 10, 2)) })
		}
	})
	if problem.CodeOf(err) != problem.Conflict || !strings.Contains(err.Error(), ".parquet has changed") {
		t.Fatalf("the run: %v", err)
	}
	if st := w.wantState(materialize.ViewFailed); st.PendingFiles != 2 {
		t.Errorf("status %+v", st)
	}
	w.run(materialize.Request{})
	w.clean()
}

// A store that does not answer: the run fails, the ledger stays, status still tells what it knows.
func TestStoreDown(t *testing.T) {
	w := redisWorld(t)
	w.write("1.parquet", history()...)
	first := w.run(materialize.Request{})
	w.backend.redis.Kill()
	w.write("2.parquet", at("a", 10, 1))
	runs, err := w.svc.Run(t.Context(), materialize.Request{}, nil)
	if problem.CodeOf(err) != problem.Unavailable || len(runs) != 1 || runs[0].State != materialize.RunFailed {
		t.Errorf("runs %+v, %v", runs, err)
	}
	st := w.wantState(materialize.ViewUnknown)
	if st.T != first.T || st.PendingFiles != 1 || st.Error == "" || st.LastRun.State != materialize.RunFailed {
		t.Errorf("status %+v", st)
	}
	if live, err := w.svc.Live(t.Context()); err != nil || len(live) != 1 || live[0].ID != first.Generation {
		t.Errorf("live %+v %v", live, err)
	}
	if _, err := w.svc.Verify(t.Context(), materialize.VerifyRequest{}, nil); problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("verify: %v", err)
	}
	w.backend.redis.Restart(t) // empty
	w.wantState(materialize.ViewLost)
	w.run(materialize.Request{})
	w.clean()
}

// The prefix of another registry is not touched.
func TestForeignStore(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	prefix, err := w.state.Prefix(t.Context())
	check(t, err)
	_, err = w.store.Claim(t.Context(), "somebody-else", prefix)
	check(t, err)
	w.fails(materialize.Request{}, problem.Precondition, "belongs to another registry")
}

// A source that can't be listed is told by status, beside what is known.
func TestSourceGone(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	run := w.run(materialize.Request{})
	check(t, os.Rename(w.path(""), w.path("")+"-away"))
	st := w.status()
	if st.Error == "" || st.T != run.T || st.Generation != run.Generation {
		t.Errorf("status %+v", st)
	}
}

// A view that moved to another source fills a new generation from it.
func TestSourceMoved(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 10, 1))
	w.run(materialize.Request{})
	check(t, os.Rename(w.path(""), w.dir+"/data/t"))
	w.snap = snapshot(func(_ *registry.FeatureView, s *registry.Source) { s.Parquet = []string{"lake:t"} })
	if run := w.run(materialize.Request{}); run.Reason != "definition changed" || run.Files != 1 {
		t.Errorf("run %+v", run)
	}
	w.clean()
}
