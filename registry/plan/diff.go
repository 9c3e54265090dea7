package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/provender-dev/provender/registry"
)

// differ compares two compiled states.
type differ struct {
	before, after *registry.Snapshot
	*matches
	changes []DefinitionChange
}

func (d *differ) run() error {
	if err := compare(d, kindEntity, d.entities, entityIdentity, asEntity, d.entity); err != nil {
		return err
	}
	if err := compare(d, kindSource, d.sources, sourceIdentity, asSource, d.source); err != nil {
		return err
	}
	if err := compare(d, kindView, d.views, viewIdentity, d.asView, d.view); err != nil {
		return err
	}
	if err := compare(d, kindService, d.services, serviceIdentity, asService, d.service); err != nil {
		return err
	}
	d.unused()
	for i := range d.changes {
		slices.SortStableFunc(d.changes[i].Hazards, breakingFirst)
	}
	return nil
}

func breakingFirst(a, b Hazard) int {
	rank := func(h Hazard) int {
		switch {
		case h.Code == LockedService:
			return 0
		case h.Breaking:
			return 1
		default:
			return 2
		}
	}
	return cmp.Compare(rank(a), rank(b))
}

// compare adds one change per definition that differs, in name order. as prepares two definitions to be compared by their
// text: the old one under the names of the new one; the renames are told of by themselves. note fills in what a change means.
func compare[T any](
	d *differ, kind string, pairs []pair[T], id func(*T) identity,
	as func(pair[T]) (texts pair[T], renamed []FieldChange), note func(*DefinitionChange, pair[T]),
) error {
	for _, p := range pairs {
		c := DefinitionChange{Action: Change, Kind: kind, Name: p.name(id), Was: p.renamed(id)}
		switch {
		case p.old == nil:
			c.Action = Add
		case p.now == nil:
			c.Action = Delete
		case c.Was != "":
			c.Action = Rename
		}
		if p.old != nil && p.now != nil {
			texts, renamed := as(p)
			fields, err := fieldChanges(texts.old, texts.now)
			if err != nil {
				return fmt.Errorf("compare %s %q: %w", kind, c.Name, err)
			}
			c.Fields = slices.Concat(renamed, fields)
			slices.SortStableFunc(c.Fields, func(x, y FieldChange) int { return strings.Compare(x.Path, y.Path) })
		}
		note(&c, p)
		// A view changes with its source or entities even where its own text does not.
		if c.Action != Change || len(c.Fields) > 0 || c.NewGeneration || len(c.Hazards) > 0 {
			d.changes = append(d.changes, c)
		}
	}
	return nil
}

func asEntity(p pair[registry.Entity]) (pair[registry.Entity], []FieldChange) {
	old := *p.old
	old.Name = p.now.Name
	return pair[registry.Entity]{&old, p.now}, nil
}

func asSource(p pair[registry.Source]) (pair[registry.Source], []FieldChange) {
	old := *p.old
	old.Name = p.now.Name
	return pair[registry.Source]{&old, p.now}, nil
}

func asService(p pair[registry.FeatureService]) (pair[registry.FeatureService], []FieldChange) {
	old := *p.old
	old.Name = p.now.Name
	return pair[registry.FeatureService]{&old, p.now}, nil
}

// asView also leaves the stored names out where they tell nothing: of features that are new or go, and where they stay.
func (d *differ) asView(p pair[registry.FeatureView]) (pair[registry.FeatureView], []FieldChange) {
	old, now := *p.old, *p.now
	if old.StoredName() == now.StoredName() {
		old.Stored, now.Stored = "", ""
	}
	old.Name, old.Features, now.Features = now.Name, slices.Clone(old.Features), slices.Clone(now.Features)
	replace := func(list []*registry.Feature, f *registry.Feature, name, stored string) {
		as := *f
		as.Name, as.Stored = name, stored
		list[slices.Index(list, f)] = &as
	}
	var renamed []FieldChange
	for _, f := range d.byView[p.now] {
		switch {
		case f.old == nil:
			replace(now.Features, f.now, f.now.Name, "")
			continue
		case f.now == nil:
			replace(old.Features, f.old, f.old.Name, "")
			continue
		}
		was, is := f.old.StoredName(), f.now.StoredName()
		if was == is {
			was, is = "", ""
		}
		replace(old.Features, f.old, f.now.Name, was)
		replace(now.Features, f.now, f.now.Name, is)
		if was := f.renamed(featureIdentity); was != "" {
			renamed = append(renamed, FieldChange{Path: "features." + f.now.Name + ".name", Old: was, New: f.now.Name})
		}
	}
	return pair[registry.FeatureView]{&old, &now}, renamed
}

func (c *DefinitionChange) hazard(code string, breaking bool, services []string, format string, args ...any) {
	c.Hazards = append(c.Hazards, Hazard{Code: code, Message: fmt.Sprintf(format, args...), Breaking: breaking, Services: services})
}

func (d *differ) entity(c *DefinitionChange, p pair[registry.Entity]) {
	if p.old != nil && p.now != nil {
		c.Services = merge(
			servicesOf(d.before, func(v *registry.View) bool { return slices.Contains(v.Entities, p.old.Name) }),
			servicesOf(d.after, func(v *registry.View) bool { return slices.Contains(v.Entities, p.now.Name) }),
		)
	}
}

func (d *differ) source(c *DefinitionChange, p pair[registry.Source]) {
	if p.old != nil && p.now != nil {
		c.Services = merge(
			servicesOf(d.before, func(v *registry.View) bool { return v.FeatureView.Source == p.old.Name }),
			servicesOf(d.after, func(v *registry.View) bool { return v.FeatureView.Source == p.now.Name }),
		)
	}
}

func (d *differ) view(c *DefinitionChange, p pair[registry.FeatureView]) {
	var used []string // by services that were there
	if p.old != nil {
		used = servicesOf(d.before, func(v *registry.View) bool { return v.FeatureView == p.old })
	}
	c.Services = used
	if p.now != nil {
		c.Services = merge(used, servicesOf(d.after, func(v *registry.View) bool { return v.FeatureView == p.now }))
	}
	switch c.Action {
	case Add:
		c.NewGeneration = p.now.Online
		return
	case Delete:
		c.hazard(ViewRemoved, len(used) > 0, used, "view %q is removed", c.Name)
		return
	case Rename:
		c.hazard(ViewRenamed, false, nil, "view %q is called %q: lookups that name its features by themselves get NOT_FOUND", c.Was, c.Name)
	}
	old, now := d.before.Views[p.old.Name], d.after.Views[p.now.Name]
	if was, is := keyNames(old), keyNames(now); was != is {
		c.hazard(JoinKeysChanged, len(used) > 0, used, "the join keys of view %q change from %s to %s", c.Name, was, is)
	}
	if old.Online && !now.Online {
		c.hazard(ViewOffline, len(used) > 0, used, "view %q can no longer be looked up online", c.Name)
	}
	for _, f := range d.byView[p.now] {
		d.feature(c, f, old)
	}
	if old.TTL != now.TTL {
		c.hazard(TTLChanged, false, used, "the ttl of view %q changes from %s to %s: %s", c.Name, ttl(old), ttl(now), expiry(old, now))
	}
	if !now.Online {
		return
	}
	why := refills(old, now, d.byView[p.now])
	c.NewGeneration = !old.Online || len(why) > 0
	if old.Online && len(why) > 0 {
		c.hazard(NewGeneration, false, nil, "the next run fills view %q anew, from all files: %s", c.Name, strings.Join(why, "; "))
	}
}

// feature tells what becomes of a feature of a view that stays.
func (d *differ) feature(c *DefinitionChange, f pair[registry.Feature], view *registry.View) {
	if f.old == nil {
		return
	}
	used := servicesWith(d.before, view, f.old)
	if f.now == nil {
		c.hazard(FeatureRemoved, len(used) > 0, used, "feature \"%s:%s\" is removed", view.Name, f.old.Name)
		return
	}
	if was := f.renamed(featureIdentity); was != "" {
		c.hazard(FeatureRenamed, false, nil, "feature \"%s:%s\" is called %q: lookups by the old name are refused", c.Name, was, f.now.Name)
	}
	if f.old.Type != f.now.Type {
		c.hazard(FeatureTypeChanged, len(used) > 0, used, "feature \"%s:%s\" changes from %s", c.Name, f.now.Name, change(f.old.Type, f.now.Type))
	} else if was, is := fallback(f.old.Default), fallback(f.now.Default); was != is {
		c.hazard(DefaultChanged, false, used, "where there is no row, feature \"%s:%s\" is %s instead of %s", c.Name, f.now.Name, is, was)
	}
}

func fallback(raw json.RawMessage) string {
	if raw == nil {
		return "without a value"
	}
	return string(raw)
}

func ttl(v *registry.View) string {
	if v.TTL == 0 {
		return "none"
	}
	return registry.FormatDuration(v.TTL)
}

func expiry(old, now *registry.View) string {
	if raised(old, now) {
		return "rows that had expired come back with the next run"
	}
	return "older rows expire from apply on"
}

// raised reports whether rows answer that had expired by the old ttl, and may have been left out.
func raised(old, now *registry.View) bool { return old.TTL != 0 && (now.TTL == 0 || now.TTL > old.TTL) }

// refills tells why the rows that are online can't become those of the view as it is now; nil where they can.
func refills(old, now *registry.View, features []pair[registry.Feature]) (why []string) {
	if old.StoredName() != now.StoredName() {
		why = append(why, "another view was stored under its name")
	}
	if old.Digest != now.Digest {
		why = append(why, sourceDiffers(old.Source, now.Source)...)
		why = append(why, keysDiffer(old, now)...)
		for _, f := range features {
			switch {
			case f.old == nil:
				why = append(why, fmt.Sprintf("feature %q is new", f.now.Name))
			case f.now == nil:
				why = append(why, fmt.Sprintf("feature %q goes", f.old.Name))
			case f.old.StoredName() != f.now.StoredName():
				why = append(why, fmt.Sprintf("feature %q is another", f.now.Name))
			case f.old.Type != f.now.Type:
				why = append(why, fmt.Sprintf("the type of feature %q", f.now.Name))
			case column(f.old) != column(f.now):
				reads := fmt.Sprintf("feature %q reads column %q instead of %q", f.now.Name, column(f.now), column(f.old))
				if f.now.Column == "" && f.renamed(featureIdentity) != "" {
					reads += fmt.Sprintf(" (a rename alone has column: %s)", column(f.old))
				}
				why = append(why, reads)
			}
		}
		if why == nil { // the order of keys of a new name, say
			why = append(why, "its definition")
		}
	}
	if raised(old, now) {
		why = append(why, "the ttl is longer")
	}
	return why
}

func column(f *registry.Feature) string { return cmp.Or(f.Column, f.Name) }

func sourceDiffers(old, now *registry.Source) (what []string) {
	sorted := func(paths []string) []string { return slices.Sorted(slices.Values(paths)) }
	for _, part := range []struct {
		differs bool
		what    string
	}{
		{!slices.Equal(sorted(old.Parquet), sorted(now.Parquet)), "the files of the source"},
		{old.EventTime != now.EventTime, "the event time"},
		{old.CreatedTime != now.CreatedTime, "the created time"},
		{old.Timezone != now.Timezone || old.Ambiguous != now.Ambiguous, "the time zone"},
	} {
		if part.differs {
			what = append(what, part.what)
		}
	}
	return what
}

func keysDiffer(old, now *registry.View) []string {
	columns := func(v *registry.View) (columns []string) {
		for _, k := range v.KeyColumns {
			columns = append(columns, k.Column)
		}
		return columns
	}
	switch {
	case keyNames(old) != keyNames(now):
		return []string{"the join keys, or their order"}
	case !slices.Equal(columns(old), columns(now)):
		return []string{"the columns of the join keys"}
	}
	return nil
}

func keyNames(v *registry.View) string {
	parts := make([]string, len(v.KeyColumns))
	for i, k := range v.KeyColumns {
		parts[i] = k.Name + " " + k.Kind.String()
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// servicesOf returns the services of a state that read a view which is chosen, in name order.
func servicesOf(s *registry.Snapshot, chosen func(*registry.View) bool) []string {
	var list []string
	for name, svc := range s.Services {
		if slices.ContainsFunc(svc.Reads, func(r registry.Read) bool { return chosen(r.View) }) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// servicesWith returns the services of a state that have a feature among their outputs, in name order.
func servicesWith(s *registry.Snapshot, v *registry.View, f *registry.Feature) []string {
	var list []string
	for name, svc := range s.Services {
		if slices.ContainsFunc(svc.Outputs, func(o registry.Output) bool {
			r := svc.Reads[o.Read].View
			return r == v && r.Features[o.Feature] == f
		}) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// merge returns the names of both lists, in order.
func merge(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
