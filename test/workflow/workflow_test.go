// Package workflow checks the workflow for GitHub that comes with Provender, and runs its steps.
package workflow

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/provender-dev/provender/internal/cli"
)

// TestMain makes the test's program be provender where it is called so, as it is in the PATH of the tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"provender": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

var root = filepath.Join("..", "..")

// TestWorkflow: GitHub would take it.
func TestWorkflow(t *testing.T) {
	lint := filepath.Join(root, ".cache", "stores", "bin", "actionlint")
	if _, err := os.Stat(lint); err != nil {
		t.Fatalf("no actionlint: run ./scripts/test once, which builds it in .cache/stores (%v)", err)
	}
	var workflows []string
	for _, folder := range []string{filepath.Join("deploy", "github"), filepath.Join(".github", "workflows")} {
		found, err := filepath.Glob(filepath.Join(root, folder, "*.yml"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d workflows, %v", folder, len(found), err)
		}
		workflows = append(workflows, found...)
	}
	// What it would find on this machine besides is not part of the test.
	out, err := exec.Command(lint, append([]string{"-no-color", "-shellcheck=", "-pyflakes="}, workflows...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
