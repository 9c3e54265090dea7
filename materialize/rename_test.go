package materialize_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/plan"
)

// apply makes what a plan leads to the world's revision, as an apply does.
func (w *world) apply(change func(*registry.Definitions), make func(registry.Revision, *registry.Definitions, *registry.Definitions) (*plan.Plan, error)) *plan.Plan {
	w.t.Helper()
	target := definitions(nil)
	change(target)
	made, err := make(registry.Revision{Number: w.snap.Revision}, w.snap.Definitions, target)
	check(w.t, err)
	raw, err := made.Marshal() // a plan file, as the registry keeps its definitions
	check(w.t, err)
	saved, err := plan.Unmarshal(raw)
	check(w.t, err)
	w.snap, err = registry.Compile(w.snap.Revision+1, saved.Target)
	check(w.t, err)
	return made
}

// lookup answers features of entities as a server of the world's revision does.
func (w *world) lookup(features []string, keys ...string) (string, error) {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	server := serving.New(w.store, serving.Options{Now: func() time.Time { return w.now }})
	server.Update(w.snap, live)
	column := columnar.NewVector(columnar.Type{Kind: columnar.String}, len(keys))
	for _, k := range keys {
		column.AppendBytes([]byte(k))
	}
	answer, err := server.Lookup(w.t.Context(), &serving.Request{
		Features: features, KeyNames: []string{"k"}, Keys: []*columnar.Vector{column},
	})
	if err != nil {
		return "", err
	}
	defer answer.Release()
	rows := make([]string, len(keys))
	for i := range keys {
		for o, name := range answer.Names {
			rows[i] += fmt.Sprintf("%s=%s %s ", name, columnar.AppendJSON(nil, answer.Columns[o], i), answer.Status[o][i])
		}
	}
	return answer.Views[0].View + ": " + strings.Join(rows, "| "), nil
}

func (w *world) looks(features []string, want string, keys ...string) {
	w.t.Helper()
	got, err := w.lookup(features, keys...)
	check(w.t, err)
	w.want(strings.TrimSpace(got), want)
}

// renamed calls view v, its features, its entity and its source otherwise; the order of the names of f and c turns round.
func renamed(d *registry.Definitions) {
	d.Entities[0].Name, d.Entities[0].Was = "object", "thing"
	d.Sources[0].Name, d.Sources[0].Was = "files", "s"
	v := d.Views[0]
	v.Name, v.Was, v.Source, v.Entities = "w", "v", "files", []string{"object"}
	for i, name := range []string{"a", "y", "z"}[:len(v.Features)] {
		f := v.Features[i]
		f.Name, f.Was, f.Column = name, f.Name, cmp.Or(f.Column, f.Name)
	}
}

// stamped makes the created time a feature, of the class of f, and no more: rows tie where their event times are equal.
func stamped(d *registry.Definitions) {
	d.Sources[0].CreatedTime = ""
	d.Views[0].Features = append(d.Views[0].Features, &registry.Feature{
		Name: "c", Column: "created", Type: columnar.Type{Kind: columnar.Timestamp},
	})
}

// What is stored of a view that is renamed, with everything in it, stays: lookups and runs go on.
func TestRename(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		// Rows that tie are ordered by their bytes (R4): first by c, then by f, whatever they are called.
		ties := func(f float64, c int64) fact {
			row := at("b", 20, f)
			row.N, row.Created = new(int64(7)), &c
			return row
		}
		w.apply(stamped, plan.Make)
		w.write("1.parquet", at("a", 10, 1), ties(3, 16), ties(2, 17))
		first := w.run(materialize.Request{})
		w.looks([]string{"v:f", "v:n"}, "v: f=1 PRESENT n=10 PRESENT | f=2 PRESENT n=7 PRESENT", "a", "b")
		digest := w.snap.Views["v"].Digest

		made := w.apply(func(d *registry.Definitions) { stamped(d); renamed(d) }, plan.Make)
		if made.Count(plan.Rename) != 3 || made.Count(plan.Add)+made.Count(plan.Delete)+len(made.Generations) > 0 || made.Breaking() {
			t.Fatalf("plan %s: %+v", made.Summary(), made.Changes)
		}
		if w.snap.Views["w"].Digest != digest {
			t.Error("the digest of the view changes with its name")
		}
		w.looks([]string{"w:a", "w:y"}, "w: a=1 PRESENT y=10 PRESENT | a=2 PRESENT y=7 PRESENT", "a", "b")
		if _, err := w.lookup([]string{"v:f"}, "a"); problem.CodeOf(err) != problem.NotFound || !strings.Contains(err.Error(), `it is "w" now`) {
			t.Errorf("the old name: %v", err)
		}
		if _, err := w.lookup([]string{"w:f"}, "a"); problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), `it is "a" now`) {
			t.Errorf("the old name of a feature: %v", err)
		}

		// The next run goes on where the last one ended.
		w.write("2.parquet", at("c", 5, 5), ties(4, 16))
		next := w.run(materialize.Request{})
		if next.Full || next.Generation != first.Generation || next.Files != 1 || next.View != "w" {
			t.Errorf("the run after a rename: %+v", next)
		}
		w.looks([]string{"w:a", "w:y"}, "w: a=2 PRESENT y=7 PRESENT | a=5 PRESENT y=50 PRESENT", "b", "c")
		w.clean()
		w.goesBy("w", 2)
		if pruned, err := w.svc.Prune(t.Context(), false, nil); err != nil || len(pruned) > 0 {
			t.Errorf("pruned %+v, %v", pruned, err)
		}

		// And back, as a rollback does it.
		back := w.apply(stamped, plan.Restore)
		if w.snap.Views["v"].Digest != digest || len(back.Generations) > 0 || w.snap.Views["v"].Stored != "" {
			t.Errorf("the plan back: %+v", back.Changes)
		}
		w.looks([]string{"v:f"}, "v: f=2 PRESENT", "b")
		if again := w.run(materialize.Request{}); again.Full || again.Generation != first.Generation || again.View != "v" {
			t.Errorf("the run after the rollback: %+v", again)
		}
		w.clean()
		w.goesBy("v", 3)
	})
}

// goesBy checks that runs, status and pauses tell of a view by its name of today.
func (w *world) goesBy(view string, runs int) {
	w.t.Helper()
	ctx := w.t.Context()
	for _, names := range [][]string{nil, {view}} {
		all, err := w.svc.Runs(ctx, names, 0)
		check(w.t, err)
		if len(all) != runs {
			w.t.Errorf("runs of %v: %+v", names, all)
		}
		for _, r := range all {
			one, err := w.svc.GetRun(ctx, r.ID)
			check(w.t, err)
			if r.View != view || one.View != view {
				w.t.Errorf("run %d is of view %q, %q", r.ID, r.View, one.View)
			}
		}
	}
	statuses, err := w.svc.Status(ctx, []string{view})
	check(w.t, err)
	if st := statuses[0]; st.State != materialize.ViewOK || st.Generation == 0 || st.LastRun == nil || st.LastRun.View != view {
		w.t.Errorf("status %+v", st)
	}
}

// A schedule that rests goes on resting under its view's new name, and a name that was taken anew has a life of its own.
func TestRenameOfPausedAndTakenNames(t *testing.T) {
	w := one(t)
	scheduled := func(d *registry.Definitions) { d.Views[0].Schedule = "* * * * *" }
	w.apply(scheduled, plan.Make)
	w.write("1.parquet", at("a", 10, 1))
	first := w.run(materialize.Request{})
	_, err := w.svc.Pause(t.Context(), nil)
	check(t, err)
	w.apply(func(d *registry.Definitions) {
		scheduled(d)
		other := *d.Views[0]
		renamed(d)
		d.Views = append([]*registry.FeatureView{&other}, d.Views...)
		other.Entities, other.Source = d.Views[1].Entities, d.Views[1].Source
		other.Features = definitions(nil).Views[0].Features
	}, plan.Make)
	if got := w.snap.Views["v"].StoredName(); got == "v" || w.snap.Views["w"].StoredName() != "v" {
		t.Fatalf("v is stored as %q", got)
	}
	paused, err := w.svc.Pauses(t.Context())
	check(t, err)
	if len(paused) != 1 || paused["w"].View != "w" {
		t.Errorf("paused %+v", paused)
	}
	if _, err := w.lookup([]string{"v:f"}, "a"); problem.CodeOf(err) != problem.Precondition {
		t.Errorf("the new view of the old name: %v", err)
	}
	w.looks([]string{"w:a"}, "w: a=1 PRESENT", "a")
	runs, err := w.svc.Run(t.Context(), materialize.Request{}, nil)
	check(t, err)
	if len(runs) != 2 || runs[0].View != "v" || !runs[0].Full || runs[1].View != "w" || runs[1].Full || runs[1].Generation != first.Generation {
		t.Errorf("runs %+v", runs)
	}
	resumed, err := w.svc.Resume(t.Context(), nil)
	check(t, err)
	if len(resumed) != 1 || resumed[0] != "w" {
		t.Errorf("resumed %v", resumed)
	}
	if paused, err = w.svc.Pauses(t.Context()); err != nil || len(paused) > 0 {
		t.Errorf("paused %+v, %v", paused, err)
	}
	w.snap, err = registry.Compile(w.snap.Revision+1, &registry.Definitions{
		Entities: w.snap.Definitions.Entities, Sources: w.snap.Definitions.Sources, Views: w.snap.Definitions.Views[:1],
	})
	check(t, err)
	w.now = w.now.Add(time.Hour)
	pruned, err := w.svc.Prune(t.Context(), false, nil)
	check(t, err)
	if len(pruned) != 1 || pruned[0].Generation != first.Generation || pruned[0].Why != materialize.PruneDeleted {
		t.Errorf("pruned %+v", pruned)
	}
}
