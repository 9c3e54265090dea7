// Package versions lets the version before, this one and one of tomorrow work beside each other and after each other, on
// one registry and one store, as they do while servers are upgraded one by one, and while that is taken back.
package versions

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/provender-dev/provender/test/project"
)

func TestMain(m *testing.M) { project.Main(m) }

// before is the commit of the version before.
//
//go:embed before
var before string

// root is the repository's folder.
const root = "../.."

// output runs a command in the repository and returns what it printed on stdout.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

var building sync.Mutex

// old is the program of the version before. It is built once, in .cache/versions.
func old(t *testing.T) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	commit := strings.TrimSpace(before)
	cache, err := filepath.Abs(filepath.Join(root, ".cache", "versions", commit))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(cache, "provender")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if err := exec.CommandContext(t.Context(), "git", "-C", root, "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		t.Fatalf("commit %s, the version before, is not in this clone (%v): fetch it with git fetch --unshallow, or git fetch origin %[1]s", commit, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	archive := filepath.Join(source, "source.tar")
	output(t, "git", "archive", "--output", archive, commit)
	output(t, "tar", "-xf", archive, "-C", source)
	unfinished := filepath.Join(t.TempDir(), "provender")
	output(t, "go", "build", "-C", source, "-o", unfinished, "./cmd/provender")
	built, err := os.ReadFile(unfinished)
	if err != nil {
		t.Fatal(err)
	}
	// Under its name when it is whole: others may build it as well.
	whole, err := os.CreateTemp(cache, "new")
	if err != nil {
		t.Fatal(err)
	}
	_, err = whole.Write(built)
	for _, err := range []error{err, whole.Chmod(0o755), whole.Close(), os.Rename(whole.Name(), program)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return program
}

// tomorrow is the program of a version that has brought the schema of the registry one step further; those that know
// schema version least can live with that. It is this version but for what is laid over its source.
func tomorrow(t *testing.T, least string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	lay := func(path, text string) {
		t.Helper()
		at, err := filepath.Abs(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[at] = filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(overlay.Replace[at], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const migration = "-- +goose Up\nALTER TABLE revision ADD COLUMN tomorrow TEXT;\n"
	for _, kind := range []string{"sqlite", "postgres"} {
		lay("registry/store/migrations/"+kind+"/00099_tomorrow.sql", migration)
	}
	lay("materialize/state/migrations/00099_tomorrow.sql", "-- +goose Up\nCREATE TABLE tomorrow (n BIGINT);\n"+
		"ALTER TABLE run ADD COLUMN tomorrow BIGINT NOT NULL DEFAULT 7;\n")
	source, err := os.ReadFile(filepath.Join(root, "registry/store/store.go"))
	if err != nil {
		t.Fatal(err)
	}
	const said = "Migrations: migrations, Least: "
	head, tail, found := strings.Cut(string(source), said)
	_, tail, closed := strings.Cut(tail, "}")
	if !found || !closed {
		t.Fatalf("registry/store/store.go has no %q", said)
	}
	lay("registry/store/store.go", head+said+least+"}"+tail)
	plan, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), plan, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "provender")
	output(t, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/provender")
	return program
}
