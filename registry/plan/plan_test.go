package plan_test

import (
	"encoding/json"
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
		for _, f := range c.Fields {
			b.WriteString("\n  " + f.Path + ": " + f.Old + " -> " + f.New)
		}
		for _, s := range c.Breaking {
			b.WriteString("\n  breaking: " + s)
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

func TestPlans(t *testing.T) {
	for _, c := range []struct {
		name        string
		replace     []string
		want        string
		summary     string
		generations string
	}{
		{name: "nothing", summary: "0 to add, 0 to change, 0 to delete"},
		{
			name: "ttl and text", replace: []string{"ttl: 6h", "ttl: 1d\ndescription: d"}, summary: "0 to add, 1 to change, 0 to delete",
			want: "change FeatureView hours\n  description:  -> d\n  ttl: 6h -> 1d\n  services: model\n",
		},
		{
			name: "default", replace: []string{"default: 0", "default: 9007199254740993"}, summary: "0 to add, 1 to change, 0 to delete",
			want: "change FeatureView hours\n  features.departures.default: 0 -> 9007199254740993\n  services: model\n",
		},
		{
			name: "feature added", replace: []string{"type: float64}]", "type: float64}, {name: late, type: bool}]"}, generations: "hours",
			summary: "0 to add, 1 to change, 0 to delete",
			want:    "change FeatureView hours\n  features.late.type:  -> bool\n  new generation\n  services: model\n",
		},
		{
			name: "feature removed", replace: []string{", {name: delay, type: float64}", ""}, generations: "hours",
			want: "change FeatureView hours\n  features.delay.type: float64 -> \n  breaking: feature \"delay\" is removed\n  new generation\n  services: model\n" +
				"change FeatureService model\n  breaking: output \"origin_delay\" is removed\n  services: model\n",
		},
		{
			name: "type changed", replace: []string{"float64", "float32"}, generations: "hours",
			want: "change FeatureView hours\n  features.delay.type: float64 -> float32\n  breaking: feature \"delay\" changes from float64 to float32\n  new generation\n  services: model\n" +
				"change FeatureService model\n  breaking: output \"origin_delay\" changes from float64 to float32\n  services: model\n",
		},
		{
			name: "features in another order", replace: []string{
				"[{name: departures, type: int64, default: 0}, {name: delay, type: float64}]",
				"[{name: delay, type: float64}, {name: departures, type: int64, default: 0}]",
			},
			want: "change FeatureView hours\n  features order: departures, delay -> delay, departures\n  services: model\n",
		},
		{
			name: "source moved", replace: []string{"lake:hourly", "lake:hours"}, generations: "hours",
			want: "change Source hourly\n  parquet: [\"lake:hourly/**\"] -> [\"lake:hours/**\"]\n  services: model\n" +
				"change FeatureView hours\n  new generation\n  services: model\n",
		},
		{
			name: "source described", replace: []string{"event_time: hour", "event_time: hour\ndescription: d\nrewrites: replace"},
			want: "change Source hourly\n  description:  -> d\n  rewrites: rebuild -> replace\n  services: model\n",
		},
		{
			name: "join key retyped", replace: []string{"type: string", "type: int64"}, generations: "hours",
			want: "change Entity airport\n  join_keys.airport.type: string -> int64\n  breaking: join keys change from (airport string) to (airport int64)\n  services: model\n" +
				"change FeatureView hours\n  breaking: join keys change from (airport string) to (airport int64)\n  new generation\n  services: model\n" +
				"change FeatureService model\n  breaking: request keys change from (origin string) to (origin int64)\n  services: model\n",
		},
		{
			name: "service renames an output", replace: []string{"prefix: origin_", "prefix: o_"},
			want: "change FeatureService model\n  features[0].prefix: origin_ -> o_\n  breaking: output \"origin_departures\" is removed\n  breaking: output \"origin_delay\" is removed\n  services: model\n",
		},
		{
			name: "service deleted", replace: []string{project[strings.LastIndex(project, "---"):], ""}, summary: "0 to add, 0 to change, 1 to delete",
			want: "delete FeatureService model\n  breaking: its callers get an error\n  services: model\n",
		},
		{
			name: "view and service deleted", replace: []string{project[strings.Index(project, "---\nkind: FeatureView"):], ""},
			want: "delete FeatureView hours\n  breaking: service \"model\" used the view\n  services: model\n" +
				"delete FeatureService model\n  breaking: its callers get an error\n  services: model\n",
		},
		{
			name: "offline", replace: []string{"ttl: 6h", "ttl: 6h\nonline: false"},
			want: "change FeatureView hours\n  online: true -> false\n  breaking: it can no longer be looked up online\n  services: model\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := planOf(t, project, strings.NewReplacer(c.replace...).Replace(project))
			got := render(p)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.summary != "" && p.Summary() != c.summary {
				t.Error(p.Summary())
			}
			if got := strings.Join(p.Generations, " "); got != c.generations {
				t.Errorf("generations %q", got)
			}
			if p.Empty() != (c.want == "") || p.Breaking() != strings.Contains(c.want, "breaking") {
				t.Error(p.Empty(), p.Breaking())
			}
		})
	}
}

func TestFirstPlanRoundTrips(t *testing.T) {
	p := planOf(t, "", project)
	const want = "add Entity airport\nadd Source hourly\nadd FeatureView hours\n  new generation\n  services: model\nadd FeatureService model\n  services: model\n"
	if diff := cmp.Diff(want, render(p)); diff != "" {
		t.Error(diff)
	}
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
		"version":       strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"no target":     `{"version": 1}`,
		"null entity":   `{"version": 1, "target": {"entities": [null]}}`,
		"null feature":  `{"version": 1, "target": {"views": [{"features": [null]}]}}`,
		"altered":       strings.Replace(string(good), "lake:hourly", "lake:other", 1),
		"truncated":     string(good[:len(good)/2]),
		"unknown types": strings.Replace(string(good), `"type": "float64"`, `"type": "float65"`, 1),
	} {
		if p, err := plan.Unmarshal([]byte(text)); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
