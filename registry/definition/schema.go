package definition

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// SchemaName is the file in which projects keep the schema, beside provender.yaml and in Git, so that editors find it.
const SchemaName = "provender.schema.json"

// Schema returns the JSON Schema (draft 2020-12) of one document of a project's files, for editors: provender.yaml where
// there is no `kind`, a definition otherwise. It knows the shape of each document alone; references, and what differs
// between types, Load checks.
func Schema() []byte {
	root := &jsonschema.Schema{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		Title:  "Provender project files",
		Type:   "object",
		// A chain of conditions, unlike a choice of alternatives, makes editors complain about the kind that is meant.
		If:   &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"kind"}}},
		Then: configSchema(),
		Else: &jsonschema.Schema{
			Properties: map[string]*jsonschema.Schema{"kind": enum("What the document declares.", kinds...)},
			AllOf: []*jsonschema.Schema{
				whenKind(KindEntity, entitySchema()),
				whenKind(KindSource, sourceSchema()),
				whenKind(KindFeatureView, viewSchema()),
				whenKind(KindFeatureService, serviceSchema()),
			},
		},
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("the schema is a constant that does not marshal: %v", err))
	}
	return append(out, '\n')
}

func whenKind(kind string, then *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{
		If: &jsonschema.Schema{
			Properties: map[string]*jsonschema.Schema{"kind": enum("", kind)},
			Required:   []string{"kind"},
		},
		Then: then,
	}
}

func configSchema() *jsonschema.Schema {
	limits := map[string]*jsonschema.Schema{}
	for _, l := range limitTable {
		limits[l.name] = l.schema()
	}
	options := map[string]*jsonschema.Schema{}
	for _, o := range optionTable {
		options[o.name] = o.schema()
	}
	overrides := func() map[string]*jsonschema.Schema {
		return map[string]*jsonschema.Schema{
			"project":     text("The project's name."),
			"roots":       named("Storage roots, by the name that definitions put before a colon.", text("")),
			"registry":    urlText("URL of the registry: sqlite://…, postgres://…", registrySchemes),
			"online":      urlText("URL of the online store: embedded://…, redis://…", onlineSchemes),
			"server":      serverSchema(),
			"limits":      object("What files and requests may ask for.", limitKeys, nil, limits),
			"materialize": object("How runs go about their work, and when schedules begin them.", materializeKeys, nil, options),
			"definitions": upstreamSchema(),
		}
	}
	properties := overrides()
	properties["version"] = &jsonschema.Schema{Description: "Always 1.", Enum: []any{1}}
	properties["environments"] = named("What --env overrides.", object("", overrideKeys, nil, overrides()))
	return object("A project and where its stores are.", configKeys, []string{"version", "project"}, properties)
}

// schema returns what the limit may be written as: a number, or a text where it is a size or a variable.
func (l *limit) schema() *jsonschema.Schema {
	least, most := 1.0, float64(l.most)
	number := &jsonschema.Schema{Type: "integer", Minimum: &least, Maximum: &most}
	variable := text("")
	if l.count {
		variable.Pattern = `^([0-9]+|.*\$\{.*)$`
	}
	return either(l.description(), number, variable)
}

func entitySchema() *jsonschema.Schema {
	return object("A thing that features describe.", entityKeys, []string{"kind", "name", "join_keys"}, document(map[string]*jsonschema.Schema{
		"join_keys": list("The columns that identify an entity.", maxJoinKeys, object("", joinKeyKeys, joinKeyKeys, map[string]*jsonschema.Schema{
			"name": outputName("The join key."),
			"type": enum("Narrower integer columns are widened.", columnar.Int64.String(), columnar.String.String()),
		})),
	}))
}

func sourceSchema() *jsonschema.Schema {
	return object("Where rows come from.", sourceKeys, []string{"kind", "name", "parquet", "event_time"}, document(sourceProperties()))
}

func sourceProperties() map[string]*jsonschema.Schema {
	return map[string]*jsonschema.Schema{
		"parquet": either("Paths, folders or globs; `root:path` begins at a named root.", pathText(), list("", maxFeatures, pathText())),
		"event_time": either("The column that says when a row became true.", columnText(""),
			object("", eventTimeKeys, []string{"column"}, map[string]*jsonschema.Schema{
				"column": columnText("The column."),
				"at":     enum("The end of the day at which a DATE holds.", string(registry.AtStart), string(registry.AtEnd)),
			})),
		"created_time": columnText("The column that says when a row was written; orders corrections."),
		"timezone":     text("IANA name, for timestamps without a zone. Default: UTC."),
		"ambiguous": enum("How a local time is read that does not exist or exists twice.",
			string(registry.AmbiguousError), string(registry.AmbiguousEarliest), string(registry.AmbiguousLatest)),
		"rewrites": enum("What a changed or deleted file does to what is online.",
			string(registry.RewritesRebuild), string(registry.RewritesReplace)),
	}
}

func viewSchema() *jsonschema.Schema {
	inline := sourceProperties()
	addMeta(inline)
	value := []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}
	view := object("Features of the same entities from one source.", viewKeys, []string{"kind", "name", "entities", "source", "features"},
		document(map[string]*jsonschema.Schema{
			"entities": {Description: "The entities, [] for one row for everybody.", Type: "array", Items: name(""), MaxItems: atMost(maxJoinKeys)},
			"source": either("The name of a source, or its keys.", name(""),
				object("", inlineSourceKeys, []string{"parquet", "event_time"}, inline)),
			"keys":              bindings("Join key to column of the source, where names differ."),
			"ttl":               {Description: "How long a value holds: 90s, 15m, 6h, 30d. Leave it out for ever.", Type: "string", Pattern: `^([0-9]+(d|h|m|s|ms|us))+$`},
			"schedule":          text("Five cron fields: when to materialize."),
			"schedule_timezone": text("IANA name. Default: UTC."),
			"online":            {Description: "false: for training only. Default: true.", Type: "boolean"},
			"features": list("The features.", maxFeatures, object("", featureKeys, []string{"name", "type"}, withMeta(map[string]*jsonschema.Schema{
				"name":   outputName("The feature."),
				"was":    name("The feature's name before it was renamed."),
				"column": columnText("The column of the source; default: the name."),
				"type":   enum("The type of its values.", columnar.TypeNames()...),
				"default": {
					Description: "The value where there is none, or it has expired.",
					AnyOf:       append([]*jsonschema.Schema{{Type: "array", Items: &jsonschema.Schema{AnyOf: value}}}, value...),
				},
			}))),
		}))
	// A schedule without a store to fill, and its time zone without it, have no effect.
	view.DependentRequired = map[string][]string{"schedule_timezone": {"schedule"}}
	view.If = &jsonschema.Schema{Required: []string{"online"}, Properties: map[string]*jsonschema.Schema{"online": {Enum: []any{false}}}}
	view.Then = &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"schedule"}}}
	return view
}

func serviceSchema() *jsonschema.Schema {
	feature := object("", serviceFeatureKeys, []string{"name"}, map[string]*jsonschema.Schema{
		"name": name("The feature of the view."),
		"as":   outputName("The output's whole name."),
	})
	return object("The features that one model uses, in order.", serviceKeys, []string{"kind", "name", "features"},
		document(map[string]*jsonschema.Schema{
			"locked": {Description: "true: a model pins it, and its shape can't change. Default: false.", Type: "boolean"},
			"features": list("The views it reads.", maxFeatures, object("", serviceViewKeys, []string{"view"}, map[string]*jsonschema.Schema{
				"view":     name("The feature view."),
				"prefix":   name("Put before the names of its features."),
				"join":     bindings("Join key to spine column and request key."),
				"features": list("Which features; default: all.", maxFeatures, either("", name(""), feature)),
			})),
		}))
}

// document adds what every definition has.
func document(properties map[string]*jsonschema.Schema) map[string]*jsonschema.Schema {
	properties["kind"] = text("What the document declares.")
	properties["name"] = name("Its name, one per kind.")
	properties["was"] = name("Its name before it was renamed.")
	return withMeta(properties)
}

func withMeta(properties map[string]*jsonschema.Schema) map[string]*jsonschema.Schema {
	addMeta(properties)
	return properties
}

func addMeta(properties map[string]*jsonschema.Schema) {
	properties["description"] = text("For people.")
	properties["owner"] = text("Who to ask.")
	properties["tags"] = named("Anything else.", text(""))
}

// object returns a mapping with exactly the keys that the decoder knows.
func object(description string, keys, required []string, properties map[string]*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{
		Description: description, Type: "object", Properties: properties, PropertyOrder: keys, Required: required,
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
}

func named(description string, value *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, Type: "object", AdditionalProperties: value}
}

func text(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, Type: "string"}
}

// outputName is the name of a column in answers.
func outputName(description string) *jsonschema.Schema {
	s := name(description)
	s.Not = enum("", reserved...)
	return s
}

func columnText(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, Type: "string", Pattern: `^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$`, MaxLength: atMost(255)}
}

func pathText() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$`}
}

// bindings maps join keys to columns.
func bindings(description string) *jsonschema.Schema {
	s := named(description, columnText(""))
	s.MaxProperties = atMost(maxJoinKeys)
	return s
}

// urlText is a URL of one of the schemes; a variable may hold any part of it.
func urlText(description string, schemes []string) *jsonschema.Schema {
	s := text(description)
	s.Pattern = `^((` + strings.Join(schemes, "|") + `)://.|.*\$\{)`
	return s
}

func atMost(n int) *int { return &n }

func name(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, Type: "string", Pattern: namePattern, MaxLength: atMost(maxNameLength)}
}

func list(description string, most int, items *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, Type: "array", Items: items, MinItems: atMost(1), MaxItems: &most}
}

func either(description string, alternatives ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: description, AnyOf: alternatives}
}

func enum(description string, values ...string) *jsonschema.Schema {
	s := &jsonschema.Schema{Description: description}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}
