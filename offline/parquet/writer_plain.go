package parquet

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// plainValues is values of one physical type: of fixed width back to back, or byte arrays by their offsets.
type plainValues struct {
	fixed []byte
	byteArrays
	scratch []byte // memory of fixed where that is not borrowed
}

// decode replaces the values by n decoded ones. They may borrow from src.
func (p *plainValues) decode(leaf *Leaf, n int, e format.Encoding, src []byte, limits Limits) error {
	switch leaf.physical {
	case byteArray:
		p.data, p.offsets = p.data[:0], p.offsets[:0]
		return p.byteArrays.decode(n, e, src, limits.ValueBytes, math.MaxUint32)
	case format.Boolean:
		values, err := appendBools(nil, n, e, src)
		if err != nil {
			return err
		}
		p.scratch = p.scratch[:0]
		for _, x := range values {
			p.scratch = append(p.scratch, bit(x))
		}
		p.fixed = p.scratch
		return nil
	}
	if err := p.fits(int64(leaf.width), limits.ValueBytes, math.MaxUint32); err != nil {
		return err
	}
	if e == format.Plain {
		size := n * leaf.width
		if len(src) < size {
			return errShort
		}
		p.fixed = src[:size]
		return nil
	}
	return p.decodeFixed(leaf, n, e, src)
}

// decodeFixed decodes values of fixed width from an encoding other than PLAIN.
func (p *plainValues) decodeFixed(leaf *Leaf, n int, e format.Encoding, src []byte) (err error) {
	dst := p.scratch[:0]
	switch leaf.physical {
	case format.Int32:
		var values []int32
		if values, err = appendInt32s(nil, n, e, src); err == nil {
			for _, x := range values {
				dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
			}
		}
	case format.Int64:
		var values []int64
		if values, err = appendInt64s(nil, n, e, src); err == nil {
			for _, x := range values {
				dst = binary.LittleEndian.AppendUint64(dst, uint64(x))
			}
		}
	default:
		// BYTE_STREAM_SPLIT and DELTA_BYTE_ARRAY treat a float as the bytes it has.
		dst, err = fixedBytes(n, leaf.width, e, src)
	}
	if err != nil {
		return err
	}
	if len(dst) != n*leaf.width {
		return fmt.Errorf("%d bytes where %d values take %d", len(dst), n, n*leaf.width)
	}
	p.fixed, p.scratch = dst, dst
	return nil
}

// lookUp replaces the values by those of a dictionary at positions, which have been checked against its length.
func (p *plainValues) lookUp(leaf *Leaf, dictionary *plainValues, positions []int32, limits Limits) error {
	if leaf.physical != byteArray {
		w := leaf.width
		if size := int64(len(positions)) * int64(w); size > limits.ChunkBytes {
			return errChunkBytes(size, limits)
		}
		p.scratch = p.scratch[:0]
		for _, at := range positions {
			p.scratch = append(p.scratch, dictionary.fixed[int(at)*w:(int(at)+1)*w]...)
		}
		p.fixed = p.scratch
		return nil
	}
	p.data, p.offsets = p.data[:0], append(p.offsets[:0], 0)
	for _, at := range positions {
		value := dictionary.data[dictionary.offsets[at]:dictionary.offsets[at+1]]
		if size := int64(len(p.data) + len(value)); size > min(limits.ChunkBytes, math.MaxUint32) {
			return errChunkBytes(size, limits)
		}
		p.data = append(p.data, value...)
		p.offsets = append(p.offsets, uint32(len(p.data)))
	}
	return nil
}

// errChunkBytes is the answer to small dictionaries of long values, which could grow without bound.
func errChunkBytes(size int64, limits Limits) error {
	return &limitError{fmt.Sprintf("%d bytes of values together are over the limit of %d (limits.parquet_chunk)", size, limits.ChunkBytes)}
}
