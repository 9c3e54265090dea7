package state_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
)

func (w world) enqueue(at time.Time) *state.Run {
	w.t.Helper()
	run := &state.Run{
		View: "v", Revision: 3, Trigger: "command", By: "me", Queued: at,
		Asked: state.Asked{To: noon, Full: true, AllowFuture: true},
	}
	must[int64](w.t)(w.s.Enqueue(w.ctx, shop, run, time.Minute))
	return run
}

func (w world) run(id int64, at time.Time) state.Run {
	w.t.Helper()
	return must[state.Run](w.t)(w.s.Run(w.ctx, shop, id, at))
}

// A queued run waits for its turn as long as its process gives signs of life, then runs and ends as one.
func TestQueued(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		run := w.enqueue(noon)
		if got := w.run(run.ID, noon); got.State != state.RunQueued || !got.Started.IsZero() || !got.Queued.Equal(noon) || got.Attempt != 1 {
			t.Errorf("queued: %+v", got)
		}
		if diff := cmp.Diff(run.Asked, w.run(run.ID, noon).Asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if last := must[map[string]*state.Run](t)(w.s.LastRuns(w.ctx, shop, noon)); len(last) != 0 {
			t.Errorf("last runs %+v", last)
		}
		later := noon.Add(2 * time.Minute)
		if got := w.run(run.ID, later); got.State != state.RunFailed || got.Error != state.Interrupted {
			t.Errorf("nobody awaits it: %+v", got)
		}
		check(t, w.s.Await(w.ctx, run.ID, later, time.Minute))
		l := w.lease(later)
		run.Started, run.T, run.Reason, run.Full = later, noon, "first run", true
		gen := &state.Generation{
			Generation: online.Generation{Keyspace: must[online.KeyspaceID](t)(w.s.Keyspace(w.ctx, []string{"e"}))},
			View:       "v", Incarnation: "inc1", Begun: later.UnixMicro(),
		}
		check(t, w.s.Begin(w.ctx, l, state.Start{Run: run, Fresh: gen}))
		if got := w.run(run.ID, later); got.State != state.RunRunning || !got.Started.Equal(later) || got.Generation != gen.ID || !got.Queued.Equal(noon) {
			t.Errorf("begun: %+v", got)
		}
		if err := w.s.Await(w.ctx, run.ID, later, time.Minute); !errors.Is(err, state.ErrCancelled) {
			t.Errorf("await a run that has begun: %v", err)
		}
		check(t, w.s.Withdraw(w.ctx, run.ID)) // too late

		run.RowsRead, run.BytesRead, run.BytesWritten = 4, 5, 6
		run.Rejects = []state.Reject{{Reason: "null key", Rows: 7, Samples: []string{"f row 1"}}}
		run.Phases = []state.PhaseTime{{Name: "list", Took: time.Second}}
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Swap: true, Now: later}))
		if diff := cmp.Diff(*run, w.run(run.ID, later)); diff != "" {
			t.Errorf("run (-want +got):\n%s", diff)
		}

		idle := w.enqueue(later)
		check(t, w.s.Withdraw(w.ctx, idle.ID))
		if _, err := w.s.Run(w.ctx, shop, idle.ID, later); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("a run that was withdrawn: %v", err)
		}
		if next := w.enqueue(later); next.ID <= idle.ID {
			t.Errorf("run %d after %d", next.ID, idle.ID)
		}
	})
}

func TestCancel(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		cancel := func(id int64) (state.Run, error) { return w.s.Cancel(w.ctx, shop, id, "boss", noon) }
		queued := w.enqueue(noon)
		if got := must[state.Run](t)(cancel(queued.ID)); got.State != state.RunCancelled || got.Error != "cancelled by boss" || !got.Finished.Equal(noon) {
			t.Errorf("a queued run: %+v", got)
		}
		if err := w.s.Await(w.ctx, queued.ID, noon, time.Minute); !errors.Is(err, state.ErrCancelled) {
			t.Errorf("await: %v", err)
		}
		l := w.lease(noon)
		queued.Started, queued.T = noon, noon
		if err := w.s.Begin(w.ctx, l, state.Start{Run: queued}); !errors.Is(err, state.ErrCancelled) {
			t.Errorf("begin: %v", err)
		}

		run, gen := w.begin(l, noon, 0)
		check(t, w.s.CancelAsked(w.ctx, run.ID))
		if got := must[state.Run](t)(cancel(run.ID)); got.State != state.RunRunning || got.CancelBy != "boss" || !got.CancelAsked.Equal(noon) {
			t.Errorf("a running run: %+v", got)
		}
		if err := w.s.CancelAsked(w.ctx, run.ID); !errors.Is(err, state.ErrCancelled) || err.Error() != "the run was cancelled by boss" {
			t.Errorf("asked: %v", err)
		}
		run.Error, run.Finished = "cancelled by boss", noon
		check(t, w.s.End(w.ctx, l, run, state.RunCancelled))
		if got := w.run(run.ID, noon); got.State != state.RunCancelled {
			t.Errorf("ended: %+v", got)
		}
		done, _ := w.begin(l, noon, gen.ID)
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: done, Newest: 1, Swap: true, Now: noon}))
		if _, err := cancel(done.ID); problem.CodeOf(err) != problem.Precondition {
			t.Errorf("a run that is over: %v", err)
		}
		if _, err := cancel(99); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("no run: %v", err)
		}
		if _, err := w.s.Cancel(w.ctx, "redis://other", done.ID, "boss", noon); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("a run into another store: %v", err)
		}
	})
}

// What a rebuild has done stays known when it is cut short; one that lost its lease records nothing.
func TestProgress(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run, gen := w.begin(l, noon, 0)
		p := state.Progress{Run: run, TTL: 500, Newest: 70, Files: []state.LedgerFile{file("a", "1")}, Session: "s1", Now: noon}
		p.Files[0].Footer, p.Files[0].Unsettled = "f00", true
		check(t, w.s.Progress(w.ctx, l, p))
		p.TTL, p.Newest, p.Files = 0, 60, []state.LedgerFile{file("B", "2"), file("b", "3")}
		check(t, w.s.Progress(w.ctx, l, p))
		if g := w.generations()[0]; g.Phase != state.Filling || g.Session != "s1" || g.TTL != 500 || g.Newest != 70 || g.T != state.NoTime {
			t.Errorf("generation %+v", g)
		}
		ledger := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID))
		// In the order of bytes, whatever the database's own is.
		if len(ledger) != 3 || ledger[0].Path != "B" || ledger[1].Path != "a" || ledger[1].Footer != "f00" || !ledger[1].Unsettled || ledger[2].Path != "b" {
			t.Errorf("ledger %+v", ledger)
		}
		w.lease(noon.Add(2 * time.Minute))
		p.Files = []state.LedgerFile{file("c", "4")}
		if err := w.s.Progress(w.ctx, l, p); !errors.Is(err, state.ErrLeaseLost) {
			t.Errorf("a lost lease: %v", err)
		}
		if left := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID)); len(left) != 3 {
			t.Errorf("ledger %+v", left)
		}
	})
}

func TestPauses(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, s := t.Context(), open(t, fresh(t))
		one := state.Pause{View: "v", Since: noon, By: "ann"}
		check(t, s.Pause(ctx, shop, one))
		check(t, s.Pause(ctx, shop, state.Pause{View: "v", Since: noon.Add(time.Hour), By: "bob"}))
		check(t, s.Pause(ctx, "redis://other", state.Pause{View: "w", Since: noon, By: "bob"}))
		if diff := cmp.Diff(map[string]state.Pause{"v": one}, must[map[string]state.Pause](t)(s.Pauses(ctx, shop))); diff != "" {
			t.Error(diff)
		}
		for _, want := range []bool{true, false} {
			if rested := must[bool](t)(s.Resume(ctx, shop, "v")); rested != want {
				t.Errorf("rested %v, want %v", rested, want)
			}
		}
	})
}

func TestServers(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		last := func() int64 { return must[int64](t)(w.s.LastSwap(w.ctx)) }
		if last() != 0 {
			t.Errorf("swap %d of a new registry", last())
		}
		l := w.lease(noon)
		for swap := range int64(2) {
			run, _ := w.begin(l, noon, 0)
			check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Swap: true, Now: noon}))
			if last() != swap+1 {
				t.Errorf("swap %d, want %d", last(), swap+1)
			}
		}
		if g := w.generations(); g[0].Swap != 2 || g[1].Swap != 0 {
			t.Errorf("generations %+v", g)
		}
		a := state.Server{ID: "a", Holder: "ann@one:1", Started: noon, Swap: 1, Revision: 3}
		check(t, w.s.Heartbeat(w.ctx, shop, a, noon, time.Minute))
		check(t, w.s.Heartbeat(w.ctx, "redis://other", state.Server{ID: "b", Started: noon}, noon, time.Minute))
		a.Swap, a.Revision = 2, 4
		check(t, w.s.Heartbeat(w.ctx, shop, a, noon.Add(time.Second), time.Minute))
		a.Expires = noon.Add(time.Minute + time.Second)
		servers := func(at time.Time) []state.Server { return must[[]state.Server](t)(w.s.Servers(w.ctx, shop, at)) }
		if diff := cmp.Diff([]state.Server{a}, servers(noon)); diff != "" {
			t.Error(diff)
		}
		if s := servers(a.Expires); len(s) != 0 {
			t.Errorf("long silent: %+v", s)
		}
		check(t, w.s.Leave(w.ctx, "a", noon))
		if s := servers(noon); len(s) != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

// Errors may repeat whatever bytes a file has.
func TestAnyText(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run := &state.Run{View: "v", Started: noon, Finished: noon, Error: "column \"\xff\x00\": é"}
		check(t, w.s.End(w.ctx, l, run, state.RunFailed))
		if got := w.run(run.ID, noon).Error; got != "column \"\uFFFD\uFFFD\": é" {
			t.Errorf("%q", got)
		}
	})
}

// Processes at once get ids and keyspaces of their own, each once; names are the same keyspace to all.
func TestAllocateAtOnce(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		const processes, each = 4, 8
		at := fresh(t)
		var mu sync.Mutex
		runs, spaces := map[int64]int{}, map[string]map[online.KeyspaceID]bool{}
		var wg sync.WaitGroup
		together := make([]sync.WaitGroup, each)
		for i := range together {
			together[i].Add(processes)
		}
		for range processes {
			s := open(t, at)
			wg.Go(func() {
				for i := range each {
					together[i].Done()
					together[i].Wait()
					run := &state.Run{View: "v", Trigger: "command", Queued: noon}
					name := fmt.Sprint("e", i)
					id, err := s.Keyspace(t.Context(), []string{name})
					_, queueing := s.Enqueue(t.Context(), shop, run, time.Minute)
					if queueing != nil || err != nil {
						t.Error(err, queueing)
					}
					mu.Lock()
					runs[run.ID]++
					if spaces[name] == nil {
						spaces[name] = map[online.KeyspaceID]bool{}
					}
					spaces[name][id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(runs) != processes*each {
			t.Errorf("%d ids of %d runs", len(runs), processes*each)
		}
		ids := map[online.KeyspaceID]bool{}
		for name, of := range spaces {
			if len(of) != 1 {
				t.Errorf("%s has keyspaces %v", name, of)
			}
			for id := range of {
				ids[id] = true
			}
		}
		if len(ids) != each {
			t.Errorf("%d keyspaces of %d names", len(ids), each)
		}
	})
}

// A commit and another's taking of the lease, at the same moment: either the commit is done, or the lease is lost.
func TestCommitAgainstLease(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		w := world{t, t.Context(), open(t, at)}
		check(t, w.s.Saw(w.ctx, shop, "inc1", noon))
		other := open(t, at)
		now := noon
		for range 12 {
			l := w.lease(now)
			run, gen := w.begin(l, now, 0)
			now = now.Add(2 * time.Minute)
			var wg sync.WaitGroup
			var committed, began error
			wg.Go(func() {
				committed = w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Swap: true, Now: now})
			})
			wg.Go(func() {
				taken, err := other.Acquire(w.ctx, "v", shop, "you", now, time.Minute)
				if began = err; err == nil {
					began = other.Begin(w.ctx, taken, state.Start{Run: &state.Run{View: "v", Generation: gen.ID, T: now, Started: now}})
				}
			})
			wg.Wait()
			check(t, began)
			g := w.generations()
			done := g[len(g)-1].ID == gen.ID && g[len(g)-1].Phase == state.Serving
			if want := w.run(run.ID, now); done != (committed == nil) || committed != nil && !errors.Is(committed, state.ErrLeaseLost) ||
				done != (want.State == state.RunSucceeded) {
				t.Fatalf("committed: %v; generation %+v; run %+v", committed, g[len(g)-1], want)
			}
			now = now.Add(2 * time.Minute)
		}
	})
}
