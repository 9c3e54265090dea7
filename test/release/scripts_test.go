package release

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const changelog = `# Changelog

## Unreleased

- Not yet out.

## 1.10.0 (2027-02-01)

- Ten.

## 1.1.0 (2027-01-01)

- One
  on two lines.

- Two.

## 1.0.0-rc.1 (2026-12-01)

- First.
`

func TestNotes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "CHANGELOG.md")
	write(t, file, changelog)
	for version, want := range map[string]string{
		"1.1.0":       "- One\n  on two lines.\n\n- Two.\n",
		"v1.10.0":     "- Ten.\n",
		"v1.0.0-rc.1": "- First.\n",
		"Unreleased":  "- Not yet out.\n",
	} {
		if got := run(t, "scripts/release-notes", version, file); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", version, got, want)
		}
	}
	for _, version := range []string{"1", "1.1", "2.0.0", "1.1.0)", "(2027-01-01)", ""} {
		out, err := exec.Command(filepath.Join(root, "scripts", "release-notes"), version, file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "says nothing of") {
			t.Errorf("%q: %v\n%s", version, err, out)
		}
	}
}

// TestCheck: a tree is of a version when all that names it does.
func TestCheck(t *testing.T) {
	tree := t.TempDir()
	for _, name := range []string{"scripts/release-check", "scripts/release-notes"} {
		write(t, filepath.Join(tree, name), string(read(t, name)))
	}
	write(t, filepath.Join(tree, "CHANGELOG.md"), changelog)
	const python, chart = "sdk/python/src/provender/_version.py", "deploy/helm/provender/Chart.yaml"
	now := pythonVersion(t)
	check := func(version, is, of string) (string, error) {
		write(t, filepath.Join(tree, python), strings.Replace(string(read(t, python)), now, is, 1))
		of, app, _ := strings.Cut(of, " of ")
		versions := strings.NewReplacer("\nversion: "+now, "\nversion: "+of, `appVersion: "`+now, `appVersion: "`+cmp.Or(app, of))
		write(t, filepath.Join(tree, chart), versions.Replace(string(read(t, chart))))
		out, err := exec.Command("bash", filepath.Join(tree, "scripts", "release-check"), version).CombinedOutput()
		return string(out), err
	}
	for version, is := range map[string]string{"v1.1.0": "1.1.0", "1.10.0": "1.10.0", "v1.0.0-rc.1": "1.0.0rc1"} {
		if out, err := check(version, is, strings.TrimPrefix(version, "v")); err != nil {
			t.Errorf("%s: %v\n%s", version, err, out)
		}
	}
	for _, bad := range []struct{ version, is, of, want string }{
		{"v1.1.0", "1.10.0", "1.1.0", "_version.py is not 1.1.0"},
		{"v1.1.0", "1.1.0rc1", "1.1.0", "_version.py is not 1.1.0"},
		{"v1.1.0", "1.1.0", "1.10.0", "Chart.yaml has no line version: 1.1.0"},
		{"v1.1.0", "1.1.0", "1.1.0 of 1.10.0", `Chart.yaml has no line appVersion: "1.1.0"`},
		{"v3.0.0", "3.0.0", "3.0.0", "says nothing of 3.0.0"},
	} {
		if out, err := check(bad.version, bad.is, bad.of); err == nil || !strings.Contains(out, bad.want) {
			t.Errorf("%+v: %v\n%s", bad, err, out)
		}
	}
}

func pythonVersion(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(string(read(t, "sdk/python/src/provender/_version.py")), `__version__ = "`)
	version, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatal("the Python package has no version")
	}
	return version
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
