package feast

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// lineWidth is the longest line that a mapping or list is written in.
const lineWidth = 120

// Files returns the definition files, under their names in the project: entities together, every view with the source
// that it alone reads, sources that views share, every service.
func (i *Import) Files() []definition.File {
	users := map[string]int{}
	for _, v := range i.Definitions.Views {
		users[v.Source]++
	}
	sources := map[string]*registry.Source{}
	var entities, shared writer
	for _, e := range i.Definitions.Entities {
		entities.entity(e)
	}
	for _, s := range i.Definitions.Sources {
		if sources[s.Name] = s; users[s.Name] != 1 {
			shared.source(s)
		}
	}
	files := []definition.File{{Name: "entities.yaml", Content: entities.Bytes()}, {Name: "sources.yaml", Content: shared.Bytes()}}
	for _, v := range i.Definitions.Views {
		var w writer
		if users[v.Source] == 1 {
			w.source(sources[v.Source])
		}
		w.view(v)
		files = append(files, definition.File{Name: "views/" + v.Name + ".yaml", Content: w.Bytes()})
	}
	for _, s := range i.Definitions.Services {
		var w writer
		w.service(s)
		files = append(files, definition.File{Name: "services/" + s.Name + ".yaml", Content: w.Bytes()})
	}
	return slices.DeleteFunc(files, func(f definition.File) bool { return len(f.Content) == 0 })
}

// Config returns the provender.yaml of a new project.
func (i *Import) Config() []byte {
	var w writer
	w.line("version: 1")
	w.line("project: " + scalar(i.Project))
	if len(i.Roots) > 0 {
		w.line("roots: " + flow(i.Roots))
	}
	w.line("registry: sqlite://.provender/registry.db")
	w.line("online: embedded://.provender/online")
	w.line("server: {grpc: 127.0.0.1:6565, http: 127.0.0.1:6566}")
	return w.Bytes()
}

// RootsLine is the line of provender.yaml that has some roots.
func RootsLine(roots map[string]string) string { return "roots: " + flow(roots) }

// writer writes documents with the keys in the order of docs/reference/definitions.md.
type writer struct{ bytes.Buffer }

func (w *writer) line(s string) { w.WriteString(s + "\n") }

func (w *writer) document(kind, name string, m registry.Meta) {
	if w.Len() > 0 {
		w.line("---")
	}
	w.line("kind: " + kind)
	w.line("name: " + scalar(name))
	w.pair("description", m.Description)
	w.pair("owner", m.Owner)
	if len(m.Tags) > 0 {
		w.mapping("tags", m.Tags)
	}
}

// pair writes a key that has a value.
func (w *writer) pair(key, value string) {
	if value != "" {
		w.line(key + ": " + scalar(value))
	}
}

// mapping writes a mapping in one line where it fits.
func (w *writer) mapping(key string, m map[string]string) {
	if line := key + ": " + flow(m); len(line) <= lineWidth {
		w.line(line)
		return
	}
	w.line(key + ":")
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.line("  " + scalar(k) + ": " + scalar(m[k]))
	}
}

func (w *writer) entity(e *registry.Entity) {
	w.document(definition.KindEntity, e.Name, e.Meta)
	keys := make([]string, len(e.JoinKeys))
	for i, k := range e.JoinKeys {
		keys[i] = fmt.Sprintf("{name: %s, type: %s}", scalar(k.Name), k.Type)
	}
	w.line("join_keys: [" + strings.Join(keys, ", ") + "]")
}

func (w *writer) source(s *registry.Source) {
	w.document(definition.KindSource, s.Name, s.Meta)
	w.pair("parquet", s.Parquet[0])
	w.pair("event_time", s.EventTime.Column)
	w.pair("created_time", s.CreatedTime)
}

func (w *writer) view(v *registry.FeatureView) {
	w.document(definition.KindFeatureView, v.Name, v.Meta)
	w.line("entities: [" + strings.Join(scalars(v.Entities), ", ") + "]")
	w.pair("source", v.Source)
	if len(v.Keys) > 0 {
		w.mapping("keys", v.Keys)
	}
	if v.TTL != 0 {
		w.line("ttl: " + registry.FormatDuration(v.TTL))
	}
	if !v.Online {
		w.line("online: false")
	}
	w.line("features:")
	for _, f := range v.Features {
		pairs := []string{"name: " + scalar(f.Name)}
		add := func(key, value string) {
			if value != "" {
				pairs = append(pairs, key+": "+scalar(value))
			}
		}
		add("column", f.Column)
		pairs = append(pairs, "type: "+f.Type.String())
		add("description", f.Description)
		if len(f.Tags) > 0 {
			pairs = append(pairs, "tags: "+flow(f.Tags))
		}
		w.element("  ", pairs)
	}
}

// element writes an element of a list that is a mapping.
func (w *writer) element(indent string, pairs []string) {
	if line := indent + "- {" + strings.Join(pairs, ", ") + "}"; len(line) <= lineWidth {
		w.line(line)
		return
	}
	w.line(indent + "- " + strings.Join(pairs, "\n"+indent+"  "))
}

func (w *writer) service(s *registry.FeatureService) {
	w.document(definition.KindFeatureService, s.Name, s.Meta)
	w.line("features:")
	for _, part := range s.Features {
		w.line("  - view: " + scalar(part.View))
		if part.Prefix != "" {
			w.line("    prefix: " + scalar(part.Prefix))
		}
		if len(part.Join) > 0 {
			w.line("    join: " + flow(part.Join))
		}
		if len(part.Features) == 0 {
			continue
		}
		features := make([]string, len(part.Features))
		for i, f := range part.Features {
			if features[i] = scalar(f.Name); f.As != "" {
				features[i] = "{name: " + features[i] + ", as: " + scalar(f.As) + "}"
			}
		}
		if line := "    features: [" + strings.Join(features, ", ") + "]"; len(line) <= lineWidth {
			w.line(line)
			continue
		}
		w.line("    features:")
		for _, f := range features {
			w.line("      - " + f)
		}
	}
}

// flow writes a mapping in one line, sorted by key.
func flow(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, scalar(k)+": "+scalar(m[k]))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

func scalars(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = scalar(s)
	}
	return out
}

var (
	// plainText needs no quotes anywhere in YAML, unless it is one of words.
	plainText = regexp.MustCompile(`^(\pL|\.{0,2}/)([\pL\pN_./@()%+;= -]*[\pL\pN_./@()%+;=-])?$`)
	words     = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
)

// scalar writes a text, with quotes where YAML would read something else.
func scalar(s string) string {
	if plainText.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	return definition.Quote(s)
}
