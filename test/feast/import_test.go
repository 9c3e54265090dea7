package feast

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	registry "github.com/provender-dev/provender/registry/feast"
)

// TestImport goes the way of a team that leaves Feast: a repository of real Feast is imported, applied, materialized, exported
// and served; then the training sets are Feast's own cell by cell, and Feast's SDK reads from the server with the registry
// that it had.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	repo, project := filepath.Join(dir, "repo"), filepath.Join(dir, "rides")
	feast := func(args ...string) []byte {
		cmd := exec.Command(python(t), append([]string{"-W", "ignore", "repo.py"}, args...)...)
		cmd.Env = append(os.Environ(), "FEAST_USAGE=False", "HOME="+dir, "RIDES_REGISTRY=data/registry.db")
		return run(t, cmd)
	}
	feast("apply", repo)
	truncated(t, filepath.Join(repo, "data", "registry.db"))

	imported := provender(t.Context(), dir, "import", "feast", repo, "--out", project, "-o", "json")
	imported.Env = append(imported.Env, "RIDES_REGISTRY=data/registry.db")
	var report struct {
		Skipped []struct{ Kind, Name string }
	}
	if err := json.Unmarshal(run(t, imported), &report); err != nil {
		t.Fatal(err)
	}
	var skipped []string
	for _, n := range report.Skipped {
		skipped = append(skipped, n.Kind+" "+n.Name)
	}
	const want = `entity weight, data source added, data source pushed, feature odd:extra, feature view weights, ` +
		`feature of a service only_demand: transformed:conv_rate_plus, feature service only_demand, ` +
		`feature of a service with_demand: transformed:conv_rate_plus, on-demand feature view transformed`
	if got := strings.Join(skipped, ", "); got != want {
		t.Errorf("skipped %s\nwant %s", got, want)
	}
	run(t, provender(t.Context(), project, "validate"))
	// Its lake is a bucket that nobody serves.
	if err := os.Remove(filepath.Join(project, "definitions", "views", "odd.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan"}, {"apply", "--yes"}, {"materialize", "--to", now}} {
		run(t, provender(t.Context(), project, args...))
	}
	if err := os.Mkdir(filepath.Join(repo, "exports"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"driver_activity", "some", "trip-model", "customers"} {
		run(t, provender(t.Context(), project, "export", "--service", strings.ReplaceAll(service, "-", "_"),
			"--spine", filepath.Join(repo, service+".parquet"), "--time", "event_timestamp", "--out", filepath.Join(repo, "exports", service+".parquet")))
	}
	web, _ := serve(t, project)
	var compared struct {
		History, Dropped, Corrected, Online int
		Differ                              []string
	}
	if err := json.Unmarshal(feast("compare", repo, "http://"+web), &compared); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cells of history; Feast drops %d rows, and in %d cells has a value that was corrected; %d cells online",
		compared.History, compared.Dropped, compared.Corrected, compared.Online)
	if compared.History < 500 || compared.Online < 80 {
		t.Error("too few cells were compared")
	}
	for _, d := range compared.Differ {
		t.Error(d)
	}
}

// truncated: of a registry that Feast wrote, cut short anywhere, what it tells about features is whole or an error.
func truncated(t *testing.T, path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := convert(t, path)
	if whole == "" {
		t.Fatal("the registry is not read")
	}
	cut := filepath.Join(t.TempDir(), "cut.db")
	for n := range raw {
		if err := os.WriteFile(cut, raw[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if got := convert(t, cut); got != "" && got != whole {
			t.Errorf("%d of %d bytes are taken for a registry with other definitions", n, len(raw))
		}
	}
}

// convert returns the digest of what a registry becomes, "" where it is none.
func convert(t *testing.T, path string) string {
	t.Helper()
	r, err := registry.Open(path, "", func(string) string { return "" })
	if err != nil {
		return ""
	}
	r.Dir = "/srv/rides"
	imported, err := r.Convert("/srv/out", nil)
	if err != nil {
		t.Fatal(err)
	}
	return imported.Definitions.Digest()
}
