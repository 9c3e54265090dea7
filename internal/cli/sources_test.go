package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/registry/definition"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// One bad view per code of what planning finds in the files of sources.
func TestFileCodes(t *testing.T) {
	for _, c := range definition.FileCodes {
		t.Run(c.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shop")
			run(t, "init", dir)
			bad, err := os.ReadFile(filepath.Join("testdata", "plan", c.Name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "definitions")); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "bad.yaml"), bad)
			put(t, filepath.Join(dir, "data", "text", "part-0.parquet"), []byte("customer_id,orders_30d\n"))

			var out bytes.Buffer
			w, _ := world(strings.NewReader(""), &out, &out)
			if code := Main([]string{"plan", "-C", dir}, w); (code == exitProblems) != (c.Name != definition.CodeNoData) {
				t.Errorf("exit code %d", code)
			}
			text := strings.ReplaceAll(out.String(), dir+string(filepath.Separator), "")
			if !strings.Contains(text, " "+c.Name+": ") {
				t.Errorf("no %s in\n%s", c.Name, text)
			}
			golden := filepath.Join("testdata", "plan", c.Name+".golden")
			if *update {
				put(t, golden, []byte(text))
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("%s, -want +got; go test -update accepts it:\n%s", golden, diff)
			}
		})
	}
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
