package feast

import (
	"fmt"
	"slices"
	"strings"

	feastcore "github.com/provender-dev/provender/proto/feast/core"
	"github.com/provender-dev/provender/registry"
)

// part is one projection of a service whose view is carried over.
type part struct {
	view     *view
	label    string   // Feast's name of the projection: the alias, or the view's name
	features []string // ours
	join     map[string]string
}

func (c *converter) service(spec *feastcore.FeatureServiceSpec) {
	feast := spec.GetName()
	var parts []part
	for _, p := range spec.GetFeatures() {
		if q, ok := c.part(feast, p); ok {
			parts = append(parts, q)
		}
	}
	if len(parts) == 0 {
		c.skip("feature service", feast, "no feature of it is carried over")
		return
	}
	s := &registry.FeatureService{
		Name: feast, Meta: meta(spec.GetDescription(), spec.GetOwner(), spec.GetTags()), Features: c.selected(feast, parts),
	}
	if err := c.compiles(s, parts); err != nil {
		c.skip("feature service", feast, "%s", strings.TrimPrefix(err.Error(), fmt.Sprintf("feature service %q: ", feast)))
		return
	}
	if slices.ContainsFunc(c.Definitions.Services, func(o *registry.FeatureService) bool { return o.Name == c.serviceNames.given[feast] }) {
		c.skip("feature service", feast, "another service has that name")
		return
	}
	s.Name = c.serviceNames.of(feast)
	c.renamed("feature service", feast, feast, s.Name)
	c.Definitions.Services = append(c.Definitions.Services, s)
}

// part carries one projection over, and tells which of its features are not.
func (c *converter) part(service string, p *feastcore.FeatureViewProjection) (part, bool) {
	name := p.GetFeatureViewName()
	q := part{view: c.views[name], label: name, join: map[string]string{}}
	if p.GetFeatureViewNameAlias() != "" {
		q.label = p.GetFeatureViewNameAlias()
	}
	for _, f := range p.GetFeatureColumns() {
		ours := ""
		if q.view != nil {
			ours = q.view.features[f.GetName()]
		}
		if ours == "" {
			c.skip("feature of a service", service+": "+name+":"+f.GetName(), "%s", c.lost(q.view, name))
			continue
		}
		q.features = append(q.features, ours)
	}
	if len(q.features) == 0 {
		return part{}, false
	}
	if p.VersionTag != nil {
		c.change("feature service", service, "it pins version %d of %s; it has the view as it is now", p.GetVersionTag(), name)
	}
	for _, k := range q.view.keys {
		// Spines and requests keep the columns that they have for Feast.
		if to := p.GetJoinKeyMap()[k.feast]; to != "" && to != k.name {
			q.join[k.name] = to
		} else if to == "" && k.feast != k.name {
			q.join[k.name] = k.feast
		}
	}
	return q, true
}

func (c *converter) lost(v *view, name string) string {
	switch {
	case v != nil:
		return "the view's feature is not carried over"
	case slices.ContainsFunc(c.reg.GetOnDemandFeatureViews(), func(o *feastcore.OnDemandFeatureView) bool {
		return o.GetSpec().GetName() == name && o.GetSpec().GetProject() == c.repo.Project
	}):
		return "its view is computed on demand"
	default:
		return "its view is not carried over"
	}
}

// selected writes the parts of a service. Outputs have plain names, as Feast's have by default. Where two would have one
// name, Feast takes such a service with full_feature_names alone, and the outputs have those.
func (c *converter) selected(service string, parts []part) []registry.ServiceView {
	plain, full := map[string]bool{}, false
	keys := map[string]bool{}
	for _, p := range parts {
		for _, f := range p.features {
			full = full || plain[f]
			plain[f] = true
		}
		for _, k := range p.view.keys {
			if p.join[k.name] != "" {
				keys[p.join[k.name]] = true
			} else {
				keys[k.name] = true
			}
		}
	}
	prefixes := newNames("view", false, nil)
	outputs := newNames("feature", true, nil)
	for k := range keys {
		outputs.taken[k] = true
	}
	var out []registry.ServiceView
	for _, p := range parts {
		sv := registry.ServiceView{View: p.view.Name}
		if len(p.join) > 0 {
			sv.Join = p.join
		}
		if full {
			label := prefixes.free(snake(p.label, "view"))
			prefixes.taken[label] = true
			sv.Prefix = withSuffix(label, "__")
		}
		for _, f := range p.features {
			name := sv.Prefix + f
			free := outputs.free(withSuffix(name, ""))
			outputs.taken[free] = true
			feature := registry.ServiceFeature{Name: f}
			if free != name {
				feature.As = free
				c.change("feature service", service, "%s:%s is named %s: %s is taken, or too long", p.label, f, free, name)
			}
			sv.Features = append(sv.Features, feature)
		}
		if all(sv.Features, p.view.Features) {
			sv.Features = nil
		}
		out = append(out, sv)
	}
	if full {
		c.change("feature service", service, "features of it share names, so they have Feast's full ones, such as %s%s", out[0].Prefix, parts[0].features[0])
	}
	return out
}

// all reports whether a selection is every feature of a view, in order, under its own name.
func all(selected []registry.ServiceFeature, features []*registry.Feature) bool {
	return slices.EqualFunc(selected, features, func(s registry.ServiceFeature, f *registry.Feature) bool { return s.Name == f.Name && s.As == "" })
}

// compiles returns why a service is none, such as one key of two types.
func (c *converter) compiles(s *registry.FeatureService, parts []part) error {
	defs := &registry.Definitions{Entities: c.Definitions.Entities, Sources: c.sources.list, Services: []*registry.FeatureService{s}}
	for _, p := range parts {
		if !slices.Contains(defs.Views, p.view.FeatureView) {
			defs.Views = append(defs.Views, p.view.FeatureView)
		}
		for _, to := range p.join {
			if _, err := column(nil, to); err != nil {
				return err
			}
		}
	}
	_, err := registry.Compile(1, defs)
	return err
}
