package definition

import (
	"maps"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
)

// check finds the problems between definitions.
func (r *reader) check() {
	c := &checker{
		set: &r.set, defs: r.defs, positions: r.positions, partial: r.partial,
		entities: map[string]*registry.Entity{}, sources: map[string]*registry.Source{}, views: map[string]*registry.FeatureView{},
		known: map[*registry.FeatureView]*viewNames{},
	}
	for _, e := range r.defs.Entities {
		c.entities[e.Name] = e
	}
	for _, s := range r.defs.Sources {
		c.sources[s.Name] = s
	}
	for _, v := range r.defs.Views {
		c.views[v.Name] = v
	}
	c.renames()
	for _, v := range r.defs.Views {
		c.view(v)
	}
	for _, s := range r.defs.Services {
		if c.service(s); c.outputs > maxOutputs {
			return
		}
	}
}

type checker struct {
	set       *diag.Set
	defs      *registry.Definitions
	positions *Positions
	partial   bool
	entities  map[string]*registry.Entity
	sources   map[string]*registry.Source
	views     map[string]*registry.FeatureView
	known     map[*registry.FeatureView]*viewNames
	outputs   int // of the services seen
	guesses   guesses
}

// guesses finds what a misspelt name was meant to be, until that has taken enough time.
type guesses struct{ compared int }

func (g *guesses) suggest(name string, n int, candidates func() []string) string {
	if g.compared += n; g.compared > maxGuesses {
		return ""
	}
	return diag.Suggest(name, candidates())
}

func suggestFrom[V any](g *guesses, name string, m map[string]V) string {
	return g.suggest(name, len(m), func() []string { return sortedKeys(m) })
}

// rename is a definition, or a feature, and the name that it says it had.
type rename struct {
	name, was string
	at        diag.Position // of the key `was`
}

// checkRenames reports, among all definitions of one kind or all features of a view, what cannot be renamed.
func checkRenames(set *diag.Set, what string, all []rename) {
	declared := make(map[string]bool, len(all))
	for _, r := range all {
		declared[r.name] = true
	}
	first := map[string]string{}
	for _, r := range all {
		switch {
		case r.was == "":
		case r.was == r.name:
			set.Add(r.at, codeBadWas, "%s %q was never named otherwise", what, r.name).Hint = "write the name that it had, or leave it out"
		case declared[r.was]:
			set.Add(r.at, codeBadWas, "%s %q is still declared, so that %q can't be it under a new name", what, r.was, r.name).
				Hint = "leave the key out once the rename is applied"
		case first[r.was] != "":
			set.Add(r.at, codeDuplicateWas, "%s %q cannot have been %q: %q was it", what, r.name, r.was, first[r.was])
		default:
			first[r.was] = r.name
		}
	}
}

// renames checks what definitions were. A source within a view goes by its view's name, and is renamed with it.
func (c *checker) renames() {
	renamed(c, KindEntity, c.defs.Entities, func(e *registry.Entity) (name, was string) { return e.Name, e.Was })
	renamed(c, KindSource, c.defs.Sources, func(s *registry.Source) (name, was string) { return s.Name, s.Was })
	renamed(c, KindFeatureView, c.defs.Views, func(v *registry.FeatureView) (name, was string) { return v.Name, v.Was })
	renamed(c, KindFeatureService, c.defs.Services, func(s *registry.FeatureService) (name, was string) { return s.Name, s.Was })
	for _, v := range c.defs.Views {
		if s := c.sources[v.Source]; s != nil && s.Inline && c.sources[v.Was] == nil {
			s.Was = v.Was
		}
	}
}

func renamed[T any](c *checker, kind string, list []T, names func(T) (name, was string)) {
	all := make([]rename, len(list))
	for i, one := range list {
		name, was := names(one)
		all[i] = rename{name, was, c.positions.At(kind, name, "was")}
	}
	checkRenames(c.set, kind, all)
}

// dangling reports a reference to nothing, unless it may be in what could not be read.
func dangling[V any](c *checker, at diag.Position, code, what, name string, declared map[string]V) {
	if name != "" && !c.partial {
		c.set.Add(at, code, "no %s is named %q", what, name).Hint = suggestFrom(&c.guesses, name, declared)
	}
}

func (c *checker) view(v *registry.FeatureView) {
	at := func(path ...string) diag.Position { return c.positions.At(KindFeatureView, v.Name, path...) }
	if c.sources[v.Source] == nil {
		dangling(c, at("source"), codeUnknownSource, "source", v.Source, c.sources)
	}
	owner := map[string]string{}
	known := true
	for i, name := range v.Entities {
		e := c.entities[name]
		if e == nil {
			known = false
			dangling(c, at("entities", index(i)), codeUnknownEntity, "entity", name, c.entities)
			continue
		}
		for _, k := range e.JoinKeys {
			if other, ok := owner[k.Name]; ok {
				c.set.Add(at("entities", index(i)), codeDuplicateJoinKey,
					"the entities %q and %q both have a join key %q", other, name, k.Name)
			}
			owner[k.Name] = name
		}
	}
	if !known {
		return
	}
	for _, key := range sortedKeys(v.Keys) {
		if _, ok := owner[key]; !ok {
			c.set.Add(at("keys", "@"+key), codeUnknownJoinKey, "the view's entities have no join key %q", key).
				Hint = suggestFrom(&c.guesses, key, owner)
		}
	}
}

// viewNames is what services find in a view.
type viewNames struct {
	keys     []registry.KeyColumn // in R8's order
	keyNames []string
	whole    bool // false: a problem was reported that leaves the keys open
	features map[string]bool
}

func (c *checker) names(v *registry.FeatureView) *viewNames {
	if known := c.known[v]; known != nil {
		return known
	}
	keys, err := registry.KeyColumns(v, func(name string) *registry.Entity { return c.entities[name] })
	known := &viewNames{keys: keys, whole: err == nil, features: make(map[string]bool, len(v.Features))}
	for _, k := range keys {
		known.keyNames = append(known.keyNames, k.Name)
	}
	for _, f := range v.Features {
		known.features[f.Name] = true
	}
	c.known[v] = known
	return known
}

func (c *checker) service(s *registry.FeatureService) {
	at := func(path ...string) diag.Position { return c.positions.At(KindFeatureService, s.Name, path...) }
	type bound struct {
		kind columnar.Kind
		view string
	}
	requestKeys := map[string]bound{}
	outputs := map[string]diag.Position{}
	for i, part := range s.Features {
		v := c.views[part.View]
		if v == nil {
			dangling(c, at("features", index(i), "view"), codeUnknownView, "feature view", part.View, c.views)
			continue
		}
		known := c.names(v)
		selected := len(part.Features)
		if selected == 0 {
			selected = len(v.Features)
		}
		if c.outputs += selected + len(known.keys); c.outputs > maxOutputs {
			c.set.Add(at(), codeTooMany, "the services have more than %d outputs and keys together", maxOutputs)
			return
		}
		for _, k := range known.keys {
			name, where := k.Name, at("features", index(i))
			if part.Join[k.Name] != "" {
				name, where = part.Join[k.Name], at("features", index(i), "join", k.Name)
			}
			first, taken := requestKeys[name]
			if taken && first.kind != k.Kind {
				c.set.Add(where, codeKeyTypeConflict, "request key %q would be %s for view %q and %s for view %q",
					name, first.kind, first.view, k.Kind, v.Name).Hint = "bind one of them to another key with join"
			} else {
				requestKeys[name] = bound{k.Kind, v.Name}
			}
		}
		for _, key := range sortedKeys(part.Join) {
			if known.whole && !slices.Contains(known.keyNames, key) {
				c.set.Add(at("features", index(i), "join", "@"+key), codeUnknownJoinKey, "view %q has no join key %q", v.Name, key).
					Hint = c.guesses.suggest(key, len(known.keyNames), func() []string { return known.keyNames })
			}
		}
		for j, out := range part.Outputs(v) {
			where := at("features", index(i))
			if len(part.Features) > 0 {
				where = at("features", index(i), "features", index(j))
			}
			if !known.features[out.Feature] {
				if out.Feature != "" {
					c.set.Add(where, codeUnknownFeature, "view %q has no feature %q", v.Name, out.Feature).
						Hint = suggestFrom(&c.guesses, out.Feature, known.features)
				}
				continue
			}
			if slices.Contains(reserved, out.Name) {
				c.set.Add(where, codeReservedName, "output %q is the name of a row's own time", out.Name).Hint = "give it an as"
			}
			if first, taken := outputs[out.Name]; taken {
				c.set.Add(where, codeDuplicateOutput, "another output is named %q, at %s", out.Name, first).
					Hint = "give one a prefix or an as"
				continue
			}
			outputs[out.Name] = where
		}
	}
	for _, name := range sortedKeys(outputs) {
		if key, taken := requestKeys[name]; taken {
			c.set.Add(outputs[name], codeOutputIsKey, "output %q has the name of a request key of view %q", name, key.view).
				Hint = "give the output a prefix or an as"
		}
	}
}

// checkRoots reports paths that begin with a root that the project does not have.
func checkRoots(set *diag.Set, cfg *Config, defs *registry.Definitions, positions *Positions) {
	var g guesses
	for _, s := range defs.Sources {
		for i, path := range s.Parquet {
			root, _, ok := strings.Cut(path, ":")
			if !ok || strings.ContainsAny(root, "/*?[{") {
				continue
			}
			if _, known := cfg.Roots[root]; !known {
				set.Add(positions.At(KindSource, s.Name, "parquet", index(i)), codeUnknownRoot, "no root is named %q in %s", root, ConfigName).
					Hint = suggestFrom(&g, root, cfg.Roots)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
