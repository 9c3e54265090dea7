package lookups

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Project is a Provender Project over the data.
type Project struct {
	Online string // URL of the store
	Extra  int    // further views of the same data, which stay empty
	// Roots are further ones, Config further lines of provender.yaml, Definitions further ones.
	Roots               map[string]string
	Config, Definitions string
}

// Write makes the Project's folder; data is the folder of the files.
func (p Project) Write(dir, data string) error {
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var config bytes.Buffer
	fmt.Fprintf(&config, "version: 1\nproject: bench\nonline: %q\n%sroots:\n  lake: %q\n", p.Online, p.Config, data)
	for name, folder := range p.Roots {
		fmt.Fprintf(&config, "  %s: %q\n", name, folder)
	}
	if err := os.WriteFile(filepath.Join(dir, "provender.yaml"), config.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "definitions.yaml"), p.definitions(), 0o644)
}

// definitions are an entity, the views, and a service for each width of workload.
func (p Project) definitions() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "kind: Entity\nname: entity\njoin_keys: [{name: %s, type: int64}]\n", JoinKey)
	view := func(name string, source int) {
		fmt.Fprintf(&b, "---\nkind: FeatureView\nname: %s\nentities: [entity]\n", name)
		fmt.Fprintf(&b, "source: {parquet: \"lake:%s/**\", event_time: event_timestamp}\nfeatures:\n", ViewName(source))
		for i := range PerType {
			fmt.Fprintf(&b, "  - {name: %s, type: float64}\n", FloatName(source, i))
		}
		for i := range PerType {
			fmt.Fprintf(&b, "  - {name: %s, type: int64}\n", IntName(source, i))
		}
	}
	for v := range ViewCount {
		view(ViewName(v), v)
	}
	for i := range p.Extra {
		view(fmt.Sprintf("extra%d", i), i%ViewCount)
	}
	for _, views := range []int{1, ViewCount} {
		fmt.Fprintf(&b, "---\nkind: FeatureService\nname: %s\nfeatures:\n", ServiceName(views))
		for v := range views {
			fmt.Fprintf(&b, "  - {view: %s}\n", ViewName(v))
		}
	}
	b.WriteString(p.Definitions)
	return b.Bytes()
}

// ServiceName names the service of all features of the first views.
func ServiceName(views int) string { return fmt.Sprintf("w%d", views) }
