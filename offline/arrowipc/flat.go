package arrowipc

import (
	"encoding/binary"
	"errors"
)

var errMetadata = errors.New("its metadata is damaged")

// flatTable is a table of a FlatBuffer. Its methods panic where offsets lead out of the buffer.
type flatTable struct {
	b  []byte
	at int
}

func flatRoot(b []byte) flatTable { return flatTable{b, int(binary.LittleEndian.Uint32(b))} }

// slot returns where a field is; ok is false where the table does not have it.
func (t flatTable) slot(field int) (at int, ok bool) {
	fields := t.at - int(int32(binary.LittleEndian.Uint32(t.b[t.at:])))
	if field >= int(binary.LittleEndian.Uint16(t.b[fields:])) {
		return 0, false
	}
	offset := int(binary.LittleEndian.Uint16(t.b[fields+field:]))
	return t.at + offset, offset != 0
}

func (t flatTable) table(field int) (flatTable, bool) {
	at, ok := t.slot(field)
	if !ok {
		return flatTable{}, false
	}
	return t.follow(at), true
}

func (t flatTable) follow(at int) flatTable {
	return flatTable{t.b, at + int(binary.LittleEndian.Uint32(t.b[at:]))}
}

// int64 returns a number, 0 where the table does not have it.
func (t flatTable) int64(field int) int64 {
	at, ok := t.slot(field)
	if !ok {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(t.b[at:]))
}

// vector returns where the n elements of a vector begin; they lie within the buffer.
func (t flatTable) vector(field, width int) (at, n int) {
	v, ok := t.table(field)
	if !ok {
		return 0, 0
	}
	n = int(binary.LittleEndian.Uint32(t.b[v.at:]))
	if n > (len(t.b)-v.at-4)/width {
		panic(errMetadata)
	}
	return v.at + 4, n
}

// flatChecker walks what is read of messages. work bounds the walk, as tables may be shared.
type flatChecker struct{ work int }

func (c *flatChecker) spend(n int) {
	if c.work -= n; c.work < 0 {
		panic(errMetadata)
	}
}

func (c *flatChecker) schema(t flatTable) viewCounts {
	views := viewCounts{dictionaries: map[int64]int{}}
	views.columns = c.children(t, 6, 0, &views)
	c.pairs(t, 8)
	return views
}

// Types with parameters of variable length, and those whose batches have numbers of buffers.
const (
	typeTimestamp  = 10
	typeUnion      = 14
	typeBinaryView = 23
	typeUtf8View   = 24
)

// children checks a vector of fields. It returns how many of them are views, but for those of dictionaries, which it
// notes apart. Dictionaries become unordered ones: what is made of their values keeps these, and not their order.
func (c *flatChecker) children(t flatTable, field, depth int, views *viewCounts) (n int) {
	if depth > 64 {
		panic(errMetadata)
	}
	at, fields := t.vector(field, 4)
	for i := range fields {
		f := t.follow(at + 4*i)
		c.spend(16)
		c.text(f, 4)
		c.pairs(f, 16)
		own := c.parameters(f) + c.children(f, 14, depth+1, views)
		if dictionary, ok := f.table(12); ok {
			if ordered, ok := dictionary.slot(8); ok {
				t.b[ordered] = 0
			}
			views.dictionaries[dictionary.int64(4)] += own
		} else {
			n += own
		}
	}
	return n
}

// parameters checks what a type has of variable length: the ids of a union, the name of a time zone. It returns 1 for
// a view.
func (c *flatChecker) parameters(f flatTable) int {
	at, ok := f.slot(8)
	if !ok {
		return 0
	}
	kind, _ := f.table(10)
	switch f.b[at] {
	case typeTimestamp:
		c.text(kind, 6)
	case typeUnion:
		_, n := kind.vector(6, 4)
		c.spend(4 * n)
	case typeBinaryView, typeUtf8View:
		return 1
	}
	return 0
}

func (c *flatChecker) text(t flatTable, field int) {
	_, n := t.vector(field, 1)
	c.spend(n)
}

// pairs checks a vector of keys and values.
func (c *flatChecker) pairs(t flatTable, field int) {
	at, n := t.vector(field, 4)
	for i := range n {
		pair := t.follow(at + 4*i)
		c.spend(16)
		c.text(pair, 4)
		c.text(pair, 6)
	}
}

// recordBatch checks the numbers of nodes and buffers, those of views among them.
func (c *flatChecker) recordBatch(t flatTable, views int) {
	t.vector(6, 16)
	_, buffers := t.vector(8, 16)
	at, n := t.vector(12, 8)
	if n < views {
		panic(errMetadata)
	}
	for i := range n {
		if count := binary.LittleEndian.Uint64(t.b[at+8*i:]); count > uint64(buffers) {
			panic(errMetadata)
		}
	}
}
