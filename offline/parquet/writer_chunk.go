package parquet

import (
	"encoding/binary"
	"math"
	"slices"

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

// Restart empties the chunk for another leaf and keeps its memory.
func (c *Chunk) Restart(leaf *Leaf) {
	c.leaf = leaf
	c.Reset()
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
	n := hi - lo
	c.appendValidity(v.Valid, lo, n)
	if v.Offsets != nil {
		for i := lo; i < hi; i++ {
			if !v.IsNull(i) {
				c.appendBytes(v.BytesAt(i))
			}
		}
		return
	}
	from := len(c.fixed)
	c.fixed = slices.Grow(c.fixed, n*c.leaf.width)[:from+n*c.leaf.width]
	dst := c.fixed[from:]
	switch v.Type.Kind {
	case columnar.Bool:
		for i, x := range v.Bools[lo:hi] {
			dst[i] = bit(x)
		}
	case columnar.Int32:
		for i, x := range v.Int32s[lo:hi] {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(x))
		}
	case columnar.Int64, columnar.Timestamp:
		for i, x := range v.Int64s[lo:hi] {
			binary.LittleEndian.PutUint64(dst[8*i:], uint64(x))
		}
	case columnar.Float32:
		for i, x := range v.Float32s[lo:hi] {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case columnar.Float64:
		for i, x := range v.Float64s[lo:hi] {
			binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(x))
		}
	}
	if v.Valid != nil {
		c.fixed = c.fixed[:from+compact(dst, c.leaf.width, c.def[len(c.def)-n:], c.leaf.maxDef)]
	}
}

// appendValidity appends a slot for each of n values from lo on.
func (c *Chunk) appendValidity(valid columnar.Bitmap, lo, n int) {
	from := len(c.def)
	c.def = slices.Grow(c.def, n)[:from+n]
	def := c.def[from:]
	c.slots += n
	if valid == nil {
		for i := range def {
			def[i] = c.leaf.maxDef
		}
		c.values += n
		return
	}
	present := 0
	null := c.leaf.maxDef - 1
	for i := range def {
		set := valid[(lo+i)>>3] >> ((lo + i) & 7) & 1
		def[i] = null + set
		present += int(set)
	}
	c.values += present
}

// compact moves the values that are there together, and returns the bytes they take.
func compact(values []byte, width int, def []byte, present byte) int {
	at := 0
	switch width {
	case 8:
		for i, level := range def {
			binary.LittleEndian.PutUint64(values[at:], binary.LittleEndian.Uint64(values[8*i:]))
			at += 8 & -int(bit(level == present))
		}
	case 4:
		for i, level := range def {
			binary.LittleEndian.PutUint32(values[at:], binary.LittleEndian.Uint32(values[4*i:]))
			at += 4 & -int(bit(level == present))
		}
	default:
		for i, level := range def {
			values[at] = values[i]
			at += int(bit(level == present))
		}
	}
	return at
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
