package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answering is a person who says yes, after something happened meanwhile.
type answering struct {
	meanwhile func()
	io.Reader
}

func (a *answering) Read(p []byte) (int, error) {
	if a.meanwhile != nil {
		a.meanwhile()
		a.meanwhile = nil
	}
	return a.Reader.Read(p)
}

// TestApplyWhatWasShown: a registry that moves while apply asks refuses the plan that was shown.
func TestApplyWhatWasShown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	run(t, "init", dir)
	run(t, "-C", dir, "apply", "--yes")
	change := func(old, now string) {
		t.Helper()
		file := filepath.Join(dir, "definitions", "customers.yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%s has no %q", file, old)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte(old), []byte(now)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("ttl: 30d", "ttl: 60d")
	stdin := &answering{Reader: strings.NewReader("yes\n"), meanwhile: func() {
		change("ttl: 60d", "ttl: 90d")
		run(t, "-C", dir, "apply", "--yes")
	}}
	var stdout, stderr bytes.Buffer
	w, _ := world(stdin, &stdout, &stderr)
	w.StdinTerminal, w.StderrTerminal = true, true
	if code := Main([]string{"-C", dir, "apply"}, w); code != exitFailure {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if !strings.Contains(stderr.String(), "the registry has moved since the plan was made") {
		t.Errorf("stderr: %s", &stderr)
	}
	if got := run(t, "-C", dir, "show", "view", "customer_orders"); !strings.Contains(got, "90d") {
		t.Errorf("the other's change is gone:\n%s", got)
	}
}
