package materialize_test

import (
	"os"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

// The newest event time in the source is of what a run could bring now.
func TestStatusNewestInSource(t *testing.T) {
	w := one(t)
	want := func(minutes float64) {
		t.Helper()
		for _, svc := range []*materialize.Service{w.svc, w.service(w.store, nil)} { // as it was looked at before, and anew
			st, err := svc.Status(t.Context(), nil)
			check(t, err)
			before := time.Duration(minutes * float64(time.Minute))
			if got := st[0].NewestInSource; !got.Equal(noon.Add(-before)) || st[0].Error != "" {
				t.Errorf("newest in source %s, want %s before noon; error %q", got, before, st[0].Error)
			}
		}
	}
	w.write("1.parquet", at("a", 30, 1), at("b", 20, 2), at("c", 40, 3))
	want(20) // nothing was materialized yet
	w.run(materialize.Request{})
	want(20)
	w.write("2.parquet", at("a", 10, 1))
	want(10)
	w.run(materialize.Request{})
	want(10)
	// Rows of the future can't come now: of a row group with some, only the oldest row is known.
	w.write("3.parquet", at("a", 8, 1), at("b", 5, 1), at("c", -60, 1), at("d", -70, 1))
	want(8)
	w.run(materialize.Request{})
	if st := w.status(); st.Held != 2 || !st.NewestInSource.Equal(noon.Add(-5*time.Minute)) {
		t.Errorf("%+v", st)
	}
	w.now = noon.Add(65 * time.Minute)
	want(-60)
	// Rewritten: what was read is no longer all that there is.
	w.write("3.parquet", at("a", 9, 1))
	want(9)
	w.remove("3.parquet")
	want(10)

	check(t, os.WriteFile(w.path("4.parquet"), []byte("PAR1, half-written"), 0o644))
	if st := w.status(); !st.NewestInSource.IsZero() || !strings.Contains(st.Error, "4.parquet") || st.State != materialize.ViewOK {
		t.Errorf("beside a broken file: %+v", st)
	}
	w.remove("4.parquet")
	w.bare("5.parquet", at("a", 1, 1))
	if st := w.status(); !st.NewestInSource.IsZero() || st.Error != "" {
		t.Errorf("without statistics: %+v", st)
	}
}

// bare writes a file whose columns have no statistics.
func (w *world) bare(name string, rows ...fact) {
	w.t.Helper()
	f, err := os.Create(w.path(name))
	check(w.t, err)
	out := pq.NewGenericWriter[fact](f, pq.SkipPageBounds("event"))
	_, err = out.Write(rows)
	check(w.t, err)
	check(w.t, out.Close())
	check(w.t, f.Close())
}

// Failures in a row, pauses and queued runs show.
func TestStatusOfRuns(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 30, 1))
	w.run(materialize.Request{})
	check(t, os.WriteFile(w.path("2.parquet"), []byte("PAR1, half-written"), 0o644))
	for i := range 20 {
		w.fails(materialize.Request{}, problem.Precondition, "2.parquet")
		if st := w.wantState(materialize.ViewFailed); st.Failures != int64(i+1) || !strings.Contains(st.Error, "2.parquet") {
			t.Errorf("after %d: %+v", i+1, st)
		}
	}
	queued := materialize.Run{View: "v", Queued: w.now, T: w.now}
	_, err := w.state.Enqueue(t.Context(), w.cfg.StoreName, &queued, time.Minute)
	check(t, err)
	w.wantState(materialize.ViewFailed) // which is what matters
	w.remove("2.parquet")
	w.run(materialize.Request{})
	if st := w.wantState(materialize.ViewQueued); st.Failures != 0 {
		t.Errorf("%+v", st)
	}
	check(t, w.state.Withdraw(t.Context(), queued.ID))
	check(t, w.state.Pause(t.Context(), w.cfg.StoreName, state.Pause{View: "v", Since: noon, By: "ann@one:1"}))
	if st := w.wantState(materialize.ViewOK); !st.Paused.Equal(noon) || st.PausedBy != "ann@one:1" || !st.Diverged.IsZero() {
		t.Errorf("%+v", st)
	}
}
