package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

var gen = online.Generation{ID: 1, Keyspace: 1}

// childDir names the folder in which this test binary, started again, works as another process.
const childDir = "PROVENDER_TEST_EMBEDDED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeForever writes batches of 50 keys, all of the same event time, and prints the time once it is acknowledged.
func writeForever(dir string) error {
	ctx := context.Background()
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if _, err := s.Claim(ctx, "registry", ""); err != nil {
		return err
	}
	if err := s.CreateGeneration(ctx, gen); err != nil {
		return err
	}
	for event := int64(1); ; event++ {
		if _, err := s.Write(ctx, gen, batch(event), online.WinNewest); err != nil {
			return err
		}
		fmt.Println(event)
	}
}

func batch(event int64) []online.Entry {
	entries := make([]online.Entry, 50)
	for k := range entries {
		entries[k] = online.Entry{Key: onlinetest.Key(int64(k)), Row: onlinetest.At(event, event).Row()}
	}
	return entries
}

// child starts writeForever in a process of its own, and returns its acknowledgements.
func child(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// TestKilled: a process that dies in the middle of writing has lost nothing that it acknowledged, and no batch is there
// in part.
func TestKilled(t *testing.T) {
	rnd := testenv.Rand(t)
	dir := t.TempDir()
	for range 5 {
		cmd, acks := child(t, dir)
		for range 1 + rnd.IntN(200) {
			if !acks.Scan() {
				t.Fatal("the child ended by itself")
			}
		}
		last, err := strconv.ParseInt(acks.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for acks.Scan() { // what it still had said
			if last, err = strconv.ParseInt(acks.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait()

		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		if err := s.Scan(t.Context(), gen, func(_, stored []byte) error {
			seen[string(stored)]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 1 {
			t.Fatalf("%d different rows: a batch is there in part", len(seen))
		}
		acked, later := onlinetest.At(last, last).Row(), onlinetest.At(last+1, last+1).Row()
		if seen[string(acked)] != 50 && seen[string(later)] != 50 {
			t.Fatalf("acknowledged up to %d, found %x", last, seen)
		}
		// The next child begins at 1 again, so the rows go first.
		if err := s.DropGeneration(t.Context(), gen); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeld: a store that another process, or this one, has open is not opened again.
func TestHeld(t *testing.T) {
	dir := t.TempDir()
	cmd, acks := child(t, dir)
	if !acks.Scan() {
		t.Fatal("the child ended by itself")
	}
	_, err := Open(dir, Options{})
	if problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("got %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("opened twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync: after a failed sync of the log nothing is written again, though the disk works again; what was
// acknowledged before is there.
func TestFailedSync(t *testing.T) {
	broken := errors.New("no space left on device")
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if failing.Load() && sync && strings.HasSuffix(op.Path, ".log") {
			return broken
		}
		return nil
	}))
	dir := t.TempDir()
	s, err := Open(dir, Options{fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), gen, batch(1), online.WinNewest); err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	result, err := s.Write(t.Context(), gen, batch(2), online.WinNewest)
	if problem.CodeOf(err) != problem.Unavailable || result.Written != 0 {
		t.Fatalf("got %+v, %v", result, err)
	}
	failing.Store(false)
	result, err = s.Write(t.Context(), gen, batch(3), online.WinNewest)
	if problem.CodeOf(err) != problem.Unavailable || result.Written != 0 {
		t.Fatalf("got %+v, %v", result, err)
	}
	if err := s.CreateGeneration(t.Context(), online.Generation{ID: 9, Keyspace: 1}); problem.CodeOf(err) != problem.Unavailable {
		t.Fatalf("got %v", err)
	}
	var rows online.Rows
	if err := s.Read(t.Context(), []online.Group{{
		Keyspace: 1, Generations: []online.GenerationID{1}, Keys: [][]byte{onlinetest.Key(0)},
	}}, &rows); err != nil || rows.Cells[0] == nil {
		t.Errorf("reads go on: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedWrites lets one write to the disk after the other fail, of whatever file, once or from then on, while several
// write: nobody panics or waits for ever, no more writes are taken, reads go on, and all that was acknowledged is there
// after a crash.
func TestFailedWrites(t *testing.T) {
	const writers, writes = 3, 30
	rnd := testenv.Rand(t)
	trials := 150
	if testenv.Long() {
		trials = 3000
	}
	met := map[string]int{}
	for trial := range trials {
		mem := vfs.NewCrashableMem()
		var left atomic.Int64
		var first atomic.Pointer[string]
		left.Store(1 + rnd.Int64N(500))
		forGood := rnd.IntN(2) == 0
		broken := errors.New("input/output error")
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock || op.Kind == errorfs.OpMkdirAll {
				return nil
			}
			if n := left.Add(-1); n > 0 || n < 0 && !forGood {
				return nil
			}
			what := strings.Trim(filepath.Base(op.Path), "0123456789-.")
			first.CompareAndSwap(nil, &what)
			return broken
		}))
		acked := writeUntilFailed(t, fs, writers, writes)
		if what := first.Load(); what != nil {
			met[*what]++
		}

		restarted := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(2) * 50, RNG: rnd})
		s, err := Open("store", Options{fs: restarted, CacheBytes: 1 << 20, memTable: 16 << 10})
		if err != nil {
			if slices.Max(acked) == 0 {
				continue // a store that a crash met half made: which files of it are there is the disk's choice
			}
			t.Fatalf("trial %d, after a failure of %s: %v", trial, *first.Load(), err)
		}
		for w, event := range acked {
			if event == 0 {
				continue
			}
			for k := range int64(50) {
				group := []online.Group{{Keyspace: 1, Generations: []online.GenerationID{online.GenerationID(w + 1)}, Keys: [][]byte{onlinetest.Key(k)}}}
				var rows online.Rows
				if err := s.Read(t.Context(), group, &rows); err != nil {
					t.Fatal(err)
				}
				same := func(event int64) bool {
					return string(rows.Row(0, 0, 0, 1)) == string(onlinetest.At(event, event).Row())
				}
				if !same(event) && !same(event+1) {
					t.Fatalf("trial %d, after a failure of %s: writer %d, key %d: acknowledged up to %d, found %x", trial, *first.Load(), w, k, event, rows.Row(0, 0, 0, 1))
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(met)
}

// writeUntilFailed has several write, each to a generation of its own, until a write fails or all are done, and returns up to
// which event time each was acknowledged.
func writeUntilFailed(t *testing.T, fs vfs.FS, writers, writes int) []int64 {
	t.Helper()
	acked := make([]int64, writers)
	s, err := Open("store", Options{fs: fs, CacheBytes: 1 << 20, memTable: 16 << 10, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return acked
	}
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			gen := online.Generation{ID: online.GenerationID(w + 1), Keyspace: 1}
			err := s.CreateGeneration(t.Context(), gen)
			for event := int64(1); err == nil && event <= int64(writes); event++ {
				if _, err = s.Write(t.Context(), gen, batch(event), online.WinNewest); err == nil {
					acked[w] = event
				}
			}
			if err != nil && problem.CodeOf(err) != problem.Unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	if s.disk.isBroken() {
		if err := s.CreateGeneration(t.Context(), gen); problem.CodeOf(err) != problem.Unavailable {
			t.Errorf("a write after the failed one: %v", err)
		}
	}
	for w, event := range acked {
		rows := 0
		err := s.Scan(t.Context(), online.Generation{ID: online.GenerationID(w + 1), Keyspace: 1}, func(_, _ []byte) error {
			rows++
			return nil
		})
		if event > 0 && (err != nil || rows != 50) {
			t.Errorf("reads do not go on: %d rows, %v", rows, err)
		}
	}
	if err := s.Close(); err != nil && problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("close: %v", err)
	}
	return acked
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set([]byte{spaceFormat}, []byte{formatVersion + 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lock is let go
		if _, err = Open(dir, Options{}); problem.CodeOf(err) != problem.Precondition {
			t.Errorf("got %v", err)
		}
	}
}

// Files of a Pebble that is newer than ours are left alone as well.
func TestNewerPebble(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.db.FormatMajorVersion(); got != pebbleFormat {
		t.Errorf("the files have format %d, want %d", got, pebbleFormat)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatal(markers, err)
	}
	if err := os.Rename(markers[0], filepath.Join(dir, "marker.format-version.000999.999")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lock is let go
		if _, err = Open(dir, Options{}); problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "a newer Provender's") {
			t.Errorf("got %v", err)
		}
	}
}

func TestOrderedNumbers(t *testing.T) {
	var last []byte
	for _, x := range []uint64{0, 1, 127, 128, 255, 256, 257, 65535, 65536, 1 << 32, 1<<64 - 1} {
		b := appendOrdered(nil, x)
		if string(b) <= string(last) {
			t.Errorf("%d: %x is not above %x", x, b, last)
		}
		last = b
		entity, id, ok := entityAndGeneration(append(appendEntity(nil, []byte("key")), b...))
		if !ok || string(entity) != "key" || uint64(id) != x {
			t.Errorf("%d: got %q, %d, %v", x, entity, id, ok)
		}
		if next := successor(appendKeyspace(nil, online.KeyspaceID(x))); string(next) <= string(append(appendKeyspace(nil, online.KeyspaceID(x)), 0xff, 0xff)) {
			t.Errorf("successor of keyspace %d: %x", x, next)
		}
	}
}
