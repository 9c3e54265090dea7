package embedded

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/online"
)

// Generations returns those that have a marker or a row, found at Options.DropRate.
func (s *Store) Generations(ctx context.Context) (_ []online.Generation, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceMarker}, UpperBound: []byte{spaceRow + 1}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	found, withRows := map[online.Generation]bool{}, map[online.GenerationID]bool{}
	next := time.Now()
	for i, ok := 1, it.First(); ok; i, ok = i+1, it.Next() {
		if i%dropBatch == 0 {
			next = next.Add(dropBatch * time.Second / time.Duration(s.opts.DropRate))
			if err := waitUntil(ctx, next); err != nil {
				return nil, err
			}
		}
		gen, ok := generationOf(it.Key())
		if !ok {
			return nil, fmt.Errorf("the online store has a key that it never wrote: %x", it.Key())
		}
		found[gen] = true
		withRows[gen.ID] = withRows[gen.ID] || gen.Keyspace != 0
	}
	maps.DeleteFunc(found, func(gen online.Generation, _ bool) bool { return gen.Keyspace == 0 && withRows[gen.ID] })
	return slices.SortedFunc(maps.Keys(found), func(a, b online.Generation) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Keyspace, b.Keyspace))
	}), it.Error()
}

// generationOf returns the generation of a marker's or a row's key.
func generationOf(key []byte) (gen online.Generation, ok bool) {
	switch key[0] {
	case spaceMarker:
		id, rest, ok := cutOrdered(key[1:])
		return online.Generation{ID: online.GenerationID(id)}, ok && len(rest) == 0
	case spaceRow:
		space, rest, ok := cutOrdered(key[1:])
		if !ok {
			return gen, false
		}
		_, id, ok := entityAndGeneration(rest)
		return online.Generation{ID: id, Keyspace: online.KeyspaceID(space)}, ok
	}
	return gen, false
}
