// Package engines compares Provender's answers with those of DuckDB, on the example that ships.
package engines

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// TestFlights exports the example's training set and has DuckDB compute the same one.
func TestFlights(t *testing.T) {
	ctx := context.Background()
	p, err := flights.Unpack(t.TempDir(), flights.End)
	if err != nil {
		t.Fatal(err)
	}
	defs, _, err := definition.Load(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := registry.Compile(1, defs)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := snapshot.FeatureService(p.Service)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "training.parquet")
	report, err := offline.Export(ctx, offline.ExportRequest{
		Service: svc, Snapshot: snapshot, Source: source.New(p.Dir, map[string]string{"lake": "data"}),
		Spine: p.Spine, SpineOptions: offline.SpineOptions{Time: p.Time}, Out: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows < 20_000 {
		t.Fatalf("%d rows", report.Rows)
	}
	got, err := exec.CommandContext(ctx, testenv.Python(t, "../.."), "exact.py", p.Dir, p.Spine, out).CombinedOutput()
	if err != nil {
		t.Fatalf("exact.py: %v\n%s", err, got)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 16 || lines[15] != fmt.Sprint("rows ", report.Rows) {
		t.Fatalf("DuckDB compared:\n%s", got)
	}
	for _, line := range lines[:15] {
		if !strings.HasSuffix(line, " 0") {
			t.Errorf("cells that differ from DuckDB's: %s", line)
		}
	}
}
