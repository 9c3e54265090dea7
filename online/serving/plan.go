package serving

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// planSet is what a server knows of one revision and the generations that serve it. Immutable but for its cache.
type planSet struct {
	snapshot  *registry.Snapshot
	live      map[string]*generation // by stored name of the view
	services  map[string]compiled
	adHoc     cache
	adHocFull cache // of lists with full names
}

// compiled is a service's plan, or why there is none.
type compiled struct {
	plan *plan
	err  error
}

// generation is a view's serving generation, under the view's name of today, and the layout of its rows.
type generation struct {
	online.Live
	layout *row.Layout
}

func newPlanSet(snapshot *registry.Snapshot, live []online.Live) *planSet {
	set := &planSet{
		snapshot:  snapshot,
		live:      make(map[string]*generation, len(live)),
		services:  make(map[string]compiled, len(snapshot.Services)),
		adHoc:     cache{seed: maphash.MakeSeed()},
		adHocFull: cache{seed: maphash.MakeSeed()},
	}
	for _, l := range live {
		g := &generation{Live: l, layout: row.NewLayout(l.Fields)}
		g.View = snapshot.ViewName(l.View)
		set.live[l.View] = g
	}
	for name, service := range snapshot.Services {
		p, err := set.compile(service)
		if err == nil {
			p.fullNames, _ = service.FullNames() // that there are none matters where they are asked for
		}
		set.services[name] = compiled{p, err}
	}
	return set
}

// find returns the plan that a request asks for.
func (s *planSet) find(req *Request, maxFeatures int) (*plan, error) {
	switch {
	case req.Service != "" && len(req.Features) > 0:
		return nil, &problem.Error{
			Code: problem.Invalid, Message: "the request names a service and features; it takes one of them", Field: "features",
		}
	case req.Service == "" && len(req.Features) == 0:
		return nil, &problem.Error{
			Code: problem.Invalid, Message: "the request names neither a service nor features", Field: "service",
			Suggestion: "`provender list services` prints the services",
		}
	case len(req.Features) > maxFeatures:
		return nil, limitError("features", "limits.request_features", len(req.Features), maxFeatures, "features")
	case req.Service == "" && req.FullNames:
		return s.findAdHoc(&s.adHocFull, req.Features, s.snapshot.AdHocFull)
	case req.Service == "":
		return s.findAdHoc(&s.adHoc, req.Features, s.snapshot.AdHoc)
	}
	c, ok := s.services[req.Service]
	if !ok {
		_, err := s.snapshot.FeatureService(req.Service)
		return nil, err
	}
	if c.err == nil && len(c.plan.service.Outputs) > maxFeatures {
		return nil, limitError("features", "limits.request_features", len(c.plan.service.Outputs), maxFeatures, "service")
	}
	if c.err == nil && req.FullNames && c.plan.fullNames == nil {
		_, err := c.plan.service.FullNames()
		return nil, err
	}
	return c.plan, c.err
}

func (s *planSet) findAdHoc(c *cache, features []string, adHoc func([]string) (*registry.Service, error)) (*plan, error) {
	if p := c.get(features); p != nil {
		return p, nil
	}
	service, err := adHoc(features)
	if err != nil {
		return nil, err
	}
	p, err := s.compile(service)
	if err != nil {
		return nil, err
	}
	p.fullNames = p.names
	c.put(features, p)
	return p, nil
}

// plan is how one service is answered. Immutable but for its pool.
type plan struct {
	service *registry.Service
	names   []string
	// fullNames are the names for Request.FullNames, nil where two are one.
	fullNames []string
	reads     []read
	keys      []keyPlan
	groups    []groupPlan
	maxT      int64  // the greatest T of the views
	maxView   string // the view it is of
	answers   sync.Pool
}

// read is one view under one binding.
type read struct {
	generation *generation
	ttl        int64
	key        int // index into plan.keys
	group      int // index into plan.groups
	position   int // of the generation in its group
	projection *row.Projection
	outputs    []int              // indexes into Service.Outputs, in the projection's order
	defaults   []*columnar.Vector // per output, nil for none
}

// keyPlan is an entity key: which request keys it is made of. None: a global view's, the same for every row.
type keyPlan struct{ columns []int }

// groupPlan is what is read from one keyspace by one key.
type groupPlan struct {
	keyspace    online.KeyspaceID
	key         int // index into plan.keys
	generations []online.GenerationID
}

// compile makes the plan of a service. Errors are Precondition: a view is not online, was never materialized, or its
// definition has changed in a way that its generation cannot follow; or Unavailable: its generation is lost.
func (s *planSet) compile(service *registry.Service) (*plan, error) {
	p := &plan{service: service, maxT: math.MinInt64}
	p.answers.New = func() any { return p.allocate() }
	for _, o := range service.Outputs {
		p.names = append(p.names, o.Name)
	}
	for i, r := range service.Reads {
		g, err := s.generation(service, r.View)
		if err != nil {
			return nil, err
		}
		rd := read{generation: g, ttl: r.View.TTLMicros}
		var fields []int
		for j, o := range service.Outputs {
			if o.Read != i {
				continue
			}
			field, err := g.field(service, r.View, o.Feature)
			if err != nil {
				return nil, err
			}
			fields = append(fields, field)
			rd.outputs = append(rd.outputs, j)
			rd.defaults = append(rd.defaults, r.View.Defaults[o.Feature])
		}
		rd.projection = g.layout.Project(fields)
		rd.key, rd.group, rd.position = p.place(g, r.Binding)
		p.reads = append(p.reads, rd)
		if g.T > p.maxT {
			p.maxT, p.maxView = g.T, g.View
		}
	}
	return p, nil
}

// place finds the group that reads a generation under a binding, and adds the generation to it.
func (p *plan) place(g *generation, binding []int) (key, group, position int) {
	key = slices.IndexFunc(p.keys, func(k keyPlan) bool { return slices.Equal(k.columns, binding) })
	if key < 0 {
		key = len(p.keys)
		p.keys = append(p.keys, keyPlan{binding})
	}
	group = slices.IndexFunc(p.groups, func(gp groupPlan) bool { return gp.keyspace == g.Keyspace && gp.key == key })
	if group < 0 {
		group = len(p.groups)
		p.groups = append(p.groups, groupPlan{keyspace: g.Keyspace, key: key})
	}
	gp := &p.groups[group]
	gp.generations = append(gp.generations, g.ID)
	return key, group, len(gp.generations) - 1
}

// generation returns the generation that serves a view, if it can.
func (s *planSet) generation(service *registry.Service, view *registry.View) (*generation, error) {
	if !view.Online {
		return nil, &problem.Error{
			Code:       problem.Precondition,
			Message:    "view " + quote(view.Name) + forService(service) + " is for training only (online: false)",
			Suggestion: "set `online: true` in its definition, apply, and materialize it",
		}
	}
	g, ok := s.live[view.StoredName()]
	if !ok {
		return nil, &problem.Error{
			Code:       problem.Precondition,
			Message:    "view " + quote(view.Name) + forService(service) + " has never been materialized",
			Suggestion: "run `provender materialize " + view.Name + "`",
		}
	}
	if g.Lost {
		return nil, lost()
	}
	same := slices.EqualFunc(g.Keys, view.KeyColumns, func(f row.Field, k registry.KeyColumn) bool {
		return f.Name == k.Name && f.Type == columnar.Type{Kind: k.Kind}
	})
	if !same {
		return nil, g.outdated("the join keys of view " + quote(view.Name) + forService(service) + " have changed")
	}
	return g, nil
}

// field returns the position of a view's feature in the generation's layout.
func (g *generation) field(service *registry.Service, view *registry.View, feature int) (int, error) {
	f := view.Features[feature]
	name := quote(view.Name+":"+f.Name) + forService(service)
	i := slices.IndexFunc(g.Fields, func(field row.Field) bool { return field.Name == f.StoredName() })
	switch {
	case i < 0:
		return 0, g.outdated("feature " + name + " was declared")
	case g.Fields[i].Type != f.Type:
		return 0, g.outdated("the type of feature " + name + " was changed from " + g.Fields[i].Type.String() + " to " +
			f.Type.String())
	}
	return i, nil
}

// outdated tells that a generation was filled before a change that a service needs.
func (g *generation) outdated(change string) error {
	return &problem.Error{
		Code:       problem.Precondition,
		Message:    change + " after generation " + itoa(int(g.ID)) + " of view " + quote(g.View) + " was filled",
		Suggestion: "run `provender materialize " + g.View + "`, which fills a new one",
	}
}
