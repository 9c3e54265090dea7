package materialize_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// fourFiles writes a source of which a round of a run with RoundRows 1 takes one file.
func (w *world) fourFiles() {
	w.t.Helper()
	for i := range 4 {
		w.write(fmt.Sprintf("%d.parquet", i),
			at("all", 60-float64(i), float64(i)), at(fmt.Sprintf("e%d", i), 30, float64(i)), at("held", -float64(2*i+2), float64(i)))
	}
}

// cutRebuild is a rebuild whose process is killed when it has recorded one more file as done.
func (w *world) cutRebuild(spec childSpec) {
	w.t.Helper()
	spec.RoundRows = 1
	if !w.killed(failpoint.RunAfterProgress, spec) {
		w.t.Fatal("the child was not killed")
	}
}

func (w *world) generations() int {
	w.t.Helper()
	gens, err := w.state.Generations(w.t.Context(), "v")
	check(w.t, err)
	return len(gens)
}

// A rebuild that was killed, however often, goes on where it stopped.
func TestRebuildGoesOn(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.fourFiles()
		for range 3 {
			w.cutRebuild(childSpec{})
			w.wantState(materialize.ViewFailed)
		}
		if w.generations() != 1 {
			t.Errorf("%d generations", w.generations())
		}
		plans, err := w.svc.Plan(t.Context(), materialize.Request{})
		check(t, err)
		if len(plans[0].Files) != 1 || plans[0].Reason != "first run; continued run 3" {
			t.Errorf("plan %+v", plans)
		}
		run := w.run(materialize.Request{})
		if !run.Full || run.Files != 1 || run.Reason != "first run; continued run 3" || run.Generation != 1 {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("all", "e0", "e1", "e2", "e3", "held"), "3 30 | 0 0 | 1 10 | 2 20 | 3 30 | -")
		w.clean()
		// What was held by files that a killed run did is due when T covers it.
		w.now = noon.Add(3 * time.Minute)
		if run := w.run(materialize.Request{}); run.Files != 1 || run.Reason != "1 due" {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("held"), "0 0")
		w.clean()

		// Runs on the serving generation leave a rebuild's progress alone; what has come meanwhile, and what is due now, is read.
		w.cutRebuild(childSpec{Full: true})
		w.cutRebuild(childSpec{Full: true})
		w.write("new.parquet", at("all", 1, 9))
		w.now = noon.Add(5 * time.Minute)
		if run := w.run(materialize.Request{}); run.Full || run.Files != 2 {
			t.Errorf("run %+v", run)
		}
		w.clean()
		run = w.run(materialize.Request{Full: true})
		if run.Files != 4 || run.Reason != "--full; continued run 7" {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("all", "held"), "9 90 | 1 10")
		w.clean()
		w.now = w.now.Add(time.Hour)
		w.run(materialize.Request{})
		w.clean()
		if w.generations() != 1 {
			t.Errorf("%d generations", w.generations())
		}
	})
}

// Where what a rebuild has done does not hold any more, the next one begins from the start.
func TestRebuildBeginsAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		req    materialize.Request
		files  int64
	}{
		{"rewritten", func(w *world) { w.write("0.parquet", at("all", 5, 5)) }, materialize.Request{Full: true}, 4},
		{"rewritten, not yet done", func(w *world) { w.write("3.parquet", at("all", 5, 5)) }, materialize.Request{Full: true}, 4},
		{"removed", func(w *world) { w.remove("0.parquet") }, materialize.Request{Full: true}, 3},
		{"definition changed", func(w *world) {
			w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.Features = v.Features[:1] })
		}, materialize.Request{}, 4},
		{"an earlier T", func(*world) {}, materialize.Request{To: noon.Add(-30 * time.Second), Full: true}, 4},
		{"after weeks", func(w *world) { w.now = noon.Add(8 * 24 * time.Hour); w.run(materialize.Request{}) }, materialize.Request{Full: true}, 4},
		{"lost", (*world).lose, materialize.Request{Full: true}, 4},
		{"marker lost", func(w *world) {
			gens, err := w.state.Generations(w.t.Context(), "v")
			check(w.t, err)
			check(w.t, w.store.DropGeneration(w.t.Context(), gens[len(gens)-1].Generation))
		}, materialize.Request{Full: true}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := one(t)
			w.fourFiles()
			w.run(materialize.Request{To: noon.Add(-time.Minute)})
			w.cutRebuild(childSpec{Full: true})
			c.change(w)
			if run := w.run(c.req); run.Files != c.files || run.Generation < 3 {
				t.Errorf("run %+v", run)
			}
			if len(w.snap.Views["v"].Features) == 2 {
				w.clean()
			}
			gens, err := w.state.Generations(t.Context(), "v")
			check(t, err)
			for _, g := range gens {
				if g.Phase == state.Filling && g.Incarnation == gens[len(gens)-1].Incarnation {
					t.Errorf("left: %+v", g)
				}
			}
		})
	}
}

// A Redis that was started again since may have lost what a rebuild had done: it begins from the start.
func TestRebuildAfterRestart(t *testing.T) {
	w, r := snapshotWorld(t)
	w.fourFiles()
	w.run(materialize.Request{})
	w.cutRebuild(childSpec{Full: true})
	check(t, r.Client(t).Save(t.Context()).Err())
	w.cutRebuild(childSpec{Full: true})
	r.Kill()
	r.Restart(t)
	if run := w.run(materialize.Request{Full: true}); run.Files != 4 {
		t.Errorf("run %+v", run)
	}
	w.clean()
}

// A Redis that is started again between two rounds: nothing more of that rebuild is recorded.
func TestRestartBetweenRounds(t *testing.T) {
	w, r := snapshotWorld(t)
	w.fourFiles()
	s := &intercepted{Store: w.store}
	rounds := 0
	s.before = func(_ context.Context, call string) error {
		if call == "identity" {
			if rounds++; rounds == 2 {
				check(t, r.Client(t).Save(t.Context()).Err())
				r.Kill()
				r.Restart(t)
			}
		}
		return nil
	}
	runs, err := w.service(s, func(c *materialize.Config) { c.RoundRows = 1 }).Run(t.Context(), materialize.Request{}, nil)
	if err == nil || rounds != 2 {
		t.Fatalf("runs %+v, %v after %d rounds", runs, err, rounds)
	}
	if run := w.run(materialize.Request{}); run.Files != 4 {
		t.Errorf("run %+v", run)
	}
	w.clean()
}

// Every row that a round has is acknowledged before its files are recorded as done.
func TestProgressAfterAcknowledgement(t *testing.T) {
	for refuse := range 8 {
		w := one(t)
		for i := range 4 {
			w.write(fmt.Sprintf("%d.parquet", i), facts3(i)...)
		}
		s := &intercepted{Store: w.store}
		writes := 0
		s.before = func(_ context.Context, call string) error {
			if call == "write" {
				if writes++; writes > refuse {
					return errCut
				}
			}
			return nil
		}
		svc := w.service(s, func(c *materialize.Config) { c.RoundRows, c.BatchRows, c.Writers = 1, 2, 1 })
		if _, err := svc.Run(t.Context(), materialize.Request{}, nil); err == nil {
			t.Fatal("the run succeeded")
		}
		run := w.run(materialize.Request{})
		if want := int64(4 - refuse/2); run.Files != want { // two batches of a file's three entities
			t.Errorf("%d batches acknowledged: the next run read %d files, want %d", refuse, run.Files, want)
		}
		w.clean()
	}
}

// watched notes whether the store was identified while a write was under way.
type watched struct {
	online.Store
	writes atomic.Int64
	early  atomic.Bool
}

func (s *watched) Write(ctx context.Context, gen online.Generation, entries []online.Entry, win online.Win) (online.WriteResult, error) {
	s.writes.Add(1)
	defer s.writes.Add(-1)
	return s.Store.Write(ctx, gen, entries, win)
}

func (s *watched) Identity(ctx context.Context) (online.Identity, error) {
	if s.writes.Load() > 0 {
		s.early.Store(true)
	}
	return s.Store.Identity(ctx)
}

// A round's writes are waited for before the store is asked whether it is still the same.
func TestProgressWaitsForWrites(t *testing.T) {
	w := one(t)
	for i := range 8 {
		w.write(fmt.Sprintf("%d.parquet", i), facts3(i)...)
	}
	s := &watched{Store: w.store}
	_, err := w.service(s, func(c *materialize.Config) { c.RoundRows, c.BatchRows = 1, 1 }).Run(t.Context(), materialize.Request{}, nil)
	check(t, err)
	if s.early.Load() {
		t.Error("the store was identified while writes were under way")
	}
	w.clean()
}

// facts3 returns three entities of file i.
func facts3(i int) []fact {
	var rows []fact
	for k := range 3 {
		rows = append(rows, at(fmt.Sprintf("e%d-%d", i, k), 30, float64(i)))
	}
	return rows
}

// Of rows of changed files that tie the greatest is served, also where they come in several rounds.
func TestReplacedTies(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = snapshot(replace)
		w.svc = w.service(w.store, func(c *materialize.Config) { c.RoundRows = 1 })
		w.write("1.parquet", at("a", 60, 1))
		w.write("2.parquet", at("a", 90, 1))
		w.run(materialize.Request{})
		var found []string
		for i, f := range [][2]float64{{9, 2}, {2, 9}} {
			w.write("1.parquet", at("a", 30-float64(i), f[0]))
			w.write("2.parquet", at("a", 30-float64(i), f[1]))
			w.run(materialize.Request{})
			found = append(found, w.values("a"))
		}
		w.want(found[1], found[0])
	})
}
