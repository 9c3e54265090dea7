package state

import (
	"os"
	"os/exec"
	"testing"
)

// A process that lives is not gone; one that ended is, and so is one whose pid another process has now; what another
// machine or container runs can't be told.
func TestProcessGone(t *testing.T) {
	me := self()
	if me.pid != os.Getpid() {
		t.Fatalf("this process is %+v", me)
	}
	if got := parseProcess(me.String()); got != me || got.gone() {
		t.Errorf("%+v came back as %+v, gone: %v", me, got, got.gone())
	}

	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start, ended := started(cmd.Process.Pid)
	child := process{machine: me.machine, pid: cmd.Process.Pid, start: start}
	reused := child
	reused.start = "1"
	if ended || child.gone() || !reused.gone() {
		t.Errorf("a live child: ended %v, gone %v; an earlier process of its pid: gone %v", ended, child.gone(), reused.gone())
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !child.gone() {
		t.Error("a child that ended is not gone")
	}
	elsewhere := child
	elsewhere.machine = "another"
	for _, p := range []process{elsewhere, {}, parseProcess(""), parseProcess("x y z"), parseProcess("-1 1 " + me.machine)} {
		if p.gone() {
			t.Errorf("%+v is gone", p)
		}
	}
}
