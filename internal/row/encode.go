package row

import (
	"encoding/binary"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

// The first byte of the canonical encoding: the format's version in the upper half, flags in the lower.
const (
	version   = 1 << 4
	flagNulls = 1 // a bitmap of nulls follows
)

// AppendBody appends the canonical encoding (R4) of row i of cols, one vector per field.
func (l *Layout) AppendBody(dst []byte, cols []*columnar.Vector, i int) []byte {
	head := len(dst)
	dst = append(dst, version)
	for j, s := range l.order {
		if cols[s.declared].IsNull(i) {
			if dst[head]&flagNulls == 0 {
				dst[head] |= flagNulls
				dst = appendZeros(dst, bitmapLen(len(l.order)))
			}
			setBit(dst[head+1:], j)
		}
	}
	start := len(dst)
	dst = appendZeros(dst, bitmapLen(l.bools))
	for j, s := range l.order[:l.bools] {
		if v := cols[s.declared]; v.Bools[i] && !v.IsNull(i) {
			setBit(dst[start:], j)
		}
	}
	for _, s := range l.order[l.bools:] {
		if v := cols[s.declared]; v.IsNull(i) {
			continue
		} else if s.typ.List {
			dst = appendList(dst, v, i)
		} else {
			dst = appendValue(dst, v, i)
		}
	}
	return dst
}

// appendValue appends value i of v, which is not null, not a bool and not a list.
func appendValue(dst []byte, v *columnar.Vector, i int) []byte {
	switch v.Type.Kind {
	case columnar.Float64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float64s[i]))
	case columnar.Timestamp:
		return binary.LittleEndian.AppendUint64(dst, uint64(v.Int64s[i]))
	case columnar.Float32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v.Float32s[i]))
	case columnar.Int64:
		return binary.AppendVarint(dst, v.Int64s[i])
	case columnar.Int32:
		return binary.AppendVarint(dst, int64(v.Int32s[i]))
	default:
		b := v.BytesAt(i)
		return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
	}
}

// appendList appends list i of v: its length and whether it has nulls, their bitmap, then the values as fields have
// them, bools as a bitmap.
func appendList(dst []byte, v *columnar.Vector, i int) []byte {
	from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
	n, elem := to-from, v.Elem
	head := uint64(n) << 1
	for k := from; k < to; k++ {
		if elem.IsNull(k) {
			head |= 1
			break
		}
	}
	dst = binary.AppendUvarint(dst, head)
	if head&1 != 0 {
		start := len(dst)
		dst = appendZeros(dst, bitmapLen(n))
		for k := range n {
			if elem.IsNull(from + k) {
				setBit(dst[start:], k)
			}
		}
	}
	if elem.Type.Kind == columnar.Bool {
		start := len(dst)
		dst = appendZeros(dst, bitmapLen(n))
		for k := range n {
			if elem.Bools[from+k] && !elem.IsNull(from+k) {
				setBit(dst[start:], k)
			}
		}
		return dst
	}
	for k := from; k < to; k++ {
		if !elem.IsNull(k) {
			dst = appendValue(dst, elem, k)
		}
	}
	return dst
}

func bitmapLen(n int) int { return (n + 7) / 8 }

func setBit(b []byte, i int) { b[i>>3] |= 1 << (i & 7) }

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, 0)
	}
	return dst
}
