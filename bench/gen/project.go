package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

const projectFile = `version: 1
project: bench
roots: {lake: ./data}
registry: sqlite://.provender/registry.db
online: embedded://.provender/online
`

// ttlDays are those of the views, in turn.
var ttlDays = []int{7, 1, 30}

// writeProject writes the definitions: an entity, a view per folder of data, and the service "all" of every feature.
func (p params) writeProject(out string) error {
	keyType := "int64"
	if p.Strings {
		keyType = "string"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "kind: Entity\nname: user\njoin_keys: [{name: entity_id, type: %s}]\n", keyType)
	for view := range p.Views {
		fmt.Fprintf(&b, "---\nkind: FeatureView\nname: view%d\nentities: [user]\n", view)
		fmt.Fprintf(&b, "source: {parquet: \"lake:view%d/**\", event_time: event_timestamp, created_time: created_timestamp}\n", view)
		fmt.Fprintf(&b, "ttl: %dd\nfeatures:\n", ttlDays[view%len(ttlDays)])
		for f := range p.Features {
			fmt.Fprintf(&b, "  - {name: %s, type: float64}\n", featureName(view, f))
		}
	}
	b.WriteString("---\nkind: FeatureService\nname: all\nfeatures:\n")
	for view := range p.Views {
		fmt.Fprintf(&b, "  - {view: view%d}\n", view)
	}
	if err := os.MkdirAll(filepath.Join(out, "data"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "provender.yaml"), []byte(projectFile), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "definitions.yaml"), b.Bytes(), 0o644)
}

func featureName(view, feature int) string { return fmt.Sprintf("v%d_f%d", view, feature) }
