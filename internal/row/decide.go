package row

import (
	"bytes"
	"math/bits"

	"github.com/provender-dev/provender/internal/columnar"
)

// Decides returns the field (its declared index) whose bytes order the canonical encodings of row i of a and row j of b:
// the one that has the first byte in which they differ, and of several in that byte the one with its highest bit. -1 where
// the encodings are equal.
func (l *Layout) Decides(a []*columnar.Vector, i int, b []*columnar.Vector, j int) int {
	n := len(l.order)
	nullsA, nullsB := l.bitmap(n, a, i, isNull), l.bitmap(n, b, j, isNull)
	if f := l.differs(nullsA, nullsB); f >= 0 {
		// Where one row has no null at all, the byte before the bitmap decides.
		switch {
		case l.first(nullsA) < 0:
			return l.first(nullsB)
		case l.first(nullsB) < 0:
			return l.first(nullsA)
		}
		return f
	}
	if f := l.differs(l.bitmap(l.bools, a, i, isTrue), l.bitmap(l.bools, b, j, isTrue)); f >= 0 {
		return f
	}
	var x, y []byte
	for _, s := range l.order[l.bools:] {
		va, vb := a[s.declared], b[s.declared]
		if va.IsNull(i) {
			continue
		}
		if s.typ.List {
			x, y = appendList(x[:0], va, i), appendList(y[:0], vb, j)
		} else {
			x, y = appendValue(x[:0], va, i), appendValue(y[:0], vb, j)
		}
		if !bytes.Equal(x, y) {
			return s.declared
		}
	}
	return -1
}

func isNull(v *columnar.Vector, i int) bool { return v.IsNull(i) }

func isTrue(v *columnar.Vector, i int) bool { return v.Bools[i] && !v.IsNull(i) }

// bitmap returns a bit for each of the first n fields in canonical order.
func (l *Layout) bitmap(n int, cols []*columnar.Vector, i int, is func(*columnar.Vector, int) bool) []byte {
	b := make([]byte, bitmapLen(n))
	for k, s := range l.order[:n] {
		if is(cols[s.declared], i) {
			setBit(b, k)
		}
	}
	return b
}

// differs returns the field whose bit decides between two bitmaps, -1 where they are equal.
func (l *Layout) differs(a, b []byte) int {
	for k := range a {
		if x := a[k] ^ b[k]; x != 0 {
			return l.order[8*k+bits.Len8(x)-1].declared
		}
	}
	return -1
}

// first returns the first field of a bitmap, -1 where it has none.
func (l *Layout) first(b []byte) int {
	for k, x := range b {
		if x != 0 {
			return l.order[8*k+bits.TrailingZeros8(x)].declared
		}
	}
	return -1
}
