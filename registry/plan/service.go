package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

func (d *differ) service(c *DefinitionChange, p pair[registry.FeatureService]) {
	c.Services = []string{c.Name}
	who := c.Services // the callers' name for it
	switch c.Action {
	case Add:
		return
	case Delete:
		c.hazard(ServiceRemoved, true, who, "service %q is removed: its callers get NOT_FOUND", c.Name)
		if p.old.Locked {
			c.hazard(LockedService, true, who, "service %q is locked, and would be removed", c.Name)
		}
		return
	case Rename:
		who = []string{c.Was}
		c.Services = merge(c.Services, who)
		c.hazard(ServiceRenamed, true, who, "service %q is called %q: who asks by the old name gets NOT_FOUND", c.Was, c.Name)
	}
	s := &shapes{c: c, who: who, old: d.before.Services[p.old.Name], now: d.after.Services[p.now.Name]}
	s.outputs()
	s.requestKeys()
	if p.old.Locked {
		if c.Was != "" {
			s.changes = append([]string{"another name"}, s.changes...)
		}
		if len(s.changes) > 0 {
			c.hazard(LockedService, true, who, "service %q is locked, and its shape would change: %s", who[0], strings.Join(s.changes, "; "))
		}
	}
	d.waits(c, s.now)
}

// shapes compares what callers see of a service.
type shapes struct {
	c        *DefinitionChange
	who      []string
	old, now *registry.Service
	changes  []string // of the shape, hazards or not
}

func (s *shapes) differs(code string, breaking bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.c.hazard(code, breaking, s.who, "service %q: %s", s.who[0], what)
	s.changes = append(s.changes, what)
}

func (s *shapes) outputs() {
	now := make(map[string]registry.Output, len(s.now.Outputs))
	for _, o := range s.now.Outputs {
		now[o.Name] = o
	}
	var stay []string
	for _, o := range s.old.Outputs {
		is, ok := now[o.Name]
		if !ok {
			s.differs(OutputRemoved, true, "output %q is removed", o.Name)
			continue
		}
		stay = append(stay, o.Name)
		a, b := feature(s.old, o), feature(s.now, is)
		if a.Type != b.Type {
			s.differs(OutputTypeChanged, true, "output %q changes from %s", o.Name, change(a.Type, b.Type))
		}
		if was, is := reads(s.old, o), reads(s.now, is); was.stored != is.stored {
			s.differs(OutputRebound, true, "output %q reads %s instead of %s", o.Name, is.shown, was.shown)
		} else if was, is := fallback(a.Default), fallback(b.Default); was != is {
			s.changes = append(s.changes, fmt.Sprintf("where there is no row, output %q is %s instead of %s", o.Name, is, was))
		}
	}
	var stayed []string
	for _, o := range s.now.Outputs {
		if slices.Contains(stay, o.Name) {
			stayed = append(stayed, o.Name)
		} else {
			s.changes = append(s.changes, fmt.Sprintf("output %q is added", o.Name))
		}
	}
	if !slices.Equal(stay, stayed) {
		s.differs(OutputOrderChanged, false, "the outputs are in another order")
	}
}

func (s *shapes) requestKeys() {
	kinds := func(svc *registry.Service) map[string]columnar.Kind {
		m := make(map[string]columnar.Kind, len(svc.RequestKeys))
		for _, k := range svc.RequestKeys {
			m[k.Name] = k.Kind
		}
		return m
	}
	old, now := kinds(s.old), kinds(s.now)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		switch was, ok := old[name]; {
		case !ok:
			s.differs(RequestKeyAdded, true, "callers must send the key %q, %s", name, now[name])
		case was != now[name]:
			s.differs(RequestKeyTypeChanged, true, "request key %q changes from %s to %s", name, was, now[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[name]; !ok {
			s.differs(RequestKeyRemoved, true, "the key %q that callers send is refused", name)
		}
	}
}

func feature(s *registry.Service, o registry.Output) *registry.Feature {
	return s.Reads[o.Read].View.Features[o.Feature]
}

// reading is what an output reads: as people call it, and by what does not change with names.
type reading struct{ shown, stored string }

func reads(s *registry.Service, o registry.Output) reading {
	r, f := s.Reads[o.Read], feature(s, o)
	shown, columns := make([]string, len(r.Binding)), make([]string, len(r.Binding))
	for i, k := range r.Binding {
		shown[i] = r.View.KeyColumns[i].Name + "=" + s.RequestKeys[k].Name
		columns[i] = r.View.KeyColumns[i].Column + "=" + s.RequestKeys[k].Name
	}
	slices.Sort(columns) // an entity of another name may move its keys
	by := ""
	if len(shown) > 0 {
		by = " by " + strings.Join(shown, ", ")
	}
	return reading{
		shown:  r.View.Name + ":" + f.Name + by,
		stored: strings.Join(append([]string{r.View.StoredName(), f.StoredName()}, columns...), " "),
	}
}

// change writes a change of type.
func change(old, now columnar.Type) string {
	s := old.String() + " to " + now.String()
	if narrower(old, now) {
		s += ", which is narrower"
	}
	return s
}

// narrower reports whether not every value of old has an equal one of now.
func narrower(old, now columnar.Type) bool {
	if old.List != now.List {
		return true
	}
	switch {
	case old.Kind == columnar.Int32 && now.Kind == columnar.Int64, old.Kind == columnar.Float32 && now.Kind == columnar.Float64:
		return false
	}
	return old.Kind != now.Kind
}

// waits tells where a service that was there can't be answered from apply until a run has filled a view anew.
func (d *differ) waits(c *DefinitionChange, now *registry.Service) {
	for i, r := range now.Reads {
		if slices.ContainsFunc(now.Reads[:i], func(e registry.Read) bool { return e.View == r.View }) || !r.View.Online {
			continue
		}
		if lack := d.lacks(now, r.View); lack != "" {
			c.hazard(ServiceWaits, false, []string{c.Name}, "service %q can't be answered until view %q is materialized: %s", c.Name, r.View.Name, lack)
		}
	}
}

// lacks tells what a service needs that the rows of a view, as it was, do not have; "" where they have everything.
func (d *differ) lacks(s *registry.Service, v *registry.View) string {
	at := slices.IndexFunc(d.views, func(p pair[registry.FeatureView]) bool { return p.now == v.FeatureView })
	if d.views[at].old == nil {
		return "the view is new"
	}
	was := d.before.Views[d.views[at].old.Name]
	switch {
	case !was.Online || was.StoredName() != v.StoredName():
		return "nothing of it is online"
	case keyNames(was) != keyNames(v):
		return "its join keys change"
	}
	for _, o := range s.Outputs {
		if s.Reads[o.Read].View != v {
			continue
		}
		f := v.Features[o.Feature]
		i := slices.IndexFunc(was.Features, func(old *registry.Feature) bool { return old.StoredName() == f.StoredName() })
		if i < 0 {
			return fmt.Sprintf("feature %q is new", f.Name)
		}
		if was.Features[i].Type != f.Type {
			return fmt.Sprintf("the type of feature %q changes", f.Name)
		}
	}
	return ""
}
