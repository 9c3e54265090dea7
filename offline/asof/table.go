package asof

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/internal/columnar"
)

// What stands in place of a number for a row that has none.
const (
	unknown = -1 // a key that no table knows, or a row that takes no part
	nullKey = -2
	badKey  = -3 // a key that can't be represented
	badTime = -5 // of a row whose event or created time can't be represented
	outside = -4 // a row of another job, or a dictionary's key that no row has
)

// A table numbers distinct keys densely, from 0, in the order of their first number. Safe for concurrent use, except
// that appendKey must not meet number.
type table interface {
	// find sets ids[i], where it is not negative, to the number of value i, unknown for none.
	find(values *columnar.Vector, ids []int32)
	// number is find, but gives new keys the next number.
	number(values *columnar.Vector, ids []int32)
	// appendKey appends the key of a number to dst.
	appendKey(dst *columnar.Vector, id int32)
	size() int
	// bytes is the memory that the table takes, at most; keyBytes that of one more key, its text left out.
	bytes() int64
	keyBytes() int64
	// reset forgets every key and keeps the memory. Not safe for concurrent use.
	reset()
}

func newTable(kind columnar.Kind) table {
	if kind == columnar.String {
		return newStringTable()
	}
	return newIntTable()
}

const firstSlots = 1 << 6

// What tables take per key, at most: their slots double when they are half full, and have room for as many keys.
const (
	intKeyBytes    = 4*16 + 2*8
	stringKeyBytes = 4*8 + 2*8
)

// intTable numbers integers: open addressing, at most half full.
type intTable struct {
	mu    sync.RWMutex
	slots []intSlot
	shift uint
	keys  []int64
}

type intSlot struct {
	key int64
	id  int32 // number + 1; 0: free
}

func newIntTable() *intTable {
	return &intTable{slots: make([]intSlot, firstSlots), shift: shiftFor(firstSlots)}
}

// shiftFor returns the shift that leaves as many high bits of a hash as a table of n slots needs.
func shiftFor(n int) uint { return uint(64 - bits.Len(uint(n-1))) }

// home returns the slot where the search for key begins.
func (t *intTable) home(key int64) int {
	// Two rounds: regular keys, such as multiples of a power of two, must spread too.
	h := uint64(key) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return int(h >> t.shift)
}

func (t *intTable) get(key int64) int32 {
	for i := t.home(key); ; i = (i + 1) & (len(t.slots) - 1) {
		s := &t.slots[i]
		if s.id == 0 {
			return unknown
		}
		if s.key == key {
			return s.id - 1
		}
	}
}

func (t *intTable) put(key int64) int32 {
	if 2*len(t.keys) >= len(t.slots) {
		t.grow()
	}
	for i := t.home(key); ; i = (i + 1) & (len(t.slots) - 1) {
		s := &t.slots[i]
		if s.id == 0 {
			t.keys = append(t.keys, key)
			*s = intSlot{key, int32(len(t.keys))}
			return s.id - 1
		}
		if s.key == key {
			return s.id - 1
		}
	}
}

func (t *intTable) grow() {
	old := t.slots
	t.slots = make([]intSlot, 2*len(old))
	t.keys = slices.Grow(t.keys, len(old)-len(t.keys))
	t.shift--
	for _, s := range old {
		if s.id == 0 {
			continue
		}
		i := t.home(s.key)
		for t.slots[i].id != 0 {
			i = (i + 1) & (len(t.slots) - 1)
		}
		t.slots[i] = s
	}
}

func (t *intTable) findInts(keys []int64, ids []int32) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, id := range ids {
		if id >= 0 {
			ids[i] = t.get(keys[i])
		}
	}
}

func (t *intTable) numberInts(keys []int64, ids []int32) {
	t.findInts(keys, ids)
	if !slices.Contains(ids, unknown) {
		return // as most often; others may go on reading
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, id := range ids {
		if id == unknown {
			ids[i] = t.put(keys[i])
		}
	}
}

func (t *intTable) find(values *columnar.Vector, ids []int32)   { t.findInts(values.Int64s, ids) }
func (t *intTable) number(values *columnar.Vector, ids []int32) { t.numberInts(values.Int64s, ids) }
func (t *intTable) appendKey(dst *columnar.Vector, id int32)    { dst.AppendInt64(t.keys[id]) }

func (t *intTable) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.keys)
}

func (t *intTable) keyBytes() int64 { return intKeyBytes }
func (t *intTable) bytes() int64    { return int64(t.size()) * intKeyBytes }

func (t *intTable) reset() {
	clear(t.slots)
	t.keys = t.keys[:0]
}

// stringTable numbers strings: open addressing, at most half full, the bytes of all keys in one slice.
type stringTable struct {
	mu    sync.RWMutex
	slots []stringSlot
	shift uint
	ends  []int64 // key id ends at ends[id+1] of data
	data  []byte
}

type stringSlot struct {
	tag uint32 // low half of the hash
	id  int32  // number + 1; 0: free
}

func newStringTable() *stringTable {
	return &stringTable{slots: make([]stringSlot, firstSlots), shift: shiftFor(firstSlots), ends: []int64{0}}
}

func (t *stringTable) key(id int32) []byte { return t.data[t.ends[id]:t.ends[id+1]] }

func (t *stringTable) get(key []byte) int32 {
	h := xxh3.Hash(key)
	for i := int(h >> t.shift); ; i = (i + 1) & (len(t.slots) - 1) {
		s := t.slots[i]
		if s.id == 0 {
			return unknown
		}
		if s.tag == uint32(h) && bytes.Equal(t.key(s.id-1), key) {
			return s.id - 1
		}
	}
}

func (t *stringTable) put(key []byte) int32 {
	if 2*t.len() >= len(t.slots) {
		t.grow()
	}
	h := xxh3.Hash(key)
	for i := int(h >> t.shift); ; i = (i + 1) & (len(t.slots) - 1) {
		s := &t.slots[i]
		if s.id == 0 {
			t.data = append(t.data, key...)
			t.ends = append(t.ends, int64(len(t.data)))
			*s = stringSlot{uint32(h), int32(t.len())}
			return s.id - 1
		}
		if s.tag == uint32(h) && bytes.Equal(t.key(s.id-1), key) {
			return s.id - 1
		}
	}
}

func (t *stringTable) grow() {
	n := 2 * len(t.slots)
	t.slots = make([]stringSlot, n)
	t.ends = slices.Grow(t.ends, n/2+1-len(t.ends))
	t.shift--
	for id := range int32(t.len()) {
		h := xxh3.Hash(t.key(id))
		i := int(h >> t.shift)
		for t.slots[i].id != 0 {
			i = (i + 1) & (n - 1)
		}
		t.slots[i] = stringSlot{uint32(h), id + 1}
	}
}

func (t *stringTable) find(values *columnar.Vector, ids []int32) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, id := range ids {
		if id >= 0 {
			ids[i] = t.get(values.BytesAt(i))
		}
	}
}

func (t *stringTable) number(values *columnar.Vector, ids []int32) {
	t.find(values, ids)
	if !slices.Contains(ids, unknown) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, id := range ids {
		if id == unknown {
			ids[i] = t.put(values.BytesAt(i))
		}
	}
}

func (t *stringTable) appendKey(dst *columnar.Vector, id int32) { dst.AppendBytes(t.key(id)) }

func (t *stringTable) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.len()
}

func (t *stringTable) keyBytes() int64 { return stringKeyBytes }

func (t *stringTable) bytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(t.len())*stringKeyBytes + textBytes(int64(len(t.data)))
}

// textBytes is what so many bytes of text take in a slice that grows.
func textBytes(n int64) int64 { return n + n/4 }

func (t *stringTable) reset() {
	clear(t.slots)
	t.ends, t.data = t.ends[:1], t.data[:0]
}

func (t *stringTable) len() int { return len(t.ends) - 1 }
