package definition

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
)

// The kinds of documents.
const (
	KindEntity         = "Entity"
	KindSource         = "Source"
	KindFeatureView    = "FeatureView"
	KindFeatureService = "FeatureService"
)

var kinds = []string{KindEntity, KindSource, KindFeatureView, KindFeatureService}

// The keys of every mapping.
var (
	metaKeys           = []string{"description", "owner", "tags"}
	documentKeys       = append([]string{"kind", "name", "was"}, metaKeys...)
	sourceOnlyKeys     = []string{"parquet", "event_time", "created_time", "timezone", "ambiguous", "rewrites"}
	entityKeys         = slices.Concat(documentKeys, []string{"join_keys"})
	joinKeyKeys        = []string{"name", "type"}
	sourceKeys         = slices.Concat(documentKeys, sourceOnlyKeys)
	inlineSourceKeys   = slices.Concat(metaKeys, sourceOnlyKeys)
	eventTimeKeys      = []string{"column", "at"}
	viewKeys           = slices.Concat(documentKeys, []string{"entities", "source", "keys", "ttl", "schedule", "schedule_timezone", "online", "features"})
	featureKeys        = slices.Concat([]string{"name", "was", "column", "type"}, metaKeys, []string{"default"})
	serviceKeys        = slices.Concat(documentKeys, []string{"locked", "features"})
	serviceViewKeys    = []string{"view", "prefix", "join", "features"}
	serviceFeatureKeys = []string{"name", "as"}
)

// file reads one file's documents.
func (r *reader) file(f File) {
	d := &decoder{file: f.Name, set: &diag.Set{}}
	roots, whole := d.documents(f.Content)
	r.partial = r.partial || !whole
	r.documents(d, roots)
}

// documents reads a file's documents, until there are too many problems to tell.
func (r *reader) documents(d *decoder, roots []*yaml.Node) {
	for _, root := range roots {
		if r.document(d, root); len(*d.set) > maxProblems {
			break
		}
	}
	r.partial = r.partial || len(*d.set) > maxProblems
	r.set = append(r.set, *d.set...)
}

// told returns the problems as an error, of each file no more than can be told.
func told(set diag.Set) error {
	var sorted, out diag.Set
	collect(&sorted, set.Err())
	n := 0
	for i, d := range sorted {
		if i == 0 || d.File != sorted[i-1].File {
			n = 0
		}
		if n++; n <= maxProblems {
			out = append(out, d)
		} else if n == maxProblems+1 {
			out.Add(d.Position, codeTooMany, "the file has more than %d problems; the others are not told", maxProblems)
		}
	}
	return out.Err()
}

func (r *reader) document(d *decoder, root *yaml.Node) {
	m := d.mapping(root, "a definition", nil)
	if m == nil {
		r.partial = true
		return
	}
	n := m.need("kind", "one of "+strings.Join(kinds, ", ")+"; every YAML file of the project is read, but for those in folders that begin with a dot")
	if n == nil {
		r.partial = true
		return
	}
	kind, ok := d.scalar(n, "kind")
	if !ok || !slices.Contains(kinds, kind) {
		r.partial = true
		if ok {
			p := d.add(n, codeUnknownKind, "unknown kind %q", kind)
			if p.Hint = diag.Suggest(kind, kinds); p.Hint == "" {
				p.Hint = "one of " + strings.Join(kinds, ", ")
			}
		}
		return
	}
	// The keys are checked again, now that the kind is known; what was a problem already is reported once.
	switch kind {
	case KindEntity:
		e := decodeEntity(d, root)
		if r.declare(d, kind, e.Name, m) {
			r.defs.Entities = append(r.defs.Entities, e)
		}
	case KindSource:
		s := decodeSource(d, root)
		if r.declare(d, kind, s.Name, m) {
			r.defs.Sources = append(r.defs.Sources, s)
		}
	case KindFeatureView:
		v, inline := decodeView(d, root)
		if !r.declare(d, kind, v.Name, m) {
			return
		}
		r.defs.Views = append(r.defs.Views, v)
		if inline != nil && r.declare(d, KindSource, v.Name, &mapping{
			decoder: d, node: m.values["source"], values: map[string]*yaml.Node{"name": m.values["source"]},
		}) {
			inline.Name, inline.Inline = v.Name, true
			r.defs.Sources = append(r.defs.Sources, inline)
		}
	case KindFeatureService:
		s := decodeService(d, root)
		if r.declare(d, kind, s.Name, m) {
			r.defs.Services = append(r.defs.Services, s)
		}
	}
}

// declare remembers the positions of a definition, or reports that its name is taken. A definition without a name
// was reported before.
func (r *reader) declare(d *decoder, kind, name string, m *mapping) bool {
	if name == "" {
		r.partial = true
		return false
	}
	at := m.get("name")
	if first, ok := r.positions.at[[2]string{kind, name}]; ok {
		d.add(at, codeDuplicateName, "another %s is named %q, at %s", kind, name, first.name)
		return false
	}
	r.positions.at[[2]string{kind, name}] = declared{d.at(at), m.node}
	return true
}

func (m *mapping) meta() registry.Meta {
	return registry.Meta{Description: m.text("description"), Owner: m.text("owner"), Tags: m.texts("tags", nil)}
}

func decodeEntity(d *decoder, root *yaml.Node) *registry.Entity {
	m := d.mapping(root, "an entity", entityKeys)
	e := &registry.Entity{Name: m.name("entity", false), Meta: m.meta(), Was: m.was(false)}
	m.need("join_keys", "[{name: …, type: string}]")
	var seen names
	for _, n := range m.list("join_keys", "join keys") {
		k := d.mapping(n, "a join key", joinKeyKeys)
		key := registry.JoinKey{Name: k.name("join key", true), Type: k.typ("type")}
		if key.Type.Kind != columnar.Invalid && (key.Type.List || key.Type.Kind != columnar.Int64 && key.Type.Kind != columnar.String) {
			p := d.add(k.get("type"), codeBadKeyType, "join key %q is %s; join keys are int64 or string", key.Name, key.Type)
			if key.Type.Kind == columnar.Int32 && !key.Type.List {
				p.Hint = "write int64: narrower columns are widened"
			}
			key.Type = columnar.Type{}
		}
		if seen.add(k, "join key", key.Name) {
			e.JoinKeys = append(e.JoinKeys, key)
		}
	}
	return e
}

// names finds names that come twice in a list.
type names map[string]*yaml.Node

// add reports whether name is new; "" was reported before.
func (s *names) add(m *mapping, what, name string) bool {
	if name == "" {
		return false
	}
	at := m.get("name")
	if first := (*s)[name]; first != nil {
		m.decoder.add(at, codeDuplicateName, "another %s is named %q, in line %d", what, name, first.Line)
		return false
	}
	if *s == nil {
		*s = names{}
	}
	(*s)[name] = at
	return true
}

func decodeSource(d *decoder, root *yaml.Node) *registry.Source {
	m := d.mapping(root, "a source", sourceKeys)
	s := m.source()
	s.Name, s.Was = m.name("source", false), m.was(false)
	return s
}

// source reads what a source has besides its name.
func (m *mapping) source() *registry.Source {
	return &registry.Source{
		Meta:        m.meta(),
		Parquet:     m.parquet(),
		EventTime:   m.eventTime(),
		CreatedTime: m.column("created_time"),
		Timezone:    m.timezone("timezone", "UTC"),
		Ambiguous: registry.Ambiguous(m.choice("ambiguous",
			string(registry.AmbiguousError), string(registry.AmbiguousEarliest), string(registry.AmbiguousLatest))),
		Rewrites: registry.Rewrites(m.choice("rewrites",
			string(registry.RewritesRebuild), string(registry.RewritesReplace))),
	}
}

func (m *mapping) parquet() []string {
	n := m.need("parquet", `a path, a folder or a glob, such as "lake:events/**"`)
	if n == nil {
		return nil
	}
	elements := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		elements = m.list("parquet", "paths")
	}
	var paths []string
	for _, e := range elements {
		path, ok := m.scalar(e, "parquet")
		if !ok {
			continue
		}
		if _, below, rooted := strings.Cut(path, ":"); strings.TrimSpace(path) == "" || rooted && below == "" ||
			strings.ContainsFunc(path, unicode.IsControl) {
			m.add(target(e), codeBadPath, "parquet: %q names no file, folder or glob", path)
		}
		paths = append(paths, path)
	}
	return paths
}

func (m *mapping) eventTime() registry.TimeColumn {
	n := m.need("event_time", "the column that says when a row became true")
	if n == nil {
		return registry.TimeColumn{}
	}
	if n.Kind != yaml.MappingNode {
		return registry.TimeColumn{Column: m.column("event_time")}
	}
	e := m.mapping(n, "event_time", eventTimeKeys)
	e.need("column", "")
	t := registry.TimeColumn{Column: e.column("column")}
	if e.get("at") != nil {
		t.At = registry.DayEnd(e.choice("at", string(registry.AtStart), string(registry.AtEnd)))
	}
	return t
}

// decodeView also returns the view's own source, nil if it names one.
func decodeView(d *decoder, root *yaml.Node) (*registry.FeatureView, *registry.Source) {
	m := d.mapping(root, "a feature view", viewKeys)
	v := &registry.FeatureView{
		Name: m.name("feature view", false), Meta: m.meta(), Was: m.was(false),
		Entities:         []string{},
		Keys:             m.texts("keys", d.checkColumn),
		TTL:              m.ttl("ttl"),
		Schedule:         m.schedule("schedule"),
		ScheduleTimezone: m.timezone("schedule_timezone", ""),
		Online:           m.boolean("online", true),
	}
	for _, key := range []string{"schedule", "schedule_timezone"} {
		switch n := m.keys[key]; {
		case n == nil:
		case !v.Online:
			d.add(n, codeUselessKey, "%s has no effect with online: false", key)
		case key == "schedule_timezone" && m.get("schedule") == nil:
			d.add(n, codeUselessKey, "schedule_timezone has no effect without a schedule")
		}
	}

	if n := m.need("entities", "[] for one row for everybody"); n != nil {
		if n.Kind != yaml.SequenceNode {
			d.add(n, codeWrongType, "entities: want a list of entities, got %s", describe(n))
			n = &yaml.Node{}
		}
		if len(n.Content) > maxJoinKeys {
			d.add(n, codeTooMany, "entities: %d entities, at most %d are read", len(n.Content), maxJoinKeys)
		}
		for _, c := range n.Content[:min(len(n.Content), maxJoinKeys)] {
			name := d.reference(c, "entities")
			switch {
			case name == "":
			case slices.Contains(v.Entities, name):
				d.add(target(c), codeDuplicateName, "entity %q is in the list already", name)
			default:
				v.Entities = append(v.Entities, name)
			}
		}
	}

	var inline *registry.Source
	if n := m.need("source", "the name of a source, or its keys"); n != nil {
		if n.Kind == yaml.MappingNode {
			inline = d.mapping(n, "a source", inlineSourceKeys).source()
			v.Source = v.Name
		} else {
			v.Source = d.reference(n, "source")
		}
	}

	m.need("features", "[{name: …, type: …}]")
	var seen names
	var renamed []rename
	for _, n := range m.list("features", "features") {
		f := d.mapping(n, "a feature", featureKeys)
		feature := &registry.Feature{
			Name: f.name("feature", true), Meta: f.meta(), Was: f.was(true),
			Column: f.column("column"), Type: f.typ("type"),
		}
		feature.Default = f.defaultValue("default", feature.Type)
		if seen.add(f, "feature", feature.Name) {
			v.Features = append(v.Features, feature)
			renamed = append(renamed, rename{feature.Name, feature.Was, f.position("was")})
		}
	}
	checkRenames(d.set, "feature", renamed)
	return v, inline
}

func decodeService(d *decoder, root *yaml.Node) *registry.FeatureService {
	m := d.mapping(root, "a feature service", serviceKeys)
	s := &registry.FeatureService{
		Name: m.name("feature service", false), Meta: m.meta(), Was: m.was(false), Locked: m.boolean("locked", false),
	}
	m.need("features", "[{view: …}]")
	for _, n := range m.list("features", "views") {
		// A part that cannot be read stays as an empty one, so that indexes are those of the file.
		p := d.mapping(n, "a view of a service", serviceViewKeys)
		part := registry.ServiceView{
			View: d.reference(p.need("view", ""), "view"), Prefix: p.text("prefix"), Join: p.texts("join", d.checkColumn),
		}
		if part.Prefix != "" {
			d.checkName(p.get("prefix"), "prefix", part.Prefix, false)
		}
		for _, f := range p.list("features", "features") {
			part.Features = append(part.Features, decodeServiceFeature(d, f))
		}
		s.Features = append(s.Features, part)
	}
	return s
}

func decodeServiceFeature(d *decoder, n *yaml.Node) registry.ServiceFeature {
	if target(n).Kind == yaml.ScalarNode {
		return registry.ServiceFeature{Name: d.reference(n, "features")}
	}
	m := d.mapping(n, "a feature of a service", serviceFeatureKeys)
	f := registry.ServiceFeature{Name: d.reference(m.need("name", ""), "name")}
	if as := m.get("as"); as != nil {
		if f.As = d.reference(as, "as"); f.As != "" {
			d.checkName(as, "as", f.As, true)
		}
	}
	return f
}

// reference returns the name that n holds; "" where it holds none, which was reported, or is nil.
func (d *decoder) reference(n *yaml.Node, what string) string {
	if n == nil {
		return ""
	}
	s, ok := d.scalar(n, what)
	if ok && s == "" {
		d.add(target(n), codeBadName, "%s: want a name, got nothing", what)
	}
	return s
}

// index formats a list index for Positions.At.
func index(i int) string { return strconv.Itoa(i) }
