package registry

import (
	"cmp"
	"slices"
)

// Path is how one feature gets from its file to models: a column of a source, a feature of a view, outputs of services.
type Path struct {
	Source, Column, View, Feature string
	Outputs                       []ServiceOutput // by service; none: nothing that is declared reads it
}

// ServiceOutput is a column of a service.
type ServiceOutput struct{ Service, Name string }

// Lineage returns the path of every feature, by view in name order and feature in the view's order.
func (s *Snapshot) Lineage() []Path {
	var paths []Path
	at := map[[2]string]int{}
	for _, fv := range s.Definitions.Views {
		v := s.Views[fv.Name]
		for i, f := range v.Features {
			at[[2]string{v.Name, f.Name}] = len(paths)
			paths = append(paths, Path{Source: v.Source.Name, Column: v.FeatureColumn(i), View: v.Name, Feature: f.Name})
		}
	}
	for _, fs := range s.Definitions.Services {
		svc := s.Services[fs.Name]
		for _, out := range svc.Outputs {
			v := svc.Reads[out.Read].View
			p := &paths[at[[2]string{v.Name, v.Features[out.Feature].Name}]]
			p.Outputs = append(p.Outputs, ServiceOutput{Service: svc.Name, Name: out.Name})
		}
	}
	return paths
}

// Unused is a definition that no service needs. Whether anybody asks for a service can't be known.
type Unused struct {
	Kind   string // entity, source, view or feature
	Name   string // of a feature: view:feature
	Reason string
}

// Unused returns what no service needs, in the order of kinds above, each in name order. Of a view that no service reads its
// features are not told one by one.
func (s *Snapshot) Unused() []Unused {
	used, read := map[string]bool{}, map[string]bool{} // sources and entities of views that services read; of any view
	views := map[string]bool{}
	for _, svc := range s.Services {
		for _, r := range svc.Reads {
			views[r.View.Name] = true
		}
	}
	for _, v := range s.Definitions.Views {
		for _, name := range append([]string{"source " + v.Source}, prefixed("entity ", v.Entities)...) {
			read[name] = true
			used[name] = used[name] || views[v.Name]
		}
	}
	var unused []Unused
	add := func(kind, name string, inline bool) {
		switch id := kind + " " + name; {
		case used[id] || inline:
		case read[id]:
			unused = append(unused, Unused{kind, name, "only views that no service reads"})
		default:
			unused = append(unused, Unused{kind, name, "no view"})
		}
	}
	for _, e := range s.Definitions.Entities {
		add("entity", e.Name, false)
	}
	for _, src := range s.Definitions.Sources {
		add("source", src.Name, src.Inline)
	}
	for _, v := range s.Definitions.Views {
		if !views[v.Name] {
			unused = append(unused, Unused{"view", v.Name, "no service"})
		}
	}
	var features []Unused
	for _, p := range s.Lineage() {
		if views[p.View] && len(p.Outputs) == 0 {
			features = append(features, Unused{"feature", p.View + ":" + p.Feature, "no service"})
		}
	}
	slices.SortStableFunc(features, func(a, b Unused) int { return cmp.Compare(a.Name, b.Name) })
	return append(unused, features...)
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

// Consumers are what stands on a definition: the views that have an entity or a source, and the services that read those
// views, or the view itself. Sorted.
type Consumers struct{ Views, Services []string }

// Consumers returns what stands on the definition of a kind: entity, source or view; nothing stands on a service.
func (s *Snapshot) Consumers(kind, name string) Consumers {
	var c Consumers
	below := map[string]bool{}
	for _, v := range s.Definitions.Views {
		switch {
		case kind == "view" && v.Name == name:
			below[v.Name] = true
		case kind == "source" && v.Source == name, kind == "entity" && slices.Contains(v.Entities, name):
			below[v.Name] = true
			c.Views = append(c.Views, v.Name)
		}
	}
	for _, fs := range s.Definitions.Services {
		if slices.ContainsFunc(s.Services[fs.Name].Reads, func(r Read) bool { return below[r.View.Name] }) {
			c.Services = append(c.Services, fs.Name)
		}
	}
	return c
}
