package definition

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every kind and every feature says what it was; a source within a view follows the view. None of it is stored.
func TestRenames(t *testing.T) {
	const text = `
kind: Entity
name: airport
was: port
join_keys: [{name: airport, type: string}]
---
{kind: Source, name: daily, was: days, parquet: "daily/**", event_time: day}
---
kind: FeatureView
name: airport_hourly
was: hourly
entities: [airport]
source: {parquet: "hourly/**", event_time: hour}
features: [{name: departures, type: int64}, {name: mean_delay, was: delay, type: float64}]
---
{kind: FeatureView, name: airport_daily, was: daily, entities: [airport], source: daily, features: [{name: delay, type: float64}]}
---
kind: FeatureView
name: inline
was: daily_inline
entities: []
source: {parquet: "x/**", event_time: hour}
features: [{name: a, type: int64}]
---
kind: FeatureService
name: model_v2
was: model
locked: true
features: [{view: airport_hourly}]
`
	defs, _, err := Parse([]File{{"f.yaml", []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range defs.Entities {
		got[e.Name] = e.Was
	}
	for _, s := range defs.Sources {
		got["source "+s.Name] = s.Was
	}
	for _, v := range defs.Views {
		got["view "+v.Name] = v.Was
		for _, f := range v.Features {
			got[v.Name+":"+f.Name] = f.Was
		}
	}
	for name, was := range map[string]string{
		"airport": "port", "source daily": "days", "source airport_hourly": "hourly", "source inline": "daily_inline",
		"view airport_hourly": "hourly", "view airport_daily": "daily", "airport_hourly:mean_delay": "delay", "airport_hourly:departures": "",
	} {
		if got[name] != was {
			t.Errorf("%s was %q, want %q", name, got[name], was)
		}
	}
	if s := defs.Services[0]; s.Was != "model" || !s.Locked {
		t.Errorf("%+v", s)
	}
	raw, err := json.Marshal(defs)
	if err != nil || strings.Contains(string(raw), `"hourly"`) || !strings.Contains(string(raw), `"locked":true`) {
		t.Errorf("%s %v", raw, err)
	}
	plain := strings.NewReplacer("was: port\n", "", "was: days, ", "", "was: hourly\n", "", "was: delay, ", "", "was: daily, ", "",
		"was: daily_inline\n", "", "was: model\n", "").Replace(text)
	without, _, err := Parse([]File{{"f.yaml", []byte(plain)}})
	if err != nil || strings.Contains(plain, "was:") || without.Digest() != defs.Digest() {
		t.Errorf("a rename changes the digest, or %v", err)
	}
}

// A view may move into its own source while the source that it had stays: that one is not renamed.
func TestRenameLeavesASourceThatStays(t *testing.T) {
	defs, _, err := Parse([]File{{"f.yaml", []byte(`
{kind: Source, name: hourly, parquet: "hourly/**", event_time: hour}
---
kind: FeatureView
name: airport_hourly
was: hourly
entities: []
source: {parquet: "other/**", event_time: hour}
features: [{name: a, type: int64}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range defs.Sources {
		if s.Was != "" {
			t.Errorf("%s was %s", s.Name, s.Was)
		}
	}
}
