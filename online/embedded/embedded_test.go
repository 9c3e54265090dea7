package embedded

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

func TestConformance(t *testing.T) {
	onlinetest.Run(t, func(t *testing.T) onlinetest.Subject {
		dir := t.TempDir()
		var s *Store
		must := func(t *testing.T, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		return onlinetest.Subject{
			Open: func(t *testing.T) online.Store {
				var err error
				s, err = Open(dir, Options{DropRate: 1 << 30})
				must(t, err)
				return s
			},
			LoseMarker: func(t *testing.T, gen online.GenerationID) {
				must(t, s.db.Delete(appendMarker(nil, gen), pebble.Sync))
			},
			LoseAll: func(t *testing.T) {
				must(t, s.db.DeleteRange([]byte{0}, []byte{255}, pebble.Sync))
				s.rows.clear()
			},
			Overwrite: func(t *testing.T, gen online.Generation, key, stored []byte) {
				k := appendOrdered(appendEntity(appendKeyspace(nil, gen.Keyspace), key), uint64(gen.ID))
				must(t, s.db.Set(k, stored, pebble.Sync))
				s.rows.clear()
			},
		}
	})
}

// clear forgets everything.
func (c *rowCache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.version++
		clear(s.slots)
		s.mu.Unlock()
	}
}
