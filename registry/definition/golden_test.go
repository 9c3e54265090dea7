package definition

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/diag"
)

var update = flag.Bool("update", false, "rewrite the golden files, docs/reference/errors.md and configuration.md")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, -want +got; go test -update accepts it:\n%s", path, diff)
	}
}

// TestBadFiles loads a project with one bad file per code. Comments at the top of the file say what the project is: its
// name ("file"), the environment ("env"), or that it is a link or a file of some size, which Git cannot hold.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	untested := map[string]bool{}
	for _, c := range Codes {
		untested[c.Name] = true
	}
	for _, file := range files {
		code := strings.TrimSuffix(filepath.Base(file), ".yaml")
		delete(untested, code)
		t.Run(code, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			says := directives(content)
			dir := filepath.Join(t.TempDir(), "the-project")
			put(t, filepath.Join(dir, ConfigName), []byte("version: 1\nproject: flights\nroots: {lake: ./data}\n"))
			path := filepath.Join(dir, "bad.yaml")
			if says["file"] != "" {
				path = filepath.Join(dir, says["file"])
			}
			switch size, _ := strconv.Atoi(says["pad"]); {
			case says["link"] != "":
				err = os.Symlink(says["link"], path)
			case size > 0:
				put(t, path, bytes.Repeat([]byte("#"), size))
			default:
				put(t, path, content)
			}
			if err != nil {
				t.Fatal(err)
			}
			outside := Outside{Env: says["env"], Environ: []string{"SET=hunter2"}}
			_, err = LoadProject(dir, outside)
			var set diag.Set
			if !errors.As(err, &set) {
				t.Fatalf("got %v", err)
			}
			if !slices.ContainsFunc(set, func(d diag.Diagnostic) bool { return d.Code == code }) {
				t.Errorf("no %s among:\n%v", code, set)
			}
			var out bytes.Buffer
			if err := diag.Render(&out, set, os.ReadFile); err != nil {
				t.Fatal(err)
			}
			text := within(dir, out.String())
			if strings.Contains(text, "hunter2") {
				t.Errorf("a password is shown:\n%s", text)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", []byte(text))

			// The same problems from any working folder, less what leads to the project.
			for from, name := range map[string]string{dir: ".", filepath.Dir(dir): filepath.Base(dir)} {
				t.Chdir(from)
				_, err = LoadProject(name, outside)
				var again diag.Set
				errors.As(err, &again)
				if diff := cmp.Diff(within(dir, set.Error()), within(name, again.Error())); diff != "" {
					t.Errorf("other problems from %s: %s", from, diff)
				}
			}
		})
	}
	for _, code := range slices.Sorted(maps.Keys(untested)) {
		t.Errorf("testdata/bad/%s.yaml is missing", code)
	}
}

// within takes the path of the project out of positions and messages.
func within(dir, text string) string {
	if dir == "." {
		return strings.ReplaceAll(text, " in .", " in PROJECT")
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, dir+string(filepath.Separator), ""), dir, "PROJECT")
}

func directives(content []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(content)) {
		key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": ")
		if !ok || !strings.HasPrefix(line, "# ") {
			break
		}
		out[key] = value
	}
	return out
}

func put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestErrorReference(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# Problems in definition files

Each problem of a project's files is printed as ` + "`file:line:col: code: message`" + `, all of them in one pass, and the command
ends with exit code 3. Columns count characters. Codes are stable; scripts may rely on them. A reference to something that
is not declared is reported only where every file could be read.

This page is made from the table in ` + "`registry/definition/codes.go`" + ` by ` + "`go test ./registry/definition -update`" + `.

| code | meaning |
|---|---|
`)
	seen := map[string]bool{}
	table := func(codes []Code) {
		for _, c := range codes {
			if seen[c.Name] {
				t.Errorf("code %s is in a table twice", c.Name)
			}
			seen[c.Name] = true
			fmt.Fprintf(&doc, "| `%s` | %s |\n", c.Name, c.Meaning)
		}
	}
	table(Codes)
	doc.WriteString(`
## Found in the files of sources

` + "`provender plan` and `provender apply`" + ` look into one file per source, the last by name.

| code | meaning |
|---|---|
`)
	table(FileCodes)
	golden(t, "../../docs/reference/errors.md", []byte(doc.String()))
}
