package parquet

import (
	"encoding/hex"
	"errors"
	"math"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

var errRange = errors.New("an integer beyond what its type here holds; cast the column to string, or rewrite the file")

func (c *chunk) convertUint64(dst *columnar.Vector, n int, e format.Encoding, src []byte) (err error) {
	at := len(dst.Int64s)
	if dst.Int64s, err = appendInt64s(dst.Int64s, n, e, src); err != nil {
		return err
	}
	for i, v := range dst.Int64s[at:] {
		if v < 0 && !c.reject(i, errRange) {
			return nil
		}
	}
	return nil
}

func (c *chunk) convertDecimal(dst *columnar.Vector, n int, e format.Encoding, src []byte) error {
	a := &byteArrays{offsets: []uint32{0}, page: c.limits.PageBytes}
	var err error
	if width := int(c.leaf.elem.length); c.leaf.elem.physical == format.FixedLenByteArray {
		if a.data, err = c.fixed(n, width, e, src); err == nil {
			for i := range n {
				a.offsets = append(a.offsets, uint32((i+1)*width))
			}
		}
	} else {
		err = a.decode(n, e, src, c.limits.ValueBytes, math.MaxUint32)
	}
	if err != nil {
		return err
	}
	for i := range n {
		v, ok := bigEndian(a.data[a.offsets[i]:a.offsets[i+1]])
		narrow := c.elem.Kind == columnar.Int32
		if (!ok || narrow && v != int64(int32(v))) && !c.reject(i, errRange) {
			return nil
		}
		if narrow {
			dst.Int32s = append(dst.Int32s, int32(v))
		} else {
			dst.Int64s = append(dst.Int64s, v)
		}
	}
	return nil
}

// bigEndian reads an integer in two's complement of any length but none; ok is false where int64 can't hold it.
func bigEndian(b []byte) (v int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	v = int64(int8(b[0]))
	for _, x := range b[1:] {
		if v>>55 != 0 && v>>55 != -1 {
			return 0, false
		}
		v = v<<8 | int64(x)
	}
	return v, true
}

const uuidBytes = 16

// convertUUID writes UUIDs in their canonical text, or as bytes where those are wanted.
func (c *chunk) convertUUID(dst *columnar.Vector, n int, e format.Encoding, src []byte) error {
	if c.elem.Kind == columnar.Bytes {
		return c.convertFixed(dst, n, e, src)
	}
	b, err := c.fixed(n, uuidBytes, e, src)
	if err != nil {
		return err
	}
	const size = 36
	if uint64(len(dst.Data))+uint64(n)*size > math.MaxUint32 {
		return tooMuchData()
	}
	var text [size]byte
	for ; len(b) > 0; b = b[uuidBytes:] {
		hex.Encode(text[:8], b[:4])
		hex.Encode(text[9:13], b[4:6])
		hex.Encode(text[14:18], b[6:8])
		hex.Encode(text[19:23], b[8:10])
		hex.Encode(text[24:], b[10:uuidBytes])
		text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
		dst.Data = append(dst.Data, text[:]...)
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Data)))
	}
	return nil
}
