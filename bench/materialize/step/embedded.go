package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
)

func (s *settings) ownEmbedded(ctx context.Context, r rows) (_ []phase, err error) {
	store, err := embedded.Open(s.folder, embedded.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := open(ctx, store); err != nil {
		return nil, err
	}
	return r.measure(func(entries []online.Entry) error { return own(ctx, store, entries) }, selfTime)
}

// bareEmbedded is one loop: sort a batch, compare each row with what is stored, commit, synced.
func (s *settings) bareEmbedded(ctx context.Context, r rows) (_ []phase, err error) {
	db, err := openPebble(s.folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var key []byte
	return r.measure(func(entries []online.Entry) error {
		for batch := range slices.Chunk(entries, batchRows) {
			if err := ctx.Err(); err != nil {
				return err
			}
			batch = slices.SortedFunc(slices.Values(batch), func(a, b online.Entry) int { return bytes.Compare(a.Key, b.Key) })
			commit := db.NewBatch()
			for _, e := range batch {
				key = append(binary.AppendUvarint(append(key[:0], 'r', 1, 1), uint64(len(e.Key))), e.Key...)
				key = append(key, 1, 1)
				stored, closer, err := db.Get(key)
				wins := errors.Is(err, pebble.ErrNotFound)
				if err == nil {
					wins = row.Compare(e.Row, stored) > 0
					err = closer.Close()
				}
				if wins {
					err = commit.Set(key, e.Row, nil)
				}
				if err != nil {
					return err
				}
			}
			if err := commit.Commit(pebble.Sync); err != nil {
				return err
			}
		}
		return nil
	}, selfTime)
}

// openPebble has the settings of online/embedded.
func openPebble(dir string) (*pebble.DB, error) {
	cache := pebble.NewCache(128 << 20)
	defer cache.Unref() // the database keeps its own reference
	o := &pebble.Options{Cache: cache, MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: silent{}}
	o.EnsureDefaults()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = 2 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	return pebble.Open(dir, o)
}

type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
