package serving

import (
	"hash/maphash"
	"slices"
	"sync"
)

// cacheSize is how many ad-hoc plans each half of a cache holds.
const cacheSize = 128

// cache remembers the plans of ad-hoc feature lists: those asked for last, between cacheSize and twice as many.
type cache struct {
	seed          maphash.Seed
	mu            sync.Mutex
	recent, older map[uint64]cached
}

type cached struct {
	features []string
	plan     *plan
}

// get returns the plan of a list, nil if it is not there.
func (c *cache) get(features []string) *plan {
	h := c.hash(features)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.recent[h]; ok && slices.Equal(e.features, features) {
		return e.plan
	}
	if e, ok := c.older[h]; ok && slices.Equal(e.features, features) {
		c.add(h, e)
		return e.plan
	}
	return nil
}

// put remembers the plan of a list, which it copies.
func (c *cache) put(features []string, p *plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(c.hash(features), cached{slices.Clone(features), p})
}

func (c *cache) add(h uint64, e cached) {
	if c.recent == nil || len(c.recent) >= cacheSize {
		c.older, c.recent = c.recent, make(map[uint64]cached, cacheSize)
	}
	c.recent[h] = e
}

func (c *cache) hash(features []string) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, f := range features {
		_, _ = h.WriteString(f)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
