package fault

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// TestRegistryGone takes the registry's file away from a server that runs, and puts damaged ones in its place: the last
// snapshot goes on serving, whoever applies or runs is refused at once, check tells, and the copy brings all back.
func TestRegistryGone(t *testing.T) {
	t.Parallel()
	store := onlinetest.StartRedis(t) + project.Patient
	w := newWorld(t, store)
	w.addBeside(store) // what a command does, beside the server
	w.Must("materialize")
	registry := filepath.Join(w.Dir, ".provender", "registry.db")
	whole := snapshotOf(t, w, registry)
	s := w.serve("")
	r := s.read()
	rnd := testenv.Rand(t)
	flipped := bytes.Clone(whole)
	for range len(flipped) / 64 {
		flipped[100+rnd.IntN(len(flipped)-100)] ^= 1 << rnd.IntN(8)
	}
	for _, damage := range []struct {
		name string
		put  func(t *testing.T, registry string, b []byte)
		file []byte
	}{
		// First those that the server meets: it keeps a file that is removed open, and goes on with it.
		{"overwritten", overwrite, flipped},
		{"overwritten by zeros", overwrite, make([]byte, len(whole))},
		{"no database", replace, []byte("there is nothing here that was a database once\n")},
		{"cut short", replace, whole[:len(whole)/2]},
		{"bits flipped", replace, flipped},
	} {
		damage.put(t, registry, damage.file)
		testenv.Until(t, "the server misses its registry", func() bool { return s.Metric("provender_registry_up") == 0 })
		r.answered()
		if check := w.Run("registry", "check", "--env", beside); check.Code != 3 {
			t.Errorf("%s: check: %+v", damage.name, check)
		}
		for _, args := range [][]string{{"apply", "--yes"}, {"materialize"}} {
			w.failed(w.Run(append(args, "--env", beside)...))
		}
		r.answered()
	}
	r.check()
	if _, refusals := r.counts(); refusals > 0 {
		t.Errorf("%d lookups were refused: %s", refusals, r.last)
	}
	s.Signal(syscall.SIGTERM)
	s.Wait()
	replace(t, registry, whole)
	w.clean()
	w.Must("registry", "check")
}

// snapshotOf is a registry's file with all that was written, while nobody has it open.
func snapshotOf(t *testing.T, w *world, registry string) []byte {
	t.Helper()
	w.Must("registry", "check")
	if _, err := os.Stat(registry + "-wal"); err == nil {
		t.Fatalf("%s-wal is there", registry)
	}
	b, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replace puts another file in a registry's place, without what belongs to the one before.
func replace(t *testing.T, registry string, b []byte) {
	t.Helper()
	for _, old := range []string{registry, registry + "-wal", registry + "-shm"} {
		if err := os.Remove(old); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(registry, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes into a registry's file, as nobody should while it is open, and into what belongs to it: who has pages of
// it in memory must read them again.
func overwrite(t *testing.T, registry string, b []byte) {
	t.Helper()
	if err := os.WriteFile(registry, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{registry + "-wal", registry + "-shm"} {
		wipe(t, beside)
	}
}

// wipe writes zeros over a file, whose length stays: it is mapped into the memory of who has it open.
func wipe(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err != nil {
		t.Fatal(err)
	}
}
