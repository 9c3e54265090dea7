package definition

import (
	"bytes"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// Stdin is the name of a file without one: Format tells by its first document whether it is provender.yaml.
const Stdin = "stdin"

// Format returns a definition file, or provender.yaml, in its canonical form: keys in the order of the reference, two
// spaces of indentation, quotes where they are needed, lists and mappings in braces where they fit a line. Every comment
// and every document stays, and the meaning. Formatting the result changes nothing. The error is a diag.Set where the
// file, looked at by itself, has problems.
func Format(f File) ([]byte, error) {
	var set diag.Set
	d := &decoder{file: f.Name, set: &set}
	content := bytes.TrimPrefix(f.Content, []byte("\ufeff"))
	roots, _ := d.documents(content)
	schema := definitionSchema
	if isConfig(f.Name, roots) {
		schema = func(*yaml.Node) *jsonschema.Schema { return configSchema() }
		d.project(roots, "")
	} else {
		r := &reader{positions: &Positions{at: map[[2]string]declared{}}, defs: &registry.Definitions{}}
		r.documents(d, roots)
		set = r.set
	}
	if err := told(set); err != nil {
		return nil, err
	}
	s := newSheet(content, roots)
	if at, found := s.directive(); found {
		set.Add(diag.Position{File: f.Name, Line: at.line + 1, Col: 1}, codeSyntax, "a YAML directive can't be formatted").Hint = "leave the line out"
		return nil, set.Err()
	}
	out := s.format(schema)
	if !sameMeaning(s, roots, out) {
		return nil, problem.New(problem.Internal, "%s: the formatted text would not mean the same, and was not written", f.Name)
	}
	return out, nil
}

func isConfig(name string, roots []*yaml.Node) bool {
	if name != Stdin {
		return filepath.Base(name) == ConfigName
	}
	if len(roots) == 0 || roots[0].Kind != yaml.MappingNode {
		return false
	}
	return valueOf(roots[0], "kind") == nil && valueOf(roots[0], "version") != nil
}

// valueOf returns the value of a key of a mapping, nil where it is absent.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if target(n.Content[i]).Value == key {
			return target(n.Content[i+1])
		}
	}
	return nil
}

// definitionSchema returns the schema of the kind that a document declares.
func definitionSchema(root *yaml.Node) *jsonschema.Schema {
	switch valueOf(root, "kind").Value {
	case KindEntity:
		return entitySchema()
	case KindSource:
		return sourceSchema()
	case KindFeatureView:
		return viewSchema()
	default:
		return serviceSchema()
	}
}

// below returns the schema of a key's value, or of a list's elements for the key "", as far as it tells an order of keys.
func below(s *jsonschema.Schema, key string, value *yaml.Node) *jsonschema.Schema {
	switch {
	case s == nil:
		return nil
	case key == "":
		s = s.Items
	case s.Properties[key] != nil:
		s = s.Properties[key]
	default:
		s = s.AdditionalProperties
	}
	if s == nil || s.AnyOf == nil {
		return s
	}
	want := "object"
	if value.Kind == yaml.SequenceNode {
		want = "array"
	}
	for _, one := range s.AnyOf {
		if one.Type == want {
			return one
		}
	}
	return nil
}

// sameMeaning reports whether out has the documents and the comments that s was made of.
func sameMeaning(s *sheet, roots []*yaml.Node, out []byte) bool {
	var set diag.Set
	again, whole := (&decoder{set: &set}).documents(out)
	if !whole || len(again) != len(roots) {
		return false
	}
	for i, root := range roots {
		if !sameNode(root, again[i]) {
			return false
		}
	}
	return slices.Equal(s.texts(), newSheet(out, again).texts())
}

// sameNode compares what two nodes say, in any order of keys. Both are within the limits of documents.
func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || a.ShortTag() != b.ShortTag() || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind != yaml.MappingNode {
		if a.Value != b.Value && a.ShortTag() != "!!null" {
			return false
		}
		for i := range a.Content {
			if !sameNode(a.Content[i], b.Content[i]) {
				return false
			}
		}
		return true
	}
	keys := make(map[string]int, len(b.Content)/2)
	for i := 0; i+1 < len(b.Content); i += 2 {
		keys[target(b.Content[i]).Value] = i
	}
	for i := 0; i+1 < len(a.Content); i += 2 {
		j, ok := keys[target(a.Content[i]).Value]
		if !ok || !sameNode(a.Content[i], b.Content[j]) || !sameNode(a.Content[i+1], b.Content[j+1]) {
			return false
		}
	}
	return true
}

// width is the most characters that a line gets, comments aside, where its text can be put otherwise.
const width = 120

func runes(s string) int { return utf8.RuneCountInString(s) }
