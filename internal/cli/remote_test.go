package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// serving runs the server of a project and returns its gRPC address.
func serving(t *testing.T, dir string) string {
	t.Helper()
	stdout := watch("Serving ")
	var stderr bytes.Buffer
	w, signals := world(strings.NewReader(""), stdout, &stderr)
	exit := make(chan int, 1)
	go func() {
		exit <- Main([]string{"serve", "-C", dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}, w)
	}()
	select {
	case <-stdout.arrived:
	case code := <-exit:
		t.Fatalf("exit code %d\n%s%s", code, stdout, &stderr)
	}
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if code := <-exit; code != exitDone {
			t.Errorf("serve: exit code %d\n%s", code, &stderr)
		}
	})
	raw, err := os.ReadFile(filepath.Join(dir, ".provender", "serve.json"))
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ GRPC string }
	if err := json.Unmarshal(raw, &at); err != nil {
		t.Fatal(err)
	}
	return at.GRPC
}

// outcome is what a command line says, times and durations masked, and how it ends.
func outcome(args ...string) string {
	var stdout, stderr bytes.Buffer
	w, _ := world(strings.NewReader(""), &stdout, &stderr)
	code := Main(args, w)
	text := stdout.String()
	if code != exitDone {
		text += stderr.String()
	}
	text = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`).ReplaceAllString(text, "TIME")
	text = regexp.MustCompile(`"(lag_seconds|seconds|took_seconds)": [0-9.]+`).ReplaceAllString(text, `"$1": 0`)
	return text + "exit code " + string(rune('0'+code)) + "\n"
}

// TestServer: every command that has something to ask a server says with --server, from a folder that is no project, what
// it says in the project. The others are local: files of their own are all that they work on.
func TestServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	run(t, "init", dir)
	run(t, "-C", dir, "apply", "--yes")
	run(t, "-C", dir, "materialize")
	elsewhere := t.TempDir()
	address := serving(t, dir)

	feature, entity := "customer_orders:orders_30d", "customer_id=1"
	for _, args := range [][]string{
		{"list", "views"},
		{"list", "services", "-o", "json"},
		{"show", "view", "customer_orders"},
		{"show", "service", "nope"},
		{"history", "-o", "json"},
		{"materialize", "--dry-run", "-o", "json"},
		{"runs", "-o", "json"},
		{"runs", "show", "1", "-o", "json"},
		{"runs", "cancel", "1"},
		{"runs", "retry", "1"},
		{"health", "-o", "json"},
		{"pause"},
		{"resume"},
		{"status", "-o", "json"},
		{"verify", "--full", "-o", "json"},
		{"prune", "--dry-run", "-o", "json"},
		{"get", "--service", "churn_model_v1", "--entity", entity},
		{"get", "--features", feature, "--entity", "customer_id=", "-o", "json"},
		{"get", "--service", "churn_model_v1", "--entity", entity, "--at", "2026-01-20T00:00:00Z", "-o", "json"},
		{"get", "--features", feature, "--entity", entity, "--entity", "customer_id=", "--at", "2020-01-01", "-o", "json"},
		{"get", "--features", feature, "--at", "2026-01-20"},
		{"get", "--service", "nope", "--entity", entity, "--at", "2026-01-20"},
		{"explain", feature, "--entity", entity, "--at", "2026-01-20T00:00:00Z"},
		{"explain", feature, "--entity", entity, "--at", "2026-01-20T00:00:00Z", "-o", "json"},
		{"explain", feature, "--entity", "customer_id="},
		{"explain", "customer_orders:ordres_30d", "--entity", entity},
	} {
		here := outcome(append([]string{"-C", dir}, args...)...)
		there := outcome(append([]string{"-C", elsewhere, "--server", address}, args...)...)
		// The key that show suggests is taken from files, which a server does not send.
		here, _, _ = strings.Cut(here, "\nLook it up")
		there, _, _ = strings.Cut(there, "\nLook it up")
		if here != there {
			t.Errorf("provender %s: here\n%s\nat the server\n%s", strings.Join(args, " "), here, there)
		}
	}

	// Training sets come from the project's own files, and say so.
	spine := filepath.Join(elsewhere, "spine.csv")
	if err := os.WriteFile(spine, []byte("customer_id,at\n1,2026-01-20T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	w, _ := world(strings.NewReader(""), &stdout, &stderr)
	code := Main([]string{
		"-C", dir, "--server", "127.0.0.1:1", "export", "--features", feature, "--spine", spine, "--time", "at",
		"--out", filepath.Join(elsewhere, "training.parquet"),
	}, w)
	if code != exitDone || !strings.Contains(stderr.String(), "the server at 127.0.0.1:1 is not asked") {
		t.Errorf("export: exit code %d\n%s%s", code, &stdout, &stderr)
	}

	// What sends files takes those of the folder that it is run in.
	other := filepath.Join(elsewhere, "shop")
	run(t, "init", other)
	file := filepath.Join(other, "definitions", "customers.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("ttl: 30d"), []byte("ttl: 60d")), 0o600); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(elsewhere, "change.plan")
	there := []string{"-C", other, "--server", address}
	if got := run(t, append(there, "plan", "--out", saved)...); !strings.Contains(got, "ttl: 30d -> 60d") {
		t.Errorf("plan: %s", got)
	}
	if got := run(t, append(there, "apply", saved, "--yes")...); !strings.Contains(got, "Applied as revision 2") {
		t.Errorf("apply: %s", got)
	}
	if got := run(t, "-C", dir, "show", "view", "customer_orders"); !strings.Contains(got, "60d") {
		t.Errorf("show: %s", got)
	}
	if got := run(t, "--server", address, "get", "--service", "churn_model_v1", "--entity", entity); !strings.Contains(got, "revision 2") {
		t.Errorf("the server answers at once by what it has applied: %s", got)
	}
	if got := run(t, "-C", dir, "history"); !regexp.MustCompile(`2 .* from 127\.0\.0\.1:\d+ `).MatchString(got) {
		t.Errorf("history: %s", got)
	}
	// A folder that is no project has no definitions, which is not the same as none.
	if got := outcome("-C", filepath.Join(other, "definitions"), "--server", address, "plan"); !strings.Contains(got, "no provender.yaml") {
		t.Errorf("plan elsewhere: %s", got)
	}
}

// TestEveryCommandHasItsPlace: a new command is asked for its behaviour with --server.
func TestEveryCommandHasItsPlace(t *testing.T) {
	remote := []string{
		"apply", "explain", "get", "health", "history", "list", "materialize", "pause", "plan", "prune", "resume", "rollback", "runs", "show", "status",
		"token", "verify",
	}
	local := []string{"config", "demo", "doctor", "export", "fmt", "import", "init", "registry", "schema", "serve", "validate", "version"}
	w, _ := world(nil, &bytes.Buffer{}, &bytes.Buffer{})
	root := (&app{World: w}).root()
	reference := read(t, "cli.md")
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if slices.Contains(remote, c.Name()) == slices.Contains(local, c.Name()) {
			t.Errorf("%s: does it ask a server? Name it here, and test it above", c.Name())
		}
	}
	_, after, _ := strings.Cut(reference, "have nothing to ask a server")
	line, _, _ := strings.Cut(after, "\n\n")
	for _, name := range local {
		if !strings.Contains(line, "`"+name+"`") {
			t.Errorf("cli.md does not say that %s has nothing to ask a server", name)
		}
	}
}
