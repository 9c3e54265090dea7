package embedded

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/online"
)

const (
	bucketSlots = 8  // a line of the processor's cache
	slotBytes   = 64 // of a ring, per slot
	lengthBytes = 4  // an entry begins with its length
	positionBit = 48 // of a slot, for the position
	oldPart     = 3  // quarters of a ring after which an entry is old
	noVersion   = math.MaxUint64
)

// rowCache keeps entities as they were read last: finding one there takes a tenth of a seek. It is exact: who changes
// an entity's rows removes it before, and nobody puts it back until the change is done.
//
// An entity's entry has those of its rows that were asked for, absent ones too. Entries lie one behind the other in rings
// of bytes, which the garbage collector passes over. New ones overwrite the oldest; old ones that are asked for move to
// the front.
type rowCache struct {
	shards [shardCount]cacheShard
}

type cacheShard struct {
	mu       sync.Mutex
	changing int    // entities that change now
	version  uint64 // counts changes begun

	ring  []byte // made by the first put
	size  uint64 // of ring
	head  uint64 // position of the next entry. Positions only grow; the place in ring is position % size
	slots []slot // bucketSlots for each bucket of hashes
	buf   []byte
}

// slot is 16 bits of a hash and the position of an entry. 0 is free.
type slot uint64

func newSlot(hash, position uint64) slot { return slot(hash>>positionBit<<positionBit | position) }

func (s slot) position() uint64 { return uint64(s) & (1<<positionBit - 1) }

func (s slot) of(hash uint64) bool { return s != 0 && uint64(s)>>positionBit == hash>>positionBit }

// rowsOf is what a lookup wants of one entity, and gets.
type rowsOf struct {
	prefix []byte // what the store's keys of the entity's rows begin with
	ids    []online.GenerationID
	order  []int    // positions in ids, by id
	cells  [][]byte // as ids
}

func newRowCache(bytes int64) *rowCache {
	c := new(rowCache)
	for i := range c.shards {
		s := &c.shards[i]
		s.size = max(1, uint64(bytes)/shardCount*slotBytes/(slotBytes+8))
		s.head = s.size
	}
	return c
}

// hashOf returns the hash of an entity: it says which lock guards its rows, and where they are cached.
func hashOf(space online.KeyspaceID, key []byte) uint64 { return xxh3.HashSeed(key, uint64(space)) }

// shardOf returns the shard of a hash.
func shardOf(hash uint64) int { return int(hash % shardCount) }

func (c *rowCache) shard(hash uint64) *cacheShard { return &c.shards[shardOf(hash)] }

// begin forgets entities whose rows are about to change. end follows, whatever became of the change.
func (c *rowCache) begin(hashes []uint64) {
	for _, h := range hashes {
		s := c.shard(h)
		s.mu.Lock()
		s.changing++
		s.version++
		bucket := s.bucket(h)
		for i := range bucket {
			if bucket[i].of(h) {
				bucket[i] = 0
			}
		}
		s.mu.Unlock()
	}
}

func (c *rowCache) end(hashes []uint64) {
	for _, h := range hashes {
		s := c.shard(h)
		s.mu.Lock()
		s.changing--
		s.mu.Unlock()
	}
}

// get fills want's cells, appending their bytes to dst. Where it lacks one it reports false, and the version that put
// takes if the rows are read after this.
func (s *cacheShard) get(hash uint64, want rowsOf, dst []byte) (_ []byte, version uint64, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version = s.version
	if s.changing > 0 {
		version = noVersion
	}
	at := s.find(hash, want.prefix)
	if at == nil {
		return dst, version, false
	}
	entry := s.entry(at.position())
	has := newCells(entry[lengthBytes+len(want.prefix):])
	for _, f := range want.order {
		for has.ok && has.id < want.ids[f] {
			has.next()
		}
		if !has.ok || has.id != want.ids[f] {
			return dst, version, false
		}
		if has.row != nil {
			start := len(dst)
			dst = append(dst, has.row...)
			want.cells[f] = dst[start:len(dst):len(dst)]
		}
	}
	if s.head-at.position() > s.size/4*oldPart {
		*at = newSlot(hash, s.add(entry))
	}
	return dst, version, true
}

// put keeps what was read of an entity beside what it has of it, unless something changed since get told the version.
func (s *cacheShard) put(hash uint64, read rowsOf, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changing > 0 || s.version != version {
		return
	}
	if s.ring == nil {
		s.ring = make([]byte, s.size)
		s.slots = make([]slot, bucketSlots*max(1, s.size/slotBytes/bucketSlots))
	}
	at := s.find(hash, read.prefix)
	var has cells
	if at != nil {
		has = newCells(s.entry(at.position())[lengthBytes+len(read.prefix):])
	} else {
		at = s.oldest(hash)
	}
	b := s.buf[:0]
	b = append(b, 0, 0, 0, 0) // its length
	b = append(b, read.prefix...)
	for i, f := range read.order {
		id := read.ids[f]
		if i > 0 && read.ids[read.order[i-1]] == id {
			continue
		}
		for ; has.ok && has.id <= id; has.next() {
			if has.id < id {
				b = appendCell(b, has.id, has.row)
			}
		}
		b = appendCell(b, id, read.cells[f])
	}
	for ; has.ok; has.next() {
		b = appendCell(b, has.id, has.row)
	}
	s.buf = b
	if uint64(len(b)) > s.size/4 {
		return
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	*at = newSlot(hash, s.add(b))
}

// add puts an entry at the head of the ring, over the oldest.
func (s *cacheShard) add(entry []byte) (position uint64) {
	if left := s.size - s.head%s.size; left < uint64(len(entry)) {
		s.head += left
	}
	position = s.head
	copy(s.ring[position%s.size:], entry)
	s.head += uint64(len(entry))
	return position
}

// entry returns the entry at a position.
func (s *cacheShard) entry(position uint64) []byte {
	b := s.ring[position%s.size:]
	return b[:binary.LittleEndian.Uint32(b)]
}

func (s *cacheShard) bucket(hash uint64) []slot {
	if s.slots == nil {
		return nil
	}
	n := uint64(len(s.slots) / bucketSlots)
	i := hash / shardCount % n * bucketSlots
	return s.slots[i : i+bucketSlots]
}

// find returns the slot of an entity whose entry is whole, nil where there is none.
func (s *cacheShard) find(hash uint64, prefix []byte) *slot {
	bucket := s.bucket(hash)
	for i := range bucket {
		if at := &bucket[i]; at.of(hash) && s.head-at.position() <= s.size && bytes.HasPrefix(s.entry(at.position())[lengthBytes:], prefix) {
			return at
		}
	}
	return nil
}

// oldest returns the slot for a new entity: a free one, one whose entry was overwritten, or the one that is next.
func (s *cacheShard) oldest(hash uint64) *slot {
	bucket := s.bucket(hash)
	least := &bucket[0]
	for i := range bucket {
		if bucket[i].position() < least.position() {
			least = &bucket[i]
		}
	}
	return least
}

// cells are the rows in an entry, by generation: the generation, then 0 for an absent row or its length plus 1, the row.
type cells struct {
	id   online.GenerationID
	row  []byte // nil: absent
	ok   bool   // false at the end
	rest []byte
}

func newCells(b []byte) cells {
	c := cells{rest: b}
	c.next()
	return c
}

func (c *cells) next() {
	if c.ok = len(c.rest) > 0; !c.ok {
		return
	}
	id, w := binary.Uvarint(c.rest)
	n, v := binary.Uvarint(c.rest[w:])
	c.id, c.row, c.rest = online.GenerationID(id), nil, c.rest[w+v:]
	if n > 0 {
		c.row, c.rest = c.rest[:n-1], c.rest[n-1:]
	}
}

func appendCell(dst []byte, id online.GenerationID, row []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(id))
	if row == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(row))+1)
	return append(dst, row...)
}
