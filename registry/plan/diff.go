package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/registry"
)

// differ compares two compiled states.
type differ struct {
	before, after *registry.Snapshot
	changes       []DefinitionChange
}

func (d *differ) run() error {
	old, now := d.before.Definitions, d.after.Definitions
	if err := compare(d, kindEntity, old.Entities, now.Entities, func(e *registry.Entity) string { return e.Name }, d.entity); err != nil {
		return err
	}
	if err := compare(d, kindSource, old.Sources, now.Sources, func(s *registry.Source) string { return s.Name }, d.source); err != nil {
		return err
	}
	if err := compare(d, kindView, old.Views, now.Views, func(v *registry.FeatureView) string { return v.Name }, d.view); err != nil {
		return err
	}
	return compare(d, kindService, old.Services, now.Services, func(s *registry.FeatureService) string { return s.Name }, d.service)
}

// compare adds one change per definition that differs, in name order; note fills in what it means, given the old and
// the new definition, of which one may be the zero value.
func compare[T any](d *differ, kind string, old, now []*T, name func(*T) string, note func(c *DefinitionChange, old, now *T)) error {
	index := func(list []*T) map[string]*T {
		m := make(map[string]*T, len(list))
		for _, x := range list {
			m[name(x)] = x
		}
		return m
	}
	before, after := index(old), index(now)
	var names []string
	for n := range before {
		names = append(names, n)
	}
	for n := range after {
		if before[n] == nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		c := DefinitionChange{Kind: kind, Name: n}
		a, b := before[n], after[n]
		switch {
		case a == nil:
			c.Action = Add
		case b == nil:
			c.Action = Delete
		default:
			c.Action = Change
			var err error
			if c.Fields, err = fieldChanges(a, b); err != nil {
				return fmt.Errorf("compare %s %q: %w", kind, n, err)
			}
		}
		note(&c, a, b)
		// A view changes with its source or entities even where its own text does not.
		if c.Action != Change || len(c.Fields) > 0 || c.NewGeneration || len(c.Breaking) > 0 {
			d.changes = append(d.changes, c)
		}
	}
	return nil
}

func (d *differ) entity(c *DefinitionChange, old, now *registry.Entity) {
	if c.Action != Change {
		return
	}
	if !slices.Equal(old.JoinKeys, now.JoinKeys) {
		c.Breaking = append(c.Breaking, fmt.Sprintf("join keys change from %s to %s", joinKeys(old), joinKeys(now)))
	}
	c.Services = d.servicesOf(func(v *registry.View) bool { return slices.Contains(v.Entities, c.Name) })
}

func joinKeys(e *registry.Entity) string {
	parts := make([]string, len(e.JoinKeys))
	for i, k := range e.JoinKeys {
		parts[i] = k.Name + " " + k.Type.String()
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func (d *differ) source(c *DefinitionChange, _, _ *registry.Source) {
	if c.Action == Change {
		c.Services = d.servicesOf(func(v *registry.View) bool { return v.FeatureView.Source == c.Name })
	}
}

func (d *differ) view(c *DefinitionChange, _, _ *registry.FeatureView) {
	c.Services = d.servicesOf(func(v *registry.View) bool { return v.Name == c.Name })
	old, now := d.before.Views[c.Name], d.after.Views[c.Name]
	switch c.Action {
	case Add:
		c.NewGeneration = now.Online
		return
	case Delete:
		for _, name := range c.Services {
			if before := d.before.Services[name]; before != nil && reads(before, c.Name) {
				c.Breaking = append(c.Breaking, fmt.Sprintf("service %q used the view", name))
			}
		}
		return
	}
	c.NewGeneration = now.Online && (old.Digest != now.Digest || !old.Online)
	if old.Online && !now.Online {
		c.Breaking = append(c.Breaking, "it can no longer be looked up online")
	}
	for _, f := range old.Features {
		switch i := now.FeatureIndex(f.Name); {
		case i < 0:
			c.Breaking = append(c.Breaking, fmt.Sprintf("feature %q is removed", f.Name))
		case now.Features[i].Type != f.Type:
			c.Breaking = append(c.Breaking, fmt.Sprintf("feature %q changes from %s to %s", f.Name, f.Type, now.Features[i].Type))
		}
	}
	if was, is := keyNames(old), keyNames(now); was != is {
		c.Breaking = append(c.Breaking, fmt.Sprintf("join keys change from %s to %s", was, is))
	}
}

func keyNames(v *registry.View) string {
	parts := make([]string, len(v.KeyColumns))
	for i, k := range v.KeyColumns {
		parts[i] = k.Name + " " + k.Kind.String()
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func (d *differ) service(c *DefinitionChange, _, _ *registry.FeatureService) {
	c.Services = []string{c.Name}
	old, now := d.before.Services[c.Name], d.after.Services[c.Name]
	switch c.Action {
	case Add:
		return
	case Delete:
		c.Breaking = append(c.Breaking, "its callers get an error")
		return
	}
	outputs := map[string]string{}
	for _, o := range now.Outputs {
		outputs[o.Name] = outputType(now, o)
	}
	for _, o := range old.Outputs {
		switch is, was := outputs[o.Name], outputType(old, o); {
		case is == "":
			c.Breaking = append(c.Breaking, fmt.Sprintf("output %q is removed", o.Name))
		case is != was:
			c.Breaking = append(c.Breaking, fmt.Sprintf("output %q changes from %s to %s", o.Name, was, is))
		}
	}
	if was, is := requestKeys(old), requestKeys(now); was != is {
		c.Breaking = append(c.Breaking, fmt.Sprintf("request keys change from %s to %s", was, is))
	}
}

func outputType(s *registry.Service, o registry.Output) string {
	return s.Reads[o.Read].View.Features[o.Feature].Type.String()
}

// requestKeys lists what a caller must send; the order does not matter to it.
func requestKeys(s *registry.Service) string {
	parts := make([]string, len(s.RequestKeys))
	for i, k := range s.RequestKeys {
		parts[i] = k.Name + " " + k.Kind.String()
	}
	slices.Sort(parts)
	return "(" + strings.Join(parts, ", ") + ")"
}

// servicesOf returns the services, before or after, that read a view which is chosen.
func (d *differ) servicesOf(chosen func(*registry.View) bool) []string {
	var list []string
	for _, s := range []*registry.Snapshot{d.before, d.after} {
		for name, svc := range s.Services {
			if slices.ContainsFunc(svc.Reads, func(r registry.Read) bool { return chosen(r.View) }) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func reads(s *registry.Service, view string) bool {
	return slices.ContainsFunc(s.Reads, func(r registry.Read) bool { return r.View.Name == view })
}

// fieldChanges compares two definitions by their JSON: objects by key, lists of named things by name.
func fieldChanges(old, now any) ([]FieldChange, error) {
	a, err := flatten(old)
	if err != nil {
		return nil, err
	}
	b, err := flatten(now)
	if err != nil {
		return nil, err
	}
	var changes []FieldChange
	for _, path := range a.paths {
		if a.values[path] != b.values[path] {
			changes = append(changes, FieldChange{Path: path, Old: a.values[path], New: b.values[path]})
		}
	}
	for _, path := range b.paths {
		if _, ok := a.values[path]; !ok {
			changes = append(changes, FieldChange{Path: path, New: b.values[path]})
		}
	}
	for path, was := range a.orders {
		is := b.orders[path]
		old := slices.DeleteFunc(slices.Clone(was), func(n string) bool { return !slices.Contains(is, n) })
		now := slices.DeleteFunc(slices.Clone(is), func(n string) bool { return !slices.Contains(was, n) })
		if !slices.Equal(old, now) {
			changes = append(changes, FieldChange{Path: path + " order", Old: strings.Join(was, ", "), New: strings.Join(is, ", ")})
		}
	}
	slices.SortStableFunc(changes, func(x, y FieldChange) int { return strings.Compare(x.Path, y.Path) })
	return changes, nil
}

// fields is a definition as paths and printable values.
type fields struct {
	paths  []string
	values map[string]string
	orders map[string][]string // of lists of named things
}

func flatten(definition any) (*fields, error) {
	b, err := json.Marshal(definition)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber() // a default is exact
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	f := &fields{values: map[string]string{}, orders: map[string][]string{}}
	f.add("", tree)
	return f, nil
}

func (f *fields) set(path, value string) {
	f.paths = append(f.paths, path)
	f.values[path] = value
}

func (f *fields) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			f.add(strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		f.list(path, v)
	case json.Number:
		if n, err := v.Int64(); err == nil && path == "ttl" {
			f.set(path, registry.FormatDuration(time.Duration(n)))
			return
		}
		f.set(path, v.String())
	default:
		f.set(path, printed(v))
	}
}

// list adds a list: of named things by their names, of views of a service by position, of anything else as one value.
func (f *fields) list(path string, list []any) {
	var names []string
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			f.set(path, printed(list))
			return
		}
		name, ok := object["name"].(string)
		if !ok || slices.Contains(names, name) {
			f.add(path+"["+strconv.Itoa(i)+"]", object)
			continue
		}
		names = append(names, name)
		if len(object) == 1 {
			f.set(path+"."+name, name)
			continue
		}
		delete(object, "name")
		f.add(path+"."+name, object)
	}
	f.orders[path] = names
	if len(list) == 0 {
		f.set(path, "[]")
	}
}

// printed returns a value as a definition file may write it.
func printed(v any) string {
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil { // what came from JSON goes back
		return fmt.Sprint(v)
	}
	return string(b)
}
