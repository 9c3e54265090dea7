package parquet

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"
)

const (
	// dictionaryBytes is where a dictionary stops to pay: readers keep it in memory for the whole chunk.
	dictionaryBytes = 1 << 20
	// dictionarySample values, spread over the chunk, decide whether building one is worth trying.
	dictionarySample = 2048
)

// buildDictionary returns the distinct values of a chunk in order of first use, and every value's index, or a nil
// index where values repeat too little. Floats are told apart by their bits (R10).
func buildDictionary(c *Chunk) (*Chunk, []int32) {
	if c.leaf.physical == format.Boolean || c.leaf.physical == format.Int96 || c.values < 16 {
		return nil, nil
	}
	d := dictionaryBuilder{from: c, dictionary: NewChunk(c.leaf, 0)}
	if c.leaf.width == 4 || c.leaf.width == 8 {
		d.words = map[uint64]int32{}
	} else {
		d.texts = map[string]int32{}
	}
	stride := max(1, c.values/dictionarySample)
	sampled := 0
	for i := 0; i < c.values; i += stride {
		d.add(i)
		sampled++
	}
	if d.dictionary.values > sampled*3/4 {
		return nil, nil
	}
	d.reset()
	index := make([]int32, c.values)
	for i := range c.values {
		index[i] = d.add(i)
		if d.dictionary.values > c.values/2+8 || len(d.dictionary.fixed)+len(d.dictionary.data) > dictionaryBytes {
			return nil, nil
		}
	}
	return d.dictionary, index
}

type dictionaryBuilder struct {
	from, dictionary *Chunk
	words            map[uint64]int32 // values of four or eight bytes
	texts            map[string]int32 // others
}

func (d *dictionaryBuilder) reset() {
	d.dictionary.Reset()
	clear(d.words)
	clear(d.texts)
}

// add returns the index of value i, which is a new one where it was not seen yet.
func (d *dictionaryBuilder) add(i int) int32 {
	next := int32(d.dictionary.values)
	if d.words != nil {
		var word uint64
		w := d.from.leaf.width
		b := d.from.fixed[i*w : (i+1)*w]
		if w == 4 {
			word = uint64(binary.LittleEndian.Uint32(b))
		} else {
			word = binary.LittleEndian.Uint64(b)
		}
		if at, seen := d.words[word]; seen {
			return at
		}
		d.words[word] = next
		d.dictionary.fixed = append(d.dictionary.fixed, b...)
		d.dictionary.values++
		return next
	}
	var b []byte
	if w := d.from.leaf.width; d.from.leaf.physical == byteArray {
		b = d.from.bytesAt(i)
	} else {
		b = d.from.fixed[i*w : (i+1)*w]
	}
	if at, seen := d.texts[string(b)]; seen {
		return at
	}
	d.texts[string(b)] = next
	if d.from.leaf.physical == byteArray {
		d.dictionary.appendBytes(b)
	} else {
		d.dictionary.fixed = append(d.dictionary.fixed, b...)
	}
	d.dictionary.values++
	return next
}
