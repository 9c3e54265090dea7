package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

const planBefore = `
kind: Entity
name: airport
join_keys: [{name: airport, type: string}]
---
kind: Source
name: hourly
parquet: "lake:hourly/**"
event_time: hour
---
kind: FeatureView
name: hours
entities: [airport]
source: hourly
ttl: 6h
features: [{name: departures, type: int64, default: 0}, {name: delay, type: float64}, {name: place, type: string, default: "a|b"}]
---
kind: FeatureView
name: days
entities: [airport]
source: hourly
features: [{name: mean, type: float64}]
---
kind: FeatureService
name: model
features: [{view: hours, features: [departures, delay, {name: place, as: spot}]}]
---
kind: FeatureService
name: pinned
locked: true
features: [{view: days}]
`

// planCases lead from planBefore to another state.
var planCases = []struct {
	name    string
	replace []string
}{
	{name: "nothing"},
	{name: "fine", replace: []string{"ttl: 6h", "ttl: 12h\nowner: \"@flights <team@example.com>\"", "name: days", "name: daily\nwas: days", "view: days", "view: daily"}},
	{name: "breaking", replace: []string{
		"type: float64}, {name: place", "type: float32}, {name: place", `default: "a|b"`, "default: \"`c` | *d* @all\\n# <b>e</b>\"",
		"name: model", "name: model_v2", "lake:hourly", "lake:hourly_v2",
	}},
	{name: "locked", replace: []string{"{name: mean, type: float64}", "{name: mean, type: float64}, {name: worst, type: float64}"}},
}

func planBetween(t *testing.T, before, after string) *planReport {
	t.Helper()
	parse := func(text string) *registry.Definitions {
		defs, _, err := definition.Parse([]definition.File{{Name: "f.yaml", Content: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return defs
	}
	p, err := plan.Make(registry.Revision{Number: 7}, parse(before), parse(after))
	if err != nil {
		t.Fatal(err)
	}
	for i, view := range p.Generations {
		p.Estimates = append(p.Estimates, plan.Estimate{
			View: view, Files: 1200, Rows: 36_000_000, Keys: int64(i) * 350, ReadBytes: 5 << 30, StoredBytes: int64(i) * 41_000,
		})
	}
	var warnings diag.Set
	if before != after {
		warnings.Add(diag.Position{File: "f.yaml", Line: 7, Col: 1}, "no-data", "no file matches lake:hourly/**")
	}
	return newPlanReport(p, warnings)
}

func TestPlanRenderings(t *testing.T) {
	for _, c := range planCases {
		r := planBetween(t, planBefore, strings.NewReplacer(c.replace...).Replace(planBefore))
		var text, js bytes.Buffer
		for _, out := range []struct {
			form string
			w    *bytes.Buffer
		}{{"table", &text}, {"json", &js}} {
			w, _ := world(nil, out.w, out.w)
			if err := (&app{World: w, output: out.form}).show(r); err != nil {
				t.Fatal(err)
			}
		}
		for name, got := range map[string]string{"txt": text.String(), "json": js.String(), "md": r.markdown()} {
			path := filepath.Join("testdata", "planreport", c.name+"."+name)
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s, -want +got; go test -update accepts it:\n%s", path, diff)
			}
		}
	}
}

// A comment is never longer than GitHub takes, and whole as far as it goes.
func TestPlanMarkdownIsCut(t *testing.T) {
	for _, n := range []int{100, 300, 1000, 5000} {
		var features strings.Builder
		for i := range n {
			fmt.Fprintf(&features, ", {name: f%d, type: int64, description: '%s'}", i, strings.Repeat("é`", 20))
		}
		for _, after := range []string{
			strings.Replace(planBefore, ", {name: delay", features.String()+", {name: delay", 1),
			strings.Replace(planBefore, "ttl: 6h", "ttl: 7h\ndescription: "+strings.Repeat("long ", 20*n), 1),
		} {
			got := planBetween(t, planBefore, after).markdown()
			cut := strings.HasSuffix(got, cutNote)
			if len(got) > commentLimit || cut != (len(got) > commentLimit*9/10 || strings.Contains(got, "_Cut")) {
				t.Errorf("%d features: %d bytes, cut %t", n, len(got), cut)
			}
			if strings.Count(got, "<details>") != strings.Count(got, "</details>") {
				t.Errorf("%d features: details are not closed", n)
			}
			if n == 5000 && !cut {
				t.Errorf("%d features: %d bytes, and nothing is cut", n, len(got))
			}
		}
	}
}

// Whatever a plan says stays text: no table is broken, no fence ended, nobody called.
func TestPlanMarkdownEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"a|b\n`c`": "a\\|b\\\\u000a\\`c\\`", "<b>&": "&lt;b&gt;&amp;", "@all": "@\u200ball", "*x_y*": `\*x\_y\*`,
	} {
		if got := escaped(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"a": "`a`", "a`b": "``a`b``", "`": "`` ` ``", "a|b": "`a\\|b`", "``a": "``` ``a ```"} {
		if got := code(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
