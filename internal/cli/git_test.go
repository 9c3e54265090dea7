package cli

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestAgainstWithoutGit: a machine without Git is told what needs it, and applies all the same.
func TestAgainstWithoutGit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	t.Setenv("PATH", t.TempDir())
	run(t, "init", dir)
	run(t, "-C", dir, "apply", "--yes")
	var stdout, stderr bytes.Buffer
	w, _ := world(strings.NewReader(""), &stdout, &stderr)
	if code := Main([]string{"-C", dir, "plan", "--against", "git:main"}, w); code != exitFailure ||
		!strings.Contains(stderr.String(), "--against git:main needs git, which is not installed") {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
}

// TestDefinitionBlobs: of a commit's files those count that definition.Read takes of a folder.
func TestDefinitionBlobs(t *testing.T) {
	entry := func(mode, kind, size, name string) string {
		return mode + " " + kind + " 1a2b " + size + "\t" + name + "\x00"
	}
	listed := entry("100644", "blob", "7", "provender.yaml") + entry("100644", "blob", "7", ".github/ci.yaml") +
		entry("100644", "blob", "7", "a/.x.yml") + entry("100755", "blob", "7", "a/b c\n.yml") + entry("160000", "commit", "-", "sub.yaml") +
		entry("100644", "blob", "7", "README.md") + entry("120000", "blob", "7", "link.md")
	files, blobs, err := definitionBlobs("main", listed)
	if err != nil || len(files) != 1 || files[0].Name != "main:a/b c\n.yml" || !slices.Equal(blobs, []string{"1a2b"}) {
		t.Errorf("%q %q %v", files, blobs, err)
	}
	_, _, err = definitionBlobs("main", entry("100644", "blob", "268435457", "huge.yaml"))
	if err == nil || !strings.Contains(err.Error(), "main:huge.yaml: file-too-large:") {
		t.Errorf("a huge file: %v", err)
	}
}
