package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What pre-commit runs are commands that there are.
func TestPreCommitHooks(t *testing.T) {
	hooks, err := os.ReadFile(filepath.Join("..", "..", ".pre-commit-hooks.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop")
	run(t, "init", dir)
	entries := regexp.MustCompile(`(?m)^  entry: provender (.+)$`).FindAllStringSubmatch(string(hooks), -1)
	if len(entries) != 2 {
		t.Fatalf("%d hooks", len(entries))
	}
	for _, entry := range entries {
		run(t, append(strings.Fields(entry[1]), "-C", dir)...)
	}
}
