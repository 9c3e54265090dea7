package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

const (
	benchEntities = 100_000
	benchViews    = 5
)

// benchRows returns entries of n entities, in random order, with rows of 64 bytes that do not compress.
func benchRows(event int64, n int) []online.Entry {
	rnd := rand.NewChaCha8([32]byte{byte(event)})
	entries := make([]online.Entry, n)
	for i, k := range rand.Perm(n) {
		stored := onlinetest.At(event, int64(k)).Row()
		padded := append(stored, make([]byte, 64-len(stored))...)
		_, _ = rnd.Read(padded[len(stored):])
		entries[i] = online.Entry{Key: onlinetest.Key(int64(k) * 7919), Row: padded}
	}
	return entries
}

func benchStore(b *testing.B) *Store {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for id := range online.GenerationID(benchViews) {
		if err := s.CreateGeneration(b.Context(), online.Generation{ID: id, Keyspace: 1}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// batches cuts entries as a run does.
func batches(entries []online.Entry) iter.Seq[[]online.Entry] { return slices.Chunk(entries, 10_000) }

func writeAll(b *testing.B, s *Store, id online.GenerationID, entries []online.Entry) {
	for part := range batches(entries) {
		if _, err := s.Write(b.Context(), online.Generation{ID: id, Keyspace: 1}, part, online.WinNewest); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads 100 random entities, of 1 and of 5 views, by one and by 16 callers: from the row cache, and, where
// it has no room, from blocks of files.
func BenchmarkRead(b *testing.B) {
	s := benchStore(b)
	for id := range online.GenerationID(benchViews) {
		writeAll(b, s, id, benchRows(1, benchEntities))
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := s.db.Compact(b.Context(), []byte{0}, []byte{255}, true); err != nil {
		b.Fatal(err)
	}
	all := []online.GenerationID{0, 1, 2, 3, 4}
	read := func(b *testing.B, ids []online.GenerationID) func() {
		group := []online.Group{{Keyspace: 1, Generations: ids, Keys: make([][]byte, 100)}}
		var rows online.Rows
		return func() {
			for i := range group[0].Keys {
				group[0].Keys[i] = row.AppendInt64Key(group[0].Keys[i][:0], rand.Int64N(benchEntities)*7919)
			}
			if err := s.Read(b.Context(), group, &rows); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, source := range []struct {
		name  string
		bytes int64
	}{{"Rows", DefaultCacheBytes / 2}, {"Blocks", 0}} {
		s.rows = newRowCache(source.bytes)
		warm := read(b, all)
		for range 10_000 {
			warm()
		}
		for _, ids := range [][]online.GenerationID{all[2:3], all} {
			b.Run(fmt.Sprintf("%s/100x%d", source.name, len(ids)), func(b *testing.B) {
				b.ReportAllocs()
				used := cpuTime()
				for once := read(b, ids); b.Loop(); {
					once()
				}
				b.ReportMetric(float64(cpuTime()-used)/float64(b.N), "cpu-ns/op")
			})
		}
		b.Run(source.name+"/100x5/16callers", func(b *testing.B) {
			b.ReportAllocs()
			used := cpuTime()
			b.SetParallelism(16 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for once := read(b, all); pb.Next(); {
					once()
				}
			})
			b.ReportMetric(float64(cpuTime()-used)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkLoad loads 100,000 rows into each of 5 generations, then rows over them, by turns through the store and by a
// bare loop with the same bytes, order, syncs and comparisons. ratio is what of the bare loop's speed the store reaches, in wall
// and in CPU time.
func BenchmarkLoad(b *testing.B) {
	var store, bare spent
	for b.Loop() {
		through, without := benchStore(b), benchStore(b)
		for event := range int64(2) {
			for id := range online.GenerationID(benchViews) {
				entries := benchRows(event, benchEntities)
				store.add(func() { writeAll(b, through, id, entries) })
				bare.add(func() { bareLoad(b, without.db, id, entries) })
			}
		}
	}
	rows := float64(b.N * 2 * benchViews * benchEntities)
	b.ReportMetric(rows/store.wall.Seconds(), "rows/s")
	b.ReportMetric(rows/bare.wall.Seconds(), "bare-rows/s")
	b.ReportMetric(bare.wall.Seconds()/store.wall.Seconds(), "ratio")
	b.ReportMetric(bare.cpu.Seconds()/store.cpu.Seconds(), "cpu-ratio")
}

// spent adds up what parts of a benchmark took.
type spent struct{ wall, cpu time.Duration }

func (s *spent) add(fn func()) {
	start, used := time.Now(), cpuTime()
	fn()
	s.wall += time.Since(start)
	s.cpu += cpuTime() - used
}

// cpuTime is what this process has used: on a machine with other work it says more than wall time.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func bareLoad(b *testing.B, db *pebble.DB, id online.GenerationID, entries []online.Entry) {
	var key []byte
	for part := range batches(entries) {
		part = slices.SortedFunc(slices.Values(part), func(a, b online.Entry) int { return bytes.Compare(a.Key, b.Key) })
		batch := db.NewBatch()
		for _, e := range part {
			key = appendOrdered(appendEntity(appendKeyspace(key[:0], 1), e.Key), uint64(id))
			stored, closer, err := db.Get(key)
			wins := errors.Is(err, pebble.ErrNotFound) || err == nil && row.Compare(e.Row, stored) > 0
			if err == nil {
				_ = closer.Close()
			}
			if wins {
				if err := batch.Set(key, e.Row, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
	}
}
