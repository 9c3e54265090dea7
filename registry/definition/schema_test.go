package definition

import (
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

func TestSchemaAcceptsGoodFiles(t *testing.T) {
	_, schema := resolvedSchema(t)
	n := 0
	for _, path := range []string{"testdata/good/provender.yaml", "testdata/good/features/airports.yaml", "testdata/good/features/more.yml"} {
		for i, doc := range documents(t, path) {
			n++
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%s, document %d: %v", path, i, err)
			}
		}
	}
	if n < 6 {
		t.Errorf("only %d documents", n)
	}
}

// Problems that a document shows by itself are the schema's too.
func TestSchemaRefusesBadFiles(t *testing.T) {
	_, schema := resolvedSchema(t)
	for _, code := range []string{
		codeUnknownKind, codeMissingKey, codeEmptyList, codeBadName, codeUnknownType, codeBadKeyType,
		codeBadChoice, codeBadTTL, codeBadVersion, codeBadAddress, codeBadLimit,
	} {
		docs := documents(t, filepath.Join("testdata/bad", code+".yaml"))
		if !slices.ContainsFunc(docs, func(doc any) bool { return schema.Validate(doc) != nil }) {
			t.Errorf("%s: every document is accepted", code)
		}
	}
	for _, text := range []string{
		`{"kind": "Entity", "name": "a", "join_keys": [{"name": "a", "type": "string"}], "onwer": "me"}`,
		`{"kind": "Entity", "name": "a", "join_keys": [{"name": "a", "type": "string", "tpye": "string"}]}`,
		`{"kind": "Source", "name": "a", "parquet": "x", "event_time": "t", "join_keys": []}`,
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
