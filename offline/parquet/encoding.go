package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// The decoders here read exactly n values from bytes that may be anything. Output is appended; nothing is allocated
// that the input does not fill or n does not bound.

var errShort = errors.New("the page ends before its last value")

func errEncoding(e format.Encoding, what string) error {
	return fmt.Errorf("encoding %s is not read for %s", e, what)
}

// appendHybrid appends n values of the RLE / bit-packing hybrid of the given width.
func appendHybrid[T uint8 | int32](dst []T, n int, width uint, src []byte) ([]T, error) {
	if width == 0 {
		return append(dst, make([]T, n)...), nil
	}
	mask := uint64(1)<<width - 1
	size := int(width+7) / 8
	at := len(dst)
	dst = append(dst, make([]T, n)...)
	for out := dst[at:]; len(out) > 0; {
		head, k := binary.Uvarint(src)
		if k <= 0 {
			return dst, errShort
		}
		src = src[k:]
		if head&1 == 0 { // a run of one value
			if len(src) < size {
				return dst, errShort
			}
			v := uint64(0)
			for i := range size {
				v |= uint64(src[i]) << (8 * i)
			}
			src = src[size:]
			if v > mask {
				return dst, errRun(v, width)
			}
			run := out[:min(head>>1, uint64(len(out)))]
			if v != 0 {
				for i := range run {
					run[i] = T(v)
				}
			}
			out = out[len(run):]
			continue
		}
		groups := head >> 1
		if groups == 0 {
			continue
		}
		// The last group may be cut off by a writer that knows how many values there are.
		m := len(out)
		if groups < uint64(m) {
			m = min(m, int(groups)*8)
		}
		if (uint64(m)*uint64(width)+7)/8 > uint64(len(src)) {
			return dst, errShort
		}
		unpack(out[:m], width, src)
		out = out[m:]
		src = src[min(groups*uint64(width), uint64(len(src))):]
	}
	return dst, nil
}

func errRun(v uint64, width uint) error {
	return fmt.Errorf("a run of the value %d, which does not fit its %d bits", v, width)
}

// unpack fills out with values of width bits, of which src holds enough.
func unpack[T uint8 | int32](out []T, width uint, src []byte) {
	mask := uint64(1)<<width - 1
	bit := uint(0)
	i := 0
	// A load of 8 bytes holds a whole value wherever it starts, as 7 + 32 bits < 64.
	for ; i < len(out) && int(bit>>3)+8 <= len(src); i++ {
		out[i] = T(binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7) & mask)
		bit += width
	}
	for ; i < len(out); i++ {
		var v uint64
		for j, b := range src[bit>>3 : min(int(bit>>3)+5, len(src))] {
			v |= uint64(b) << (8 * j)
		}
		out[i] = T(v >> (bit & 7) & mask)
		bit += width
	}
}

// appendLevels appends n levels of at most most.
func appendLevels(dst []uint8, n int, most uint8, src []byte) ([]uint8, error) {
	at := len(dst)
	dst, err := appendHybrid(dst, n, uint(bits.Len8(most)), src)
	if err != nil {
		return dst, err
	}
	for _, l := range dst[at:] {
		if l > most {
			return dst, fmt.Errorf("a level of %d is over the schema's %d", l, most)
		}
	}
	return dst, nil
}

// allEqual reports whether a hybrid of n values is one run of v, as it is of a page without nulls.
func allEqual(n int, v uint8, src []byte) bool {
	head, k := binary.Uvarint(src)
	return k > 0 && head&1 == 0 && head>>1 >= uint64(n) && len(src) > k && src[k] == v
}

// appendIndexes appends n positions in a dictionary of size entries.
func appendIndexes(dst []int32, n int, size int, src []byte) ([]int32, error) {
	if n == 0 {
		return dst, nil
	}
	if len(src) == 0 {
		return dst, errShort
	}
	width := uint(src[0])
	if width > 32 {
		return dst, fmt.Errorf("dictionary indexes of %d bits", width)
	}
	at := len(dst)
	dst, err := appendHybrid(dst, n, width, src[1:])
	if err != nil {
		return dst, err
	}
	for _, i := range dst[at:] {
		if uint32(i) >= uint32(size) {
			return dst, fmt.Errorf("dictionary index %d, but the dictionary has %d entries", uint32(i), size)
		}
	}
	return dst, nil
}

// appendBools appends n values of BOOLEAN.
func appendBools(dst []bool, n int, e format.Encoding, src []byte) ([]bool, error) {
	switch e {
	case format.Plain:
		if (n+7)/8 > len(src) {
			return dst, errShort
		}
		for i := range n {
			dst = append(dst, src[i>>3]&(1<<(i&7)) != 0)
		}
		return dst, nil
	case format.RLE:
		src, _, err := prefixed(src)
		if err != nil {
			return dst, err
		}
		raw, err := appendHybrid[uint8](nil, n, 1, src)
		for _, b := range raw {
			dst = append(dst, b != 0)
		}
		return dst, err
	}
	return dst, errEncoding(e, "BOOLEAN")
}

// prefixed splits off bytes that follow their length.
func prefixed(src []byte) (front, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errShort
	}
	n := binary.LittleEndian.Uint32(src)
	if uint64(n) > uint64(len(src)-4) {
		return nil, nil, errShort
	}
	return src[4 : 4+n], src[4+n:], nil
}

// appendInt32s appends n values of INT32.
func appendInt32s(dst []int32, n int, e format.Encoding, src []byte) ([]int32, error) {
	switch e {
	case format.Plain, format.ByteStreamSplit:
		if 4*n > len(src) {
			return dst, errShort
		}
		if e == format.ByteStreamSplit {
			src = merge(src[:4*n], 4)
		}
		at := len(dst)
		dst = slices.Grow(dst, n)[:at+n]
		out := dst[at:]
		for i := range out {
			out[i] = int32(binary.LittleEndian.Uint32(src[4*i:]))
		}
		return dst, nil
	case format.DeltaBinaryPacked:
		dst, _, err := appendDelta(dst, n, src)
		return dst, err
	}
	return dst, errEncoding(e, "INT32")
}

// appendInt64s appends n values of INT64.
func appendInt64s(dst []int64, n int, e format.Encoding, src []byte) ([]int64, error) {
	switch e {
	case format.Plain, format.ByteStreamSplit:
		if 8*n > len(src) {
			return dst, errShort
		}
		if e == format.ByteStreamSplit {
			src = merge(src[:8*n], 8)
		}
		at := len(dst)
		dst = slices.Grow(dst, n)[:at+n]
		out := dst[at:]
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
		}
		return dst, nil
	case format.DeltaBinaryPacked:
		dst, _, err := appendDelta(dst, n, src)
		return dst, err
	}
	return dst, errEncoding(e, "INT64")
}

// appendFloat32s appends n values of FLOAT.
func appendFloat32s(dst []float32, n int, e format.Encoding, src []byte) ([]float32, error) {
	if e != format.Plain && e != format.ByteStreamSplit {
		return dst, errEncoding(e, "FLOAT")
	}
	if 4*n > len(src) {
		return dst, errShort
	}
	if e == format.ByteStreamSplit {
		src = merge(src[:4*n], 4)
	}
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	out := dst[at:]
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return dst, nil
}

// appendFloat64s appends n values of DOUBLE.
func appendFloat64s(dst []float64, n int, e format.Encoding, src []byte) ([]float64, error) {
	if e != format.Plain && e != format.ByteStreamSplit {
		return dst, errEncoding(e, "DOUBLE")
	}
	if 8*n > len(src) {
		return dst, errShort
	}
	if e == format.ByteStreamSplit {
		src = merge(src[:8*n], 8)
	}
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	out := dst[at:]
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
	return dst, nil
}

// fixedBytes returns n values of FIXED_LEN_BYTE_ARRAY or INT96, one after the other.
func fixedBytes(n, width int, e format.Encoding, src []byte) ([]byte, error) {
	switch e {
	case format.Plain, format.ByteStreamSplit:
		if uint64(n)*uint64(width) > uint64(len(src)) {
			return nil, errShort
		}
		src = src[:n*width]
		if e == format.ByteStreamSplit {
			src = merge(src, width)
		}
		return src, nil
	case format.DeltaByteArray:
		var b byteArrays
		if err := b.deltaStrings(n, src, int64(width), math.MaxUint32); err != nil {
			return nil, err
		}
		if len(b.data) != n*width {
			return nil, fmt.Errorf("values that are not %d bytes long", width)
		}
		return b.data, nil
	}
	return nil, errEncoding(e, "fixed-length values")
}

// merge undoes BYTE_STREAM_SPLIT of values of the given width.
func merge(src []byte, width int) []byte {
	n := len(src) / width
	out := make([]byte, len(src))
	for k := range width {
		stream := src[k*n : (k+1)*n]
		for i, b := range stream {
			out[i*width+k] = b
		}
	}
	return out
}

// appendDelta appends n values of DELTA_BINARY_PACKED and returns what follows them. Sums wrap around, as the format
// asks.
func appendDelta[T int32 | int64](dst []T, n int, src []byte) ([]T, []byte, error) {
	if n == 0 && len(src) == 0 {
		return dst, nil, nil
	}
	t := thrift{buf: src} // the same variable-length integers
	block, minis, total := t.uvarint(), t.uvarint(), t.uvarint()
	value := t.zigzag()
	if t.err != nil {
		return dst, nil, errShort
	}
	if total != uint64(n) {
		return dst, nil, fmt.Errorf("a block of %d delta values where there should be %d", total, n)
	}
	if n == 0 { // arrow-go tells no blocks then
		return dst, t.buf[t.pos:], nil
	}
	if block == 0 || block > 1<<16 || minis == 0 || minis > block || block%minis != 0 || block/minis%8 != 0 {
		return dst, nil, fmt.Errorf("delta blocks of %d values in %d parts", block, minis)
	}
	per := int(block / minis)
	dst = append(dst, T(value))
	for left := n - 1; left > 0; {
		least := t.zigzag()
		if t.err != nil || uint64(len(t.buf)-t.pos) < minis {
			return dst, nil, errShort
		}
		widths := t.buf[t.pos : t.pos+int(minis)]
		t.pos += int(minis)
		for _, width := range widths {
			if left == 0 {
				break
			}
			if width > 64 {
				return dst, nil, fmt.Errorf("delta values of %d bits", width)
			}
			m := min(per, left)
			packed := t.buf[t.pos:min(t.pos+per*int(width)/8, len(t.buf))]
			if (m*int(width)+7)/8 > len(packed) {
				return dst, nil, errShort
			}
			t.pos += len(packed)
			for i := range m {
				value += least + int64(bitsAt(packed, uint(i)*uint(width), uint(width)))
				dst = append(dst, T(value))
			}
			left -= m
		}
	}
	return dst, t.buf[t.pos:], nil
}

// zigzag reads a signed integer of 64 bits.
func (t *thrift) zigzag() int64 { return t.int(64) }

// bitsAt returns up to 64 bits of src from the given bit on.
func bitsAt(src []byte, bit, width uint) uint64 {
	if width == 0 {
		return 0
	}
	var lo uint64
	at := int(bit >> 3)
	if at+8 <= len(src) {
		lo = binary.LittleEndian.Uint64(src[at:])
	} else {
		for j, b := range src[at:] {
			lo |= uint64(b) << (8 * j)
		}
	}
	lo >>= bit & 7
	if have := 64 - bit&7; width > have {
		lo |= uint64(src[at+8]) << have
	}
	if width < 64 {
		lo &= 1<<width - 1
	}
	return lo
}

// byteArrays collects variable-length values: value i is data[offsets[i]:offsets[i+1]].
type byteArrays struct {
	data    []byte
	offsets []uint32
	lengths []int32 // scratch
	prefix  []int32 // scratch
	page    int64   // what values of a page may take where prefixes repeat; 0: any number
}

// decode appends n values of BYTE_ARRAY, each of at most most bytes, data staying within room.
func (b *byteArrays) decode(n int, e format.Encoding, src []byte, most, room int64) error {
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	switch e {
	case format.Plain:
		return b.plain(n, src, most, room)
	case format.DeltaLengthByteArray:
		var err error
		if b.lengths, src, err = appendDelta(b.lengths[:0], n, src); err != nil {
			return err
		}
		for _, l := range b.lengths {
			if l < 0 || int(l) > len(src) {
				return errShort
			}
			if err := b.fits(int64(l), most, room); err != nil {
				return err
			}
			b.data = append(b.data, src[:l]...)
			b.offsets = append(b.offsets, uint32(len(b.data)))
			src = src[l:]
		}
		return nil
	case format.DeltaByteArray:
		return b.deltaStrings(n, src, most, room)
	}
	return errEncoding(e, "BYTE_ARRAY")
}

func (b *byteArrays) plain(n int, src []byte, most, room int64) error {
	for range n {
		if len(src) < 4 {
			return errShort
		}
		l := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if uint64(l) > uint64(len(src)) {
			return errShort
		}
		if err := b.fits(int64(l), most, room); err != nil {
			return err
		}
		b.data = append(b.data, src[:l]...)
		b.offsets = append(b.offsets, uint32(len(b.data)))
		src = src[l:]
	}
	return nil
}

// deltaStrings decodes DELTA_BYTE_ARRAY: each value is a prefix of the one before and a suffix.
func (b *byteArrays) deltaStrings(n int, src []byte, most, room int64) error {
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	var err error
	if b.prefix, src, err = appendDelta(b.prefix[:0], n, src); err != nil {
		return err
	}
	if b.lengths, src, err = appendDelta(b.lengths[:0], n, src); err != nil {
		return err
	}
	total := int64(0)
	for i, p := range b.prefix {
		if total += int64(p) + int64(b.lengths[i]); b.page > 0 && total > b.page {
			return &limitError{fmt.Sprintf("a page whose values take more than %d bytes is over the limit (limits.parquet_page)", b.page)}
		}
	}
	from, last := len(b.data), 0
	for i, p := range b.prefix {
		l := b.lengths[i]
		if p < 0 || int(p) > last || l < 0 || int(l) > len(src) {
			return errShort
		}
		if err := b.fits(int64(p)+int64(l), most, room); err != nil {
			return err
		}
		start := len(b.data)
		b.data = append(b.data, b.data[from:from+int(p)]...)
		b.data = append(b.data, src[:l]...)
		b.offsets = append(b.offsets, uint32(len(b.data)))
		src = src[l:]
		from, last = start, int(p)+int(l)
	}
	return nil
}

func (b *byteArrays) fits(n, most, room int64) error {
	if n > most {
		return &limitError{fmt.Sprintf("a value of %d bytes is over the limit of %d (limits.parquet_value)", n, most)}
	}
	if int64(len(b.data))+n > room {
		return &limitError{fmt.Sprintf("more than %d bytes of values at once; write smaller row groups, split a spine", room)}
	}
	return nil
}
