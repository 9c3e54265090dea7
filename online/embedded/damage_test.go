package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

const (
	damagedKeys = 3000
	damagedRun  = 7
)

func damagedRow(k int) []byte { return onlinetest.At(int64(2+k%5), int64(k)).Row() }

// fillForDamage leaves a store with table files and a log that both hold acknowledged rows, then a checkpoint.
func fillForDamage(t *testing.T, dir string) {
	t.Helper()
	s, err := Open(dir, Options{memTable: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for part := range slices.Chunk(testenv.Rand(t).Perm(damagedKeys), 100) {
			var entries []online.Entry
			for _, k := range part {
				stored := damagedRow(k)
				if round == 0 {
					stored = onlinetest.At(1, int64(k)).Row()
				}
				entries = append(entries, online.Entry{Key: onlinetest.Key(int64(k)), Row: stored})
			}
			if _, err := s.Write(t.Context(), gen, entries, online.WinNewest); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Checkpoint(t.Context(), online.Checkpoint{ID: gen.ID, Run: damagedRun}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFiles: a store of which a file was changed or cut off does not open, or reports a loss, or fails to read, or
// answers what was written. Never anything else.
func TestDamagedFiles(t *testing.T) {
	rnd := testenv.Rand(t)
	whole := t.TempDir()
	fillForDamage(t, whole)
	// Not the manifest: Pebble takes damage there for the end of an interrupted write, and what follows for not written.
	paths, err := filepath.Glob(filepath.Join(whole, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	trials := 60
	if testenv.Long() {
		trials = 1000
	}
	outcomes := map[string]int{}
	for range trials {
		damaged := t.TempDir()
		if err := os.CopyFS(damaged, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(paths[rnd.IntN(len(paths))])
		what := damage(t, rnd, filepath.Join(damaged, name))
		outcome, wrong := answers(t, damaged)
		if wrong != "" {
			t.Errorf("%s, %s: %s", name, what, wrong)
		}
		outcomes[filepath.Ext(name)+" "+outcome]++
	}
	t.Log(outcomes)
}

// damage changes one byte of a file, or cuts it off.
func damage(t *testing.T, rnd *rand.Rand, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) == 0 {
		return "empty"
	}
	at := rnd.IntN(len(content))
	what := fmt.Sprintf("cut off at %d of %d", at, len(content))
	if rnd.IntN(3) > 0 {
		bit := byte(1) << rnd.IntN(8)
		what = fmt.Sprintf("byte %d of %d, bit %02x", at, len(content), bit)
		content[at] ^= bit
	} else {
		content = content[:at]
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return what
}

// answers tells what became of a store, and what of it is wrong.
func answers(t *testing.T, dir string) (outcome, wrong string) {
	t.Helper()
	s, err := Open(dir, Options{memTable: 64 << 10})
	if err != nil {
		return "does not open", ""
	}
	defer s.Close() // its error is the damage's
	lost, err := s.CheckGenerations(t.Context(), []online.Checkpoint{{ID: gen.ID, Run: damagedRun}})
	if err != nil {
		return "fails", ""
	}
	if len(lost) > 0 {
		return "lost", ""
	}
	outcome = "answers"
	var rows online.Rows
	for k := range damagedKeys {
		group := []online.Group{{Keyspace: gen.Keyspace, Generations: []online.GenerationID{gen.ID}, Keys: [][]byte{onlinetest.Key(int64(k))}}}
		if err := s.Read(t.Context(), group, &rows); err != nil {
			outcome = "fails"
			continue
		}
		if got := rows.Row(0, 0, 0, 1); !bytes.Equal(got, damagedRow(k)) {
			return outcome, fmt.Sprintf("key %d: got %x, want %x", k, got, damagedRow(k))
		}
	}
	return outcome, ""
}

// TestReadOnlyFolder: a folder that takes no files is an error that says so.
func TestReadOnlyFolder(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpMkdirAll || op.Kind == errorfs.OpLock {
			return &os.PathError{Op: "open", Path: op.Path, Err: syscall.EROFS}
		}
		return nil
	}))
	if _, err := Open(t.TempDir(), Options{fs: fs}); err == nil || !bytes.Contains([]byte(err.Error()), []byte("read-only file system")) {
		t.Errorf("got %v", err)
	}
}
