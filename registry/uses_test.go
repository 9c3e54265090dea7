package registry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/registry"
)

const partlyUsed = project + `---
kind: Source
name: lone
parquet: x.parquet
event_time: t
---
kind: FeatureView
name: zzz
entities: [airport]
source: hourly
features: [{name: late, type: bool}]
`

func TestUnused(t *testing.T) {
	s := compile(t, partlyUsed)
	if diff := cmp.Diff([]registry.Unused{
		{Kind: "entity", Name: "gate", Reason: "only views that no service reads"},
		{Kind: "source", Name: "lone", Reason: "no view"},
		{Kind: "view", Name: "gates", Reason: "no service"},
		{Kind: "view", Name: "zzz", Reason: "no service"},
		{Kind: "feature", Name: "calendar:airport", Reason: "no service"},
		{Kind: "feature", Name: "routes:delay", Reason: "no service"},
	}, s.Unused()); diff != "" {
		t.Error(diff)
	}
}

func TestConsumers(t *testing.T) {
	s := compile(t, partlyUsed)
	for _, c := range []struct {
		kind, name string
		want       registry.Consumers
	}{
		{"entity", "airport", registry.Consumers{Views: []string{"hours", "zzz"}, Services: []string{"model"}}},
		{"entity", "gate", registry.Consumers{Views: []string{"gates"}}},
		{"source", "hourly", registry.Consumers{Views: []string{"gates", "hours", "routes", "zzz"}, Services: []string{"model"}}},
		{"source", "lone", registry.Consumers{}},
		{"view", "calendar", registry.Consumers{Services: []string{"model"}}},
		{"view", "gates", registry.Consumers{}},
		{"service", "model", registry.Consumers{}},
	} {
		if diff := cmp.Diff(c.want, s.Consumers(c.kind, c.name)); diff != "" {
			t.Errorf("%s %s: %s", c.kind, c.name, diff)
		}
	}
}

func TestLineage(t *testing.T) {
	paths := compile(t, partlyUsed).Lineage()
	if len(paths) != 8 {
		t.Fatalf("%d features", len(paths))
	}
	for _, p := range paths {
		if p.View != "hours" || p.Feature != "delay" {
			continue
		}
		if diff := cmp.Diff(registry.Path{
			Source: "hourly", Column: "avg_delay", View: "hours", Feature: "delay", Outputs: []registry.ServiceOutput{
				{Service: "model", Name: "origin_delay"}, {Service: "model", Name: "destination_delay"}, {Service: "model", Name: "delay"},
			},
		}, p); diff != "" {
			t.Error(diff)
		}
	}
}
