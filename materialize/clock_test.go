package materialize_test

import (
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/registry"
)

const year = 365 * 24 * time.Hour

// A clock that jumps a year ahead for one run, and back: later runs go on at that run's T, and miss no file.
func TestClockJumpsAhead(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.TTL = 0 })
		w.write("1.parquet", at("a", 60, 1))
		w.run(materialize.Request{})
		w.now = noon.Add(year)
		w.write("2.parquet", at("a", 30, 2))
		ahead := w.run(materialize.Request{})
		if want := w.now.Add(-time.Second); !ahead.T.Equal(want) {
			t.Errorf("T %s, want %s", ahead.T, want)
		}
		w.now = noon.Add(time.Minute)
		w.write("3.parquet", at("a", 10, 3), at("b", 10, 3))
		if run := w.run(materialize.Request{}); !run.T.Equal(ahead.T) || run.Files != 1 {
			t.Errorf("run %+v", run)
		}
		w.fails(materialize.Request{To: w.now}, problem.Invalid, "before the last one")
		w.want(w.values("a", "b"), "3 30 | 3 30")
		if st := w.wantState(materialize.ViewOK); !st.T.Equal(ahead.T) {
			t.Errorf("status %+v", st)
		}
		// When that year has passed, all is as ever.
		w.now = noon.Add(year + time.Hour)
		w.write("4.parquet", at("a", 5, 4))
		if run := w.run(materialize.Request{}); !run.T.Equal(w.now.Add(-time.Second)) {
			t.Errorf("run %+v", run)
		}
		w.clean()
	})
}

// A view with a ttl keeps what is alive now, though T is a year ahead, and --full with --to leads back.
func TestBackFromAhead(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 60, 1))
	w.run(materialize.Request{To: noon.Add(year), AllowFuture: true})
	w.write("2.parquet", at("a", 10, 2), at("b", 10, 2))
	w.run(materialize.Request{})
	w.want(w.values("a", "b"), "2 20 | 2 20")
	w.write("3.parquet", at("c", -60, 3))
	w.run(materialize.Request{})
	w.fails(materialize.Request{To: noon}, problem.Invalid, "before the last one")
	if full := w.run(materialize.Request{To: noon, Full: true}); !full.T.Equal(noon) || full.Held != 1 {
		t.Errorf("run %+v", full)
	}
	w.want(w.values("a", "b", "c"), "2 20 | 2 20 | -")
	w.clean()
}

// A clock that jumps a year back: rows and files that are there already stay, new ones are read all the same.
func TestClockJumpsBack(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 60, 1))
		first := w.run(materialize.Request{})
		w.now = noon.Add(-year)
		w.write("2.parquet", at("a", 30, 2), at("b", 30, 2))
		run := w.run(materialize.Request{})
		if !run.T.Equal(first.T) || run.Files != 1 || run.Generation != first.Generation {
			t.Errorf("run %+v", run)
		}
		if full := w.run(materialize.Request{Full: true}); !full.T.Equal(first.T) {
			t.Errorf("run %+v", full)
		}
		w.now = noon.Add(time.Minute)
		w.want(w.values("a", "b"), "2 20 | 2 20")
		w.run(materialize.Request{})
		w.clean()
	})
}
