// Package failpoint lets tests stop a real process at a named step. In production a step costs one nil check.
package failpoint

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Env is the variable that arms failpoints: "name=kill,other=error".
const Env = "PROVENDER_FAILPOINTS"

// Names lists every step that a test may stop at.
var Names = []string{
	RunAfterWrite, RunBeforeWrite, RunAfterProgress, RunBeforeCommit, RunAfterCommit, SwapBeforeCommit, SwapAfterCommit,
	ApplyBeforeCommit, ApplyAfterCommit, ExportBeforeRename, ExportBeforeManifest,
}

// The steps.
const (
	RunBeforeWrite       = "run-before-write"       // rows decoded, none written
	RunAfterWrite        = "run-after-write"        // one batch acknowledged
	RunAfterProgress     = "run-after-progress"     // what a rebuild has done so far is recorded, the rest is not read
	RunBeforeCommit      = "run-before-commit"      // every batch acknowledged, nothing recorded
	RunAfterCommit       = "run-after-commit"       // ledger and run recorded
	SwapBeforeCommit     = "swap-before-commit"     // the new generation is full, the old one serves
	SwapAfterCommit      = "swap-after-commit"      // the new generation serves, the old one is not yet removed
	ApplyBeforeCommit    = "apply-before-commit"    // the plan is written in a transaction, not committed
	ApplyAfterCommit     = "apply-after-commit"     // the revision is committed
	ExportBeforeRename   = "export-before-rename"   // the output is complete under its temporary name
	ExportBeforeManifest = "export-before-manifest" // the output has its name, the manifest not yet
)

var armed = parse(os.Getenv(Env))

func parse(s string) map[string]string {
	if s == "" {
		return nil
	}
	m := map[string]string{}
	for _, one := range strings.Split(s, ",") {
		name, action, _ := strings.Cut(one, "=")
		m[name] = action
	}
	return m
}

// Hit does what the environment asks at the named step: nothing, an error, SIGKILL or SIGSTOP of this process.
func Hit(name string) error {
	switch armed[name] {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		stop()
	case "error":
		return fmt.Errorf("failpoint %s", name)
	}
	return nil
}

// stop stops this process, and returns when it was continued: the signal takes a moment, in which the caller would
// otherwise go on to the next step, and stop in the middle of it.
func stop() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-continued
}
