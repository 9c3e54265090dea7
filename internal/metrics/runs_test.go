package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

// records are runs, newest first, and how views stand.
type records struct {
	runs  []materialize.Run
	views []materialize.ViewStatus
	err   error
	asked int
}

func (r *records) Runs(_ context.Context, _ []string, limit int) ([]materialize.Run, error) {
	r.asked++
	return r.runs[:min(limit, len(r.runs))], r.err
}

func (r *records) Status(context.Context, []string) ([]materialize.ViewStatus, error) {
	return r.views, r.err
}

// begin adds a run of view v that is in a state.
func (r *records) begin(s materialize.RunState) int64 {
	id := int64(len(r.runs) + 1)
	r.runs = slices.Insert(r.runs, 0, materialize.Run{ID: id, View: "v", State: s, Started: time.Now()})
	return id
}

func (r *records) end(id int64, s materialize.RunState) {
	run := &r.runs[int64(len(r.runs))-id]
	run.State, run.Finished = s, time.Now()
	run.RowsRead, run.NullKeys, run.Rejects = 10, 1, []state.Reject{{Reason: "null key", Rows: 1}, {Reason: "value", Rows: 2}}
}

func newTest(r *records) *Metrics {
	none := func() error { return nil }
	return New(Config{
		Operations: r, Store: none, Registry: none, Refreshed: time.Now, Revision: func() int64 { return 1 },
		Damaged: func() int64 { return 0 }, Logger: slog.New(slog.DiscardHandler),
	})
}

func (m *Metrics) scrape() string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func wants(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	text := m.scrape()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			var like []string
			name, _, _ := strings.Cut(line, "{")
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, name) {
					like = append(like, l)
				}
			}
			t.Errorf("no %q: %q", line, like)
		}
	}
}

// Each run that ends is counted once, however many began since, and none that ended before the server began.
func TestRunsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{}
		r.end(r.begin(materialize.RunRunning), materialize.RunSucceeded)
		time.Sleep(time.Second)
		m := newTest(r)
		observe := func() {
			t.Helper()
			if err := m.Observe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		long := r.begin(materialize.RunRunning)
		r.end(r.begin(materialize.RunRunning), materialize.RunFailed) // before the first look
		observe()
		wants(t, m, `provender_runs_total{state="failed",view="v"} 1`, `provender_runs{state="running"} 1`)
		for range 3 * firstRuns {
			r.end(r.begin(materialize.RunRunning), materialize.RunSucceeded)
		}
		waiting := r.begin(state.RunQueued)
		observe()
		observe()
		succeeded := `provender_runs_total{state="succeeded",view="v"} `
		wants(t, m, succeeded+"192", `provender_runs{state="queued"} 1`, `provender_runs{state="running"} 1`)
		r.asked = 0
		for range 5 * firstRuns {
			r.end(r.begin(materialize.RunRunning), materialize.RunSucceeded)
		}
		time.Sleep(time.Minute)
		r.end(long, materialize.RunSucceeded)
		r.end(waiting, state.RunCancelled)
		observe()
		wants(t, m, succeeded+"513", `provender_runs_total{state="cancelled",view="v"} 1`, `provender_runs{state="running"} 0`,
			`provender_run_rows_total{kind="read",view="v"} 5150`, `provender_run_rows_total{kind="rejected",view="v"} 1545`,
			`provender_run_duration_seconds_bucket{state="succeeded",le="60"} 513`)
		r.asked = 0
		observe()
		if wants(t, m, succeeded+"513"); r.asked != 1 {
			t.Errorf("asked %d times where nothing had happened", r.asked)
		}
	})
}

// What could not be found out stays as it was, and its age shows.
func TestViewsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{views: []materialize.ViewStatus{
			{View: "a", State: materialize.ViewOK, T: time.Unix(1000, 5e8), Written: 7, Held: 2},
			{View: "b", State: materialize.ViewLost, Diverged: time.Unix(1, 0), Paused: time.Unix(1, 0), Failures: 3},
			{View: "c", State: materialize.ViewOffline},
			{View: "d", State: materialize.ViewOK, Error: "the folder can't be listed"},
		}}
		m := newTest(r)
		wants(t, m, "provender_views_observed_timestamp_seconds 0")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx)
		}()
		synctest.Wait()
		first := []string{
			`provender_view_state{state="ok",view="a"} 1`, `provender_view_state{state="lost",view="b"} 1`,
			`provender_view_state{state="offline",view="c"} 1`,
			`provender_view_complete_timestamp_seconds{view="a"} 1000.5`, `provender_view_written_rows{view="a"} 7`,
			`provender_view_held_rows{view="a"} 2`, `provender_view_diverged{view="a"} 0`, `provender_view_diverged{view="b"} 1`,
			`provender_view_paused{view="b"} 1`, `provender_view_failures{view="b"} 3`,
			`provender_view_source_readable{view="a"} 1`, `provender_view_source_readable{view="d"} 0`,
			"provender_views_observed_timestamp_seconds 9.466848e+08", // synctest's clock begins in the year 2000
		}
		wants(t, m, first...)
		if text := m.scrape(); strings.Contains(text, `provender_view_failures{view="c"}`) ||
			strings.Contains(text, `provender_view_complete_timestamp_seconds{view="b"}`) {
			t.Errorf("samples of what there is not:\n%s", text)
		}
		r.err = errors.New("the registry is away")
		r.views = nil
		time.Sleep(31 * time.Second)
		synctest.Wait()
		wants(t, m, append(first, "provender_views_observe_failures_total 2")...)
		r.err = nil
		m.News()
		time.Sleep(time.Second)
		synctest.Wait()
		if text := m.scrape(); strings.Contains(text, `view="a"`) || !strings.Contains(text, "timestamp_seconds 9.46684832e+08") &&
			!strings.Contains(text, "timestamp_seconds 9.46684831e+08") {
			t.Errorf("after news:\n%s", text)
		}
		cancel()
		<-done
	})
}
