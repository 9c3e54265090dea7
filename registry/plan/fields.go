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
