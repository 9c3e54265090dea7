package embedded

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

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
	}{{"Rows", defaultCacheBytes / 2}, {"Blocks", 0}} {
		s.rows = newRowCache(source.bytes)
		warm := read(b, all)
		for range 10_000 {
			warm()
		}
		for _, ids := range [][]online.GenerationID{all[2:3], all} {
			b.Run(fmt.Sprintf("%s/100x%d", source.name, len(ids)), func(b *testing.B) {
				b.ReportAllocs()
				for once := read(b, ids); b.Loop(); {
					once()
				}
			})
		}
		b.Run(source.name+"/100x5/16callers", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for once := read(b, all); pb.Next(); {
					once()
				}
			})
		})
	}
}

// BenchmarkWrite loads 100,000 rows; Bare is the same without anything around it.
func BenchmarkWrite(b *testing.B) {
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*benchEntities/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("Store", func(b *testing.B) {
		s := benchStore(b)
		entries := [...][]online.Entry{benchRows(1, benchEntities), benchRows(2, benchEntities)}
		writeAll(b, s, 0, benchRows(0, benchEntities))
		for i := 0; b.Loop(); i++ {
			writeAll(b, s, online.GenerationID(i%benchViews), entries[i/benchViews%2])
		}
		report(b)
	})
	b.Run("Bare", func(b *testing.B) {
		s := benchStore(b)
		entries := [...][]online.Entry{benchRows(1, benchEntities), benchRows(2, benchEntities)}
		writeAll(b, s, 0, benchRows(0, benchEntities))
		for i := 0; b.Loop(); i++ {
			bareLoad(b, s.db, online.GenerationID(i%benchViews), entries[i/benchViews%2])
		}
		report(b)
	})
}

func bareLoad(b *testing.B, db *pebble.DB, id online.GenerationID, entries []online.Entry) {
	var key []byte
	for part := range batches(entries) {
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
