package fault

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// inNamespace says that the process may mount: what it mounts nobody else sees, and it goes with the process.
const inNamespace = "PROVENDER_TEST_MOUNTS"

// isolated runs the test in a process with mounts of its own, and reports that it is that process.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a process with mounts of its own, which takes root or user namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// disk is a small file system.
type disk struct {
	t   *testing.T
	dir string
}

func newDisk(t *testing.T, size string) *disk {
	t.Helper()
	d := &disk{t, t.TempDir()}
	// Else the mounts of the namespace would be the machine's as well.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves so many bytes free.
func (d *disk) fill(free int64) {
	d.t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &stat); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if n := int64(stat.Bavail)*stat.Bsize - free; n > 0 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			d.t.Fatal(err)
		}
	}
}

// empty removes what fill wrote.
func (d *disk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
}

// TestDiskFull fills the disk of the registry, or of the embedded store as well, to different degrees: the run fails, what
// was there stays and is served, and with room again the next run is right.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	for _, c := range []struct {
		name, store string
	}{
		{"registry", onlinetest.StartRedis(t) + project.Patient},
		{"registry and store", project.Embedded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t, "24m")
			w := worldOf(t, project.NewIn(t, t.TempDir(), c.store))
			d.holdState(w)
			w.Must("materialize")
			served := w.newest()
			failures := 0
			for i, free := range []int64{0, 48 << 10, 80 << 10, 256 << 10} {
				w.put("second", 2+i, 0, drivers)
				before := w.status()
				d.fill(free)
				r := w.Run("materialize", "--full")
				d.empty()
				if r.Code == 0 {
					t.Logf("%d bytes are enough", free)
				} else {
					failures++
					w.failed(r)
					w.recordedNothing(before)
					w.wantVersions(served)
				}
				w.clean()
				served = w.newest()
			}
			if failures == 0 {
				t.Error("no run failed")
			}
		})
	}
}

// holdState moves what the program keeps of a project to the disk.
func (d *disk) holdState(w *world) {
	d.t.Helper()
	state := filepath.Join(w.Dir, ".provender")
	if err := os.CopyFS(filepath.Join(d.dir, "state"), os.DirFS(state)); err != nil {
		d.t.Fatal(err)
	}
	if err := os.RemoveAll(state); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d.dir, "state"), state); err != nil {
		d.t.Fatal(err)
	}
}
