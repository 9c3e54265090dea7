package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/plan"
)

// TestRandomHistories plans one random change of definitions after another.
func TestRandomHistories(t *testing.T) {
	histories, steps := 60, 12
	if testenv.Long() {
		histories = 2000
	}
	rnd := testenv.Rand(t)
	told := map[string]int{}
	for range histories {
		g := &generator{rnd: rnd}
		current := &registry.Definitions{}
		for rev := range int64(steps) {
			next := g.next(current)
			p := checkPlan(t, rev, current, next)
			for _, h := range p.Hazards() {
				told[h.Code]++
			}
			if t.Failed() {
				t.Logf("from %s\nto   %s\nplan %s", mustJSON(t, current), mustJSON(t, next), mustJSON(t, p))
				return
			}
			current = p.Target
		}
	}
	for _, c := range plan.Codes {
		if told[c.Name] == 0 {
			t.Errorf("no random change has hazard %s", c.Name)
		}
	}
}

// checkPlan plans a change and checks what holds of every plan.
func checkPlan(t *testing.T, rev int64, current, next *registry.Definitions) *plan.Plan {
	t.Helper()
	must := func(p *plan.Plan, err error) *plan.Plan {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\nfrom %s\nto   %s", err, mustJSON(t, current), mustJSON(t, next))
		}
		return p
	}
	before, after := mustJSON(t, current), mustJSON(t, next)
	p := must(plan.Make(registry.Revision{Number: rev}, current, next))
	if before != mustJSON(t, current) || after != mustJSON(t, next) {
		t.Error("the plan changes what it compares")
	}
	if diff := cmp.Diff(after, mustJSON(t, asFiles(p.Target))); diff != "" {
		t.Errorf("the target is not what was asked for:\n%s", diff)
	}
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := plan.Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	// The digest tells apart what JSON does: nil and empty lists are the same.
	if diff := cmp.Diff(mustJSON(t, p)+wases(p.Target), mustJSON(t, back)+wases(back.Target)); diff != "" {
		t.Errorf("a plan file is another plan:\n%s", diff)
	}
	again := must(plan.Restore(registry.Revision{Number: rev}, current, back.Target))
	if diff := cmp.Diff(mustJSON(t, p), mustJSON(t, again)); diff != "" {
		t.Errorf("a saved plan, made again:\n%s", diff)
	}
	if nothing := must(plan.Make(registry.Revision{Number: rev + 1}, p.Target, next)); !nothing.Empty() || nothing.TargetDigest != p.TargetDigest {
		t.Errorf("planned once more, with the renames still there: %s", mustJSON(t, nothing.Changes))
	}
	undone := must(plan.Restore(registry.Revision{Number: rev + 1}, p.Target, current))
	if undone.TargetDigest != p.BaseDigest || undone.Empty() != p.Empty() {
		t.Errorf("a rollback does not lead back: %s", mustJSON(t, undone.Changes))
	}
	old, now := compiled(t, current), compiled(t, p.Target)
	checkHazards(t, p, old, now)
	checkGenerations(t, p, old, now)
	checkHazards(t, undone, now, old)
	checkGenerations(t, undone, now, old)
	return p
}

func compiled(t *testing.T, d *registry.Definitions) *registry.Snapshot {
	t.Helper()
	s, err := registry.Compile(1, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkHazards: services that hazards name are there, breaking ones were there, and what is locked keeps its shape.
func checkHazards(t *testing.T, p *plan.Plan, old, now *registry.Snapshot) {
	t.Helper()
	for _, c := range p.Changes {
		for i, h := range c.Hazards {
			if !slices.ContainsFunc(plan.Codes, func(known plan.Code) bool { return known.Name == h.Code }) || h.Message == "" {
				t.Errorf("hazard %+v", h)
			}
			if h.Breaking && (len(h.Services) == 0 || i > 0 && !c.Hazards[i-1].Breaking) {
				t.Errorf("hazard %+v of %+v", h, c.Hazards)
			}
			for _, s := range h.Services {
				if h.Breaking && old.Services[s] == nil || old.Services[s] == nil && now.Services[s] == nil {
					t.Errorf("hazard %+v names a service that is not there", h)
				}
			}
		}
	}
	if p.Allowed(true) != nil {
		return
	}
	for _, d := range old.Definitions.Services {
		was, is := old.Services[d.Name], now.Services[d.Name]
		if d.Locked && (is == nil || shape(was) != shape(is)) {
			t.Errorf("locked service %q changes, and nothing refuses it", d.Name)
		}
		if !p.Breaking() && (is == nil || lost(was, is)) {
			t.Errorf("service %q breaks, and no hazard tells it", d.Name)
		}
	}
}

// shape is what callers of a service see of it, and what it reads.
func shape(s *registry.Service) string {
	var b strings.Builder
	for _, o := range s.Outputs {
		r := s.Reads[o.Read]
		f := r.View.Features[o.Feature]
		fmt.Fprintf(&b, "%s %s %s:%s %s\n", o.Name, f.Type, r.View.StoredName(), f.StoredName(), f.Default)
	}
	keys := make([]string, len(s.RequestKeys))
	for i, k := range s.RequestKeys {
		keys[i] = k.Name + " " + k.Kind.String()
	}
	return b.String() + sorted(strings.Join(keys, "\n"))
}

func sorted(lines string) string {
	all := strings.Split(lines, "\n")
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// lost reports whether a caller of was, who sends its keys and reads its outputs by name, is served by is.
func lost(was, is *registry.Service) bool {
	keys := func(s *registry.Service) []registry.RequestKey {
		return slices.SortedFunc(slices.Values(s.RequestKeys), func(a, b registry.RequestKey) int { return strings.Compare(a.Name, b.Name) })
	}
	if !slices.Equal(keys(was), keys(is)) {
		return true
	}
	for _, o := range was.Outputs {
		i := slices.IndexFunc(is.Outputs, func(n registry.Output) bool { return n.Name == o.Name })
		if i < 0 || is.Reads[is.Outputs[i].Read].View.Features[is.Outputs[i].Feature].Type != was.Reads[o.Read].View.Features[o.Feature].Type {
			return true
		}
	}
	return false
}

// checkGenerations: a view is filled anew unless some view, whatever its name, has had the rows that it needs.
func checkGenerations(t *testing.T, p *plan.Plan, old, now *registry.Snapshot) {
	t.Helper()
	stored := map[string]*registry.View{}
	for _, v := range old.Views {
		stored[v.StoredName()] = v
	}
	for name, v := range now.Views {
		was := stored[v.StoredName()]
		kept := was != nil && was.Online && was.Digest == v.Digest && (was.TTL == 0 || v.TTL != 0 && v.TTL <= was.TTL)
		if anew := slices.Contains(p.Generations, name); anew != (v.Online && !kept) {
			t.Errorf("view %q: filled anew %t, kept %t", name, anew, kept)
		}
	}
}

// asFiles returns definitions as files have them: without stored names. Renames are not in JSON.
func asFiles(d *registry.Definitions) *registry.Definitions {
	c := new(registry.Definitions)
	b, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err != nil {
		panic(err)
	}
	for _, v := range c.Views {
		v.Stored = ""
		for _, f := range v.Features {
			f.Stored = ""
		}
	}
	return c
}

func wases(d *registry.Definitions) (all string) {
	for _, e := range d.Entities {
		all += e.Was + ","
	}
	for _, s := range d.Sources {
		all += s.Was + ","
	}
	for _, v := range d.Views {
		all += v.Was + ","
		for _, f := range v.Features {
			all += f.Was + ","
		}
	}
	for _, s := range d.Services {
		all += s.Was + ","
	}
	return all
}

// generator makes definitions of few names, so that names are taken anew, and few shapes, so that things come back.
type generator struct{ rnd *rand.Rand }

func (g *generator) oneIn(n int) bool { return g.rnd.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.rnd.IntN(len(list))] }

// next returns what files may say after d: some of it deleted, changed, renamed, some added. It compiles.
func (g *generator) next(d *registry.Definitions) *registry.Definitions {
	for {
		n := asFiles(d)
		for range 1 + g.rnd.IntN(3) {
			g.step(n)
		}
		n.Services = slices.DeleteFunc(n.Services, func(s *registry.FeatureService) bool {
			alone := *n
			alone.Services = []*registry.FeatureService{s}
			_, err := registry.Compile(1, &alone)
			return err != nil
		})
		if _, err := registry.Compile(1, n); err == nil {
			return n
		}
	}
}

func (g *generator) step(d *registry.Definitions) {
	switch g.rnd.IntN(8) {
	case 0:
		g.entities(d)
	case 1:
		g.sources(d)
	case 2, 3:
		g.addView(d)
	case 4:
		d.Views = without(g, d.Views)
	case 5:
		g.changeView(d)
	case 6:
		g.rename(d)
	case 7:
		g.services(d)
	}
}

func without[T any](g *generator, list []*T) []*T {
	if len(list) == 0 {
		return list
	}
	i := g.rnd.IntN(len(list))
	return slices.Delete(list, i, i+1)
}

// free returns a name that none of a list has, "" if there is none.
func free[T any](g *generator, list []*T, name func(*T) string, candidates ...string) string {
	candidates = slices.DeleteFunc(candidates, func(c string) bool {
		return slices.ContainsFunc(list, func(x *T) bool { return name(x) == c })
	})
	if len(candidates) == 0 {
		return ""
	}
	return pick(g, candidates...)
}

func entityName(e *registry.Entity) string          { return e.Name }
func sourceName(s *registry.Source) string          { return s.Name }
func viewName(v *registry.FeatureView) string       { return v.Name }
func featureName(f *registry.Feature) string        { return f.Name }
func serviceName(s *registry.FeatureService) string { return s.Name }

func (g *generator) entities(d *registry.Definitions) {
	name := free(g, d.Entities, entityName, "a", "b", "c")
	switch {
	case name != "" && (len(d.Entities) == 0 || g.oneIn(2)):
		d.Entities = append(d.Entities, &registry.Entity{Name: name, JoinKeys: []registry.JoinKey{{
			Name: "k_" + name, Type: columnar.Type{Kind: pick(g, columnar.Int64, columnar.String)},
		}}})
	case len(d.Entities) > 0 && g.oneIn(2):
		pick(g, d.Entities...).JoinKeys[0].Type.Kind = pick(g, columnar.Int64, columnar.String)
	default:
		d.Entities = without(g, d.Entities)
	}
}

func (g *generator) sources(d *registry.Definitions) {
	name := free(g, d.Sources, sourceName, "s", "t")
	switch {
	case name != "":
		d.Sources = append(d.Sources, &registry.Source{
			Name: name, Parquet: []string{pick(g, "x", "y")}, EventTime: registry.TimeColumn{Column: "at"}, Timezone: "UTC",
			Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
		})
	case g.oneIn(2):
		pick(g, d.Sources...).Parquet[0] = pick(g, "x", "y")
	default:
		d.Sources = without(g, d.Sources)
	}
}

func (g *generator) feature(v *registry.FeatureView) {
	name := free(g, v.Features, featureName, "f", "g", "h")
	if name == "" {
		return
	}
	f := &registry.Feature{Name: name, Column: pick(g, "", "col"), Type: columnar.Type{Kind: pick(g, columnar.Int64, columnar.Float64)}}
	if g.oneIn(2) {
		f.Default = json.RawMessage(pick(g, "0", "1"))
	}
	v.Features = append(v.Features, f)
}

func (g *generator) addView(d *registry.Definitions) {
	name := free(g, d.Views, viewName, "u", "v", "w")
	for len(d.Entities) == 0 {
		g.entities(d)
	}
	for len(d.Sources) == 0 {
		g.sources(d)
	}
	if name == "" {
		return
	}
	v := &registry.FeatureView{
		Name: name, Entities: []string{}, Source: pick(g, d.Sources...).Name, Online: !g.oneIn(5),
		TTL: pick(g, 0, time.Hour, 2*time.Hour),
	}
	for _, e := range d.Entities {
		if g.oneIn(2) {
			v.Entities = append(v.Entities, e.Name)
		}
	}
	for range 1 + g.rnd.IntN(3) {
		g.feature(v)
	}
	d.Views = append(d.Views, v)
}

func (g *generator) changeView(d *registry.Definitions) {
	if len(d.Views) == 0 {
		return
	}
	v := pick(g, d.Views...)
	switch g.rnd.IntN(6) {
	case 0:
		g.feature(v)
	case 1:
		if len(v.Features) > 1 {
			v.Features = without(g, v.Features)
		}
	case 2:
		f := pick(g, v.Features...)
		f.Type.Kind, f.Default = pick(g, columnar.Int64, columnar.Float64), json.RawMessage(pick(g, "0", "1"))
	case 3:
		v.TTL = pick(g, 0, time.Hour, 2*time.Hour)
	case 4:
		v.Online = !v.Online
	case 5:
		slices.Reverse(v.Features)
	}
}

// rename gives something another name, which may be one that something had before, and keeps references right.
func (g *generator) rename(d *registry.Definitions) {
	switch kind := g.rnd.IntN(5); {
	case kind == 0 && len(d.Entities) > 0:
		e, name := pick(g, d.Entities...), free(g, d.Entities, entityName, "a", "b", "c")
		if name == "" || e.Was != "" {
			return
		}
		for _, v := range d.Views {
			if i := slices.Index(v.Entities, e.Name); i >= 0 {
				v.Entities[i] = name
			}
		}
		e.Was, e.Name = e.Name, name
	case kind == 1 && len(d.Sources) > 0:
		s, name := pick(g, d.Sources...), free(g, d.Sources, sourceName, "s", "t")
		if name == "" || s.Was != "" {
			return
		}
		for _, v := range d.Views {
			if v.Source == s.Name {
				v.Source = name
			}
		}
		s.Was, s.Name = s.Name, name
	case kind == 2 && len(d.Views) > 0:
		v, name := pick(g, d.Views...), free(g, d.Views, viewName, "u", "v", "w")
		if name == "" || v.Was != "" {
			return
		}
		for _, s := range d.Services {
			for i := range s.Features {
				if s.Features[i].View == v.Name {
					s.Features[i].View = name
				}
			}
		}
		v.Was, v.Name = v.Name, name
	case kind == 3 && len(d.Views) > 0:
		v := pick(g, d.Views...)
		f, name := pick(g, v.Features...), free(g, v.Features, featureName, "f", "g", "h")
		if name == "" || f.Was != "" {
			return
		}
		if f.Column == "" && !g.oneIn(3) {
			f.Column = f.Name
		}
		f.Was, f.Name = f.Name, name
	case kind == 4 && len(d.Services) > 0:
		s, name := pick(g, d.Services...), free(g, d.Services, serviceName, "m", "n")
		if name == "" || s.Was != "" {
			return
		}
		s.Was, s.Name = s.Name, name
	}
}

func (g *generator) services(d *registry.Definitions) {
	if len(d.Views) == 0 {
		return
	}
	name := free(g, d.Services, serviceName, "m", "n")
	switch {
	case name != "":
		d.Services = append(d.Services, &registry.FeatureService{Name: name, Locked: g.oneIn(3), Features: g.selection(d)})
	case g.oneIn(2):
		s := pick(g, d.Services...)
		s.Locked = g.oneIn(3)
		if g.oneIn(2) {
			s.Features = g.selection(d)
		}
	default:
		d.Services = without(g, d.Services)
	}
}

func (g *generator) selection(d *registry.Definitions) (parts []registry.ServiceView) {
	for _, v := range d.Views {
		if len(parts) > 0 && g.oneIn(2) {
			continue
		}
		part := registry.ServiceView{View: v.Name, Prefix: v.Name + "_"}
		for _, e := range d.Entities {
			if slices.Contains(v.Entities, e.Name) && g.oneIn(2) {
				part.Join = map[string]string{e.JoinKeys[0].Name: pick(g, "p", "q")}
			}
		}
		if g.oneIn(2) {
			part.Features = []registry.ServiceFeature{{Name: pick(g, v.Features...).Name, As: pick(g, "", v.Name+"_x")}}
		}
		parts = append(parts, part)
	}
	return parts
}

// FuzzUnmarshal reads plan files that anybody may have changed: each is refused, or a plan that can be made again.
func FuzzUnmarshal(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	g := &generator{rnd: rnd}
	current := &registry.Definitions{}
	for rev := range int64(8) {
		p, err := plan.Make(registry.Revision{Number: rev}, current, g.next(current))
		if err != nil {
			f.Fatal(err)
		}
		raw, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		current = p.Target
	}
	f.Add([]byte(`{"version":2,"target":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := plan.Unmarshal(raw)
		if err != nil {
			return
		}
		_ = p.Allowed(p.Breaking())
		again, err := plan.Restore(registry.Revision{}, &registry.Definitions{}, p.Target)
		if err != nil {
			return
		}
		if again.TargetDigest != p.TargetDigest {
			t.Error("another target")
		}
	})
}
