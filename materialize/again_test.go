package materialize_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
)

// A request that comes again waits for the runs that it has made, and answers with them.
func TestAgain(t *testing.T) {
	w := one(t)
	w.snap = twoViews(t)
	w.write("1.parquet", history()...)
	once := materialize.Request{To: noon, RequestID: "once"}
	first, err := w.svc.Run(t.Context(), once, nil)
	check(t, err)
	again, err := w.service(w.store, nil).Run(t.Context(), once, nil)
	check(t, err)
	if diff := cmp.Diff(first, again); diff != "" || len(first) != 2 || again[0].RequestID != "once" {
		t.Errorf("runs %+v (-first +again):\n%s", again, diff)
	}
	w.want(w.states(w.now), "w succeeded, v succeeded")
	once.Full = true
	w.fails(once, problem.Invalid, "asked for otherwise")
	w.want(w.states(w.now), "w succeeded, v succeeded")

	// One that waits, while the first is at work; and one that is gone meanwhile, which ends nothing.
	s, writing := w.hangs()
	w.write("2.parquet", at("a", 10, 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	twice := materialize.Request{RequestID: "twice", Full: true}
	done := w.inBackground(ctx, w.service(s, nil), twice)
	<-writing
	waits := w.inBackground(t.Context(), w.svc, twice)
	brief, end := context.WithCancel(t.Context())
	defer end()
	looks := 0
	impatient := w.service(w.store, func(c *materialize.Config) {
		c.Now = func() time.Time {
			if looks++; looks == 6 { // at first, twice for each view, then while it waits
				end()
			}
			return w.now
		}
	})
	if runs, err := impatient.Run(brief, twice, nil); problem.CodeOf(err) != problem.Canceled || len(runs) > 0 || looks < 6 {
		t.Errorf("runs %+v, %v, after %d looks", runs, err, looks)
	}
	w.want(w.states(w.now), "w queued, v running, w succeeded, v succeeded")
	if _, err := w.svc.Cancel(t.Context(), 3, ""); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	got := <-waits
	if problem.CodeOf(got.err) != problem.Canceled || len(got.runs) != 2 || got.runs[0].ID != 3 || got.runs[1].ID != 4 ||
		got.runs[0].State != materialize.RunCancelled || got.runs[1].State != materialize.RunCancelled {
		t.Errorf("runs %+v, %v", got.runs, got.err)
	}

	// A retry is a request too.
	retried, err := w.svc.Retry(t.Context(), 3, "thrice", nil)
	check(t, err)
	same, err := w.svc.Retry(t.Context(), 3, "thrice", nil)
	check(t, err)
	if diff := cmp.Diff(retried, same); diff != "" || len(same) != 1 {
		t.Errorf("-first +again:\n%s", diff)
	}
	w.fails(materialize.Request{RequestID: "thrice", Views: []string{"v"}, Full: true}, problem.Invalid, "asked for otherwise")

	// What has failed is told as it was.
	broken := &intercepted{Store: w.store, before: func(context.Context, string) error { return errCut }}
	four := materialize.Request{Views: []string{"v"}, RequestID: "four", Full: true}
	failed, err := w.service(broken, nil).Run(t.Context(), four, nil)
	if err == nil {
		t.Fatal("the run succeeded")
	}
	w.fails(four, problem.Precondition, failed[0].Error, "provender runs retry")
	w.want(w.states(w.now), "v failed, v succeeded, w cancelled, v cancelled, w succeeded, v succeeded")
}
