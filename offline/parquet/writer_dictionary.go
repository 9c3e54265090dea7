package parquet

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
	"github.com/zeebo/xxh3"
)

const (
	// dictionaryBytes is where a dictionary stops to pay: readers keep it in memory for the whole chunk.
	dictionaryBytes = 1 << 20
	// dictionarySample values, spread over the chunk, tell about how many distinct ones there are.
	dictionarySample = 2048
)

// dictionary is the distinct values of a chunk in order of first use, and every value's index among them. Floats are
// told apart by their bits (R10). Its memory is reused from chunk to chunk.
type dictionary struct {
	from   *Chunk
	values *Chunk
	index  []int32

	slots []int32  // hash table: an index into values + 1, 0 where free
	shift uint     // of hashes, to the size of slots
	words []uint64 // values of four or eight bytes
	tags  []uint32 // of the other values: half of their hashes
	seen  []int32  // in the sample, how often each value was
}

// build reports whether a dictionary pays for a chunk, and makes it where it does. What it says is a function of the
// values.
func (d *dictionary) build(c *Chunk) bool {
	if c.leaf.physical == format.Boolean || c.leaf.physical == format.Int96 || c.values < 16 {
		return false
	}
	d.from = c
	distinct := d.estimate()
	if !d.pays(distinct) {
		return false
	}
	d.reset(distinct)
	most := c.values - 1
	for !d.pays(most) {
		most -= (most + 15) / 16
	}
	d.index = d.index[:0]
	for i := range c.values {
		d.index = append(d.index, d.add(i))
		if d.values.values > most || len(d.values.fixed)+len(d.values.data) > dictionaryBytes {
			return false
		}
	}
	return true
}

// estimate returns about how many distinct values the chunk has, from a sample: those that were seen, and by Chao's
// estimator, of those that were not, as many as the ones seen once and twice let expect.
func (d *dictionary) estimate() int {
	stride := max(1, d.from.values/dictionarySample)
	d.reset(dictionarySample)
	d.seen = d.seen[:0]
	for i := 0; i < d.from.values; i += stride {
		at := d.add(i)
		if int(at) == len(d.seen) {
			d.seen = append(d.seen, 0)
		}
		d.seen[at]++
	}
	if stride == 1 {
		return len(d.seen)
	}
	once, twice := 0, 0
	for _, n := range d.seen {
		switch n {
		case 1:
			once++
		case 2:
			twice++
		}
	}
	return min(len(d.seen)+once*(once-1)/(2*(twice+1)), d.from.values)
}

// pays reports whether so many distinct values and their indexes take at most three quarters of the plain values.
func (d *dictionary) pays(distinct int) bool {
	n := d.from.values
	plain := n * d.from.leaf.width
	if d.from.leaf.physical == byteArray {
		plain = 4*n + len(d.from.data)
	}
	entries := plain / n * distinct
	return entries <= dictionaryBytes && entries+n*indexWidth(distinct)/8 <= plain/4*3
}

// indexWidth returns the bits of an index into so many values.
func indexWidth(distinct int) int { return max(1, bits.Len(uint(distinct-1))) }

// reset empties the dictionary, with room for about that many values.
func (d *dictionary) reset(room int) {
	if d.values == nil || d.values.leaf != d.from.leaf {
		d.values = NewChunk(d.from.leaf, 0)
	}
	d.values.Reset()
	d.words, d.tags = d.words[:0], d.tags[:0]
	size := 1 << max(6, bits.Len(uint(2*room)))
	if cap(d.slots) < size {
		d.slots = make([]int32, size)
	}
	d.slots = d.slots[:size]
	clear(d.slots)
	d.shift = uint(64 - bits.TrailingZeros(uint(size)))
}

// add returns the index of value i of the chunk, which is a new one where it was not seen yet.
func (d *dictionary) add(i int) int32 {
	if 2*d.values.values >= len(d.slots) {
		d.grow()
	}
	switch w := d.from.leaf.width; {
	case w == 8:
		return d.addWord(binary.LittleEndian.Uint64(d.from.fixed[i*8:]))
	case w == 4:
		return d.addWord(uint64(binary.LittleEndian.Uint32(d.from.fixed[i*4:])))
	case d.from.leaf.physical == byteArray:
		return d.addBytes(d.from.bytesAt(i))
	default:
		return d.addBytes(d.from.fixed[i*w : (i+1)*w])
	}
}

// hashWord spreads a word over the high bits, which take part in a slot's number.
func hashWord(x uint64) uint64 { return (x ^ x>>32) * 0x9E3779B97F4A7C15 }

func (d *dictionary) addWord(word uint64) int32 {
	mask := len(d.slots) - 1
	for at := int(hashWord(word) >> d.shift); ; at = (at + 1) & mask {
		i := d.slots[at] - 1
		if i < 0 {
			i = int32(d.values.values)
			d.slots[at] = i + 1
			d.words = append(d.words, word)
			if d.from.leaf.width == 4 {
				d.values.fixed = binary.LittleEndian.AppendUint32(d.values.fixed, uint32(word))
			} else {
				d.values.fixed = binary.LittleEndian.AppendUint64(d.values.fixed, word)
			}
			d.values.values++
			return i
		}
		if d.words[i] == word {
			return i
		}
	}
}

func (d *dictionary) addBytes(b []byte) int32 {
	hash := xxh3.Hash(b)
	mask := len(d.slots) - 1
	for at := int(hash >> d.shift); ; at = (at + 1) & mask {
		i := d.slots[at] - 1
		if i < 0 {
			i = int32(d.values.values)
			d.slots[at] = i + 1
			d.tags = append(d.tags, uint32(hash))
			if d.from.leaf.physical == byteArray {
				d.values.appendBytes(b)
			} else {
				d.values.fixed = append(d.values.fixed, b...)
			}
			d.values.values++
			return i
		}
		if d.tags[i] == uint32(hash) && bytes.Equal(d.bytesAt(i), b) {
			return i
		}
	}
}

func (d *dictionary) bytesAt(i int32) []byte {
	if d.from.leaf.physical == byteArray {
		return d.values.bytesAt(int(i))
	}
	w := d.from.leaf.width
	return d.values.fixed[int(i)*w : (int(i)+1)*w]
}

// grow doubles the hash table.
func (d *dictionary) grow() {
	size := 2 * len(d.slots)
	d.slots = make([]int32, size)
	d.shift--
	for i := range int32(d.values.values) {
		var hash uint64
		if len(d.words) > 0 {
			hash = hashWord(d.words[i])
		} else {
			hash = xxh3.Hash(d.bytesAt(i))
		}
		at := int(hash >> d.shift)
		for d.slots[at] != 0 {
			at = (at + 1) & (size - 1)
		}
		d.slots[at] = i + 1
	}
}
