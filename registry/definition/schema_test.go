package definition

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

func resolvedSchema(t *testing.T) (*jsonschema.Schema, *jsonschema.Resolved) {
	t.Helper()
	schema := new(jsonschema.Schema)
	if err := json.Unmarshal(Schema(), schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema, resolved
}

// documents returns a file's documents, empty ones left out, as JSON decodes them.
func documents(t *testing.T, path string) []any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content = bytes.ReplaceAll(content, []byte("{{project}}"), []byte("shop"))
	var docs []any
	if err := yaml.Load(content, &docs, yaml.WithAllDocuments()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	docs = slices.DeleteFunc(docs, func(doc any) bool { return doc == nil })
	for i := range docs {
		b, err := json.Marshal(finite(docs[i]))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	return docs
}

// finite replaces the numbers that YAML has and JSON has not.
func finite(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = finite(v[k])
		}
	case []any:
		for i := range v {
			v[i] = finite(v[i])
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0
		}
	}
	return v
}

// Every file that is accepted, the schema accepts.
func TestSchemaAcceptsGoodFiles(t *testing.T) {
	_, schema := resolvedSchema(t)
	n := 0
	for _, pattern := range []string{
		"testdata/good/*.yaml", "testdata/good/features/*", "testdata/format/*",
		"../../examples/*/*.yaml", "../../examples/*/*/*.yaml", "../../examples/*/*/*/*.yaml",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			for i, doc := range documents(t, path) {
				n++
				if err := schema.Validate(doc); err != nil {
					t.Errorf("%s, document %d: %v", path, i, err)
				}
			}
		}
	}
	if n < 25 {
		t.Errorf("only %d documents", n)
	}
}

// beyondSchema are the problems that no schema knows, and why.
var beyondSchema = map[string]string{
	codeUnreadableFile: "files", codeFileTooLarge: "files", codeNestedProject: "files", codeNotUTF8: "no text", codeSyntax: "no YAML",
	codeDuplicateKey: "no YAML for others", codeDocumentTooLarge: "recursive", codeWrongType: "has a list for a key; others of its kind are below",
	codeBadSchedule: "cron", codeBadTimezone: "a database", codeBadVariable: "the environment", codeUnsetVariable: "the environment",
	codeUnknownEnvironment: "the command line", codeDuplicateName: "between places", codeBadWas: "between places", codeDuplicateWas: "between places",
	codeUnknownEntity: "between definitions", codeUnknownSource: "between definitions", codeUnknownView: "between definitions",
	codeUnknownFeature: "between definitions", codeUnknownJoinKey: "between definitions", codeDuplicateJoinKey: "between definitions",
	codeDuplicateOutput: "between definitions", codeOutputIsKey: "between definitions", codeKeyTypeConflict: "between definitions",
	codeUnknownRoot: "between definitions",
}

// Problems that a document shows by itself are the schema's too.
func TestSchemaRefusesBadFiles(t *testing.T) {
	_, schema := resolvedSchema(t)
	for _, code := range Codes {
		if beyondSchema[code.Name] != "" {
			continue
		}
		docs := documents(t, filepath.Join("testdata/bad", code.Name+".yaml"))
		if !slices.ContainsFunc(docs, func(doc any) bool { return schema.Validate(doc) != nil }) {
			t.Errorf("%s: every document is accepted", code.Name)
		}
	}
	for _, text := range []string{
		`{"kind": "Entity", "name": "a", "join_keys": [{"name": "a", "type": "string"}], "onwer": "me"}`,
		`{"kind": "Entity", "name": "a", "join_keys": [{"name": "a", "type": "string", "tpye": "string"}]}`,
		`{"kind": "Source", "name": "a", "parquet": "x", "event_time": "t", "join_keys": []}`,
		`{"kind": "Entity", "name": 1, "join_keys": [{"name": "a", "type": "string"}]}`,
		`{"kind": "Entity", "name": "a", "join_keys": {"name": "a", "type": "string"}}`,
		`{"kind": "FeatureService", "name": "a", "locked": "yes", "features": [{"view": "v"}]}`,
		`{"version": 1, "project": "p", "regstry": "sqlite://x"}`,
		`{"version": 1, "project": "p", "environments": {"prod": {"version": 1}}}`,
	} {
		var doc any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if schema.Validate(doc) == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}

// Editors and the decoder know the same keys.
func TestSchemaKeys(t *testing.T) {
	schema, _ := resolvedSchema(t)
	same := func(what string, s *jsonschema.Schema, keys []string) {
		var have []string
		for key := range s.Properties {
			have = append(have, key)
		}
		slices.Sort(have)
		want := slices.Sorted(slices.Values(keys))
		if !slices.Equal(have, want) {
			t.Errorf("%s: schema has %v, decoder %v", what, have, want)
		}
	}
	same("config", schema.Then, configKeys)
	same("server", schema.Then.Properties["server"], serverKeys)
	same("server.tls", schema.Then.Properties["server"].Properties["tls"], tlsKeys)
	same("limits", schema.Then.Properties["limits"], limitKeys)
	same("materialize", schema.Then.Properties["materialize"], materializeKeys)
	same("definitions", schema.Then.Properties["definitions"], upstreamKeys)
	same("environment", schema.Then.Properties["environments"].AdditionalProperties, overrideKeys)
	byKind := map[string]*jsonschema.Schema{}
	for _, one := range schema.Else.AllOf {
		byKind[one.If.Properties["kind"].Enum[0].(string)] = one.Then
	}
	same("entity", byKind[KindEntity], entityKeys)
	same("join key", byKind[KindEntity].Properties["join_keys"].Items, joinKeyKeys)
	same("source", byKind[KindSource], sourceKeys)
	same("event time", byKind[KindSource].Properties["event_time"].AnyOf[1], eventTimeKeys)
	view := byKind[KindFeatureView]
	same("view", view, viewKeys)
	same("inline source", view.Properties["source"].AnyOf[1], inlineSourceKeys)
	same("feature", view.Properties["features"].Items, featureKeys)
	service := byKind[KindFeatureService]
	same("service", service, serviceKeys)
	part := service.Properties["features"].Items
	same("view of a service", part, serviceViewKeys)
	same("feature of a service", part.Properties["features"].Items.AnyOf[1], serviceFeatureKeys)
}

// The example has the schema that its files name.
func TestSchemaOfTheExample(t *testing.T) {
	golden(t, "../../examples/flights/"+SchemaName, Schema())
}
