package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// pair is one definition before and after; one of them is nil where it is added or deleted.
type pair[T any] struct{ old, now *T }

// identity is what definitions of one kind are matched by.
type identity struct{ name, was, stored string }

func entityIdentity(e *registry.Entity) identity    { return identity{e.Name, e.Was, ""} }
func sourceIdentity(s *registry.Source) identity    { return identity{s.Name, s.Was, ""} }
func viewIdentity(v *registry.FeatureView) identity { return identity{v.Name, v.Was, v.StoredName()} }

func featureIdentity(f *registry.Feature) identity        { return identity{f.Name, f.Was, f.StoredName()} }
func serviceIdentity(s *registry.FeatureService) identity { return identity{s.Name, s.Was, ""} }

// matches is what of one state each definition of another was.
type matches struct {
	entities []pair[registry.Entity]
	sources  []pair[registry.Source]
	views    []pair[registry.FeatureView]
	services []pair[registry.FeatureService]
	byView   map[*registry.FeatureView][]pair[registry.Feature] // of views that were there before, by what they are now
}

// origin says where a target comes from.
type origin int

const (
	fromFiles    origin = iota // names alone: what is stored under another name goes on under it
	fromRegistry               // names and stored names, as they shall be
)

// matchAll matches a state with the one before it, and gives target the stored names and the renames that follow from it.
func matchAll(current, target *registry.Definitions, from origin, revision int64) (m *matches, err error) {
	m = &matches{byView: map[*registry.FeatureView][]pair[registry.Feature]{}}
	if m.views, err = match(kindView, current.Views, target.Views, viewIdentity, from); err != nil {
		return nil, err
	}
	for _, p := range m.views {
		if p.old == nil || p.now == nil {
			continue
		}
		pairs, err := match("feature of "+kindView+" "+p.now.Name, p.old.Features, p.now.Features, featureIdentity, from)
		if err != nil {
			return nil, err
		}
		m.byView[p.now] = pairs
		if from == fromFiles {
			keepStored(pairs, revision, featureIdentity, func(f *registry.Feature, stored string) { f.Stored = stored })
		}
		followInline(p, current, target)
	}
	if from == fromFiles {
		keepStored(m.views, revision, viewIdentity, func(v *registry.FeatureView, stored string) { v.Stored = stored })
	}
	if m.entities, err = match(kindEntity, current.Entities, target.Entities, entityIdentity, from); err != nil {
		return nil, err
	}
	if m.sources, err = match(kindSource, current.Sources, target.Sources, sourceIdentity, from); err != nil {
		return nil, err
	}
	if m.services, err = match(kindService, current.Services, target.Services, serviceIdentity, from); err != nil {
		return nil, err
	}
	m.setWas()
	return m, nil
}

// match pairs the definitions of one kind: by what `was` says, by name, by stored name. A `was` counts while the name
// beside it is new, and what it names was there: the line may stay in the file.
func match[T any](kind string, before, after []*T, id func(*T) identity, from origin) ([]pair[T], error) {
	named := make(map[string]*T, len(before))
	stored := make(map[string]*T, len(before))
	for _, a := range before {
		named[id(a).name] = a
		if s := id(a).stored; s != "" {
			stored[s] = a
		}
	}
	now := make(map[*T]*T, len(after)) // before -> after
	old := make(map[*T]*T, len(after)) // after -> before
	join := func(a, b *T) {
		if a != nil && now[a] == nil && old[b] == nil {
			now[a], old[b] = b, a
		}
	}
	for _, b := range after {
		is := id(b)
		a := named[is.was]
		if is.was == "" || named[is.name] != nil || a == nil {
			continue
		}
		if other := now[a]; other != nil {
			err := problem.New(problem.Invalid, "%s: %q and %q both say that they were %q", kind, id(other).name, is.name, is.was)
			err.Suggestion = "take the line away from one of them"
			return nil, err
		}
		join(a, b)
	}
	byName := func() {
		for _, b := range after {
			join(named[id(b).name], b)
		}
	}
	byStored := func() {
		for _, b := range after {
			join(stored[id(b).stored], b)
		}
	}
	if from == fromFiles {
		byName()
		byStored() // the first name again
	} else {
		byStored()
		byName()
	}
	pairs := make([]pair[T], 0, len(after))
	for _, b := range after {
		pairs = append(pairs, pair[T]{old[b], b})
	}
	for _, a := range before {
		if now[a] == nil {
			pairs = append(pairs, pair[T]{old: a})
		}
	}
	slices.SortStableFunc(pairs, func(x, y pair[T]) int { return cmp.Compare(x.name(id), y.name(id)) })
	return pairs, nil
}

func (p pair[T]) name(id func(*T) identity) string {
	if p.now == nil {
		return id(p.old).name
	}
	return id(p.now).name
}

// renamed returns the name before, "" unless it is another.
func (p pair[T]) renamed(id func(*T) identity) string {
	if p.old == nil || p.now == nil || id(p.old).name == id(p.now).name {
		return ""
	}
	return id(p.old).name
}

// keepStored sets stored names: what was there keeps its own; what is new gets its name, or where something else is
// stored under that name, one that no definition can have.
func keepStored[T any](pairs []pair[T], revision int64, id func(*T) identity, set func(*T, string)) {
	taken := make(map[string]bool, len(pairs))
	store := func(x *T, name string) {
		taken[name] = true
		if name == id(x).name {
			name = ""
		}
		set(x, name)
	}
	for _, p := range pairs {
		if p.old != nil && p.now != nil {
			store(p.now, id(p.old).stored)
		}
	}
	for _, p := range pairs {
		if p.old != nil || p.now == nil {
			continue
		}
		name := id(p.now).stored
		for n := revision; taken[name]; n++ {
			name = fmt.Sprintf("%s@%d", id(p.now).name, n)
		}
		store(p.now, name)
	}
}

// followInline makes a view's inline source a rename where its view is one.
func followInline(p pair[registry.FeatureView], current, target *registry.Definitions) {
	was := p.renamed(viewIdentity)
	if was == "" || !slices.ContainsFunc(current.Sources, func(s *registry.Source) bool { return s.Inline && s.Name == was }) {
		return
	}
	for _, s := range target.Sources {
		if s.Inline && s.Name == p.now.Name {
			s.Was = was
		}
	}
}

// setWas leaves Was where it made a rename, and sets it where another sign did. That of features is not needed further.
func (m *matches) setWas() {
	for _, p := range m.entities {
		if p.now != nil {
			p.now.Was = p.renamed(entityIdentity)
		}
	}
	for _, p := range m.sources {
		if p.now != nil {
			p.now.Was = p.renamed(sourceIdentity)
		}
	}
	for _, p := range m.views {
		if p.now == nil {
			continue
		}
		p.now.Was = p.renamed(viewIdentity)
		for _, f := range p.now.Features {
			f.Was = ""
		}
	}
	for _, p := range m.services {
		if p.now != nil {
			p.now.Was = p.renamed(serviceIdentity)
		}
	}
}

// clone copies what matching changes.
func clone(d *registry.Definitions) *registry.Definitions {
	c := &registry.Definitions{
		Entities: copies(d.Entities), Sources: copies(d.Sources), Views: copies(d.Views), Services: copies(d.Services),
	}
	for _, v := range c.Views {
		v.Features = copies(v.Features)
	}
	return c
}

func copies[T any](list []*T) []*T {
	if list == nil {
		return nil
	}
	out := make([]*T, len(list))
	for i, x := range list {
		c := *x
		out[i] = &c
	}
	return out
}
