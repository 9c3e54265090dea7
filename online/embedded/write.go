package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

const (
	shardCount = 64
	// commitBytes bounds a batch: one of more than half a memtable takes a slower way.
	commitBytes = 4 << 20
)

// Write stores the entries that win, in one synced commit (in several where they are many).
func (s *Store) Write(ctx context.Context, gen online.Generation, entries []online.Entry, win online.Win) (online.WriteResult, error) {
	if err := s.begin(ctx); err != nil {
		return online.WriteResult{}, err
	}
	defer s.end()
	// A marker goes only while nobody writes, so a row never lands behind DropGeneration's back.
	s.marks.RLock()
	defer s.marks.RUnlock()
	if err := s.checkMarker(gen.ID); err != nil {
		return online.WriteResult{}, err
	}

	w := &writer{s: s, gen: gen, win: win, keyspace: appendKeyspace(nil, gen.Keyspace)}
	order := make([]int, len(entries)) // by key, so that repeated keys meet and the log's table fills in order
	var touched [shardCount]bool
	for i := range entries {
		order[i] = i
		touched[shardOf(hashOf(gen.Keyspace, entries[i].Key))] = true
	}
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(entries[a].Key, entries[b].Key) })
	for i := range touched { // always upwards, or two writers could wait for each other
		if touched[i] {
			s.shards[i].Lock()
			defer s.shards[i].Unlock()
		}
	}
	defer w.close()
	for len(order) > 0 {
		if err := ctx.Err(); err != nil {
			return w.done, err
		}
		n := 1
		for n < len(order) && bytes.Equal(entries[order[n]].Key, entries[order[0]].Key) {
			n++
		}
		if err := w.put(entries, order[:n]); err != nil {
			return w.done, err
		}
		order = order[n:]
		if len(order) == 0 || w.batch != nil && w.batch.Len() >= commitBytes {
			if err := w.commit(); err != nil {
				return w.done, err
			}
		}
	}
	return w.done, nil
}

type writer struct {
	s        *Store
	gen      online.Generation
	win      online.Win
	keyspace []byte

	key     []byte
	batch   *pebble.Batch
	changed []uint64           // hashes of the batch's entities
	pending online.WriteResult // what the batch will have done
	done    online.WriteResult // what commits have done
}

// put adds the winner among the entries at the given positions, all of one key, to the batch. The key's shard is
// locked.
func (w *writer) put(entries []online.Entry, same []int) error {
	w.key = append(w.key[:0], w.keyspace...)
	w.key = appendEntity(w.key, entries[same[0]].Key)
	w.key = appendOrdered(w.key, uint64(w.gen.ID))
	stored, closer, err := w.s.db.Get(w.key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read the stored row: %w", err)
	default:
		defer closer.Close()
		if _, _, err := row.Times(stored); err != nil {
			stored = nil // damaged: anything is better
		}
	}
	current := stored
	for _, i := range same {
		if wins(w.win, entries[i].Row, current) {
			current = entries[i].Row
			w.pending.Written++
		} else {
			w.pending.Older++
		}
	}
	if bytes.Equal(current, stored) {
		return nil
	}
	if w.batch == nil {
		w.batch = w.s.db.NewBatchWithSize(min(commitBytes, 256*len(entries)))
	}
	w.changed = append(w.changed, hashOf(w.gen.Keyspace, entries[same[0]].Key))
	return w.batch.Set(w.key, current, nil)
}

// wins reports whether next replaces current, which is nil where nothing is stored.
func wins(win online.Win, next, current []byte) bool {
	if current == nil || win == online.WinAlways {
		return true
	}
	c := row.Compare(next, current)
	return c > 0 || c < 0 && win == online.WinEqual && row.SameTimes(next, current)
}

func (w *writer) commit() error {
	if w.batch != nil {
		if err := w.s.room.take(w.s.db, w.batch.Len()); err != nil {
			return err
		}
		if err := w.s.commitRows(w.batch, w.changed); err != nil {
			return err
		}
		w.changed = w.changed[:0]
		w.close()
	}
	w.done.Add(w.pending)
	w.pending = online.WriteResult{}
	return nil
}

func (w *writer) close() {
	if w.batch != nil && !w.s.disk.isBroken() {
		_ = w.batch.Close()
	}
	w.batch = nil
}

// Delete removes rows of one generation by key.
func (s *Store) Delete(ctx context.Context, gen online.Generation, keys [][]byte) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	s.marks.RLock()
	defer s.marks.RUnlock()
	if err := s.checkMarker(gen.ID); err != nil {
		return err
	}
	var touched [shardCount]bool
	changed := make([]uint64, len(keys))
	for i, key := range keys {
		changed[i] = hashOf(gen.Keyspace, key)
		touched[shardOf(changed[i])] = true
	}
	for i := range touched {
		if touched[i] {
			s.shards[i].Lock()
			defer s.shards[i].Unlock()
		}
	}
	batch := s.db.NewBatch()
	var buf []byte
	for _, key := range keys {
		buf = appendOrdered(appendEntity(appendKeyspace(buf[:0], gen.Keyspace), key), uint64(gen.ID))
		if err := batch.Delete(buf, nil); err != nil {
			return err
		}
	}
	return s.commitRows(batch, changed)
}

// commitRows commits a batch that changes rows of the entities with these hashes.
func (s *Store) commitRows(batch *pebble.Batch, changed []uint64) error {
	s.rows.begin(changed)
	defer s.rows.end(changed)
	return s.commit(batch)
}

func (s *Store) set(key, value []byte) error {
	batch := s.db.NewBatch()
	if err := batch.Set(key, value, nil); err != nil {
		return err
	}
	return s.commit(batch)
}

// commit returns when a batch is on disk. After a failure nothing is written again until the store was closed and opened.
func (s *Store) commit(batch *pebble.Batch) error {
	return s.disk.run(func() error { return batch.Commit(pebble.Sync) })
}
