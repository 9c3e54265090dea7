package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

const project = `
kind: Entity
name: route
join_keys: [{name: origin, type: string}, {name: destination, type: string}]
---
kind: Entity
name: carrier
join_keys: [{name: carrier_id, type: int64}]
---
kind: Entity
name: airport
join_keys: [{name: airport, type: string}]
---
kind: Entity
name: gate
join_keys: [{name: airport, type: int64}]
---
kind: Source
name: hourly
parquet: ["lake:b/**", "lake:a/**"]
event_time: hour
timezone: America/New_York
---
kind: FeatureView
name: hours
entities: [airport]
source: hourly
keys: {airport: iata}
ttl: 6h
features:
  - {name: departures, type: int64, default: 0}
  - {name: delay, column: avg_delay, type: float64}
---
kind: FeatureView
name: routes
entities: [route, carrier]
source: hourly
features: [{name: km, type: float32}, {name: delay, type: float64}]
---
kind: FeatureView
name: gates
entities: [gate]
source: hourly
features: [{name: size, type: int64}]
---
kind: FeatureView
name: calendar
entities: []
source: {parquet: c.parquet, event_time: day}
features: [{name: holiday, type: bool}, {name: airport, type: string}]
---
kind: FeatureService
name: model
features:
  - {view: hours, prefix: origin_, join: {airport: origin}}
  - {view: hours, join: {airport: destination}, features: [{name: delay, as: destination_delay}]}
  - {view: routes, features: [km]}
  - {view: hours, join: {airport: origin}, features: [delay]}
  - {view: calendar, features: [holiday]}
`

func parse(t *testing.T, text string) *registry.Definitions {
	t.Helper()
	defs, _, err := definition.Parse([]definition.File{{Name: "f.yaml", Content: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return defs
}

func compile(t *testing.T, text string) *registry.Snapshot {
	t.Helper()
	s, err := registry.Compile(3, parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCompileView(t *testing.T) {
	s := compile(t, project)
	v, err := s.FeatureView("hours")
	if err != nil {
		t.Fatal(err)
	}
	if v.TTLMicros != 6*3600*1e6 || v.Location.String() != "America/New_York" || v.Source.Name != "hourly" {
		t.Errorf("%+v", v)
	}
	if v.FeatureIndex("delay") != 1 || v.FeatureIndex("x") != -1 || v.FeatureColumn(0) != "departures" || v.FeatureColumn(1) != "avg_delay" {
		t.Error("feature columns")
	}
	if v.Defaults[0] == nil || v.Defaults[0].Int64s[0] != 0 || v.Defaults[0].Len() != 1 || v.Defaults[1] != nil {
		t.Errorf("defaults %+v", v.Defaults)
	}
	if len(v.Layout.Fields()) != 2 || v.Layout.Fields()[1].Name != "delay" {
		t.Error("layout")
	}
	if diff := cmp.Diff([]registry.KeyColumn{{Entity: "airport", Name: "airport", Kind: columnar.String, Column: "iata"}}, v.KeyColumns); diff != "" {
		t.Error(diff)
	}

	// R8: entities in name order, then declared key order.
	routes, err := s.FeatureView("routes")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]registry.KeyColumn{
		{Entity: "carrier", Name: "carrier_id", Kind: columnar.Int64, Column: "carrier_id"},
		{Entity: "route", Name: "origin", Kind: columnar.String, Column: "origin"},
		{Entity: "route", Name: "destination", Kind: columnar.String, Column: "destination"},
	}, routes.KeyColumns); diff != "" {
		t.Error(diff)
	}
	if calendar := s.Views["calendar"]; len(calendar.KeyColumns) != 0 || calendar.TTLMicros != 0 || calendar.Source.Name != "calendar" {
		t.Errorf("global view: %+v", calendar)
	}
}

// describe prints a service's reads and outputs.
func describe(s *registry.Service) string {
	var b strings.Builder
	for _, k := range s.RequestKeys {
		fmt.Fprintf(&b, "key %s %s\n", k.Name, k.Kind)
	}
	for _, r := range s.Reads {
		fmt.Fprintf(&b, "read %s %v\n", r.View.Name, r.Binding)
	}
	for _, o := range s.Outputs {
		fmt.Fprintf(&b, "%s = %d.%s\n", o.Name, o.Read, s.Reads[o.Read].View.Features[o.Feature].Name)
	}
	return b.String()
}

func TestCompileService(t *testing.T) {
	s := compile(t, project)
	svc, err := s.FeatureService("model")
	if err != nil {
		t.Fatal(err)
	}
	const want = `key origin string
key destination string
key carrier_id int64
read hours [0]
read hours [1]
read routes [2 0 1]
read calendar []
origin_departures = 0.departures
origin_delay = 0.delay
destination_delay = 1.delay
km = 2.km
delay = 0.delay
holiday = 3.holiday
`
	if diff := cmp.Diff(want, describe(svc)); diff != "" || svc.Name != "model" {
		t.Error(diff)
	}
}

func TestAdHoc(t *testing.T) {
	s := compile(t, project)
	svc, err := s.AdHoc([]string{"routes:delay", "hours:departures", "routes:km", "calendar:holiday"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `key carrier_id int64
key origin string
key destination string
key airport string
read routes [0 1 2]
read hours [3]
read calendar []
delay = 0.delay
departures = 1.departures
km = 0.km
holiday = 2.holiday
`
	if diff := cmp.Diff(want, describe(svc)); diff != "" || svc.Name != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		features   []string
		code       problem.Code
		field      string
		message    string
		suggestion string
	}{
		{nil, problem.Invalid, "features", "no features", "view:feature"},
		{[]string{"hours:delay", "hours"}, problem.Invalid, "features[1]", `"hours" names no feature`, "write view:feature"},
		{[]string{":delay"}, problem.Invalid, "features[0]", "names no feature", "write view:feature"},
		{[]string{"hours:"}, problem.Invalid, "features[0]", "names no feature", "write view:feature"},
		{[]string{"hours:delya"}, problem.Invalid, "features[0]", `"hours" has no feature "delya"`, `did you mean "delay"?`},
		{[]string{"hous:delay"}, problem.NotFound, "features[0]", `no feature view "hous" in revision 3`, `did you mean "hours"?`},
		{[]string{"hours:delay", "hours:delay"}, problem.Invalid, "features[1]", `two features named "delay"`, "declare a feature service"},
		{[]string{"hours:delay", "routes:delay"}, problem.Invalid, "features[1]", `two features named "delay"`, "declare a feature service"},
		{[]string{"hours:delay", "gates:size"}, problem.Invalid, "features[1]", `"airport" would be string for one view and int64 for view "gates"`, "declare a feature service"},
		{[]string{"calendar:airport", "hours:delay"}, problem.Invalid, "features", `"airport" is a feature and a join key`, "declare a feature service"},
	} {
		_, err := s.AdHoc(c.features)
		var p *problem.Error
		if !errors.As(err, &p) || p.Code != c.code || p.Field != c.field || !strings.Contains(p.Message, c.message) || !strings.Contains(p.Suggestion, c.suggestion) {
			t.Errorf("%q: %#v", c.features, err)
		}
	}
}

func TestNotFound(t *testing.T) {
	s := compile(t, project)
	_, view := s.FeatureView("route")
	_, service := s.FeatureService("modle")
	_, far := s.FeatureService("nothing_like_it")
	for err, want := range map[error]string{
		view:    `no feature view "route" in revision 3 (did you mean "routes"?)`,
		service: `no feature service "modle" in revision 3 (did you mean "model"?)`,
		far:     `no feature service "nothing_like_it" in revision 3`,
	} {
		if problem.CodeOf(err) != problem.NotFound || err.Error() != want {
			t.Error(err)
		}
	}
	empty, err := registry.Compile(0, &registry.Definitions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.FeatureView("x"); problem.CodeOf(err) != problem.NotFound || !strings.Contains(err.Error(), "provender apply") {
		t.Error(err)
	}
}

// A view's digest changes with what makes a new generation necessary (R12), and with nothing else.
func TestViewDigest(t *testing.T) {
	base := compile(t, project).Views["hours"].Digest
	for _, c := range []struct {
		old, now string
		same     bool
	}{
		{"ttl: 6h", "ttl: 7h", true},
		{"ttl: 6h", "description: d", true},
		{"ttl: 6h", `schedule: "@daily"`, true},
		{"default: 0", "default: 1", true},
		{"default: 0", "owner: me", true},
		{`["lake:b/**", "lake:a/**"]`, `["lake:a/**", "lake:b/**"]`, true},
		{"event_time: hour", "event_time: hour\nrewrites: replace\nowner: me", true},
		{"event_time: hour", "event_time: {column: hour}", true},
		{"name: departures, type: int64, default: 0}\n  - {name: delay, column: avg_delay, type: float64", "name: delay, column: avg_delay, type: float64}\n  - {name: departures, type: int64", true},
		{"event_time: hour", "event_time: {column: hour, at: end}", false},
		{"event_time: hour", "event_time: other", false},
		{"event_time: hour", "event_time: hour\ncreated_time: c", false},
		{"event_time: hour", "event_time: hour\nambiguous: latest", false},
		{"timezone: America/New_York", "timezone: UTC", false},
		{`"lake:b/**", `, "", false},
		{"keys: {airport: iata}", "keys: {airport: icao}", false},
		{"{name: departures, type: int64, default: 0}", "{name: departures, type: int32, default: 0}", false},
		{"{name: departures, type: int64, default: 0}", "{name: departures, column: n, type: int64}", false},
		{"  - {name: departures, type: int64, default: 0}\n", "", false},
		{"{name: departures, ", "{name: landings, ", false},
	} {
		changed := strings.Replace(project, c.old, c.now, 1)
		if changed == project {
			t.Fatalf("%q is not there", c.old)
		}
		changed = changed[:strings.Index(changed, "---\nkind: FeatureService")]
		if got := compile(t, changed).Views["hours"].Digest; (got == base) != c.same {
			t.Errorf("%q for %q: same digest: %v", c.now, c.old, got == base)
		}
	}
}

func TestCompileRefusesWhatWasNotValidated(t *testing.T) {
	int64Type := columnar.Type{Kind: columnar.Int64}
	for name, spoil := range map[string]func(d *registry.Definitions){
		"no source":         func(d *registry.Definitions) { d.Sources = nil },
		"no entity":         func(d *registry.Definitions) { d.Entities = nil },
		"time zone":         func(d *registry.Definitions) { d.Sources[0].Timezone = "Nowhere" },
		"no features":       func(d *registry.Definitions) { d.Views[0].Features = nil },
		"no type":           func(d *registry.Definitions) { d.Views[0].Features[0].Type = columnar.Type{} },
		"two features":      func(d *registry.Definitions) { d.Views[0].Features[1].Name = d.Views[0].Features[0].Name },
		"default":           func(d *registry.Definitions) { d.Views[0].Features[0].Default = []byte(`"x"`) },
		"default, no JSON":  func(d *registry.Definitions) { d.Views[0].Features[0].Default = []byte(`{`) },
		"key type":          func(d *registry.Definitions) { d.Entities[0].JoinKeys[0].Type = columnar.Type{Kind: columnar.Float64} },
		"two keys":          func(d *registry.Definitions) { d.Entities[3].JoinKeys[0].Name = "carrier_id" },
		"unknown view":      func(d *registry.Definitions) { d.Services[0].Features[0].View = "x" },
		"unknown feature":   func(d *registry.Definitions) { d.Services[0].Features[2].Features[0].Name = "x" },
		"unknown join key":  func(d *registry.Definitions) { d.Services[0].Features[0].Join = map[string]string{"x": "y"} },
		"two outputs":       func(d *registry.Definitions) { d.Services[0].Features[1].Features[0].As = "km" },
		"output and key":    func(d *registry.Definitions) { d.Services[0].Features[1].Features[0].As = "origin" },
		"two types of keys": func(d *registry.Definitions) { d.Entities[3].JoinKeys[0].Type = int64Type },
	} {
		defs := parse(t, project)
		spoil(defs)
		if _, err := registry.Compile(1, defs); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "6h": 6 * time.Hour, "30d": 720 * time.Hour, "1h30m": 90 * time.Minute,
		"1d1h1m1s1ms1us": 25*time.Hour + time.Minute + time.Second + time.Millisecond + time.Microsecond, "0s": 0, "-5m": -5 * time.Minute,
		"106751d": 106751 * 24 * time.Hour,
	} {
		got, err := registry.ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if back, err := registry.ParseDuration(registry.FormatDuration(got)); err != nil || back != want {
			t.Errorf("%s becomes %s", text, registry.FormatDuration(got))
		}
	}
	if got := registry.FormatDuration(90 * time.Second); got != "1m30s" {
		t.Error(got)
	}
	for _, text := range []string{"", "-", "s", "1", "1.5h", "1y", "1 h", "--1s", "1H", "106752d", "99999999999999999999s", "1mms", "é"} {
		if d, err := registry.ParseDuration(text); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
}
