// Package embedded is the online store in a folder of this machine, on Pebble. One process at a time holds it.
// docs/format/embedded.md has the bytes.
package embedded

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

// Options are settings of a store. The zero value means the defaults.
type Options struct {
	CacheBytes int64        // memory, half of it for rows as they were asked for, half for blocks of files; default 256 MiB
	MaxBytes   int64        // on disk, above which rows are refused; 0: none
	DropRate   int          // rows per second that DropGeneration removes; default 200,000
	Logger     *slog.Logger // default slog.Default
	Watch      online.Watch // nil: nobody is told of reads

	// Of tests alone: faults, and a small table in memory, so that little data makes many files.
	fs       vfs.FS
	memTable uint64
}

// DefaultCacheBytes is the cache where Options name none.
const DefaultCacheBytes = 256 << 20

const (
	defaultDropRate = 200_000
	memTableBytes   = 16 << 20 // Pebble takes memtables out of the cache
	bloomBits       = 10
	// Small blocks hold little beside what a lookup wants, and are searched sooner; a large index is one search, not two.
	blockBytes      = 2 << 10
	indexBlockBytes = 256 << 10

	// pebbleFormat is what Pebble's files are. A newer one may come with a release only if the one before reads it: it is
	// for good.
	pebbleFormat = pebble.FormatValueSeparation
)

// Store implements online.Store. Safe for concurrent use.
type Store struct {
	db   *pebble.DB
	disk *disk
	lock *pebble.Lock
	opts Options
	rows *rowCache
	room room

	shards [shardCount]sync.Mutex // by entity: a row is compared and replaced under its shard
	marks  sync.RWMutex           // held exclusively while a generation's marker goes

	mu     sync.RWMutex
	closed bool
	calls  sync.WaitGroup
}

var _ online.Store = (*Store)(nil)

// Open opens the store in dir, creating it where there is none. Unavailable where another process holds it.
func Open(dir string, opts Options) (*Store, error) {
	if opts.CacheBytes <= 0 {
		opts.CacheBytes = DefaultCacheBytes
	}
	if opts.DropRate <= 0 {
		opts.DropRate = defaultDropRate
	}
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	opts.memTable = cmp.Or(opts.memTable, memTableBytes)
	if opts.fs == nil {
		opts.fs = vfs.Default
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open online store: %w", err)
	}
	if err := makeFolder(dir, opts.fs); err != nil {
		return nil, fmt.Errorf("open online store: %w", err)
	}
	lock, err := lockFolder(dir, opts.fs)
	if err != nil {
		return nil, err
	}
	s := &Store{
		disk: newDisk(opts.fs, opts.Logger), lock: lock, opts: opts, rows: newRowCache(opts.CacheBytes / 2), room: room{most: opts.MaxBytes},
	}
	var db *pebble.DB
	err = s.disk.run(func() (err error) {
		db, err = openDB(dir, lock, s.disk, opts)
		return err
	})
	switch {
	case err == nil:
		s.db = db
		return s, nil
	case s.disk.isBroken(): // the folder stays locked, as after Close
		return nil, fmt.Errorf("open online store %s: %w", dir, err)
	default:
		return nil, errors.Join(err, lock.Close())
	}
}

// makeFolder makes a folder, and those above it that are missing, so that they are there after a crash too.
func makeFolder(dir string, fs vfs.FS) error {
	if _, err := fs.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeFolder(above, fs); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := fs.OpenDir(above)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func lockFolder(dir string, fs vfs.FS) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fs)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EAGAIN):
		return nil, &problem.Error{
			Code:       problem.Unavailable,
			Message:    fmt.Sprintf("another process holds the online store %s", dir),
			Suggestion: "is a server running on this project? Talk to it with --server, or stop it",
			Err:        err,
		}
	default:
		return nil, fmt.Errorf("lock online store %s: %w", dir, err)
	}
}

func openDB(dir string, lock *pebble.Lock, disk *disk, opts Options) (*pebble.DB, error) {
	cache := pebble.NewCache(opts.CacheBytes - opts.CacheBytes/2)
	defer cache.Unref() // the database keeps its own reference
	o := &pebble.Options{
		Cache:              cache,
		FS:                 disk,
		Lock:               lock,
		MemTableSize:       opts.memTable,
		FormatMajorVersion: pebbleFormat,
		Logger:             logger{opts.Logger},
	}
	// A damaged file fails the reads that meet it; Pebble would end the process.
	o.EventListener = &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		opts.Logger.Error("online store: damaged file", "details", info.String())
	}}
	o.EnsureDefaults()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = blockBytes
		o.Levels[i].IndexBlockSize = indexBlockBytes
	}
	db, err := pebble.Open(dir, o)
	switch {
	case err != nil && strings.Contains(err.Error(), "unknown format major version"):
		return nil, newerFormat(dir, err)
	case err != nil:
		return nil, &problem.Error{
			Code: problem.CodeOf(err), Err: err, Message: fmt.Sprintf("open online store %s: %v", dir, err),
			Suggestion: "if it stays so, move the folder away and materialize again",
		}
	}
	if err := checkFormat(db, dir); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func checkFormat(db *pebble.DB, dir string) error {
	found, err := get(db, []byte{spaceFormat})
	switch {
	case err != nil:
		return fmt.Errorf("open online store %s: %w", dir, err)
	case found == nil:
		return db.Set([]byte{spaceFormat}, []byte{formatVersion}, pebble.Sync)
	case !bytes.Equal(found, []byte{formatVersion}):
		return newerFormat(dir, fmt.Errorf("format %d, and this Provender reads %d", found[0], formatVersion))
	}
	return nil
}

// newerFormat is the error of a store that this Provender does not read.
func newerFormat(dir string, why error) error {
	return &problem.Error{
		Code: problem.Precondition, Err: why, Message: fmt.Sprintf("the online store %s is a newer Provender's: %v", dir, why),
		Suggestion: "use that one, or move the folder away and materialize again",
	}
}

// begin counts a call in, or reports that the store is closed; end counts it out.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return online.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) end() { s.calls.Done() }

// Close waits for calls under way and closes the store. A second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	s.calls.Wait()
	if s.disk.isBroken() {
		// What was acknowledged is on disk; the rest is not to be saved, and closing would wait for it. The folder stays
		// locked until the process ends, so that nobody opens it under this one.
		return nil
	}
	err := s.disk.run(s.db.Close)
	if s.disk.isBroken() {
		return err
	}
	return errors.Join(err, s.lock.Close())
}

// Ping reports whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	_, err := get(s.db, []byte{spaceFormat})
	return err
}

// Claim writes or checks the store's marker. The prefix is of no use here: the folder is the registry's own.
func (s *Store) Claim(ctx context.Context, registryID, _ string) (online.Identity, error) {
	if err := s.begin(ctx); err != nil {
		return online.Identity{}, err
	}
	defer s.end()
	s.marks.Lock()
	defer s.marks.Unlock()
	owner, incarnation, err := s.readClaim()
	switch {
	case errors.Is(err, online.ErrGenerationLost):
		incarnation = rand.Text()
		return online.Identity{Incarnation: incarnation, Created: true},
			s.set([]byte{spaceClaim}, appendClaim(nil, registryID, incarnation))
	case err != nil:
		return online.Identity{}, err
	case owner != registryID:
		return online.Identity{}, online.ErrForeignStore
	}
	return online.Identity{Incarnation: incarnation}, nil
}

// Identity reads the marker again: ErrGenerationLost where it is gone.
func (s *Store) Identity(ctx context.Context) (online.Identity, error) {
	if err := s.begin(ctx); err != nil {
		return online.Identity{}, err
	}
	defer s.end()
	_, incarnation, err := s.readClaim()
	return online.Identity{Incarnation: incarnation}, err
}

func (s *Store) readClaim() (owner, incarnation string, err error) {
	b, err := get(s.db, []byte{spaceClaim})
	if err != nil {
		return "", "", fmt.Errorf("read the online store's marker: %w", err)
	}
	if b == nil {
		return "", "", online.ErrGenerationLost
	}
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", "", fmt.Errorf("the online store's marker is damaged: %x", b)
	}
	return string(b[w : w+int(n)]), string(b[w+int(n):]), nil
}

// CreateGeneration writes a generation's marker.
func (s *Store) CreateGeneration(ctx context.Context, gen online.Generation) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	return s.set(appendMarker(nil, gen.ID), binary.AppendUvarint(nil, 0))
}

// Checkpoint records in a generation's marker that the writes of all runs up to c.Run were acknowledged.
func (s *Store) Checkpoint(ctx context.Context, c online.Checkpoint) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	s.marks.Lock()
	defer s.marks.Unlock()
	run, err := s.readMarker(c.ID)
	if err != nil || run >= c.Run {
		return err
	}
	return s.set(appendMarker(nil, c.ID), binary.AppendUvarint(nil, uint64(c.Run)))
}

// CheckGenerations returns those generations whose marker is gone, or is from before their checkpoint, as in a folder
// that was restored from a copy.
func (s *Store) CheckGenerations(ctx context.Context, expected []online.Checkpoint) (lost []online.GenerationID, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	for _, c := range expected {
		run, err := s.readMarker(c.ID)
		switch {
		case errors.Is(err, online.ErrGenerationLost):
			lost = append(lost, c.ID)
		case err != nil:
			return nil, err
		case run < c.Run:
			if err := s.deleteMarker(c.ID); err != nil {
				return nil, err
			}
			lost = append(lost, c.ID)
		}
	}
	return lost, nil
}

// checkMarker returns ErrGenerationLost where a generation has no marker.
func (s *Store) checkMarker(id online.GenerationID) error {
	_, err := s.readMarker(id)
	return err
}

// readMarker returns the run of a generation's checkpoint; ErrGenerationLost where there is no marker.
func (s *Store) readMarker(id online.GenerationID) (run int64, err error) {
	var buf [16]byte
	b, err := get(s.db, appendMarker(buf[:0], id))
	if err != nil {
		return 0, fmt.Errorf("read the marker of generation %d: %w", id, err)
	}
	if b == nil {
		return 0, online.ErrGenerationLost
	}
	x, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, fmt.Errorf("the marker of generation %d is damaged: %x", id, b)
	}
	return int64(x), nil
}

// get returns a copy of a value that is never empty, nil where there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(v), closer.Close()
}
