package columnar

import "math/bits"

// Bitmap is one bit per value, least significant first, as Arrow has it: set means present.
type Bitmap []byte

// Get reports whether bit i is set.
func (b Bitmap) Get(i int) bool { return b[i>>3]&(1<<(i&7)) != 0 }

// Append adds bit number n, which must be the next one, and returns the bitmap.
func (b Bitmap) Append(n int, set bool) Bitmap {
	if n&7 == 0 {
		b = append(b, 0)
	}
	if set {
		b[n>>3] |= 1 << (n & 7)
	}
	return b
}

// ones returns a bitmap of n set bits in b's memory where it suffices.
func (b Bitmap) ones(n int) Bitmap {
	b = b[:0]
	for range n >> 3 {
		b = append(b, 0xff)
	}
	if n&7 != 0 {
		b = append(b, 1<<(n&7)-1)
	}
	return b
}

// Count returns how many of the first n bits are set.
func (b Bitmap) Count(n int) int {
	c := 0
	for _, x := range b[:n>>3] {
		c += bits.OnesCount8(x)
	}
	if n&7 != 0 {
		c += bits.OnesCount8(b[n>>3] & (1<<(n&7) - 1))
	}
	return c
}
