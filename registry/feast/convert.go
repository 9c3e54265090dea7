package feast

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	feastcore "github.com/provender-dev/provender/proto/feast/core"
	feasttypes "github.com/provender-dev/provender/proto/feast/types"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// Note is what is not as it was in Feast.
type Note struct {
	Kind   string // in Feast's words: entity, data source, feature view, feature, feature service, …
	Name   string
	Reason string
}

// Import is a Feast project as definitions.
type Import struct {
	Project     string
	Definitions *registry.Definitions
	Roots       map[string]string // that the paths of sources begin with
	Skipped     []Note            // not carried over
	Changed     []Note            // carried over, not as it was
}

// dummyEntity is what Feast has for views of no entity.
const dummyEntity = "__dummy"

// view is a view that is carried over.
type view struct {
	*registry.FeatureView
	features map[string]string // Feast's name -> ours
	keys     []joinKey
}

// joinKey is an entity's one key.
type joinKey struct{ feast, name string }

type converter struct {
	Import
	repo *Repo
	reg  *feastcore.Registry

	entityNames, keyNames, sourceNames, viewNames, serviceNames *names

	entities map[string]*registry.Entity // by Feast's name, as what follows
	keys     map[string]joinKey          // by entity
	why      map[string]string           // reasons of entities that are not carried over
	sources  *sources
	views    map[string]*view
}

// Convert makes definitions of the project for a folder, absolute, whose provender.yaml has these roots.
func (r *Repo) Convert(out string, roots map[string]string) (*Import, error) {
	c := &converter{
		Import: Import{Project: snake(r.Project, "project"), Definitions: &registry.Definitions{}}, repo: r, reg: r.content,
		entities: map[string]*registry.Entity{}, keys: map[string]joinKey{}, why: map[string]string{}, views: map[string]*view{},
	}
	c.takeNames()
	c.sources = newSources(c)
	for _, e := range c.reg.GetEntities() {
		if e.GetSpec().GetProject() == r.Project && e.GetSpec().GetName() != dummyEntity {
			c.entity(e.GetSpec())
		}
	}
	for _, s := range c.reg.GetDataSources() {
		if s.GetProject() == r.Project {
			c.sources.declare(s)
		}
	}
	for _, v := range c.reg.GetFeatureViews() {
		if v.GetSpec().GetProject() == r.Project {
			c.view(v.GetSpec())
		}
	}
	for _, s := range c.reg.GetFeatureServices() {
		if s.GetSpec().GetProject() == r.Project {
			c.service(s.GetSpec())
		}
	}
	for _, o := range others(c.reg) {
		if o.project == r.Project {
			c.skip(o.kind, o.name, "%s", o.reason)
		}
	}
	c.Definitions.Sources = c.sources.list
	c.Roots = c.sources.place(out, roots)
	return c.finish()
}

// finish sorts, and checks that what Provender reads of the files is what was meant.
func (c *converter) finish() (*Import, error) {
	d := c.Definitions
	slices.SortFunc(d.Entities, func(a, b *registry.Entity) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Sources, func(a, b *registry.Source) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Views, func(a, b *registry.FeatureView) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Services, func(a, b *registry.FeatureService) int { return cmp.Compare(a.Name, b.Name) })
	read, _, err := definition.Parse(c.Files())
	if err != nil {
		return nil, fmt.Errorf("import feast: the definitions made have problems, which is a bug, please report it: %w", err)
	}
	if read.Digest() != d.Digest() {
		return nil, fmt.Errorf("import feast: the definitions made are not read as they were meant, which is a bug, please report it")
	}
	return &c.Import, nil
}

func (c *converter) skip(kind, name, format string, args ...any) {
	c.Skipped = append(c.Skipped, Note{kind, name, fmt.Sprintf(format, args...)})
}

func (c *converter) change(kind, name, format string, args ...any) {
	c.Changed = append(c.Changed, Note{kind, name, fmt.Sprintf(format, args...)})
}

// renamed tells of what is called label that its name is another, and why.
func (c *converter) renamed(kind, label, feast, ours string) {
	switch {
	case feast == ours:
	case slices.Contains(reserved, feast):
		c.change(kind, label, "is named %s: %s is a row's own time", ours, feast)
	case nameExpression.MatchString(feast):
		c.change(kind, label, "is named %s: another has its name", ours)
	default:
		c.change(kind, label, "is named %s: names are lower-case letters, digits and _, at most %d", ours, maxNameLength)
	}
}

// takeNames gives the names that are ours already to those that have them.
func (c *converter) takeNames() {
	var entities, keys, sources, views, services []string
	for _, e := range c.reg.GetEntities() {
		if e.GetSpec().GetProject() == c.repo.Project {
			entities, keys = append(entities, e.GetSpec().GetName()), append(keys, keyOf(e.GetSpec()))
		}
	}
	for _, s := range c.reg.GetDataSources() {
		if s.GetProject() == c.repo.Project {
			sources = append(sources, s.GetName())
		}
	}
	for _, v := range c.reg.GetFeatureViews() {
		if v.GetSpec().GetProject() == c.repo.Project {
			views = append(views, v.GetSpec().GetName())
		}
	}
	for _, s := range c.reg.GetFeatureServices() {
		if s.GetSpec().GetProject() == c.repo.Project {
			services = append(services, s.GetSpec().GetName())
		}
	}
	c.entityNames = newNames("entity", false, entities)
	c.keyNames = newNames("key", true, keys)
	c.sourceNames = newNames("source", false, sources)
	c.viewNames = newNames("view", false, views)
	c.serviceNames = newNames("service", false, services)
}

func keyOf(e *feastcore.EntitySpecV2) string { return cmp.Or(e.GetJoinKey(), e.GetName()) }

func (c *converter) entity(e *feastcore.EntitySpecV2) {
	fail := func(format string, args ...any) {
		c.why[e.GetName()] = fmt.Sprintf(format, args...)
		c.skip("entity", e.GetName(), format, args...)
	}
	if c.entities[e.GetName()] != nil || c.why[e.GetName()] != "" {
		c.skip("entity", e.GetName(), "another entity has that name")
		return
	}
	t, err := c.keyType(e)
	if err != nil {
		fail("%v", err)
		return
	}
	ours := c.entityNames.of(e.GetName())
	key := joinKey{feast: keyOf(e), name: c.keyNames.of(keyOf(e))}
	c.renamed("entity", e.GetName(), e.GetName(), ours)
	c.renamed("join key", key.feast, key.feast, key.name)
	entity := &registry.Entity{
		Name: ours, Meta: meta(e.GetDescription(), e.GetOwner(), e.GetTags()), JoinKeys: []registry.JoinKey{{Name: key.name, Type: t}},
	}
	c.entities[e.GetName()], c.keys[e.GetName()] = entity, key
	c.Definitions.Entities = append(c.Definitions.Entities, entity)
}

// keyType returns the type of an entity's key: that of the columns of the views that use it, which is what Feast joins by,
// else the entity's own.
func (c *converter) keyType(e *feastcore.EntitySpecV2) (columnar.Type, error) {
	own := e.GetValueType()
	var kinds []columnar.Kind
	for _, v := range c.reg.GetFeatureViews() {
		spec := v.GetSpec()
		if spec.GetProject() != c.repo.Project || !slices.Contains(spec.GetEntities(), e.GetName()) {
			continue
		}
		for _, column := range spec.GetEntityColumns() {
			if kind, ok := keyKinds[column.GetValueType()]; ok && column.GetName() == keyOf(e) && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	kind, ok := keyKinds[own]
	switch {
	case own != feasttypes.ValueType_INVALID && !ok:
		return columnar.Type{}, fmt.Errorf("its join key is %s; join keys are int64 or string", feastType(own))
	case len(kinds) > 1:
		return columnar.Type{}, fmt.Errorf("its join key is int64 in one view and string in another")
	case len(kinds) == 0 && !ok:
		return columnar.Type{}, fmt.Errorf("the registry does not tell the type of its join key: give it a value_type in Feast and run feast apply")
	case len(kinds) == 1 && ok && kinds[0] != kind:
		c.change("entity", e.GetName(), "its join key is %s, as in the views that use it; the entity says %s", kinds[0], feastType(own))
	}
	if len(kinds) == 1 {
		kind = kinds[0]
	}
	return columnar.Type{Kind: kind}, nil
}

var keyKinds = map[feasttypes.ValueType_Enum]columnar.Kind{
	feasttypes.ValueType_INT32: columnar.Int64, feasttypes.ValueType_INT64: columnar.Int64, feasttypes.ValueType_STRING: columnar.String,
	feasttypes.ValueType_UUID: columnar.String, feasttypes.ValueType_TIME_UUID: columnar.String,
}

var kinds = map[feasttypes.ValueType_Enum]columnar.Kind{
	feasttypes.ValueType_BYTES: columnar.Bytes, feasttypes.ValueType_STRING: columnar.String, feasttypes.ValueType_INT32: columnar.Int32,
	feasttypes.ValueType_INT64: columnar.Int64, feasttypes.ValueType_DOUBLE: columnar.Float64, feasttypes.ValueType_FLOAT: columnar.Float32,
	feasttypes.ValueType_BOOL: columnar.Bool, feasttypes.ValueType_UNIX_TIMESTAMP: columnar.Timestamp,
	feasttypes.ValueType_UUID: columnar.String, feasttypes.ValueType_TIME_UUID: columnar.String,
}

// listOf is how far a list's number is from its elements'.
const listOf = feasttypes.ValueType_BYTES_LIST - feasttypes.ValueType_BYTES

func featureType(t feasttypes.ValueType_Enum) (columnar.Type, bool) {
	if kind, ok := kinds[t]; ok {
		return columnar.Type{Kind: kind}, true
	}
	switch t {
	case feasttypes.ValueType_UUID_LIST, feasttypes.ValueType_TIME_UUID_LIST:
		return columnar.Type{Kind: columnar.String, List: true}, true
	}
	if t < feasttypes.ValueType_BYTES_LIST || t > feasttypes.ValueType_UNIX_TIMESTAMP_LIST {
		return columnar.Type{}, false
	}
	return columnar.Type{Kind: kinds[t-listOf], List: true}, true
}

// feastType is a type's name in Feast.
func feastType(t feasttypes.ValueType_Enum) string {
	if _, known := feasttypes.ValueType_Enum_name[int32(t)]; !known {
		return "of type " + strconv.Itoa(int(t)) + ", which is newer than what is known of Feast"
	}
	return t.String()
}

func meta(description, owner string, tags map[string]string) registry.Meta {
	m := registry.Meta{Description: description, Owner: owner}
	if len(tags) > 0 {
		m.Tags = maps.Clone(tags)
	}
	return m
}

func (c *converter) view(spec *feastcore.FeatureViewSpec) {
	feast := spec.GetName()
	fail := func(format string, args ...any) { c.skip("feature view", feast, format, args...) }
	switch {
	case c.views[feast] != nil:
		fail("another view has that name")
		return
	case len(spec.GetSourceViews()) > 0 || spec.GetFeatureTransformation() != nil:
		fail("a transformation in Python makes its values: write them to Parquet, and declare a view of that")
		return
	}
	ttl, err := duration(spec)
	if err != nil {
		fail("%v", err)
		return
	}
	found, err := c.sources.read(spec.GetBatchSource())
	if err != nil {
		fail("its source %q is not carried over: %v", spec.GetBatchSource().GetName(), err)
		return
	}
	v := &view{
		FeatureView: &registry.FeatureView{
			Meta: meta(spec.GetDescription(), spec.GetOwner(), spec.GetTags()), Entities: []string{},
			TTL: ttl, Online: spec.GetOnline(),
		},
		features: map[string]string{},
	}
	columns, err := columnsOf(spec.GetBatchSource())
	if err == nil {
		err = c.viewKeys(v, spec, columns)
	}
	if err != nil {
		fail("%v", err)
		return
	}
	if err := c.viewFeatures(v, spec, columns); err != nil {
		fail("%v", err)
		return
	}
	v.Name, v.Source = c.viewNames.of(feast), c.sources.take(found).Name
	c.renamed("feature view", feast, feast, v.Name)
	if spec.GetStreamSource() != nil {
		c.change("feature view", feast, "rows of its stream or push source %q do not arrive: its values are those of %s, by provender materialize or a schedule",
			spec.GetStreamSource().GetName(), v.Source)
	}
	if spec.GetDisabled() {
		c.change("feature view", feast, "it is disabled in Feast, and is not here")
	}
	c.views[feast] = v
	c.Definitions.Views = append(c.Definitions.Views, v.FeatureView)
}

// duration returns a view's ttl, 0 for none: Feast's zero, too, is forever.
func duration(spec *feastcore.FeatureViewSpec) (time.Duration, error) {
	ttl := spec.GetTtl()
	if ttl == nil {
		return 0, nil
	}
	if !ttl.IsValid() || ttl.GetSeconds() < 0 || ttl.GetNanos() < 0 {
		return 0, fmt.Errorf("its ttl of %d s and %d ns is not valid", ttl.GetSeconds(), ttl.GetNanos())
	}
	d := ttl.AsDuration()
	switch {
	case int64(d/time.Second) != ttl.GetSeconds():
		return 0, fmt.Errorf("its ttl of %d s is longer than 292 years: leave it out in Feast for features that never expire", ttl.GetSeconds())
	case d%time.Microsecond != 0:
		return 0, fmt.Errorf("its ttl of %d s and %d ns is finer than a microsecond", ttl.GetSeconds(), ttl.GetNanos())
	}
	return d, nil
}

// viewKeys finds a view's entities, and the columns of their keys.
func (c *converter) viewKeys(v *view, spec *feastcore.FeatureViewSpec, columns map[string]string) error {
	for _, name := range spec.GetEntities() {
		if name == dummyEntity {
			continue
		}
		entity := c.entities[name]
		switch {
		case entity == nil && c.why[name] != "":
			return fmt.Errorf("its entity %q is not carried over: %s", name, c.why[name])
		case entity == nil:
			return fmt.Errorf("the registry has no entity %q", name)
		case slices.Contains(v.Entities, entity.Name):
			return fmt.Errorf("entity %q is in it twice", name)
		}
		key := c.keys[name]
		if slices.ContainsFunc(v.keys, func(k joinKey) bool { return k.name == key.name }) {
			return fmt.Errorf("two of its entities have the join key %q", key.feast)
		}
		v.Entities, v.keys = append(v.Entities, entity.Name), append(v.keys, key)
		column, err := column(columns, key.feast)
		if err != nil {
			return err
		}
		if column != key.name {
			if v.Keys == nil {
				v.Keys = map[string]string{}
			}
			v.Keys[key.name] = column
		}
	}
	return nil
}

func (c *converter) viewFeatures(v *view, spec *feastcore.FeatureViewSpec, columns map[string]string) error {
	var all []string
	for _, f := range spec.GetFeatures() {
		all = append(all, f.GetName())
	}
	given := newNames("feature", true, all)
	for _, f := range spec.GetFeatures() {
		full := spec.GetName() + ":" + f.GetName()
		t, ok := featureType(f.GetValueType())
		if !ok {
			c.skip("feature", full, "it is %s; features are %s, and lists of them", feastType(f.GetValueType()), strings.Join(columnar.TypeNames()[:8], ", "))
			continue
		}
		if _, twice := v.features[f.GetName()]; twice {
			c.skip("feature", full, "another feature of the view has that name")
			continue
		}
		column, err := column(columns, f.GetName())
		if err != nil {
			c.skip("feature", full, "%v", err)
			continue
		}
		feature := &registry.Feature{
			Name: given.of(f.GetName()), Meta: meta(f.GetDescription(), "", f.GetTags()), Type: t,
		}
		if column != feature.Name {
			feature.Column = column
		}
		c.renamed("feature", full, f.GetName(), feature.Name)
		v.features[f.GetName()] = feature.Name
		v.Features = append(v.Features, feature)
	}
	if len(v.Features) == 0 {
		return fmt.Errorf("no feature of it is carried over")
	}
	return nil
}
