package embedded

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/provender-dev/provender/online"
)

// TestShardsLockedUntilSynced: from the comparison until the rows are on disk, nobody else compares rows of these keys.
func TestShardsLockedUntilSynced(t *testing.T) {
	entries := batch(1)
	var s *Store
	var writing, looked atomic.Bool // the log is written by a goroutine of its own
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if !writing.Load() || !sync || !strings.HasSuffix(op.Path, ".log") || looked.Swap(true) {
			return nil
		}
		for _, e := range entries {
			if shard := &s.shards[shardOf(hashOf(gen.Keyspace, e.Key))]; shard.TryLock() {
				shard.Unlock()
				t.Errorf("key %x is free while its row is written", e.Key)
			}
		}
		return nil
	}))
	var err error
	if s, err = Open(t.TempDir(), Options{fs: fs}); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	writing.Store(true)
	if _, err := s.Write(t.Context(), gen, entries, online.WinNewest); err != nil {
		t.Fatal(err)
	}
	if !looked.Load() {
		t.Error("the write was not synced")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
