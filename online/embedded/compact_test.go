package embedded

import (
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
)

// watched opens a store and returns it with a function that waits until its files, flushed, take so many bytes at most.
func watched(t *testing.T, opts Options) (_ *Store, shrinksTo func(most uint64)) {
	t.Helper()
	s, err := Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, func(most uint64) {
		t.Helper()
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
		// Not by Pebble's events: it tells that a table went before it counts it as gone.
		testenv.Until(t, "the files shrink", func() bool { return tableBytes(s) <= most })
	}
}

// tableBytes is what a store takes on disk, but for its log, which is reused and never more than a few memtables.
func tableBytes(s *Store) uint64 {
	m := s.db.Metrics()
	return m.DiskSpaceUsage() - m.WAL.PhysicalSize - m.WAL.ObsoletePhysicalSize
}

// TestDiskShrinks: rows that were overwritten, and those of dropped generations, do not stay on disk.
func TestDiskShrinks(t *testing.T) {
	const rows = 50_000
	s, shrinksTo := watched(t, Options{DropRate: 1 << 30, memTable: 2 << 20})
	two := online.Generation{ID: 2, Keyspace: 1}
	for _, g := range []online.Generation{gen, two} {
		if err := s.CreateGeneration(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	write := func(g online.Generation, event int64) {
		for part := range batches(benchRows(event, rows)) {
			if result, err := s.Write(t.Context(), g, part, online.WinNewest); err != nil || result.Written != int64(len(part)) {
				t.Fatalf("%+v, %v", result, err)
			}
		}
	}
	compact := func() {
		if err := s.db.Compact(t.Context(), []byte{0}, []byte{255}, false); err != nil {
			t.Fatal(err)
		}
	}
	write(gen, 0)
	compact()
	once := s.db.Metrics().Table.Local.LiveSize
	for event := range int64(20) {
		write(gen, event+1)
	}
	shrinksTo(5 * once)

	compact()
	write(two, 1)
	compact()
	if both := s.db.Metrics().Table.Local.LiveSize; both < 3*once/2 {
		t.Fatalf("%d bytes with one generation, %d with two", once, both)
	}
	if err := s.DropGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	shrinksTo(3 * once / 2)
}
