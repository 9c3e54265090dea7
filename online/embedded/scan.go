package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/online"
)

// dropBatch is how many rows DropGeneration removes at a time.
const dropBatch = 2048

// DropGeneration removes marker first, then rows, at Options.DropRate, and gives their place on disk back.
func (s *Store) DropGeneration(ctx context.Context, gen online.Generation) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if err := s.deleteMarker(gen.ID); err != nil {
		return fmt.Errorf("drop generation %d: %w", gen.ID, err)
	}
	batch := s.db.NewBatch()
	var changed []uint64
	dropped := false
	next := time.Now()
	flush := func() error {
		if err := s.commitRows(batch, changed); err != nil {
			return err
		}
		next = next.Add(time.Duration(len(changed)) * time.Second / time.Duration(s.opts.DropRate))
		batch, changed = s.db.NewBatch(), changed[:0]
		return waitUntil(ctx, next)
	}
	err := s.eachRow(ctx, gen, func(key, entity, _ []byte) error {
		dropped = true
		if err := batch.Delete(key, nil); err != nil {
			return err
		}
		if changed = append(changed, hashOf(gen.Keyspace, entity)); len(changed) < dropBatch {
			return nil
		}
		return flush()
	})
	if err == nil && len(changed) > 0 {
		err = s.commitRows(batch, changed)
	}
	if err == nil && dropped {
		// By itself Pebble does it once so much more was written.
		keyspace := appendKeyspace(nil, gen.Keyspace)
		err = s.disk.run(func() error { return s.db.Compact(ctx, keyspace, successor(keyspace), false) })
	}
	if err != nil {
		return fmt.Errorf("drop generation %d: %w", gen.ID, err)
	}
	return nil
}

// deleteMarker waits for writers under way; those that come later miss the marker.
func (s *Store) deleteMarker(id online.GenerationID) error {
	s.marks.Lock()
	defer s.marks.Unlock()
	batch := s.db.NewBatch()
	if err := batch.Delete(appendMarker(nil, id), nil); err != nil {
		return err
	}
	return s.commit(batch)
}

func waitUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Scan calls fn with every key and row of a generation as they were when it began.
func (s *Store) Scan(ctx context.Context, gen online.Generation, fn func(key, stored []byte) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if err := s.eachRow(ctx, gen, func(_, entity, stored []byte) error { return fn(entity, stored) }); err != nil {
		return err
	}
	return s.checkMarker(gen.ID)
}

// eachRow calls fn with the store's key, the entity key and the row of every row of a generation.
func (s *Store) eachRow(ctx context.Context, gen online.Generation, fn func(key, entity, stored []byte) error) (err error) {
	keyspace := appendKeyspace(nil, gen.Keyspace)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: keyspace, UpperBound: successor(keyspace)})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	for i, ok := 0, it.First(); ok; i, ok = i+1, it.Next() {
		if i&1023 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		entity, id, split := entityAndGeneration(it.Key()[len(keyspace):])
		if !split || id != gen.ID {
			continue
		}
		stored, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := fn(it.Key(), entity, stored); err != nil {
			return err
		}
	}
	return it.Error()
}
