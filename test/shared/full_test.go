//go:build shared

package shared

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
)

// TestAllFlights derives the example from all three million flights, materializes it, verifies it and exports a training
// set with a row per flight, every cell of which DuckDB confirms.
func TestAllFlights(t *testing.T) {
	dir := t.TempDir()
	raw, err := filepath.Abs(filepath.Join(sharedData, "flights-3m.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	example := filepath.Join("..", "..", "examples", "flights")
	if err := os.CopyFS(filepath.Join(dir, "definitions"), os.DirFS(filepath.Join(example, "definitions"))); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(example, "provender.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "provender.yaml"), string(config))
	output(t, exec.Command("go", "run", "github.com/provender-dev/provender/examples/flights/derive",
		"-raw", raw, "-out", filepath.Join(dir, "data"), "-from", "2001-01-01", "-to", "2001-07-01", "-spine", "3000000"))

	cli := command(t, dir)
	const rehearsal = "2001-06-30T18:00:00Z"
	spine, out := filepath.Join(dir, "data", "flights.parquet"), filepath.Join(dir, "training.parquet")
	cli("apply", "--yes")
	cli("materialize", "--to", rehearsal)
	cli("verify", "--full", "--now", rehearsal)
	cli("export", "--service", "delay_model_v1", "--spine", spine, "--time", "departs", "--out", out)

	got := string(output(t, exec.Command(testenv.Python(t, "../.."), filepath.Join("..", "engines", "exact.py"), dir, spine, out)))
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		// All flights of the raw data but those on the last day, which has only begun.
		if !strings.HasSuffix(line, " 0") && line != "rows 2999994" {
			t.Errorf("cells that differ from DuckDB's: %s", line)
		}
	}
}

// command builds the binary and returns a way to run it in a project.
func command(t *testing.T, dir string) func(args ...string) []byte {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "provender")
	output(t, exec.Command("go", "build", "-o", bin, "github.com/provender-dev/provender/cmd/provender"))
	return func(args ...string) []byte {
		t.Helper()
		return output(t, exec.Command(bin, append([]string{"-C", dir}, args...)...))
	}
}
