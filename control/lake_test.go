package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/registry/store"
)

// lake is a project whose roots are folders or stores.
type lake struct {
	*control.Service
	dir string // of root "lake", where that is a folder
}

// newLake makes a project with a root, "" for a folder.
func newLake(t *testing.T, root string) *lake {
	t.Helper()
	dir := t.TempDir()
	if root == "" {
		root = filepath.Join(dir, "data")
	}
	reg, err := store.Open(t.Context(), "sqlite://registry.db", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := map[string]string{"lake": root}
	return &lake{control.New(control.Config{
		Registry: reg, Project: &definition.Config{Version: 1, Project: "test", Roots: roots},
		Files: source.New(dir, roots), Now: time.Now,
	}), root}
}

// put writes rows as a file of the lake.
func put[T any](t *testing.T, w *lake, name string, rows []T, options ...pq.WriterOption) {
	t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pq.WriteFile(path, rows, options...); err != nil {
		t.Fatal(err)
	}
}

// plan plans one file of definitions. Problems are told as lines, by their positions and messages, hints left out.
func (w *lake) plan(ctx context.Context, t *testing.T, definitions string) (made *plan.Plan, warnings, problems []string) {
	t.Helper()
	made, warned, err := w.Plan(ctx, []definition.File{{Name: "f.yaml", Content: []byte(definitions)}}, 0)
	var found diag.Set
	if err != nil && !errors.As(err, &found) {
		t.Fatal(err)
	}
	return made, lines(w, warned), lines(w, found)
}

func lines(w *lake, set diag.Set) []string {
	var list []string
	for _, d := range set {
		list = append(list, strings.ReplaceAll(d.Position.String()+": "+d.Code+": "+d.Message, w.dir, "DIR"))
	}
	return list
}
