package materialize_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/registry"
)

// fourViews are a and b with a schedule, c without one, and d that is for training only.
func fourViews(t *testing.T) *registry.Snapshot {
	t.Helper()
	defs := definitions(nil)
	first := defs.Views[0]
	defs.Views = nil
	for _, name := range []string{"a", "b", "c", "d"} {
		v := *first
		v.Name, v.Online, v.Schedule = name, name != "d", "* * * * *"
		if name == "c" {
			v.Schedule = ""
		}
		defs.Views = append(defs.Views, &v)
	}
	snap, err := registry.Compile(7, defs)
	check(t, err)
	return snap
}

func TestPause(t *testing.T) {
	w := one(t)
	w.snap = fourViews(t)
	rests := func(want ...string) {
		t.Helper()
		paused, err := w.svc.Pauses(t.Context())
		check(t, err)
		if got := slices.Sorted(maps.Keys(paused)); !slices.Equal(got, want) {
			t.Errorf("%q rest, want %q", got, want)
		}
	}
	does := func(call func() ([]string, error), want ...string) {
		t.Helper()
		views, err := call()
		check(t, err)
		if !slices.Equal(views, want) {
			t.Errorf("%q, want %q", views, want)
		}
	}
	pause := func(views ...string) func() ([]string, error) {
		return func() ([]string, error) { return w.svc.Pause(t.Context(), views) }
	}
	resume := func(views ...string) func() ([]string, error) {
		return func() ([]string, error) { return w.svc.Resume(t.Context(), views) }
	}

	does(pause("b", "b"), "b")
	rests("b")
	w.now = noon.Add(time.Hour)
	does(pause(), "a", "b")
	rests("a", "b")
	paused, err := w.svc.Pauses(t.Context())
	check(t, err)
	if p := paused["b"]; !p.Since.Equal(noon) || p.By != w.cfg.By {
		t.Errorf("a second pause has changed the first: %+v", p)
	}

	// All or nothing.
	for _, call := range []func() ([]string, error){pause("a", "c"), pause("d"), resume("a", "c"), resume("d")} {
		if _, err := call(); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("a view without a schedule: %v", err)
		}
	}
	for _, call := range []func() ([]string, error){pause("a", "nosuch"), resume("a", "nosuch")} {
		if _, err := call(); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("a view that there is not: %v", err)
		}
	}
	rests("a", "b")

	// Another store has schedules of its own.
	cfg := w.cfg
	cfg.StoreName = "another"
	other := materialize.New(cfg)
	if elsewhere, err := other.Pauses(t.Context()); err != nil || len(elsewhere) > 0 {
		t.Errorf("in another store %v rest, %v", elsewhere, err)
	}

	does(resume("b", "b"), "b")
	rests("a")
	does(resume("b"), "b") // it went on already
	// A schedule that was taken away, or a view, need not rest for ever.
	does(pause("b"), "b")
	w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.Name = "a" })
	does(resume(), "a", "b")
	rests()
	does(resume())
	does(pause())
}

// What Confirm refuses is turned away under the lease, without a record.
func TestConfirm(t *testing.T) {
	w := one(t)
	w.write("a.parquet", at("x", 1, 1))
	refused := problem.New(problem.Conflict, "not now")
	asked := 0
	w.fails(materialize.Request{Confirm: func(ctx context.Context) error {
		asked++
		if _, err := w.state.Acquire(ctx, "v", w.cfg.StoreName, "another", w.now, time.Minute); problem.CodeOf(err) != problem.Conflict {
			t.Errorf("the lease is free: %v", err)
		}
		return refused
	}}, problem.Conflict, "not now")
	if runs, err := w.svc.Runs(t.Context(), nil, 0); err != nil || len(runs) != 0 || asked != 1 {
		t.Errorf("asked %d times, runs %+v, %v", asked, runs, err)
	}
	w.run(materialize.Request{Confirm: func(context.Context) error { return nil }})
}
