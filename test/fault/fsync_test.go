package fault

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// unsynced runs a command whose nth fsync fails, as where the disk has lost what it was given.
func (w *world) unsynced(n int, args ...string) project.Result {
	w.t.Helper()
	cmd := w.Command(context.Background(), args...)
	traced := append([]string{
		"-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", n), cmd.Path,
	}, cmd.Args[1:]...)
	strace, err := exec.LookPath("strace")
	if err != nil {
		w.t.Fatal(err)
	}
	tracer := *w.Project
	tracer.Binary = strace
	return tracer.Run(traced...)
}

// TestFailedSync lets one fsync after the other fail, of the registry and of the embedded store: whoever meets it stops, for
// what is on disk then nobody knows; what serves is the old state or the new one, whole; and the next run is right.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	project.ForStores(t, func(t *testing.T, store string) {
		t.Parallel()
		w := newWorld(t, store)
		w.Must("materialize")
		served := w.newest()
		failures := 0
		for i, n := range []int{1, 2, 3, 4, 6, 9, 14, 22} {
			w.put("second", 2+i, 0, drivers)
			before := w.status()
			r := w.unsynced(n, "materialize", "--full")
			if r.Code != 0 {
				failures++
				w.failed(r)
			}
			// The registry may find, when it is opened again, that what it could not be sure of was written after all.
			if now := w.status(); now.Generation == before.Generation {
				if r.Code == 0 {
					t.Errorf("fsync %d: the run succeeded, and generation %d still serves", n, now.Generation)
				}
				w.wantVersions(served)
			} else {
				w.wantVersions(w.newest())
			}
			w.clean()
			served = w.newest()
		}
		if t.Logf("%d runs failed", failures); failures == 0 {
			t.Error("no run failed")
		}
	})
}

// TestApplyFailedSync does the same to an apply: it is told that it failed, and is there as a whole or not at all.
func TestApplyFailedSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
	a := &author{w.Project, t, ""}
	failures := 0
	for i, n := range []int{1, 2, 3, 4} {
		revision, version := a.newest()
		a.change(2 + i)
		r := w.unsynced(n, "apply", "--yes")
		if r.Code != 0 {
			failures++
			w.failed(r)
		}
		switch got, now := a.newest(); {
		case got == revision+1 && now == 2+i:
		case got == revision && now == version && r.Code != 0:
		default:
			t.Errorf("fsync %d: revision %d has version %d after %+v", n, got, now, r)
		}
		a.sound()
		a.Must("apply", "--yes")
		if _, now := a.newest(); now != 2+i {
			t.Errorf("version %d, want %d", now, 2+i)
		}
	}
	if failures == 0 {
		t.Error("no apply failed")
	}
}
