package parquet

import (
	"encoding/binary"
	"errors"
)

// thrift reads Thrift's compact protocol from bytes that may be anything. It allocates nothing: a declared size is
// never trusted beyond the bytes that are there. The first error stays, and every read after it returns zero.
type thrift struct {
	buf []byte
	pos int
	err error
}

// Errors of thrift. A short input may become whole with more bytes.
var (
	errThriftShort = errors.New("metadata ends early")
	errThrift      = errors.New("metadata is not Thrift's compact protocol")
)

// The compact protocol's types.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftDepth bounds the nesting of skipped values; Parquet's own metadata is less than ten deep.
const thriftDepth = 32

func (t *thrift) fail(err error) {
	if t.err == nil {
		t.err = err
		t.pos = len(t.buf)
	}
}

func (t *thrift) byte() byte {
	if t.pos >= len(t.buf) {
		t.fail(errThriftShort)
		return 0
	}
	b := t.buf[t.pos]
	t.pos++
	return b
}

func (t *thrift) uvarint() uint64 {
	u, n := binary.Uvarint(t.buf[t.pos:])
	switch {
	case n > 0:
		t.pos += n
		return u
	case n == 0:
		t.fail(errThriftShort)
	default:
		t.fail(errThrift)
	}
	return 0
}

// int reads a zigzag integer of up to the given number of bits.
func (t *thrift) int(bits uint) int64 {
	u := t.uvarint()
	v := int64(u>>1) ^ -int64(u&1)
	if v<<(64-bits)>>(64-bits) != v {
		t.fail(errThrift)
		return 0
	}
	return v
}

func (t *thrift) int32() int32 { return int32(t.int(32)) }
func (t *thrift) int64() int64 { return t.int(64) }

// bytes returns the next binary value; it aliases the input.
func (t *thrift) bytes() []byte {
	n := t.uvarint()
	if n > uint64(len(t.buf)-t.pos) {
		t.fail(errThriftShort)
		return nil
	}
	b := t.buf[t.pos : t.pos+int(n) : t.pos+int(n)]
	t.pos += int(n)
	return b
}

// list reads a list's header and returns how many elements of the wanted type follow. Each takes a byte at least, so
// the count never exceeds the bytes that are left.
func (t *thrift) list(want byte) int {
	typ, n := t.listHeader()
	if t.err == nil && n > 0 && typ != want {
		t.fail(errThrift)
	}
	if t.err != nil {
		return 0
	}
	return n
}

func (t *thrift) listHeader() (typ byte, n int) {
	b := t.byte()
	size := uint64(b >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(len(t.buf)-t.pos) {
		t.fail(errThriftShort)
		return 0, 0
	}
	return b & 15, int(size)
}

// fields calls fn for every field of a struct; fn reads the value, or skips it by t.skip.
func (t *thrift) fields(fn func(id int16, typ byte)) {
	id := int16(0)
	for t.err == nil {
		b := t.byte()
		typ := b & 15
		if t.err != nil || typ == thriftStop {
			return
		}
		if delta := int16(b >> 4); delta != 0 {
			id += delta
		} else {
			id = int16(t.int(16))
		}
		before := t.pos
		fn(id, typ)
		// A boolean is in its field's header; anything else takes bytes.
		if t.err == nil && t.pos == before && typ != thriftTrue && typ != thriftFalse {
			t.fail(errThrift)
		}
	}
}

// want reports whether a field has its type, and fails where not.
func (t *thrift) want(typ, want byte) bool {
	if typ != want {
		t.fail(errThrift)
	}
	return typ == want
}

func (t *thrift) bool(typ byte) bool {
	if typ != thriftTrue && typ != thriftFalse {
		t.fail(errThrift)
	}
	return typ == thriftTrue
}

// skip passes over a value of a struct's field.
func (t *thrift) skip(typ byte) { t.skipAt(typ, 0) }

func (t *thrift) skipAt(typ byte, depth int) {
	if depth > thriftDepth {
		t.fail(errThrift)
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		for range 8 {
			t.byte()
		}
	case thriftBinary:
		t.bytes()
	case thriftList, thriftSet:
		elem, n := t.listHeader()
		for ; n > 0 && t.err == nil; n-- {
			t.skipElem(elem, depth)
		}
	case thriftMap:
		n := t.uvarint()
		if n == 0 {
			return
		}
		kinds := t.byte()
		for ; n > 0 && t.err == nil; n-- {
			t.skipElem(kinds>>4, depth)
			t.skipElem(kinds&15, depth)
		}
	case thriftStruct:
		t.fields(func(_ int16, typ byte) { t.skipAt(typ, depth+1) })
	default:
		t.fail(errThrift)
	}
}

// skipElem passes over an element of a container, where a boolean takes a byte.
func (t *thrift) skipElem(typ byte, depth int) {
	if typ == thriftTrue || typ == thriftFalse {
		typ = thriftByte
	}
	t.skipAt(typ, depth+1)
}
