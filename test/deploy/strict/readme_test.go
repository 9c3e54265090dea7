package strict

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestReadme: the table of values in the chart's README is what values.yaml says of each, and none lacks its line.
func TestReadme(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	table := &strings.Builder{}
	table.WriteString("| value | default | |\n|---|---|---|\n")
	describe(t, table, "", doc.Content[0])
	const begin, end = "<!-- values -->\n", "<!-- end of values -->\n"
	path := filepath.Join(chartDir, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(readme), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(readme) != want {
		t.Errorf("%s does not have what values.yaml says: run make generate", path)
	}
}

// describe writes a line for each value that has a text, and looks into those that have none.
func describe(t *testing.T, table *strings.Builder, prefix string, node *yaml.Node) {
	t.Helper()
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := prefix + key.Value
		_, text, described := strings.Cut(key.HeadComment, "# -- ")
		switch {
		case described:
			var plain any
			if err := value.Decode(&plain); err != nil {
				t.Fatal(err)
			}
			shown, err := json.Marshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			table.WriteString("| `" + name + "` | `" + string(shown) + "` | " + strings.ReplaceAll(text, "\n# ", " ") + " |\n")
		case value.Kind == yaml.MappingNode && len(value.Content) > 0:
			describe(t, table, name+".", value)
		default:
			t.Errorf("values.yaml says nothing of %s", name)
		}
	}
}
