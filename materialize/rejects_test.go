package materialize_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
)

// Rows that can't be used fail a run, or up to a share are left out, and are told with samples either way.
func TestRejects(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		late, odd := at("late", 10, 1), at("\xff", 10, 1)
		late.Event = 300_000_000_000_000_000 // after the year 9999
		w.write("0.parquet", late, at("a", 50, 1), odd, at("b", 50, 2), at("c", 50, 3))
		w.write("1.parquet", at("a", 40, 4), at("b", 60, 5), at("d", 40, 6), at("e", 40, 7), at("f", 40, 8))
		with := func(share float64) (materialize.Run, error) {
			t.Helper()
			runs, err := w.service(w.store, func(c *materialize.Config) { c.MaxRejected, c.RoundRows = share, 1 }).
				Run(t.Context(), materialize.Request{}, nil)
			if len(runs) != 1 {
				t.Fatalf("runs %+v, %v", runs, err)
			}
			kept, readErr := w.svc.GetRun(t.Context(), runs[0].ID)
			check(t, readErr)
			return kept, err
		}
		if _, err := with(0); err == nil || !strings.Contains(err.Error(), "0.parquet") || !strings.Contains(err.Error(), "row group 0") {
			t.Errorf("none tolerated: %v", err)
		}
		run, err := with(0.1)
		if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "2 of 10 rows can't be used, more than materialize.max_rejected (0.1)") {
			t.Errorf("one tolerated: %v", err)
		}
		wantRejects(t, run)
		if run.State != materialize.RunFailed || run.Error != strings.TrimPrefix(err.Error(), "view v: ") || run.RowsRead != 10 {
			t.Errorf("run %+v", run)
		}
		if st := w.wantState(materialize.ViewFailed); st.PendingFiles != 2 {
			t.Errorf("status %+v", st)
		}
		run, err = with(0.2)
		check(t, err)
		wantRejects(t, run)
		if !run.Full || run.Files != 2 || run.Reason != "first run" {
			t.Errorf("a run that failed for its rows left something to go on with: %+v", run)
		}
		w.want(w.values("a", "b", "c", "d", "late"), "4 40 | 2 20 | 3 30 | 6 60 | -")
	})
}

func wantRejects(t *testing.T, run materialize.Run) {
	t.Helper()
	reasons := map[string]int64{}
	for _, r := range run.Rejects {
		reasons[r.Reason] = r.Rows
		if len(r.Samples) != 1 || !strings.Contains(r.Samples[0], "0.parquet, row group 0, row ") {
			t.Errorf("samples %q", r.Samples)
		}
	}
	if fmt.Sprint(reasons) != "map[key out of range:1 time out of range:1]" {
		t.Errorf("rejects %+v", run.Rejects)
	}
}

// Rows of nobody are left out and counted; more than a share, where one is set, fail the run.
func TestNullKeys(t *testing.T) {
	w := one(t)
	nobody := at("x", 10, 1)
	nobody.K = nil
	w.write("0.parquet", at("a", 10, 1), nobody, nobody, at("b", 10, 1))
	for _, c := range []struct {
		share float64
		fails bool
	}{{-1, true}, {0.4, true}, {0.5, false}, {0, false}} {
		runs, err := w.service(w.store, func(cfg *materialize.Config) { cfg.MaxNullKeys = c.share }).Run(t.Context(), materialize.Request{Full: true}, nil)
		if (err != nil) != c.fails || c.fails && !strings.Contains(err.Error(), "2 of 4 rows can't be used, more than materialize.max_null_keys") {
			t.Errorf("share %v: %v", c.share, err)
		}
		if r := runs[0]; r.NullKeys != 2 || len(r.Rejects) != 1 || r.Rejects[0].Rows != 2 || len(r.Rejects[0].Samples) != 2 {
			t.Errorf("share %v: run %+v", c.share, r)
		}
	}
	w.clean()
}
