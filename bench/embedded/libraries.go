package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	bolt "go.etcd.io/bbolt"
)

type pebbleDB struct{ *pebble.DB }

// openPebble has the settings of online/embedded.
func openPebble(dir string) (library, error) {
	cache := pebble.NewCache(128 << 20)
	defer cache.Unref()
	o := &pebble.Options{
		Cache: cache, MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: silent{},
	}
	o.EnsureDefaults()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 2 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	db, err := pebble.Open(dir, o)
	return pebbleDB{db}, err
}

func (db pebbleDB) write(keys, rows [][]byte) error {
	batch := db.NewBatch()
	for i, key := range keys {
		stored, closer, err := db.Get(key)
		wins := errors.Is(err, pebble.ErrNotFound) || err == nil && bytes.Compare(rows[i], stored) > 0
		if err == nil {
			err = closer.Close()
		} else if wins {
			err = nil
		}
		if err == nil && wins {
			err = batch.Set(key, rows[i], nil)
		}
		if err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

func (db pebbleDB) read(dst []byte, prefixes [][]byte) ([]byte, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	for _, prefix := range prefixes {
		n := 0
		for ok := it.SeekGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
			dst = append(dst, it.Value()...)
			if n++; n == views {
				break
			}
		}
	}
	return dst, it.Close()
}

func (db pebbleDB) settle() error {
	return db.Compact(context.Background(), []byte{0}, []byte{255}, true)
}

func (db pebbleDB) close() error { return db.Close() }

type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

type boltDB struct{ *bolt.DB }

var bucket = []byte("rows")

func openBolt(dir string) (library, error) {
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	return boltDB{db}, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

func (db boltDB) write(keys, rows [][]byte) error {
	return db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		for i, key := range keys {
			if stored := b.Get(key); stored == nil || bytes.Compare(rows[i], stored) > 0 {
				if err := b.Put(key, rows[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (db boltDB) read(dst []byte, prefixes [][]byte) ([]byte, error) {
	err := db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for _, prefix := range prefixes {
			n := 0
			for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
				dst = append(dst, v...)
				if n++; n == views {
					break
				}
			}
		}
		return nil
	})
	return dst, err
}

func (boltDB) settle() error { return nil }

func (db boltDB) close() error { return db.Close() }
