package plan

import (
	"slices"

	"github.com/provender-dev/provender/registry"
)

// unused adds the hazards of what nothing uses any more, or yet, to the changes that make it so.
func (d *differ) unused() {
	usesEntity := func(v *registry.FeatureView, e *registry.Entity) bool { return slices.Contains(v.Entities, e.Name) }
	for _, p := range d.entities {
		unusedOf(d, p, entityIdentity, place{kindEntity, EntityUnused, "no view uses entity"}, d.views, usesEntity, kindView, viewIdentity)
	}
	usesSource := func(v *registry.FeatureView, s *registry.Source) bool { return v.Source == s.Name }
	for _, p := range d.sources {
		unusedOf(d, p, sourceIdentity, place{kindSource, SourceUnused, "no view reads source"}, d.views, usesSource, kindView, viewIdentity)
	}
	usesView := func(s *registry.FeatureService, v *registry.FeatureView) bool {
		return slices.ContainsFunc(s.Features, func(part registry.ServiceView) bool { return part.View == v.Name })
	}
	for _, p := range d.views {
		unusedOf(d, p, viewIdentity, place{kindView, ViewUnused, "no service reads view"}, d.services, usesView, kindService, serviceIdentity)
	}
}

// place is how a thing that nothing uses is told of.
type place struct{ kind, code, message string }

// unusedOf tells of a thing that no user uses: with its own change where it has one, else with that of a former user.
func unusedOf[T, U any](
	d *differ, p pair[T], id func(*T) identity, what place, users []pair[U], uses func(*U, *T) bool, userKind string, userID func(*U) identity,
) {
	if p.now == nil || slices.ContainsFunc(users, func(u pair[U]) bool { return u.now != nil && uses(u.now, p.now) }) {
		return
	}
	former := slices.IndexFunc(users, func(u pair[U]) bool { return p.old != nil && u.old != nil && uses(u.old, p.old) })
	if p.old != nil && former < 0 {
		return // as before
	}
	c := d.change(what.kind, p.name(id))
	if c == nil && former >= 0 {
		c = d.change(userKind, users[former].name(userID))
	}
	if c != nil {
		c.hazard(what.code, false, nil, "%s %q", what.message, p.name(id))
	}
}

// change returns the change of a definition that was not deleted, or of one that is no more; nil where there is none.
func (d *differ) change(kind, name string) *DefinitionChange {
	i := slices.IndexFunc(d.changes, func(c DefinitionChange) bool { return c.Kind == kind && c.Name == name })
	if i < 0 {
		return nil
	}
	return &d.changes[i]
}
