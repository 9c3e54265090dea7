package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/registry/store"
)

const project = `kind: Entity
name: driver
join_keys: [{name: driver, type: int64}]
---
kind: FeatureView
name: stats
entities: [driver]
source: {parquet: data/**, event_time: at}
ttl: 1h
features: [{name: trips, type: int64}, {name: rating, type: float64}]
---
kind: FeatureService
name: model
features: [{view: stats}]
`

var (
	longer = strings.Replace(project, "ttl: 1h", "ttl: 2h", 1)
	broken = strings.Replace(project, ", {name: rating, type: float64}", "", 1)
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// world is a registry and the service of it.
type world struct {
	*control.Service
	t     *testing.T
	store *store.Store
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	s, err := store.Open(t.Context(), url, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &world{t: t, store: s, Service: control.New(control.Config{
		Registry: s, Project: &definition.Config{}, Files: source.New(t.TempDir(), nil), Now: func() time.Time { return now }, Tool: "v1",
	})}
}

func forDatabases(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newWorld(t, "sqlite://r.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, newWorld(t, postgres.Database(t))) })
}

func files(text string) []definition.File {
	return []definition.File{{Name: "a.yaml", Content: []byte(text)}}
}

// plan makes a plan, and gives it back as its file has it.
func (w *world) plan(text string) *plan.Plan {
	w.t.Helper()
	made, _, err := w.Plan(w.t.Context(), files(text), 0)
	return w.saved(made, err)
}

func (w *world) saved(made *plan.Plan, err error) *plan.Plan {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := made.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	saved, err := plan.Unmarshal(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return saved
}

func (w *world) apply(p *plan.Plan, o control.ApplyOptions) registry.Revision {
	w.t.Helper()
	rev, err := w.Apply(w.t.Context(), p, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return rev
}

// refused checks that nothing is applied, and why.
func (w *world) refused(p *plan.Plan, o control.ApplyOptions, code problem.Code, texts ...string) {
	w.t.Helper()
	before, _, err := w.store.Current(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.Apply(w.t.Context(), p, o)
	if problem.CodeOf(err) != code {
		w.t.Fatalf("%v", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			w.t.Errorf("%q is not in %v", text, err)
		}
	}
	if after, _, err := w.store.Current(w.t.Context()); err != nil || after.Number != before.Number {
		w.t.Errorf("the registry is at revision %d now: %v", after.Number, err)
	}
}

// A revision has the plan that made it, as it was reviewed.
func TestApplyRecords(t *testing.T) {
	forDatabases(t, func(t *testing.T, w *world) {
		p := w.plan(project)
		rev := w.apply(p, control.ApplyOptions{By: "ana@host", Commit: "c0ffee"})
		got, defs, err := w.store.At(t.Context(), rev.Number)
		if err != nil || got.Number != 1 || got.By != "ana@host" || got.Commit != "c0ffee" || got.Tool != "v1" || !got.Applied.Equal(now) ||
			got.Summary != "4 added" || got.Digest != defs.Digest() {
			t.Fatalf("%+v %v", got, err)
		}
		kept, err := plan.Unmarshal(got.Plan)
		if err != nil {
			t.Fatal(err)
		}
		if kept.TargetDigest != p.TargetDigest || len(kept.Changes) != 4 || kept.FilesDigest != p.FilesDigest || kept.FilesDigest == "" {
			t.Errorf("%+v", kept)
		}
	})
}

func TestApplyTwice(t *testing.T) {
	forDatabases(t, func(t *testing.T, w *world) {
		first := w.plan(project)
		for range 3 {
			if rev := w.apply(first, control.ApplyOptions{By: "ana"}); rev.Number != 1 || rev.By != "ana" {
				t.Fatalf("%+v", rev)
			}
		}
		second := w.plan(longer)
		for range 2 {
			if rev := w.apply(second, control.ApplyOptions{By: "bob"}); rev.Number != 2 {
				t.Fatalf("%+v", rev)
			}
		}
		w.refused(first, control.ApplyOptions{}, problem.Conflict,
			"the registry has moved since the plan was made; nothing was applied", "the plan is for revision 0", "bob made revision 2 at 2026-03-04T05:06:07Z (1 changed)")

		// There and back again: the current definitions are those of the plan's base, and yet it is not the base.
		back := w.plan(project)
		w.apply(back, control.ApplyOptions{})
		w.refused(second, control.ApplyOptions{}, problem.Conflict, "the plan is for revision 1")

		// Nothing to do is nothing done.
		same := w.plan(project)
		if rev := w.apply(same, control.ApplyOptions{}); !same.Empty() || rev.Number != 3 {
			t.Errorf("%+v", rev)
		}
	})
}

func TestApplyElsewhere(t *testing.T) {
	one, other := newWorld(t, "sqlite://r.db"), newWorld(t, "sqlite://r.db")
	one.apply(one.plan(project), control.ApplyOptions{})
	p := one.plan(longer)
	other.refused(p, control.ApplyOptions{}, problem.Conflict, "revision 1 of another registry")
	other.apply(other.plan(broken), control.ApplyOptions{})
	other.refused(p, control.ApplyOptions{}, problem.Conflict, "revision 1 of another registry")
	// A target that another base led to is not what the plan has become.
	other.apply(other.plan(longer), control.ApplyOptions{})
	other.refused(p, control.ApplyOptions{}, problem.Conflict, "the registry has moved")
}

func TestBreaking(t *testing.T) {
	w := newWorld(t, "sqlite://r.db")
	w.apply(w.plan(project), control.ApplyOptions{})
	p := w.plan(broken)
	w.refused(p, control.ApplyOptions{}, problem.Precondition, `feature "stats:rating" is removed [model]`,
		`service "model": output "rating" is removed [model]`, "--allow-breaking")

	// A file that says that it breaks nothing is not believed.
	for i := range p.Changes {
		p.Changes[i].Hazards = nil
	}
	w.refused(p, control.ApplyOptions{}, problem.Precondition, "rating")
	if rev := w.apply(p, control.ApplyOptions{AllowBreaking: true}); rev.Number != 2 {
		t.Errorf("%+v", rev)
	}
}

func TestCheckFiles(t *testing.T) {
	w := newWorld(t, "sqlite://r.db")
	two := []definition.File{{Name: "a.yaml", Content: []byte(project)}, {Name: "b.yaml", Content: []byte("# nothing\n")}}
	made, _, err := w.Plan(t.Context(), two, 0)
	p := w.saved(made, err)
	for name, c := range map[string]struct {
		files []definition.File
		same  bool
	}{
		"the same":      {two, true},
		"other names":   {[]definition.File{{Name: "x/b.yaml", Content: two[1].Content}, {Name: "x/a.yaml", Content: two[0].Content}}, true},
		"none":          {nil, true},
		"one less":      {two[:1], false},
		"one twice":     {append(two[:2:2], two[1]), false},
		"other content": {[]definition.File{two[1], {Name: "a.yaml", Content: []byte(longer)}}, false},
	} {
		err := control.CheckFiles(p, c.files)
		if c.same && err != nil || !c.same && problem.CodeOf(err) != problem.Precondition {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A rollback is a new revision with the definitions of an old one, and only that.
func TestRollback(t *testing.T) {
	forDatabases(t, func(t *testing.T, w *world) {
		first := w.apply(w.plan(project), control.ApplyOptions{})
		w.apply(w.plan(longer), control.ApplyOptions{})
		w.apply(w.plan(broken), control.ApplyOptions{AllowBreaking: true})
		made, err := w.PlanRollback(t.Context(), first.Number)
		p := w.saved(made, err)
		rev := w.apply(p, control.ApplyOptions{By: "ana"})
		if rev.Number != 4 || rev.Digest != first.Digest || rev.RollbackOf != 1 || !strings.HasPrefix(rev.Summary, "rollback to 1: ") {
			t.Fatalf("%+v", rev)
		}
		if again := w.apply(p, control.ApplyOptions{}); again.Number != 4 {
			t.Errorf("%+v", again)
		}
		history, err := w.store.History(t.Context(), 1)
		if err != nil || history[0].RollbackOf != 1 {
			t.Errorf("%+v %v", history, err)
		}

		// Going back may break, too.
		made, err = w.PlanRollback(t.Context(), 3)
		w.refused(w.saved(made, err), control.ApplyOptions{}, problem.Precondition, `feature "stats:rating" is removed`)

		if _, err := w.PlanRollback(t.Context(), 5); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("%v", err)
		}
		if made, err := w.PlanRollback(t.Context(), 4); err != nil || !made.Empty() {
			t.Errorf("%+v %v", made, err)
		}

		// A plan that says to go back and does something else is refused.
		forged := w.plan(longer)
		forged.RollbackOf = 1
		w.refused(forged, control.ApplyOptions{}, problem.Invalid, "said to go back to revision 1")
		forged.RollbackOf = 9
		w.refused(forged, control.ApplyOptions{}, problem.NotFound, "no revision 9")
	})
}

// Of several that apply different plans at once one wins, and the others are told who; with one plan all are told its revision.
func TestApplyAtOnce(t *testing.T) {
	forDatabases(t, func(t *testing.T, w *world) {
		const callers = 4
		for round := range int64(3) {
			plans := make([]*plan.Plan, callers)
			for i := range plans {
				plans[i] = w.plan(strings.Replace(project, "ttl: 1h", fmt.Sprintf("ttl: %dm", round*callers+int64(i)+100), 1))
			}
			won := make([]bool, callers)
			var wg sync.WaitGroup
			for i, p := range plans {
				wg.Go(func() {
					rev, err := w.Apply(t.Context(), p, control.ApplyOptions{By: fmt.Sprint("caller", i)})
					if won[i] = err == nil; won[i] && rev.Number != round+1 || !won[i] && problem.CodeOf(err) != problem.Conflict {
						t.Errorf("caller %d: %+v, %v", i, rev, err)
					}
				})
			}
			wg.Wait()
			winners := 0
			for _, w := range won {
				if w {
					winners++
				}
			}
			if winners != 1 {
				t.Fatalf("%d won", winners)
			}
		}
		same := w.plan(project)
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				if rev, err := w.Apply(t.Context(), same, control.ApplyOptions{}); err != nil || rev.Number != 4 {
					t.Errorf("%+v, %v", rev, err)
				}
			})
		}
		wg.Wait()
	})
}

// What the registry holds is never what a plan file says of itself.
func TestForgedPlan(t *testing.T) {
	w := newWorld(t, "sqlite://"+filepath.Join(t.TempDir(), "r.db"))
	p := w.plan(project)
	p.Changes, p.Services, p.Generations = nil, []string{"nobody"}, nil
	rev := w.apply(p, control.ApplyOptions{})
	got, _, err := w.store.At(t.Context(), rev.Number)
	if err != nil {
		t.Fatal(err)
	}
	var kept plan.Plan
	if err := json.Unmarshal(got.Plan, &kept); err != nil || len(kept.Changes) != 4 || kept.Services[0] != "model" {
		t.Errorf("%+v %v", kept, err)
	}
}

// Interrupted while it waits for the database, apply says so, and nothing is applied.
func TestApplyInterrupted(t *testing.T) {
	w := newWorld(t, "sqlite://r.db")
	p := w.plan(project)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Apply(ctx, p, control.ApplyOptions{}); problem.CodeOf(err) != problem.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if rev, _, err := w.store.Current(t.Context()); err != nil || rev.Number != 0 {
		t.Errorf("%+v %v", rev, err)
	}
}
