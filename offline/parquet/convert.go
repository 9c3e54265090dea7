package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
)

// fits reports whether a column's values may become a kind: as they are, or widened (R10).
func (l *leaf) fits(kind columnar.Kind) bool {
	switch l.form {
	case formNull:
		return true
	case formNone:
		return false
	case formInt32:
		return kind == columnar.Int32 || kind == columnar.Int64
	case formFloat, formHalf:
		return kind == columnar.Float32 || kind == columnar.Float64
	case formBytes:
		return kind == columnar.Bytes || kind == columnar.String
	case formUUID:
		return kind == columnar.String || kind == columnar.Bytes
	case formDecimal:
		return kind == l.Type.Kind || kind == columnar.Int64
	}
	return kind == l.Type.Kind
}

var errText = errors.New("a string that is not valid UTF-8; read the column as bytes, or rewrite the file")

// convert appends n values, none of them null, to a vector of a kind that the leaf fits. A value that can't be
// converted becomes a flaw, and the zero value.
func (c *chunk) convert(dst *columnar.Vector, n int, e format.Encoding, src []byte) (err error) {
	at := dst.Len()
	switch c.leaf.form {
	case formNull:
		if n > 0 {
			return errors.New("its type is null, but it has values")
		}
	case formBool:
		dst.Bools, err = appendBools(dst.Bools, n, e, src)
	case formInt32:
		if c.elem.Kind == columnar.Int32 {
			dst.Int32s, err = appendInt32s(dst.Int32s, n, e, src)
			break
		}
		if c.int32s, err = appendInt32s(c.int32s[:0], n, e, src); err == nil {
			dst.Int64s = widen(dst.Int64s, c.int32s)
		}
	case formUint32:
		if c.int32s, err = appendInt32s(c.int32s[:0], n, e, src); err == nil {
			for _, v := range c.int32s {
				dst.Int64s = append(dst.Int64s, int64(uint32(v)))
			}
		}
	case formInt64:
		dst.Int64s, err = appendInt64s(dst.Int64s, n, e, src)
	case formFloat:
		if c.elem.Kind == columnar.Float32 {
			dst.Float32s, err = appendFloat32s(dst.Float32s, n, e, src)
			break
		}
		if c.float32, err = appendFloat32s(c.float32[:0], n, e, src); err == nil {
			dst.Float64s = widen(dst.Float64s, c.float32)
		}
	case formDouble:
		dst.Float64s, err = appendFloat64s(dst.Float64s, n, e, src)
	case formHalf:
		err = c.convertHalf(dst, n, e, src)
	case formText, formBytes:
		err = c.convertText(dst, n, e, src)
	case formFixed:
		err = c.convertFixed(dst, n, e, src)
	case formUint64:
		err = c.convertUint64(dst, n, e, src)
	case formDecimal:
		err = c.convertDecimal(dst, n, e, src)
	case formUUID:
		err = c.convertUUID(dst, n, e, src)
	case formTimestamp, formInt96, formDate:
		err = c.convertTime(dst, n, e, src)
	}
	if err != nil {
		return err
	}
	markPresent(dst, at, n)
	return nil
}

func widen[W int64 | float64, N int32 | float32](dst []W, src []N) []W {
	at := len(dst)
	dst = slices.Grow(dst, len(src))[:at+len(src)]
	for i, v := range src {
		dst[at+i] = W(v)
	}
	return dst
}

func (c *chunk) convertHalf(dst *columnar.Vector, n int, e format.Encoding, src []byte) error {
	b, err := c.fixed(n, 2, e, src)
	if err != nil {
		return err
	}
	for ; len(b) > 0; b = b[2:] {
		v := half(binary.LittleEndian.Uint16(b))
		if c.elem.Kind == columnar.Float32 {
			dst.Float32s = append(dst.Float32s, v)
		} else {
			dst.Float64s = append(dst.Float64s, float64(v))
		}
	}
	return nil
}

func (c *chunk) convertText(dst *columnar.Vector, n int, e format.Encoding, src []byte) error {
	at := dst.Len()
	a := &c.arrays
	lengths, prefix := a.lengths, a.prefix
	*a = byteArrays{data: dst.Data, offsets: dst.Offsets, lengths: lengths, prefix: prefix, page: c.limits.PageBytes}
	err := a.decode(n, e, src, c.limits.ValueBytes, math.MaxUint32)
	dst.Data, dst.Offsets = a.data, a.offsets
	a.data, a.offsets = nil, nil
	if err != nil || c.elem.Kind == columnar.Bytes {
		return err
	}
	// Answers travel in protocols whose strings are UTF-8, so that anything else fails here, where it has a name.
	for i := range n {
		if !utf8.Valid(dst.Data[dst.Offsets[at+i]:dst.Offsets[at+i+1]]) && !c.reject(i, errText) {
			return nil
		}
	}
	return nil
}

// fixed is fixedBytes within the limit of a page, whose values may share prefixes.
func (c *chunk) fixed(n, width int, e format.Encoding, src []byte) ([]byte, error) {
	if size := int64(n) * int64(width); size > c.limits.PageBytes {
		return nil, &limitError{fmt.Sprintf("a page whose values take %d bytes is over the limit of %d (limits.parquet_page)", size, c.limits.PageBytes)}
	}
	return fixedBytes(n, width, e, src)
}

func (c *chunk) convertFixed(dst *columnar.Vector, n int, e format.Encoding, src []byte) error {
	width := int(c.leaf.elem.length)
	if err := (&byteArrays{}).fits(int64(width), c.limits.ValueBytes, math.MaxUint32); err != nil {
		return err
	}
	b, err := c.fixed(n, width, e, src)
	if err != nil {
		return err
	}
	if len(dst.Data)+len(b) > math.MaxUint32 {
		return tooMuchData()
	}
	for i := range n {
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Data)+(i+1)*width))
	}
	dst.Data = append(dst.Data, b...)
	return nil
}

// convertTime converts in place what it has appended.
func (c *chunk) convertTime(dst *columnar.Vector, n int, e format.Encoding, src []byte) (err error) {
	at := len(dst.Int64s)
	switch c.leaf.form {
	case formDate:
		if c.int32s, err = appendInt32s(c.int32s[:0], n, e, src); err != nil {
			return err
		}
		for i, v := range c.int32s {
			t, err := c.times.date(v)
			if err != nil && !c.reject(i, err) {
				return nil
			}
			dst.Int64s = append(dst.Int64s, t)
		}
	case formInt96:
		b, err := c.fixed(n, 12, e, src)
		if err != nil {
			return err
		}
		for i := range n {
			t, err := c.times.int96(b[12*i:])
			if err != nil && !c.reject(i, err) {
				return nil
			}
			dst.Int64s = append(dst.Int64s, t)
		}
	default:
		if dst.Int64s, err = appendInt64s(dst.Int64s, n, e, src); err != nil {
			return err
		}
		micros := c.leaf.form == formTimestamp && c.times.micros()
		for i, v := range dst.Int64s[at:] {
			if micros && row.ValidTime(v) {
				continue // as most often
			}
			t, err := c.times.timestamp(v)
			if err != nil && !c.reject(i, err) {
				return nil
			}
			dst.Int64s[at+i] = t
		}
	}
	return nil
}

// reject records that value i can't be converted and reports whether the others still matter: those of a dictionary
// do, as a flaw there may never be used, and all do where it is lenient.
func (c *chunk) reject(i int, err error) bool {
	if c.inDict {
		c.flawed = append(c.flawed, flaw{i, err})
		return true
	}
	c.flaws = append(c.flaws, flaw{i, err})
	return c.lenient
}
