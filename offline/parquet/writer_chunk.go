package parquet

import (
	"encoding/binary"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

// Chunk is the values of one leaf column in one row group before encoding, as Parquet has them: levels for every slot,
// values for the present ones.
type Chunk struct {
	leaf     *Leaf
	rows     int
	slots    int    // levels: one per row, or more under a repeated field
	values   int    // present values
	rep, def []byte // per slot; empty where the leaf's maximum is 0
	fixed    []byte // values of fixed width, little endian
	data     []byte // BYTE_ARRAY values, back to back
	ends     []int  // of BYTE_ARRAY values in data
}

// NewChunk returns an empty chunk of a leaf with room for about that many rows.
func NewChunk(leaf *Leaf, rows int) *Chunk {
	c := &Chunk{leaf: leaf}
	if leaf.maxDef > 0 {
		c.def = make([]byte, 0, rows)
	}
	if leaf.physical == byteArray {
		c.ends = make([]int, 0, rows)
	} else {
		c.fixed = make([]byte, 0, rows*leaf.width)
	}
	return c
}

// Reset empties the chunk and keeps its memory.
func (c *Chunk) Reset() {
	*c = Chunk{
		leaf: c.leaf,
		rep:  c.rep[:0], def: c.def[:0], fixed: c.fixed[:0], data: c.data[:0], ends: c.ends[:0],
	}
}

// Rows returns the rows of the chunk.
func (c *Chunk) Rows() int { return c.rows }

func (c *Chunk) bytesAt(i int) []byte {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.data[start:c.ends[i]]
}

// Append appends all values of v, whose type the leaf was added with.
func (c *Chunk) Append(v *columnar.Vector) {
	c.rows += v.Len()
	if !v.Type.List {
		c.appendFlat(v, 0, v.Len())
		return
	}
	// Definition levels: 0 null list, 1 empty list, 2 null element, 3 element.
	for i := range v.Len() {
		from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
		switch {
		case v.IsNull(i):
			c.appendSlot(0, 0)
			continue
		case from == to:
			c.appendSlot(0, 1)
			continue
		}
		for j := from; j < to; j++ {
			rep := byte(1)
			if j == from {
				rep = 0
			}
			c.rep = append(c.rep, rep)
		}
		c.appendFlat(v.Elem, from, to)
	}
}

func (c *Chunk) appendSlot(rep, def byte) {
	c.rep = append(c.rep, rep)
	c.def = append(c.def, def)
	c.slots++
}

// appendFlat appends the values [lo, hi) of a vector of scalars, each at the deepest level, a null one above it.
func (c *Chunk) appendFlat(v *columnar.Vector, lo, hi int) {
	for i := lo; i < hi; i++ {
		level := c.leaf.maxDef
		if v.IsNull(i) {
			level--
		} else {
			c.values++
		}
		c.def = append(c.def, level)
	}
	c.slots += hi - lo
	switch v.Type.Kind {
	case columnar.Bool:
		for i, x := range v.Bools[lo:hi] {
			if !v.IsNull(lo + i) {
				c.fixed = append(c.fixed, bit(x))
			}
		}
	case columnar.Int32:
		for i, x := range v.Int32s[lo:hi] {
			if !v.IsNull(lo + i) {
				c.fixed = binary.LittleEndian.AppendUint32(c.fixed, uint32(x))
			}
		}
	case columnar.Int64, columnar.Timestamp:
		for i, x := range v.Int64s[lo:hi] {
			if !v.IsNull(lo + i) {
				c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(x))
			}
		}
	case columnar.Float32:
		for i, x := range v.Float32s[lo:hi] {
			if !v.IsNull(lo + i) {
				c.fixed = binary.LittleEndian.AppendUint32(c.fixed, math.Float32bits(x))
			}
		}
	case columnar.Float64:
		for i, x := range v.Float64s[lo:hi] {
			if !v.IsNull(lo + i) {
				c.fixed = binary.LittleEndian.AppendUint64(c.fixed, math.Float64bits(x))
			}
		}
	case columnar.String, columnar.Bytes:
		for i := lo; i < hi; i++ {
			if !v.IsNull(i) {
				c.appendBytes(v.BytesAt(i))
			}
		}
	}
}

func (c *Chunk) appendBytes(b []byte) {
	c.data = append(c.data, b...)
	c.ends = append(c.ends, len(c.data))
}

func bit(x bool) byte {
	if x {
		return 1
	}
	return 0
}
