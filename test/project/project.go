// Package project is a project on disk, as its user has it, and the real program at work in it. Tests of the whole
// enter here: through files, commands and signals.
package project

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
)

// built names the program to the processes that a test starts of itself.
const built = "PROVENDER_TEST_BINARY"

var binary = os.Getenv(built)

// Main builds the program, runs the tests of a package, and exits.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "provender-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "provender")
	build := exec.Command("go", "build", "-o", binary, "github.com/provender-dev/provender/cmd/provender")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(built, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Definitions are one view of drivers.
const Definitions = `kind: Entity
name: driver
join_keys: [{name: driver, type: int64}]
---
kind: FeatureView
name: stats
entities: [driver]
source: {parquet: data/**, event_time: at, created_time: written}
features: [{name: trips, type: int64}, {name: rating, type: float64}]
`

// Row is a row of the view's source.
type Row struct {
	Driver  int64     `parquet:"driver"`
	At      time.Time `parquet:"at,timestamp(microsecond)"`
	Written time.Time `parquet:"written,timestamp(microsecond)"`
	Trips   int64     `parquet:"trips"`
	Rating  *float64  `parquet:"rating,optional"`
}

// Project is a folder with definitions and source files.
type Project struct {
	Dir    string
	Binary string // the program at work in it; "": the one that Main built
	t      testing.TB
}

// New makes a project with Definitions and no rows; nothing is applied yet.
func New(t testing.TB, store string) *Project {
	t.Helper()
	return NewIn(t, t.TempDir(), store)
}

// NewIn makes the project in a folder that is there.
func NewIn(t testing.TB, dir, store string) *Project {
	t.Helper()
	p := &Project{Dir: dir, t: t}
	p.Write("provender.yaml", "version: 1\nproject: test\nonline: "+store+"\n")
	p.Write("definitions.yaml", Definitions)
	if err := os.Mkdir(filepath.Join(p.Dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// ForStores runs a test on each kind of store.
func ForStores(t *testing.T, test func(t *testing.T, store string)) {
	t.Run("embedded", func(t *testing.T) { test(t, Embedded) })
	t.Run("redis", func(t *testing.T) { test(t, onlinetest.StartRedis(t)+Patient) })
}

// Patient is what the URL of a Redis may end with, so that on a busy machine no answer comes too late.
const Patient = "?dial_timeout=30s&read_timeout=30s&write_timeout=30s&pool_timeout=30s"

// Embedded is the URL of a store in the project's own folder.
const Embedded = "embedded://.provender/online"

// Write writes a file of the project.
func (p *Project) Write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// Path is where a file of the source is.
func (p *Project) Path(name string) string { return filepath.Join(p.Dir, "data", name+".parquet") }

// Put writes a file of the source, or replaces it, under its name when it is whole.
func (p *Project) Put(name string, rows []Row) {
	p.t.Helper()
	temporary := p.Path("_" + name)
	if err := parquet.WriteFile(temporary, rows); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(temporary, p.Path(name)); err != nil {
		p.t.Fatal(err)
	}
}

// Remove removes a file of the source.
func (p *Project) Remove(name string) {
	p.t.Helper()
	if err := os.Remove(p.Path(name)); err != nil {
		p.t.Fatal(err)
	}
}

// Command is the program in the project, without what the environment of the tests says to it.
func (p *Project) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(p.Binary, binary), args...)
	cmd.Dir = p.Dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROVENDER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// Must runs a command that succeeds, and returns what it printed on stdout.
func (p *Project) Must(args ...string) string {
	p.t.Helper()
	r := p.Run(args...)
	if r.Code != 0 {
		p.t.Fatalf("provender %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Recover checks that the next run succeeds at once, and that online then equals offline.
func (p *Project) Recover() {
	p.t.Helper()
	p.Must("materialize")
	p.Must("verify", "--full")
}

// Result is what is left of a command.
type Result struct {
	Code           int            // exit code; -1 where a signal ended it
	Signal         syscall.Signal // that ended it, 0 for none
	Stdout, Stderr string
}

// Run runs a command to its end, whatever that is.
func (p *Project) Run(args ...string) Result {
	p.t.Helper()
	return p.Start("", args...).Wait()
}

// Process is a command under way.
type Process struct {
	t              testing.TB
	cmd            *exec.Cmd
	done           chan struct{} // closed when it has ended, with err
	err            error
	stdout, stderr bytes.Buffer
}

// Start starts a command with failpoints armed, "" for none. It ends with the test.
func (p *Project) Start(failpoints string, args ...string) *Process {
	p.t.Helper()
	x := &Process{t: p.t, cmd: p.Command(context.Background(), args...), done: make(chan struct{})}
	if failpoints != "" {
		x.cmd.Env = append(x.cmd.Env, failpoint.Env+"="+failpoints)
	}
	x.cmd.Stdout, x.cmd.Stderr = &x.stdout, &x.stderr
	if err := x.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		x.err = x.cmd.Wait()
		close(x.done)
	}()
	p.t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		<-x.done
	})
	return x
}

// PID is the process's number.
func (x *Process) PID() int { return x.cmd.Process.Pid }

// Signal sends a signal, unless the process has ended.
func (x *Process) Signal(s syscall.Signal) {
	x.t.Helper()
	if err := x.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		x.t.Fatal(err)
	}
}

// Ended reports whether the process has ended.
func (x *Process) Ended() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// AwaitStop waits until SIGSTOP has stopped the process.
func (x *Process) AwaitStop() {
	x.t.Helper()
	testenv.Until(x.t, "the process stops", func() bool {
		if x.Ended() {
			x.t.Fatalf("%s ended instead of stopping: %v\n%s%s", x.cmd, x.err, &x.stdout, &x.stderr)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.PID()))
		if err != nil {
			return false
		}
		// The state is the first field after the program's name in parentheses.
		_, fields, _ := bytes.Cut(stat, []byte(") "))
		return len(fields) > 0 && fields[0] == 'T'
	})
}

// Resume continues a process that has stopped, as often as it stops again, and waits until it ends.
func (x *Process) Resume() Result {
	x.t.Helper()
	x.ResumeUntil("the process ends", x.Ended)
	return x.Wait()
}

// ResumeUntil continues a process that has stopped, as often as it stops again, until something has happened.
func (x *Process) ResumeUntil(what string, happened func() bool) {
	x.t.Helper()
	testenv.Until(x.t, what, func() bool {
		x.Signal(syscall.SIGCONT)
		return happened()
	})
}

// Wait waits until the process ends.
func (x *Process) Wait() Result {
	x.t.Helper()
	hangs := time.NewTimer(testenv.Patience)
	defer hangs.Stop()
	select {
	case <-x.done:
	case <-hangs.C:
		_ = x.cmd.Process.Kill()
		<-x.done
		x.t.Fatalf("%s hangs\n%s%s", x.cmd, &x.stdout, &x.stderr)
	}
	r := Result{Stdout: x.stdout.String(), Stderr: x.stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(x.err, &exit):
		r.Code = exit.ExitCode()
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			r.Signal = status.Signal()
		}
	case x.err != nil:
		x.t.Fatalf("%s: %v", x.cmd, x.err)
	}
	return r
}

// Killed runs a command that SIGKILL may end, at a failpoint or after a while (0: only there), and reports whether it
// did. A command that is not killed succeeds.
func (p *Project) Killed(failpoints string, after time.Duration, args ...string) bool {
	p.t.Helper()
	x := p.Start(failpoints, args...)
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = x.cmd.Process.Kill() })
		defer timer.Stop()
	}
	r := x.Wait()
	if r.Code != 0 && r.Signal != syscall.SIGKILL {
		p.t.Fatalf("provender %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Signal == syscall.SIGKILL
}
