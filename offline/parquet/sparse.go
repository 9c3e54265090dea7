package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// Few rows of a page are read without decoding the others: which values are there is a bitmap to count in, indexes are
// taken from the runs where they lie, and values of a fixed width from the bytes of the page or the dictionary.

// sparse is the scratch memory of reading single rows.
type sparse struct {
	present []uint64 // of the page: a bit per row, set where its value is there
	raw     []byte   // of the dictionary, if its values are taken from their bytes
	values  int      // in raw; -1: there is none
	at      []int32  // per wanted row where its value is in the dictionary or among the page's, -1 for a null
}

// gather appends the values at rows, which are all in the page of the header.
func (c *chunk) gather(dst *columnar.Vector, h *pageHeader, rows []int32) error {
	body, err := c.body(h)
	if err != nil {
		return err
	}
	d := data{entries: int(h.values), present: int(h.values), encoding: h.encoding}
	_, defs, body, err := c.split(h, body)
	if err != nil {
		return fmt.Errorf("levels: %w", err)
	}
	d.body = body
	var present []uint64
	if c.leaf.maxDef > 0 && !allEqual(d.entries, c.leaf.maxDef, defs) {
		if present, err = c.presence(d.entries, defs); err != nil {
			return fmt.Errorf("levels: %w", err)
		}
		d.present = 0
		for _, w := range present {
			d.present += bits.OnesCount64(w)
		}
	}
	if err := c.checkNulls(h, &d); err != nil {
		return err
	}
	at := rank(c.sparse.at[:0], rows, int32(c.row), present)
	c.sparse.at = at
	switch {
	case h.encoding == format.RLEDictionary || h.encoding == plainDictionary:
		d.dict = true
		return c.gatherIndexed(dst, &d, rows, at)
	case h.encoding != format.Plain || c.leaf.width(c.elem.Kind) == 0:
		if present != nil { // an error names its row by them
			if c.defs, err = appendLevels(c.defs[:0], d.entries, c.leaf.maxDef, defs); err != nil {
				return fmt.Errorf("levels: %w", err)
			}
			d.defs = c.defs
		}
		values, err := c.source(&d)
		if err != nil {
			return err
		}
		return take(dst, values, at, c.most)
	}
	if d.present*c.leaf.width(c.elem.Kind) > len(d.body) {
		return errShort
	}
	return c.takeRaw(dst, d.body, rows, at)
}

// gatherIndexed appends values of the dictionary; at has their positions among the indexes of the page.
func (c *chunk) gatherIndexed(dst *columnar.Vector, d *data, rows, at []int32) error {
	size := c.sparse.values
	if size < 0 {
		if c.dict == nil {
			return errors.New("the page refers to a dictionary that is not there")
		}
		size = c.dict.Len()
	}
	if err := pickIndexes(at, d.present, size, d.body); err != nil {
		return err
	}
	if c.sparse.values >= 0 {
		return c.takeRaw(dst, c.sparse.raw, rows, at)
	}
	if i, err := c.firstFlaw(at); err != nil {
		return &ValueError{Row: int(rows[i]), Err: err}
	}
	return take(dst, c.dict, at, c.most)
}

// keepDictionary keeps the bytes of a dictionary of n values, if they can be taken singly; else it converts them.
func (c *chunk) keepDictionary(n int, body []byte) error {
	width := c.leaf.width(c.elem.Kind)
	if width == 0 {
		return c.dictionary(n, body)
	}
	if c.sparse.values >= 0 {
		return errSecondDictionary
	}
	if int64(n)*int64(width) > int64(len(body)) {
		return errShort
	}
	if c.meta.codec == format.Uncompressed {
		c.sparse.raw = append(c.sparse.raw[:0], body...)
	} else {
		// The page's own memory; the next pages take the other.
		c.sparse.raw, c.page = c.page, c.sparse.raw[:0]
	}
	c.sparse.values = n
	return nil
}

// width returns the bytes of a value in PLAIN encoding where takeRaw takes values singly, else 0.
func (l *leaf) width(kind columnar.Kind) int {
	switch {
	case l.form == formInt32 && (kind == columnar.Int32 || kind == columnar.Int64), l.form == formFloat:
		return 4
	case l.form == formInt64, l.form == formTimestamp, l.form == formDouble:
		return 8
	}
	return 0
}

// takeRaw appends the values at positions of src, -1 standing for a null, and names the row of one that can't be
// converted.
func (c *chunk) takeRaw(dst *columnar.Vector, src []byte, rows, at []int32) error {
	from := dst.Len()
	switch c.leaf.form {
	case formInt32:
		if c.elem.Kind == columnar.Int32 {
			dst.Int32s = pickRaw(dst.Int32s, at, func(p int) int32 { return int32(binary.LittleEndian.Uint32(src[p*4:])) })
		} else {
			dst.Int64s = pickRaw(dst.Int64s, at, func(p int) int64 { return int64(int32(binary.LittleEndian.Uint32(src[p*4:]))) })
		}
	case formFloat:
		if c.elem.Kind == columnar.Float32 {
			dst.Float32s = pickRaw(dst.Float32s, at, func(p int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(src[p*4:])) })
		} else {
			dst.Float64s = pickRaw(dst.Float64s, at, func(p int) float64 {
				return float64(math.Float32frombits(binary.LittleEndian.Uint32(src[p*4:])))
			})
		}
	case formDouble:
		dst.Float64s = pickRaw(dst.Float64s, at, func(p int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(src[p*8:])) })
	default:
		dst.Int64s = pickRaw(dst.Int64s, at, func(p int) int64 { return int64(binary.LittleEndian.Uint64(src[p*8:])) })
	}
	if c.leaf.form == formTimestamp {
		for i, p := range at {
			if p < 0 {
				continue
			}
			t, err := c.times.timestamp(dst.Int64s[from+i])
			if err != nil {
				return &ValueError{Row: int(rows[i]), Err: err}
			}
			dst.Int64s[from+i] = t
		}
	}
	markTaken(dst, from, at)
	return nil
}

// pickRaw appends the values at positions, the zero value for -1.
func pickRaw[T any](dst []T, at []int32, value func(int) T) []T {
	n := len(dst)
	dst = slices.Grow(dst, len(at))[:n+len(at)]
	out := dst[n:]
	for i, p := range at {
		var x T
		if p >= 0 {
			x = value(int(p))
		}
		out[i] = x
	}
	return dst
}

// presence returns a bit per row of a page, set where the value is there.
func (c *chunk) presence(n int, levels []byte) ([]uint64, error) {
	s := &c.sparse
	s.present = resizedBits(s.present, n)
	if c.leaf.maxDef == 1 {
		return s.present, unpackBits(s.present, n, levels)
	}
	var err error
	if c.defs, err = appendLevels(c.defs[:0], n, c.leaf.maxDef, levels); err != nil {
		return nil, err
	}
	for i, l := range c.defs {
		if l == c.leaf.maxDef {
			s.present[i>>6] |= 1 << (i & 63)
		}
	}
	return s.present, nil
}

// resizedBits returns n clear bits, in b's memory where it suffices.
func resizedBits(b []uint64, n int) []uint64 {
	words := (n + 63) / 64
	b = slices.Grow(b[:0], words)[:words]
	clear(b)
	return b
}

// unpackBits sets in dst, which is clear, the n bits of a hybrid of width 1.
func unpackBits(dst []uint64, n int, src []byte) error {
	for at := 0; at < n; {
		head, k := binary.Uvarint(src)
		if k <= 0 {
			return errShort
		}
		src = src[k:]
		if head&1 == 0 { // a run of one value
			if len(src) == 0 {
				return errShort
			}
			if src[0] > 1 {
				return errRun(uint64(src[0]), 1)
			}
			m := int(min(head>>1, uint64(n-at)))
			if src[0] != 0 {
				setBits(dst, at, m)
			}
			src = src[1:]
			at += m
			continue
		}
		m, groups := n-at, head>>1
		if groups < uint64(m) {
			m = min(m, int(groups)*8)
		}
		if (m+7)/8 > len(src) {
			return errShort
		}
		copyBits(dst, at, src, m)
		at += m
		src = src[min(groups, uint64(len(src))):]
	}
	return nil
}

// setBits sets the n bits from at on.
func setBits(dst []uint64, at, n int) {
	for n > 0 {
		m := min(n, 64-at&63)
		dst[at>>6] |= (1<<m - 1) << (at & 63)
		at, n = at+m, n-m
	}
}

// copyBits sets the n bits from at on as those of src are.
func copyBits(dst []uint64, at int, src []byte, n int) {
	for n > 0 {
		var w uint64
		if len(src) >= 8 {
			w = binary.LittleEndian.Uint64(src)
			src = src[8:]
		} else {
			for j, b := range src {
				w |= uint64(b) << (8 * j)
			}
			src = nil
		}
		m := min(n, 64)
		if m < 64 {
			w &= 1<<m - 1
		}
		dst[at>>6] |= w << (at & 63)
		if spill := at&63 + m - 64; spill > 0 {
			dst[at>>6+1] |= w >> (m - spill)
		}
		at, n = at+m, n-m
	}
}

// rank appends where the values of rows, ascending, are among those of their page that are there, -1 for a null. The
// page's first row is first; present nil: all are there.
func rank(dst, rows []int32, first int32, present []uint64) []int32 {
	if present == nil {
		for _, row := range rows {
			dst = append(dst, row-first)
		}
		return dst
	}
	word, before := 0, 0 // before: bits set in the words before word
	for _, row := range rows {
		i := int(row - first)
		for word < i>>6 {
			before += bits.OnesCount64(present[word])
			word++
		}
		w, bit := present[word], uint64(1)<<(i&63)
		if w&bit == 0 {
			dst = append(dst, -1)
		} else {
			dst = append(dst, int32(before+bits.OnesCount64(w&(bit-1))))
		}
	}
	return dst
}

// pickIndexes replaces positions among the n indexes of a page, ascending but for -1, which stays, by the indexes there,
// into a dictionary of size entries.
func pickIndexes(at []int32, n, size int, src []byte) error {
	if n == 0 {
		return nil
	}
	if len(src) == 0 {
		return errShort
	}
	width := uint(src[0])
	if width > 32 {
		return fmt.Errorf("dictionary indexes of %d bits", width)
	}
	if width == 0 {
		for i, p := range at {
			at[i] = min(p, 0)
		}
		if size == 0 {
			return errIndex(0, 0)
		}
		return nil
	}
	src = src[1:]
	mask, bytes := uint64(1)<<width-1, int(width+7)/8
	i := 0
	for end := 0; end < n; { // a run begins with value end
		head, k := binary.Uvarint(src)
		if k <= 0 {
			return errShort
		}
		src = src[k:]
		begin := end
		if head&1 == 0 { // a run of one value
			if len(src) < bytes {
				return errShort
			}
			v := uint64(0)
			for j := range bytes {
				v |= uint64(src[j]) << (8 * j)
			}
			if v > mask {
				return errRun(v, width)
			}
			src = src[bytes:]
			end += int(min(head>>1, uint64(n-end)))
			for ; i < len(at) && int(at[i]) < end; i++ {
				if at[i] >= 0 {
					if v >= uint64(size) {
						return errIndex(v, size)
					}
					at[i] = int32(v)
				}
			}
			continue
		}
		m, groups := n-end, head>>1
		if groups < uint64(m) {
			m = min(m, int(groups)*8)
		}
		if (uint64(m)*uint64(width)+7)/8 > uint64(len(src)) {
			return errShort
		}
		end += m
		for ; i < len(at) && int(at[i]) < end; i++ {
			if at[i] >= 0 {
				v := bitsAt(src, uint(int(at[i])-begin)*width, width)
				if v >= uint64(size) {
					return errIndex(v, size)
				}
				at[i] = int32(v)
			}
		}
		src = src[min(groups*uint64(width), uint64(len(src))):]
	}
	return nil
}

func errIndex(i uint64, size int) error {
	return fmt.Errorf("dictionary index %d, but the dictionary has %d entries", i, size)
}
