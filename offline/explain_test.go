package offline

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// explained is a view of one text key with rows that tie in every way.
func explained(t *testing.T) (*registry.View, *source.Files) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, keys, events, createds, delays, notes *columnar.Vector) {
		writeFile(t, dir+"/data/"+name, 2,
			field{"code", keys}, field{"at", events}, field{"loaded", createds}, field{"delay", delays}, field{"note", notes})
	}
	file("a.parquet", vec(stringType, "JFK", "JFK", "SFO"), vec(timeType, noon-2*hour, noon, noon),
		vec(timeType, noon, noon, nil), vec(floatType, 1.0, 2.0, 3.0), vec(stringType, "x", "a", "x"))
	file("b.parquet", vec(stringType, "JFK", "JFK", "JFK", "JFK"), vec(timeType, noon, noon, noon, noon+hour),
		vec(timeType, noon+1, noon+1, nil, noon), vec(floatType, nil, 2.0, 2.0, 9.0), vec(stringType, "c", "b", "b", "x"))
	file("c.parquet", vec(stringType, "JFK", nil), vec(timeType, noon, noon),
		vec(timeType, noon+1, noon), vec(floatType, nil, 1.0), vec(stringType, "c", "x"))
	snapshot, err := registry.Compile(1, &registry.Definitions{
		Entities: []*registry.Entity{{Name: "airport", JoinKeys: []registry.JoinKey{{Name: "airport", Type: stringType}}}},
		Sources: []*registry.Source{{
			Name: "s", Parquet: []string{"data"}, EventTime: registry.TimeColumn{Column: "at"}, CreatedTime: "loaded", Timezone: "UTC",
			Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
		}},
		Views: []*registry.FeatureView{{
			Name: "v", Entities: []string{"airport"}, Keys: map[string]string{"airport": "code"}, Source: "s", TTL: 6 * 3600e9,
			Features: []*registry.Feature{
				{Name: "delay", Type: floatType, Default: []byte("7")}, {Name: "note", Type: stringType},
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Views["v"], source.New(dir, nil)
}

func TestExplain(t *testing.T) {
	view, files := explained(t)
	ask := func(key any, feature int, at int64, n int) *Explanation {
		t.Helper()
		x, err := Explain(context.Background(), ExplainRequest{
			View: view, Feature: feature, Source: files, Keys: []*columnar.Vector{vec(stringType, key)}, At: at, Candidates: n,
		})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	lines := func(x *Explanation) (lines []string) {
		for i, c := range x.Before {
			line := fmt.Sprintf("%s:%d:%d %s", x.Files[c.File].Path, c.Group, c.Row, show(c.Features[1]))
			if l := x.Lost[i]; l.Why != "" {
				line += l.Why
				if l.Why == LostEncoding {
					line += " " + view.Features[l.Feature].Name
				}
			}
			if c.Copies > 0 {
				line += fmt.Sprintf("and %d copies, first %s:%d", c.Copies, x.Files[c.CopiesAt[0].File].Path, c.CopiesAt[0].Row)
			}
			lines = append(lines, line)
		}
		return lines
	}
	x := ask("JFK", 0, noon, 10)
	want := []string{
		`data/b.parquet:0:0 "c" and 1 copies, first data/c.parquet:0`, // a null comes after any value
		`data/b.parquet:0:1 "b" smaller_encoding delay`,
		`data/a.parquet:0:1 "a" earlier_created_time`,
		`data/b.parquet:1:2 "b" earlier_created_time`,
		`data/a.parquet:0:0 "x" older_event_time`,
	}
	if diff := cmp.Diff(want, lines(x)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if x.Status != columnar.Null || len(x.After) != 1 || x.After[0].Event != noon+hour || x.RowsBefore != 6 || x.Stats.NullKeys != 1 {
		t.Errorf("%+v", x)
	}
	if x := ask("JFK", 1, noon+hour-1, 0); x.Status != columnar.Present || show(x.Value) != `"c" ` || len(x.Before) != 1 || len(x.After) != 0 {
		t.Errorf("%+v", x)
	}
	// The age decides, and the default fills.
	for at, want := range map[int64]string{
		noon + 7*hour: "PRESENT 9 ", noon + 7*hour + 1: "EXPIRED 7 ", noon + 13*hour: "EXPIRED 7 ", noon + 13*hour + 1: "NOT_FOUND 7 ",
		noon - 2*hour - 1: "NOT_FOUND 7 ",
	} {
		x := ask("JFK", 0, at, 2)
		if got := x.Status.String() + " " + show(x.Value); got != want {
			t.Errorf("at %d: %s, want %s", at-noon, got, want)
		}
	}
	if x := ask(nil, 0, noon, 2); !x.NullKey || x.Status != columnar.NotFound || x.Stats.Files != 0 {
		t.Errorf("%+v", x)
	}
	x = ask(" jfk", 1, noon, 2)
	if x.Status != columnar.NotFound || len(x.NearMisses) != 1 || show(x.NearMisses[0].Keys[0]) != `"JFK" ` || x.NearMisses[0].Rows != 7 {
		t.Errorf("%+v", x)
	}
}

func TestExplainFails(t *testing.T) {
	view, files := explained(t)
	req := ExplainRequest{View: view, Source: files, Keys: []*columnar.Vector{vec(stringType, "JFK")}, At: noon, Candidates: -1}
	if _, err := Explain(context.Background(), req); problem.CodeOf(err) != problem.Invalid {
		t.Error(err)
	}
	req.Candidates, req.Limits = 0, parquet.Limits{FooterBytes: 10}
	if _, err := Explain(context.Background(), req); problem.CodeOf(err) != problem.Exhausted {
		t.Error(err)
	}
	req.Limits, req.Source = parquet.Limits{}, source.New(t.TempDir(), nil)
	if _, err := Explain(context.Background(), req); problem.CodeOf(err) != problem.Precondition {
		t.Error(err)
	}
}
