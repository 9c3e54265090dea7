package registry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a source's time zone must mean the same on a machine without zone files

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
)

// Compile resolves every name of a revision. It keeps defs, which must not be changed any more. Definitions that
// registry/definition has accepted compile; others give an error of class Invalid.
func Compile(rev int64, defs *Definitions) (*Snapshot, error) {
	s := &Snapshot{
		Revision: rev, Digest: defs.Digest(), Definitions: defs,
		Views:    make(map[string]*View, len(defs.Views)),
		Services: make(map[string]*Service, len(defs.Services)),
		stored:   make(map[string]*View, len(defs.Views)),
	}
	entities := make(map[string]*Entity, len(defs.Entities))
	for _, e := range defs.Entities {
		entities[e.Name] = e
	}
	sources := make(map[string]*Source, len(defs.Sources))
	for _, src := range defs.Sources {
		sources[src.Name] = src
	}
	for _, fv := range defs.Views {
		v, err := compileView(fv, entities, sources)
		if err != nil {
			return nil, err
		}
		if other := s.stored[fv.StoredName()]; other != nil {
			return nil, problem.New(problem.Invalid, "feature views %q and %q are stored under one name", other.Name, fv.Name)
		}
		s.Views[fv.Name], s.stored[fv.StoredName()] = v, v
	}
	for _, fs := range defs.Services {
		svc, err := s.compileService(fs)
		if err != nil {
			return nil, err
		}
		s.Services[fs.Name] = svc
	}
	return s, nil
}

func compileView(fv *FeatureView, entities map[string]*Entity, sources map[string]*Source) (*View, error) {
	invalid := func(format string, args ...any) error {
		return problem.New(problem.Invalid, "feature view %q: "+format, append([]any{fv.Name}, args...)...)
	}
	src := sources[fv.Source]
	if src == nil {
		return nil, invalid("unknown source %q", fv.Source)
	}
	location, err := time.LoadLocation(src.Timezone)
	if err != nil {
		return nil, invalid("source %q: unknown time zone %q", src.Name, src.Timezone)
	}
	keys, err := KeyColumns(fv, func(name string) *Entity { return entities[name] })
	if err != nil {
		return nil, invalid("%w", err)
	}
	if len(fv.Features) == 0 {
		return nil, invalid("no features")
	}
	v := &View{
		FeatureView: fv, Source: src, Location: location, KeyColumns: keys,
		TTLMicros: fv.TTL.Microseconds(),
		Defaults:  make([]*columnar.Vector, len(fv.Features)),
	}
	fields := make([]row.Field, len(fv.Features))
	seen, stored := make(map[string]bool, len(fv.Features)), make(map[string]bool, len(fv.Features))
	for i, f := range fv.Features {
		if f.Type.Kind == columnar.Invalid {
			return nil, invalid("feature %q has no type", f.Name)
		}
		if seen[f.Name] {
			return nil, invalid("two features named %q", f.Name)
		}
		if stored[f.StoredName()] {
			return nil, invalid("two features are stored under the name %q", f.StoredName())
		}
		seen[f.Name], stored[f.StoredName()] = true, true
		fields[i] = row.Field{Name: f.StoredName(), Type: f.Type}
		if f.Default == nil {
			continue
		}
		if v.Defaults[i], err = columnar.ParseJSON(f.Type, f.Default); err != nil {
			return nil, invalid("default of %q: %w", f.Name, err)
		}
	}
	v.Layout = row.NewLayout(fields)
	v.Digest = viewDigest(v)
	return v, nil
}

// KeyColumns returns a view's join keys in R8's order: entities in name order, then declared key order. The entity
// function returns nil for a name that is not declared, which is an error.
func KeyColumns(fv *FeatureView, entity func(name string) *Entity) ([]KeyColumn, error) {
	var keys []KeyColumn
	owner := map[string]string{}
	for _, name := range slices.Sorted(slices.Values(fv.Entities)) {
		e := entity(name)
		if e == nil {
			return nil, fmt.Errorf("unknown entity %q", name)
		}
		for _, k := range e.JoinKeys {
			if other, ok := owner[k.Name]; ok {
				return nil, fmt.Errorf("join key %q is declared by entity %q and by entity %q", k.Name, other, name)
			}
			owner[k.Name] = name
			if k.Type.List || k.Type.Kind != columnar.Int64 && k.Type.Kind != columnar.String {
				return nil, fmt.Errorf("join key %q is neither int64 nor string", k.Name)
			}
			column := fv.Keys[k.Name]
			if column == "" {
				column = k.Name
			}
			keys = append(keys, KeyColumn{Entity: name, Name: k.Name, Kind: k.Type.Kind, Column: column})
		}
	}
	return keys, nil
}

func (s *Snapshot) compileService(fs *FeatureService) (*Service, error) {
	b := newServiceBuilder(fs.Name)
	for _, part := range fs.Features {
		v := s.Views[part.View]
		if v == nil {
			return nil, problem.New(problem.Invalid, "feature service %q: unknown view %q", fs.Name, part.View)
		}
		read, err := b.read(v, part.Join)
		if err != nil {
			return nil, problem.New(problem.Invalid, "feature service %q: %w", fs.Name, err)
		}
		for _, f := range part.Outputs(v.FeatureView) {
			i := v.FeatureIndex(f.Feature)
			if i < 0 {
				return nil, problem.New(problem.Invalid, "feature service %q: view %q has no feature %q", fs.Name, v.Name, f.Feature)
			}
			if !b.output(f.Name, read, i) {
				return nil, problem.New(problem.Invalid, "feature service %q: two outputs named %q", fs.Name, f.Name)
			}
		}
	}
	if name := b.collision(); name != "" {
		return nil, problem.New(problem.Invalid, "feature service %q: %q is an output and a request key", fs.Name, name)
	}
	return b.service, nil
}

// NamedFeature is a feature of a view under the name it has in a service.
type NamedFeature struct {
	Name    string // of the output
	Feature string // in the view
}

// Outputs returns the features that p selects of its view, in order, with their names in the service (R9).
func (p *ServiceView) Outputs(fv *FeatureView) []NamedFeature {
	if len(p.Features) == 0 {
		out := make([]NamedFeature, len(fv.Features))
		for i, f := range fv.Features {
			out[i] = NamedFeature{Name: p.Prefix + f.Name, Feature: f.Name}
		}
		return out
	}
	out := make([]NamedFeature, len(p.Features))
	for i, f := range p.Features {
		name := f.As
		if name == "" {
			name = p.Prefix + f.Name
		}
		out[i] = NamedFeature{Name: name, Feature: f.Name}
	}
	return out
}

// FeatureView returns a view, or an error of class NotFound.
func (s *Snapshot) FeatureView(name string) (*View, error) {
	if v := s.Views[name]; v != nil {
		return v, nil
	}
	return nil, s.noView(name)
}

// noView is the error of a view that is not there; one that was renamed is told of.
func (s *Snapshot) noView(name string) *problem.Error {
	err := s.notFound("feature view", name, names(s.Definitions.Views, func(v *FeatureView) string { return v.Name }))
	if v := s.stored[name]; v != nil {
		err.Suggestion = renamed(v.Name)
	}
	return err
}

func renamed(now string) string { return fmt.Sprintf("it was renamed: it is %q now", now) }

// StoredView returns the view that is stored under a name, nil if there is none.
func (s *Snapshot) StoredView(stored string) *View { return s.stored[stored] }

// StoredViews returns what views are stored under, given their names; one that is no view's stays as it is.
func (s *Snapshot) StoredViews(names []string) []string {
	stored := make([]string, len(names))
	for i, name := range names {
		stored[i] = name
		if v := s.Views[name]; v != nil {
			stored[i] = v.StoredName()
		}
	}
	return stored
}

// ViewName returns the name of the view that is stored under a name, or that name itself where no view is any more.
func (s *Snapshot) ViewName(stored string) string {
	if v := s.stored[stored]; v != nil {
		return v.Name
	}
	return stored
}

// FeatureService returns a service, or an error of class NotFound.
func (s *Snapshot) FeatureService(name string) (*Service, error) {
	if svc := s.Services[name]; svc != nil {
		return svc, nil
	}
	return nil, s.notFound("feature service", name, names(s.Definitions.Services, func(v *FeatureService) string { return v.Name }))
}

func (s *Snapshot) notFound(kind, name string, candidates []string) *problem.Error {
	return NotFound(kind, name, s.Revision, candidates)
}

// NotFound is the error of a definition that a revision does not have, beside those of its kind that it has.
func NotFound(kind, name string, revision int64, candidates []string) *problem.Error {
	if revision == 0 {
		err := problem.New(problem.NotFound, "no %s %q: nothing was applied yet", kind, name)
		err.Suggestion = "run provender apply"
		return err
	}
	err := problem.New(problem.NotFound, "no %s %q in revision %d", kind, name, revision)
	err.Suggestion = diag.Suggest(name, candidates)
	if len(candidates) == 0 {
		err.Suggestion = "declare one and run provender apply"
	}
	return err
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = name(x)
	}
	return out
}

// AdHoc compiles a list of features, each "view:feature", into a service without a name. Outputs have the features'
// plain names and join keys keep theirs; where names collide the error tells to declare a service. Errors are of class
// Invalid, or NotFound for a view, and name the element as Field "features[i]".
func (s *Snapshot) AdHoc(features []string) (*Service, error) { return s.adHoc(features, false) }

// AdHocFull is AdHoc with full names, view__feature, which are as distinct as the features.
func (s *Snapshot) AdHocFull(features []string) (*Service, error) { return s.adHoc(features, true) }

func (s *Snapshot) adHoc(features []string, full bool) (*Service, error) {
	if len(features) == 0 {
		return nil, &problem.Error{
			Code: problem.Invalid, Field: "features", Message: "no features asked for",
			Suggestion: "write view:feature, or name a service",
		}
	}
	b := newServiceBuilder("")
	for n, ref := range features {
		if err := s.adHocFeature(b, ref, full); err != nil {
			err.Field = "features[" + strconv.Itoa(n) + "]"
			return nil, err
		}
	}
	if name := b.collision(); name != "" {
		return nil, &problem.Error{
			Code: problem.Invalid, Field: "features", Message: fmt.Sprintf("%q is a feature and a join key", name),
			Suggestion: "declare a feature service that renames one of them",
		}
	}
	return b.service, nil
}

func (s *Snapshot) adHocFeature(b *serviceBuilder, ref string, full bool) *problem.Error {
	view, feature, ok := strings.Cut(ref, ":")
	if !ok || view == "" || feature == "" {
		return &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("%q names no feature", ref), Suggestion: "write view:feature",
		}
	}
	v := s.Views[view]
	if v == nil {
		return s.noView(view)
	}
	i := v.FeatureIndex(feature)
	if i < 0 {
		err := problem.New(problem.Invalid, "feature view %q has no feature %q", view, feature)
		err.Suggestion = diag.Suggest(feature, names(v.Features, func(f *Feature) string { return f.Name }))
		if i := slices.IndexFunc(v.Features, func(f *Feature) bool { return f.StoredName() == feature }); i >= 0 {
			err.Suggestion = renamed(v.Features[i].Name)
		}
		return err
	}
	read, err := b.read(v, nil)
	if err != nil {
		p := problem.New(problem.Invalid, "%w", err)
		p.Suggestion = "declare a feature service that binds the join keys to different columns"
		return p
	}
	name := feature
	if full {
		name = FullName(view, feature)
	}
	if !b.output(name, read, i) {
		return &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("two features named %q", name),
			Suggestion: "declare a feature service that renames one of them",
		}
	}
	return nil
}

// FullName is the name of a feature, or of a service's output, with its view's before it.
func FullName(view, name string) string { return view + "__" + name }

// FullNames returns the full name of every output. An error, of class Invalid, tells that two are one, or that one is a
// request key's.
func (s *Service) FullNames() ([]string, error) {
	taken := make(map[string]bool, len(s.Outputs)+len(s.RequestKeys))
	for _, k := range s.RequestKeys {
		taken[k.Name] = true
	}
	names := make([]string, len(s.Outputs))
	for i, o := range s.Outputs {
		names[i] = FullName(s.Reads[o.Read].View.Name, o.Name)
		if taken[names[i]] {
			return nil, problem.New(problem.Invalid, "feature service %q: two columns of the full name %q", s.Name, names[i])
		}
		taken[names[i]] = true
	}
	return names, nil
}

// serviceBuilder gathers a service's reads, outputs and request keys, each once.
type serviceBuilder struct {
	service *Service
	reads   map[string]int // view and binding -> Service.Reads
	keys    map[string]int // request key -> Service.RequestKeys
	outputs map[string]bool
}

func newServiceBuilder(name string) *serviceBuilder {
	return &serviceBuilder{
		service: &Service{Name: name}, reads: map[string]int{}, keys: map[string]int{}, outputs: map[string]bool{},
	}
}

// read returns the index of the read of v with its join keys bound to request keys.
func (b *serviceBuilder) read(v *View, join map[string]string) (int, error) {
	for name := range join {
		if !slices.ContainsFunc(v.KeyColumns, func(k KeyColumn) bool { return k.Name == name }) {
			return 0, fmt.Errorf("view %q has no join key %q", v.Name, name)
		}
	}
	binding := make([]int, len(v.KeyColumns))
	for i, k := range v.KeyColumns {
		name := join[k.Name]
		if name == "" {
			name = k.Name
		}
		j, ok := b.keys[name]
		if !ok {
			j = len(b.service.RequestKeys)
			b.keys[name] = j
			b.service.RequestKeys = append(b.service.RequestKeys, RequestKey{Name: name, Kind: k.Kind})
		}
		if have := b.service.RequestKeys[j].Kind; have != k.Kind {
			return 0, fmt.Errorf("%q would be %s for one view and %s for view %q", name, have, k.Kind, v.Name)
		}
		binding[i] = j
	}
	id := fmt.Sprint(v.Name, binding)
	n, ok := b.reads[id]
	if !ok {
		n = len(b.service.Reads)
		b.reads[id] = n
		b.service.Reads = append(b.service.Reads, Read{View: v, Binding: binding})
	}
	return n, nil
}

// output adds a feature column, or reports false where the name is taken.
func (b *serviceBuilder) output(name string, read, feature int) bool {
	if b.outputs[name] {
		return false
	}
	b.outputs[name] = true
	b.service.Outputs = append(b.service.Outputs, Output{Name: name, Read: read, Feature: feature})
	return true
}

// collision returns an output that is named like a request key, "" if none is.
func (b *serviceBuilder) collision() string {
	for _, o := range b.service.Outputs {
		if _, ok := b.keys[o.Name]; ok {
			return o.Name
		}
	}
	return ""
}
