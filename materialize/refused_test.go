package materialize_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

// One batch that the store refuses, though it answers before and after, fails the run: nothing of it is recorded, no
// new generation serves, and the next run reads the files again.
func TestWriteRefused(t *testing.T) {
	const batches = 5 // of history's nine entities, two rows each
	refused := errors.New("refused")
	for refuse := range batches {
		w := one(t)
		s := &intercepted{Store: w.store}
		writes := 0
		s.before = func(_ context.Context, call string) error {
			if call != "write" {
				return nil
			}
			if writes++; writes == refuse+1 {
				return refused
			}
			return nil
		}
		once := func(req materialize.Request) {
			t.Helper()
			writes = 0
			svc := w.service(s, func(c *materialize.Config) { c.BatchRows, c.Writers = 2, 1 })
			runs, err := svc.Run(t.Context(), req, nil)
			if !errors.Is(err, refused) || problem.CodeOf(err) != problem.Unavailable ||
				len(runs) != 1 || runs[0].State != materialize.RunFailed {
				t.Errorf("batch %d refused: runs %+v, %v", refuse+1, runs, err)
			}
		}
		w.write("1.parquet", history()...)
		once(materialize.Request{})
		if live, err := w.svc.Live(t.Context()); err != nil || len(live) != 0 {
			t.Errorf("batch %d of the first run refused: %+v serves, %v", refuse+1, live, err)
		}
		first := w.run(materialize.Request{})

		w.write("2.parquet", history()...)
		once(materialize.Request{})
		once(materialize.Request{Full: true})
		st := w.status()
		if st.T != first.T || st.PendingFiles != 1 || st.LastRun.State != materialize.RunFailed {
			t.Errorf("batch %d refused: status %+v", refuse+1, st)
		}
		if live, err := w.svc.Live(t.Context()); err != nil || len(live) != 1 || live[0].ID != first.Generation {
			t.Errorf("batch %d of a rebuild refused: %+v serves, %v", refuse+1, live, err)
		}
		if run := w.run(materialize.Request{}); run.Files != 1 {
			t.Errorf("batch %d refused: the next run %+v", refuse+1, run)
		}
		w.clean()
	}
}

// A run into one store leaves alone what another store still has: only there its rows can be dropped.
func TestSweepsItsOwnStore(t *testing.T) {
	w := one(t)
	w.write("1.parquet", history()...)
	first := w.run(materialize.Request{})
	w.run(materialize.Request{Full: true})
	retired := func() bool {
		gens, err := w.state.Generations(t.Context(), "")
		check(t, err)
		return slices.ContainsFunc(gens, func(g state.Generation) bool {
			return g.ID == first.Generation && g.Phase == state.Retired
		})
	}
	if !retired() {
		t.Fatal("the first generation is not there to be dropped")
	}
	b := backend{URL: t.TempDir()}
	s, err := b.open()
	check(t, err)
	defer s.Close()
	other := w.service(s, func(c *materialize.Config) { c.StoreName, c.DropAfter = b.URL, -1 })
	_, err = other.Run(t.Context(), materialize.Request{}, nil)
	check(t, err)
	if !retired() {
		t.Error("a generation was recorded as dropped, and its rows are still in its store")
	}
}
