package state_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry/store"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

const shop = "redis://shop:6379/0"

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// place is where a registry is: the arguments of its Open.
type place struct{ url, dir string }

// forDatabases runs a test on every kind of database; fresh makes a new one.
func forDatabases(t *testing.T, test func(t *testing.T, fresh func(*testing.T) place)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t *testing.T) place { return place{"sqlite://registry.db", t.TempDir()} })
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t *testing.T) place { return place{url: postgres.Database(t)} })
	})
}

// openDB opens a registry's database as a process of its own would.
func openDB(t *testing.T, at place) *database.DB {
	t.Helper()
	reg, err := store.Open(t.Context(), at.url, at.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	return reg.DB()
}

func open(t *testing.T, at place) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), openDB(t, at))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// exec runs a statement.
func exec(t *testing.T, db *database.DB, statement string, args ...any) {
	t.Helper()
	check(t, db.Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	}))
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Several processes that open one new registry all find it ready.
func TestOpenAtOnce(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		var wg sync.WaitGroup
		prefixes := make([]string, 6)
		for i := range prefixes {
			db := openDB(t, at)
			wg.Go(func() {
				s, err := state.Open(t.Context(), db)
				if err != nil {
					t.Error(err)
					return
				}
				if prefixes[i], err = s.Prefix(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, p := range prefixes {
			if p != prefixes[0] || len(p) != 4 {
				t.Fatalf("prefixes %q", prefixes)
			}
		}
	})
}

func TestNewerSchema(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		db := openDB(t, fresh(t))
		must[*state.Store](t)(state.Open(t.Context(), db))
		exec(t, db, `INSERT INTO goose_state (version_id, is_applied, tstamp) VALUES (999, $1, current_timestamp)`, true)
		must[*state.Store](t)(state.Open(t.Context(), db)) // one that it can live with
		exec(t, db, `UPDATE compatibility SET least = 999 WHERE version_table = 'goose_state'`)
		if _, err := state.Open(t.Context(), db); problem.CodeOf(err) != problem.Precondition {
			t.Errorf("a newer schema: %v", err)
		}
	})
}

func TestKeyspaces(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, s := t.Context(), open(t, fresh(t))
		id := func(names ...string) online.KeyspaceID { return must[online.KeyspaceID](t)(s.Keyspace(ctx, names)) }
		ab, a, none := id("a", "b"), id("a"), id()
		if id("b", "a") != ab || id("a") != a || id() != none || ab == a || a == none || ab == none {
			t.Errorf("keyspaces %d %d %d", ab, a, none)
		}
	})
}

func TestLease(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, s := t.Context(), open(t, fresh(t))
		const ttl = 30 * time.Second
		acquire := func(view, holder string, at time.Time) (state.Lease, error) {
			return s.Acquire(ctx, view, shop, holder, at, ttl)
		}
		a := must[state.Lease](t)(acquire("v", "ann@one:1", noon))
		_, err := acquire("v", "bob@two:2", noon.Add(ttl-time.Microsecond))
		var refused *problem.Error
		if !errors.As(err, &refused) || refused.Code != problem.Conflict {
			t.Fatalf("a lease that is held: %v", err)
		}
		if want := "it is being materialized by ann@one:1 since 2026-05-01T12:00:00Z"; refused.Message != want {
			t.Errorf("message %q", err)
		}
		must[state.Lease](t)(acquire("w", "bob@two:2", noon))
		if _, err := s.Acquire(ctx, "v", "embedded://other", "bob@two:2", noon, ttl); err != nil {
			t.Errorf("another store: %v", err)
		}
		check(t, s.Renew(ctx, a, noon.Add(20*time.Second), ttl))
		if _, err := acquire("v", "bob@two:2", noon.Add(40*time.Second)); err == nil {
			t.Error("a renewed lease was taken")
		}
		// Expired, and still its holder's until another takes it.
		check(t, s.Renew(ctx, a, noon.Add(5*time.Minute), ttl))
		b := must[state.Lease](t)(acquire("v", "bob@two:2", noon.Add(10*time.Minute)))
		if err := s.Renew(ctx, a, noon.Add(10*time.Minute), ttl); !errors.Is(err, state.ErrLeaseLost) {
			t.Errorf("renew a lost lease: %v", err)
		}
		check(t, s.Release(ctx, a)) // lost: b's stays
		if _, err := acquire("v", "ann@one:1", noon.Add(10*time.Minute)); problem.CodeOf(err) != problem.Conflict {
			t.Errorf("the former holder's release freed it: %v", err)
		}
		check(t, s.Release(ctx, b))
		if c := must[state.Lease](t)(acquire("v", "ann@one:1", noon)); c.Token <= b.Token {
			t.Errorf("token %d after %d", c.Token, b.Token)
		}
	})
}

// One of many processes gets a lease.
func TestLeaseRace(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		stores := make([]*state.Store, 4)
		for i := range stores {
			stores[i] = open(t, at)
		}
		for round := range 5 {
			at := noon.Add(time.Duration(round) * time.Hour)
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for i, s := range stores {
				wg.Go(func() {
					_, err := s.Acquire(t.Context(), "v", shop, fmt.Sprint(i), at, time.Minute)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if problem.CodeOf(err) != problem.Conflict {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Fatalf("round %d: %d holders", round, won)
			}
		}
	})
}

type world struct {
	t   *testing.T
	ctx context.Context
	s   *state.Store
}

func newWorld(t *testing.T, fresh func(*testing.T) place) world {
	w := world{t, t.Context(), open(t, fresh(t))}
	check(t, w.s.Saw(w.ctx, shop, "inc1", noon))
	return w
}

func (w world) lease(at time.Time) state.Lease {
	w.t.Helper()
	return must[state.Lease](w.t)(w.s.Acquire(w.ctx, "v", shop, "me", at, time.Minute))
}

func (w world) begin(l state.Lease, at time.Time, gen online.GenerationID) (*state.Run, *state.Generation) {
	w.t.Helper()
	run := &state.Run{
		View: "v", Revision: 3, Generation: gen, Trigger: "command", By: "me", T: at, Started: at,
	}
	var fresh *state.Generation
	if gen == 0 {
		run.Full, run.Reason = true, "first run"
		fresh = &state.Generation{
			Generation: online.Generation{Keyspace: must[online.KeyspaceID](w.t)(w.s.Keyspace(w.ctx, []string{"e"}))},
			View:       "v", Incarnation: "inc1", Digest: "d1", TTL: 1000, Begun: at.UnixMicro(),
			Fields: []row.Field{{Name: "f", Type: columnar.Type{Kind: columnar.Int64, List: true}}},
			Keys:   []row.Field{{Name: "k", Type: columnar.Type{Kind: columnar.String}}},
		}
	}
	check(w.t, w.s.Begin(w.ctx, l, state.Start{Run: run, Fresh: fresh}))
	return run, fresh
}

func (w world) generations() []state.Generation {
	w.t.Helper()
	return must[[]state.Generation](w.t)(w.s.Generations(w.ctx, "v"))
}

func (w world) runs(at time.Time) []state.Run {
	w.t.Helper()
	return must[[]state.Run](w.t)(w.s.Runs(w.ctx, shop, state.Selection{}, at))
}

func file(path, identity string) state.LedgerFile {
	return state.LedgerFile{Path: path, Size: 10, Identity: identity, HeldFrom: state.NoTime}
}

func TestRunAndSwap(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run, gen := w.begin(l, noon, 0)
		if g := w.generations(); len(g) != 1 || g[0].Phase != state.Filling || g[0].T != state.NoTime || g[0].Reached != noon.UnixMicro() {
			t.Fatalf("filling: %+v", g)
		}
		if r := w.runs(noon); len(r) != 1 || r[0].State != state.RunRunning || !r[0].Finished.IsZero() {
			t.Fatalf("running: %+v", r)
		}
		run.Files, run.RowsRead, run.Written, run.Older, run.Held, run.NullKeys, run.Ties = 2, 30, 20, 1, 2, 3, 4
		held := file("b", "2")
		held.Held, held.HeldFrom = 5, noon.Add(time.Hour).UnixMicro()
		end := noon.Add(time.Second)
		check(t, w.s.Commit(w.ctx, l, state.Commit{
			Run: run, TTL: 2000, Newest: 77, Files: []state.LedgerFile{file("a", "1"), held}, Swap: true, Now: end,
		}))
		want := *gen
		want.Store, want.Phase, want.T, want.Reached, want.Newest, want.Rows = shop, state.Serving, noon.UnixMicro(), noon.UnixMicro(), 77, 20
		want.Run = run.ID
		if diff := cmp.Diff([]state.Generation{want}, w.generations()); diff != "" {
			t.Errorf("serving (-want +got):\n%s", diff)
		}
		wantRun := *run
		wantRun.Generation, wantRun.State, wantRun.Finished = gen.ID, state.RunSucceeded, end
		if diff := cmp.Diff([]state.Run{wantRun}, w.runs(end)); diff != "" {
			t.Errorf("run (-want +got):\n%s", diff)
		}
		ledger := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID))
		a := file("a", "1")
		a.Run, a.ReadAt, held.Run, held.ReadAt = run.ID, end.UnixMicro(), run.ID, end.UnixMicro()
		if diff := cmp.Diff([]state.LedgerFile{a, held}, ledger); diff != "" {
			t.Errorf("ledger (-want +got):\n%s", diff)
		}

		// The next run: one file gone, one read again, an older newest event, a smaller ttl, diverged.
		later := noon.Add(time.Minute)
		run2, _ := w.begin(l, later, gen.ID)
		run2.Written = 5
		check(t, w.s.Commit(w.ctx, l, state.Commit{
			Run: run2, TTL: 500, Newest: 66, Files: []state.LedgerFile{file("b", "3")}, Gone: []string{"a"},
			Diverged: true, Now: later,
		}))
		want.Run = run2.ID
		want.T, want.Reached, want.Rows, want.TTL, want.Diverged = later.UnixMicro(), later.UnixMicro(), 25, 500, later.UnixMicro()
		if diff := cmp.Diff([]state.Generation{want}, w.generations()); diff != "" {
			t.Errorf("after a second run (-want +got):\n%s", diff)
		}
		if ledger := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID)); len(ledger) != 1 || ledger[0].Identity != "3" || ledger[0].Held != 0 {
			t.Errorf("ledger after a second run: %+v", ledger)
		}

		// A new generation retires the old one; ids are never used twice, also after a drop.
		run3, gen2 := w.begin(l, later, 0)
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run3, TTL: 0, Newest: state.NoTime, Swap: true, Now: later}))
		gens := w.generations()
		if len(gens) != 2 || gens[0].Phase != state.Retired || gens[0].Retired != later.UnixMicro() || gens[1].Phase != state.Serving {
			t.Fatalf("after the swap: %+v", gens)
		}
		if gens[1].Newest != state.NoTime || gens[1].TTL != 1000 {
			t.Errorf("an empty generation: %+v", gens[1])
		}
		check(t, w.s.MarkDropped(w.ctx, gen2.ID))
		check(t, w.s.MarkDropped(w.ctx, gen.ID))
		_, gen3 := w.begin(l, later, 0)
		if gen3.ID <= gen2.ID {
			t.Errorf("generation %d after %d", gen3.ID, gen2.ID)
		}
		if ledger := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID)); len(ledger) != 0 {
			t.Errorf("the ledger of a dropped generation: %+v", ledger)
		}
	})
}

// A holder that lost its lease commits nothing, and its run is interrupted.
func TestZombie(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		a := w.lease(noon)
		run, gen := w.begin(a, noon, 0)
		at := noon.Add(2 * time.Minute)
		if r := w.runs(at); r[0].State != state.RunFailed || r[0].Error != state.Interrupted {
			t.Errorf("a run whose lease has expired: %+v", r[0])
		}
		last := must[map[string]*state.Run](t)(w.s.LastRuns(w.ctx, shop, at))
		if last["v"].State != state.RunFailed {
			t.Errorf("last run: %+v", last["v"])
		}
		b := w.lease(at)
		commit := state.Commit{Run: run, Files: []state.LedgerFile{file("a", "1")}, Newest: 1, Swap: true, Now: at}
		if err := w.s.Commit(w.ctx, a, commit); !errors.Is(err, state.ErrLeaseLost) {
			t.Fatalf("a zombie committed: %v", err)
		}
		if err := w.s.Begin(w.ctx, a, state.Start{Run: &state.Run{View: "v", T: at, Started: at}}); !errors.Is(err, state.ErrLeaseLost) {
			t.Fatalf("a zombie began a run: %v", err)
		}
		if run.State != state.RunRunning {
			t.Errorf("the zombie's record says %s", run.State)
		}
		run2, gen2 := w.begin(b, at, 0)
		run.Error, run.Finished = "late", at
		check(t, w.s.End(w.ctx, a, run, state.RunFailed))
		check(t, w.s.Commit(w.ctx, b, state.Commit{Run: run2, Newest: 2, Swap: true, Now: at}))
		r := w.runs(at)
		if len(r) != 2 || r[0].State != state.RunSucceeded || r[1].State != state.RunFailed || r[1].Error != state.Interrupted {
			t.Errorf("runs %+v", r)
		}
		gens := w.generations()
		if len(gens) != 2 || gens[0].ID != gen.ID || gens[0].Phase != state.Filling || gens[1].ID != gen2.ID || gens[1].Phase != state.Serving {
			t.Errorf("generations %+v", gens)
		}
		if ledger := must[[]state.LedgerFile](t)(w.s.Ledger(w.ctx, gen.ID)); len(ledger) != 0 {
			t.Errorf("ledger of the zombie: %+v", ledger)
		}
	})
}

// How far an unfinished run may have written stays known.
func TestReached(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run, gen := w.begin(l, noon, 0)
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Swap: true, Now: noon}))
		w.begin(l, noon.Add(time.Hour), gen.ID)
		w.begin(l, noon.Add(time.Minute), gen.ID)
		g := w.generations()[0]
		if g.T != noon.UnixMicro() || g.Reached != noon.Add(time.Hour).UnixMicro() {
			t.Errorf("T %d, reached %d", g.T, g.Reached)
		}
	})
}

// What unfinished runs may have read is known until a run is complete.
func TestAttempts(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run, gen := w.begin(l, noon, 0)
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Swap: true, Now: noon}))
		attempt := func(files ...state.LedgerFile) *state.Run {
			run := &state.Run{View: "v", Generation: gen.ID, T: noon, Started: noon}
			check(t, w.s.Begin(w.ctx, l, state.Start{Run: run, Reads: files}))
			return run
		}
		attempt(file("a", "1"), file("b", "1"))
		run = attempt(file("a", "2"), file("b", "1"))
		want := []state.LedgerFile{file("a", "1"), file("a", "2"), file("b", "1")}
		if diff := cmp.Diff(want, must[[]state.LedgerFile](t)(w.s.Attempted(w.ctx, gen.ID))); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		check(t, w.s.Commit(w.ctx, l, state.Commit{Run: run, Newest: 1, Now: noon}))
		if left := must[[]state.LedgerFile](t)(w.s.Attempted(w.ctx, gen.ID)); len(left) != 0 {
			t.Errorf("attempts after a complete run: %+v", left)
		}
	})
}

func TestFailedBeforeItBegan(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		l := w.lease(noon)
		run := &state.Run{View: "v", Started: noon, Finished: noon, Trigger: "schedule", Error: "the store is down"}
		check(t, w.s.End(w.ctx, l, run, state.RunFailed))
		r := w.runs(noon)
		if len(r) != 1 || r[0].State != state.RunFailed || r[0].Error != "the store is down" || !r[0].T.IsZero() || r[0].ID != run.ID {
			t.Errorf("runs %+v", r)
		}
	})
}

func TestRunsFilter(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		for i := range 5 {
			view := []string{"v", "w"}[i%2]
			l := must[state.Lease](t)(w.s.Acquire(w.ctx, view, shop, "me", noon.Add(time.Duration(i)*time.Hour), time.Minute))
			check(t, w.s.End(w.ctx, l, &state.Run{View: view, Started: noon, Finished: noon, Error: fmt.Sprint(i)}, state.RunFailed))
		}
		other := must[state.Lease](t)(w.s.Acquire(w.ctx, "v", "embedded://x", "me", noon, time.Minute))
		check(t, w.s.End(w.ctx, other, &state.Run{View: "v", Started: noon, Finished: noon, Error: "elsewhere"}, state.RunFailed))
		for _, c := range []struct {
			views []string
			limit int
			want  string
		}{
			{nil, 0, "[4 3 2 1 0]"}, {nil, 2, "[4 3]"}, {[]string{"v"}, 0, "[4 2 0]"}, {[]string{"w", "v"}, 3, "[4 3 2]"}, {[]string{"x"}, 0, "[]"},
		} {
			got := []string{}
			for _, r := range must[[]state.Run](t)(w.s.Runs(w.ctx, shop, state.Selection{Views: c.views, Limit: c.limit}, noon)) {
				got = append(got, r.Error)
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("runs of %v, at most %d: %v, want %s", c.views, c.limit, got, c.want)
			}
		}
	})
}

// A database that another process holds is waited for; one that is gone is Unavailable.
func TestBusyAndGone(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		s, other := open(t, at), openDB(t, at)
		done := make(chan error)
		check(t, other.Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE counter SET next = next`); err != nil {
				return err
			}
			brief, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer end()
			if _, err := s.Keyspace(brief, []string{"e"}); problem.CodeOf(err) != problem.Unavailable {
				t.Errorf("while another process writes: %v", err)
			}
			go func() {
				_, err := s.Keyspace(t.Context(), []string{"e"})
				done <- err
			}()
			return nil
		}))
		check(t, <-done)

		closed := openDB(t, fresh(t))
		gone := must[*state.Store](t)(state.Open(t.Context(), closed))
		check(t, closed.Close())
		if _, err := gone.Generations(t.Context(), ""); problem.CodeOf(err) != problem.Unavailable {
			t.Errorf("a closed database: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Prefix(ctx); problem.CodeOf(err) != problem.Canceled {
			t.Errorf("a cancelled call: %v", err)
		}
	})
}
