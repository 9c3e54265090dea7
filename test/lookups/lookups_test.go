// Package lookups runs what `provender show` gives to copy against a server: shell commands, and programs in Python and Go.
package lookups

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/provender-dev/provender/internal/cli"
	"github.com/provender-dev/provender/internal/testenv"
)

// TestMain makes the test's program be provender where it is called so, as it is in the PATH of the tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"provender": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

var root = filepath.Join("..", "..")

func TestLookups(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	// grpcurl, at the version of tools/go.mod.
	build := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", filepath.Join(bin, "grpcurl"), "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir = root
	run(t, build)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))

	run(t, command(dir, "provender", "init", "."))
	grpc, web := testenv.FreeAddress(t), testenv.FreeAddress(t)
	config := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("127.0.0.1:6565", grpc, "127.0.0.1:6566", web).Replace(string(raw))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, command(dir, "provender", "apply", "--yes"))
	run(t, command(dir, "provender", "materialize"))
	serve(t, dir)

	for _, args := range [][]string{{"service", "churn_model_v1"}, {"view", "customer_orders"}} {
		t.Run(args[0], func(t *testing.T) {
			var shown struct {
				Lookups struct {
					RealKey                        bool `json:"real_key"`
					Get, Curl, Grpcurl, Python, Go string
				}
			}
			if err := json.Unmarshal(run(t, command(dir, "provender", "show", args[0], args[1], "-o", "json")), &shown); err != nil {
				t.Fatal(err)
			}
			l := shown.Lookups
			if !l.RealKey {
				t.Error("no real key")
			}
			table := run(t, command(dir, "provender", "show", args[0], args[1]))
			for _, c := range []string{l.Get, l.Curl, l.Grpcurl} {
				if !bytes.Contains(table, []byte("\n    "+c+"\n")) {
					t.Errorf("show does not have %s:\n%s", c, table)
				}
			}
			for name, got := range map[string][]byte{
				"get": run(t, command(dir, "sh", "-c", l.Get)), "curl": run(t, command(dir, "sh", "-c", l.Curl)),
				"python": run(t, command(dir, testenv.Python(t, abs(t, root)), "-c", l.Python)), "go": goProgram(t, l.Go),
			} {
				if !bytes.Contains(got, []byte("orders_30d")) || !bytes.Contains(got, []byte("PRESENT")) || bytes.Contains(got, []byte("NOT_FOUND")) {
					t.Errorf("%s answers %s", name, got)
				}
			}
			// A status is a byte, 1 for PRESENT; in JSON base64.
			if got := run(t, command(dir, "sh", "-c", l.Grpcurl)); !bytes.Contains(got, []byte(`"orders_30d"`)) || !bytes.Contains(got, []byte(`"AQ=="`)) {
				t.Errorf("grpcurl answers %s", got)
			}
		})
	}
}

// goProgram runs a program with this module's packages.
func goProgram(t *testing.T, text string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run(t, exec.Command("gofmt", "-l", path)); len(out) > 0 {
		t.Errorf("gofmt would write it otherwise:\n%s", text)
	}
	program := exec.Command("go", "run", path)
	program.Dir = root
	return run(t, program)
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROVENDER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// run returns what a command that succeeds prints on stdout.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &stderr)
	}
	return out
}

// serve starts a server that ends with the test, and waits until it listens.
func serve(t *testing.T, dir string) {
	t.Helper()
	cmd := command(dir, "provender", "serve", "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("provender serve: %v\n%s", err, &stderr)
		}
	})
	var at struct{ GRPC string }
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&at); err != nil {
		t.Fatalf("provender serve: %v\n%s", err, &stderr)
	}
}
