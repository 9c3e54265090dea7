package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

// TestRowCache: whatever the cache answers is what the rows are, however small it is and whatever collides in it.
func TestRowCache(t *testing.T) {
	for _, size := range []int64{0, shardCount * 100, shardCount * 1000, shardCount * 10_000, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := &cacheWorld{T: t, rnd: testenv.Rand(t), cache: newRowCache(size), truth: map[string][]byte{}}
			for range 20_000 {
				w.step()
			}
			t.Logf("%d lookups, %d answered", w.lookups, w.hits)
			if size >= shardCount*10_000 && w.hits < 1000 || size == 0 && w.hits > 0 {
				t.Errorf("%d of %d lookups answered", w.hits, w.lookups)
			}
		})
	}
}

// cacheWorld has 300 entities, of 7 generations each, in a few shards and buckets, under a few hashes.
type cacheWorld struct {
	*testing.T
	rnd           *rand.Rand
	cache         *rowCache
	truth         map[string][]byte
	lookups, hits int
}

func (w *cacheWorld) entity() (prefix []byte, hash uint64) {
	k := w.rnd.IntN(300)
	return appendEntity(appendKeyspace(nil, 1), fmt.Append(nil, k)), uint64(k%40)*shardCount/2 + uint64(k%3)<<positionBit
}

func cell(prefix []byte, id online.GenerationID) string { return fmt.Sprintf("%x/%d", prefix, id) }

func (w *cacheWorld) step() {
	prefix, hash := w.entity()
	if w.rnd.IntN(8) == 0 {
		other, otherHash := w.entity()
		w.cache.begin([]uint64{hash, otherHash})
		w.truth[cell(prefix, online.GenerationID(w.rnd.IntN(7)))] = make([]byte, w.rnd.IntN(90))
		w.truth[cell(other, online.GenerationID(w.rnd.IntN(7)))] = nil
		w.read(prefix, hash)
		w.cache.end([]uint64{hash, otherHash})
		return
	}
	w.read(prefix, hash)
}

func (w *cacheWorld) read(prefix []byte, hash uint64) {
	want := rowsOf{prefix: prefix}
	for i := range 1 + w.rnd.IntN(4) {
		want.ids = append(want.ids, online.GenerationID(w.rnd.IntN(7))) // perhaps twice
		want.order = append(want.order, i)
	}
	want.cells = make([][]byte, len(want.ids))
	slices.SortFunc(want.order, func(a, b int) int { return int(want.ids[a]) - int(want.ids[b]) })
	w.lookups++
	before := []byte("before")
	dst, version, found := w.cache.shard(hash).get(hash, want, before)
	if !bytes.HasPrefix(dst, before) {
		w.Fatalf("dst is %q", dst)
	}
	if found {
		w.hits++
		for f, id := range want.ids {
			if truth := w.truth[cell(prefix, id)]; !bytes.Equal(want.cells[f], truth) || (truth == nil) != (want.cells[f] == nil) {
				w.Fatalf("%x of %d: got %x, want %x", prefix, id, want.cells[f], truth)
			}
		}
		return
	}
	for f, id := range want.ids {
		want.cells[f] = w.truth[cell(prefix, id)]
	}
	w.cache.shard(hash).put(hash, want, version)
}

// TestStaleReadIsNotKept: rows that were read before a change are not put back by a reader that was slow.
func TestStaleReadIsNotKept(t *testing.T) {
	cache := newRowCache(1 << 20)
	read := rowsOf{prefix: appendEntity(appendKeyspace(nil, 1), []byte("e")), ids: []online.GenerationID{1}, order: []int{0}, cells: [][]byte{[]byte("old")}}
	shard := cache.shard(7)
	holds := func() bool {
		_, _, found := shard.get(7, rowsOf{prefix: read.prefix, ids: read.ids, order: read.order, cells: make([][]byte, 1)}, nil)
		return found
	}
	_, before, _ := shard.get(7, read, nil)
	cache.begin([]uint64{7})
	_, during, _ := shard.get(7, read, nil)
	for _, version := range []uint64{before, during} {
		if shard.put(7, read, version); holds() {
			t.Error("kept while the entity changes")
		}
	}
	cache.end([]uint64{7})
	for _, version := range []uint64{before, during} {
		if shard.put(7, read, version); holds() {
			t.Error("kept what was read before the change was done")
		}
	}
	_, after, _ := shard.get(7, read, nil)
	if shard.put(7, read, after); !holds() {
		t.Error("not kept")
	}
	cache.begin([]uint64{7})
	if holds() {
		t.Error("answers with what is about to change")
	}
	cache.end([]uint64{7})
}

// TestReadsFollowWrites: readers see every acknowledged row, and never an older one after a newer.
func TestReadsFollowWrites(t *testing.T) {
	const keys, writers, readers, rounds = 40, 2, 3, 300
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CreateGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	var acked [keys]atomic.Int64
	var done atomic.Bool
	var writing, reading sync.WaitGroup
	for w := range writers {
		rnd := testenv.Rand(t)
		writing.Go(func() {
			for round := range int64(rounds) {
				k, event := rnd.IntN(keys/writers)*writers+w, round*writers+int64(w)+1
				entry := online.Entry{Key: onlinetest.Key(int64(k)), Row: onlinetest.At(event, event).Row()}
				if _, err := s.Write(t.Context(), gen, []online.Entry{entry}, online.WinNewest); err != nil {
					t.Error(err)
				}
				acked[k].Store(event)
			}
		})
	}
	for range readers {
		reading.Go(func() {
			groups := []online.Group{{Keyspace: gen.Keyspace, Generations: []online.GenerationID{gen.ID}, Keys: make([][]byte, keys)}}
			var seen [keys]int64
			var rows online.Rows
			for k := range keys {
				groups[0].Keys[k] = onlinetest.Key(int64(k))
			}
			for !done.Load() {
				for k := range keys {
					seen[k] = max(seen[k], acked[k].Load())
				}
				if err := s.Read(t.Context(), groups, &rows); err != nil {
					t.Error(err)
					return
				}
				for k := range keys {
					var event int64
					if stored := rows.Row(0, k, 0, 1); stored != nil {
						opened, err := row.Open(stored)
						if err != nil {
							t.Error(err)
						}
						event = opened.Event
					}
					if event < seen[k] {
						t.Errorf("key %d: event %d after %d", k, event, seen[k])
						return
					}
					seen[k] = event
				}
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
}
