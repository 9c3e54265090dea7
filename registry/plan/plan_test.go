package plan_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

const project = `
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
features: [{name: departures, type: int64, default: 0}, {name: delay, type: float64}]
---
kind: FeatureService
name: model
features: [{view: hours, prefix: origin_, join: {airport: origin}}]
`

func parse(t *testing.T, text string) *registry.Definitions {
	t.Helper()
	defs, _, err := definition.Parse([]definition.File{{Name: "f.yaml", Content: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return defs
}

func planOf(t *testing.T, before, after string) *plan.Plan {
	t.Helper()
	current := parse(t, before)
	p, err := plan.Make(registry.Revision{Number: 7, Digest: current.Digest()}, current, parse(t, after))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// render shows what a case is about, one line per change.
func render(p *plan.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		b.WriteString(string(c.Action) + " " + c.Kind + " " + c.Name)
		if c.Was != "" {
			b.WriteString(" was " + c.Was)
		}
		for _, f := range c.Fields {
			b.WriteString("\n  " + f.Path + ": " + f.Old + " -> " + f.New)
		}
		for _, h := range c.Hazards {
			b.WriteString("\n  ")
			if h.Breaking {
				b.WriteString("breaking ")
			}
			b.WriteString(h.Code + " " + strings.Join(h.Services, " ") + ": " + h.Message)
		}
		if c.NewGeneration {
			b.WriteString("\n  new generation")
		}
		if len(c.Services) > 0 {
			b.WriteString("\n  services: " + strings.Join(c.Services, " "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// cases lead from project, or from what before makes of it, to another state.
var cases = []struct {
	name          string
	before, after []string // old, new, …
}{
	{name: "nothing"},
	{name: "ttl raised, and text", after: []string{"ttl: 6h", "ttl: 1d\ndescription: d"}},
	{name: "ttl lowered", after: []string{"ttl: 6h", "ttl: 1h"}},
	{name: "ttl away", after: []string{"ttl: 6h\n", ""}},
	{name: "default", after: []string{"default: 0", "default: 9007199254740993"}},
	{name: "default away", after: []string{", default: 0", ""}},
	{name: "feature added", after: []string{"type: float64}]", "type: float64}, {name: late, type: bool}]"}},
	{name: "feature removed", after: []string{", {name: delay, type: float64}", ""}},
	{name: "feature that no service uses removed", before: []string{"prefix: origin_", "features: [departures]"}, after: []string{
		"prefix: origin_", "features: [departures]", ", {name: delay, type: float64}", "",
	}},
	{name: "type narrowed", after: []string{"float64", "float32"}},
	{name: "type widened", before: []string{"float64", "float32"}},
	{name: "column", after: []string{"name: delay", "name: delay, column: avg_delay"}},
	{name: "features in another order", after: []string{
		"[{name: departures, type: int64, default: 0}, {name: delay, type: float64}]",
		"[{name: delay, type: float64}, {name: departures, type: int64, default: 0}]",
	}},
	{name: "source moved", after: []string{"lake:hourly", "lake:hours"}},
	{name: "times of the source", after: []string{"event_time: hour", "event_time: at\ncreated_time: loaded\ntimezone: Europe/Berlin"}},
	{name: "source described", after: []string{"event_time: hour", "event_time: hour\ndescription: d\nrewrites: replace"}},
	{name: "another source", after: []string{
		"source: hourly", "source: hours", "---\nkind: FeatureView", "---\nkind: Source\nname: hours\nparquet: lake:hours\nevent_time: hour\n---\nkind: FeatureView",
	}},
	{name: "join key retyped", after: []string{"type: string", "type: int64"}},
	{name: "key column", after: []string{"ttl: 6h", "ttl: 6h\nkeys: {airport: iata}"}},
	{name: "another entity", after: []string{
		"entities: [airport]", "entities: [field]", "join: {airport: origin}", "join: {field: origin}",
		"---\nkind: Source", "---\nkind: Entity\nname: field\njoin_keys: [{name: field, type: string}]\n---\nkind: Source",
	}},
	{name: "service renames an output", after: []string{"prefix: origin_", "prefix: o_"}},
	{name: "service binds another key", after: []string{"join: {airport: origin}", "join: {airport: destination}"}},
	{name: "service reads something else by one name", before: []string{"prefix: origin_", "features: [{name: delay, as: x}]"}, after: []string{
		"prefix: origin_", "features: [{name: departures, as: x}]",
	}},
	{name: "service described", after: []string{"name: model", "name: model\nowner: me@example.com\ntags: {a: b}"}},
	{name: "service deleted", after: []string{service, ""}},
	{name: "view and service deleted", after: []string{project[strings.Index(project, "---\nkind: FeatureView"):], ""}},
	{name: "view that no service uses deleted", before: []string{service, ""}, after: []string{project[strings.Index(project, "---\nkind: FeatureView"):], ""}},
	{name: "view that no service uses retyped", before: []string{service, ""}, after: []string{service, "", "float64", "float32", "type: string", "type: int64"}},
	{name: "offline", after: []string{"ttl: 6h", "ttl: 6h\nonline: false"}},
	{name: "online", before: []string{"ttl: 6h", "ttl: 6h\nonline: false"}},
	{name: "from nothing", before: []string{project, ""}},
	{name: "to nothing", after: []string{project, ""}},
	{name: "locked, from now on", after: []string{"name: model", "name: model\nlocked: true"}},
	{name: "locked no more", before: []string{"name: model", "name: model\nlocked: true"}},
	{name: "locked no more, and other outputs", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{"prefix: origin_", "prefix: o_"}},
	{name: "locked service described", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{
		"name: model", "name: model\nlocked: true\ndescription: d\nowner: me@example.com\ntags: {a: b}",
	}},
	{name: "locked service, another default of its view", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{
		"name: model", "name: model\nlocked: true", "default: 0", "default: 1",
	}},
	{name: "locked service, more features of its view", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{
		"name: model", "name: model\nlocked: true", "type: float64}]", "type: float64}, {name: late, type: bool}]",
	}},
	{name: "locked service, longer ttl and other files", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{
		"name: model", "name: model\nlocked: true", "ttl: 6h", "ttl: 7h", "lake:hourly", "lake:hours",
	}},
	{name: "view renamed", after: []string{"name: hours", "name: flights\nwas: hours", "view: hours", "view: flights"}},
	{name: "view renamed, by a stale name", after: []string{"name: hours", "name: flights\nwas: days", "view: hours", "view: flights"}},
	{name: "feature renamed", after: []string{"name: delay,", "name: late, was: delay, column: delay,"}},
	{name: "feature renamed, and not its column", after: []string{"name: delay,", "name: late, was: delay,"}},
	{name: "feature renamed under a service's name", before: []string{"prefix: origin_", "features: [{name: delay, as: x}]"}, after: []string{
		"prefix: origin_", "features: [{name: late, as: x}]", "name: delay,", "name: late, was: delay, column: delay,",
	}},
	{name: "locked service, renames beneath", before: []string{
		"prefix: origin_", "features: [{name: delay, as: x}]", "name: model", "name: model\nlocked: true",
	}, after: []string{
		"prefix: origin_", "features: [{name: late, as: x}]", "name: model", "name: model\nlocked: true",
		"name: delay,", "name: late, was: delay, column: delay,", "name: hours", "name: flights\nwas: hours", "view: hours", "view: flights",
	}},
	{name: "view and feature renamed and retyped", after: []string{
		"name: hours", "name: flights\nwas: hours", "view: hours", "view: flights",
		"name: delay, type: float64", "name: late, was: delay, column: delay, type: float32",
	}},
	{name: "source renamed", after: []string{"name: hourly", "name: hours\nwas: hourly", "source: hourly", "source: hours"}},
	{name: "entity renamed", after: []string{"name: airport\n", "name: field\nwas: airport\n", "[airport]", "[field]"}},
	{name: "service renamed", after: []string{"name: model", "name: model_v2\nwas: model"}},
	{name: "locked service renamed", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{
		"name: model", "name: model_v2\nwas: model\nlocked: true",
	}},
	{name: "locked service deleted", before: []string{"name: model", "name: model\nlocked: true"}, after: []string{service, ""}},
}

// service is the project's last document.
var service = project[strings.LastIndex(project, "---"):]

func TestPlans(t *testing.T) {
	var out strings.Builder
	told := map[string]bool{}
	for _, c := range cases {
		before := strings.NewReplacer(c.before...).Replace(project)
		after := strings.NewReplacer(c.after...).Replace(project)
		if c.name != "nothing" && before == after {
			t.Fatalf("%s: nothing is replaced", c.name)
		}
		p := planOf(t, before, after)
		text := render(p)
		fmt.Fprintf(&out, "## %s\n%s%s\n", c.name, text, p.Summary())
		if len(p.Generations) > 0 {
			fmt.Fprintf(&out, "generations: %s\n", strings.Join(p.Generations, " "))
		}
		for _, breaking := range []bool{false, true} {
			if err := p.Allowed(breaking); err != nil {
				fmt.Fprintf(&out, "allowed=%t: %v\n", breaking, err)
				if problem.CodeOf(err) != problem.Precondition {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		}
		out.WriteString("\n")
		if p.Empty() != (text == "") || p.Breaking() != strings.Contains(text, "  breaking ") {
			t.Error(c.name, p.Empty(), p.Breaking())
		}
		for _, h := range p.Hazards() {
			told[h.Code] = true
		}
	}
	for _, c := range plan.Codes {
		if !told[c.Name] {
			t.Errorf("no case has hazard %s", c.Name)
		}
	}
	golden(t, "testdata/plans.golden", out.String())
}

var update = flag.Bool("update", false, "rewrite testdata and docs/reference/plan.md")

func golden(t *testing.T, path, got string) {
	t.Helper()
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
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestFirstPlanRoundTrips(t *testing.T) {
	p := planOf(t, "", project)
	if p.Summary() != "4 to add, 0 to change, 0 to delete" || p.Done() != "4 added" || p.Breaking() || p.BaseRevision != 7 {
		t.Errorf("%+v", p)
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := plan.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mustJSON(t, p), mustJSON(t, back)); diff != "" {
		t.Error(diff)
	}
	if back.Target.Digest() != p.TargetDigest {
		t.Error("the target changes with the round trip")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnmarshalRefuses(t *testing.T) {
	good, err := planOf(t, "", project).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"no plan":       "[]",
		"version":       strings.Replace(string(good), `"version": 2`, `"version": 1`, 1),
		"newer":         strings.Replace(string(good), `"version": 2`, `"version": 3`, 1),
		"no target":     `{"version": 2}`,
		"null entity":   `{"version": 2, "target": {"entities": [null]}}`,
		"null feature":  `{"version": 2, "target": {"views": [{"features": [null]}]}}`,
		"altered":       strings.Replace(string(good), "lake:hourly", "lake:other", 1),
		"truncated":     string(good[:len(good)/2]),
		"unknown types": strings.Replace(string(good), `"type": "float64"`, `"type": "float65"`, 1),
	} {
		if p, err := plan.Unmarshal([]byte(text)); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
