package parquet

import (
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// footer is what the reader uses of a file's metadata.
type footer struct {
	schema    []element
	rows      int64
	groups    []rowGroup
	ordered   []bool // per column: its bounds are in the order of its type; nil: the file does not say
	encrypted bool
}

// element is a node of the schema, in depth-first order.
type element struct {
	name       string
	leaf       bool
	physical   format.Type
	length     int32 // of FIXED_LEN_BYTE_ARRAY
	repetition format.FieldRepetitionType
	children   int32
	converted  deprecated.ConvertedType // -1: none
	logical    logical
	scale      int32
	precision  int32
}

// logical is a logical type by its number in Parquet's LogicalType union, 0 for none.
type logical struct {
	id     int16
	utc    bool // TIME, TIMESTAMP: adjusted to UTC
	unit   unit // TIME, TIMESTAMP
	bits   int8 // INT
	signed bool // INT

	scale, precision int32 // DECIMAL
}

// The members of LogicalType.
const (
	logicalNone      = 0
	logicalString    = 1
	logicalMap       = 2
	logicalList      = 3
	logicalEnum      = 4
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInt       = 10
	logicalNull      = 11
	logicalJSON      = 12
	logicalBSON      = 13
	logicalUUID      = 14
	logicalFloat16   = 15
	logicalVariant   = 16
)

// unit is the unit of a time, by its number in Parquet's TimeUnit union.
type unit uint8

const (
	unitMillis unit = 1
	unitMicros unit = 2
	unitNanos  unit = 3
)

type rowGroup struct {
	rows   int64
	chunks []chunkMeta
}

// chunkMeta is the metadata of a column chunk.
type chunkMeta struct {
	elsewhere  bool // in another file
	encrypted  bool
	present    bool // has metadata
	physical   format.Type
	path       []byte // in the schema, as a Thrift list of names
	codec      format.CompressionCodec
	values     int64
	compressed int64
	plain      int64 // bytes before compression, as the file says; it need not be true
	data, dict int64 // offsets; dict 0: none
	least      []byte
	greatest   []byte
	// Where the page index is; a length of 0: there is none.
	columnIndex, offsetIndex extent
}

// extent is a run of bytes of the file.
type extent struct {
	offset int64
	length int32
}

// Bounds of a schema, far beyond what writers make.
const (
	maxDepth    = 64
	maxElements = 1 << 17
)

var errIncomplete = errors.New("a required part of the metadata is missing")

// parseFooter reads a FileMetaData.
func parseFooter(b []byte) (*footer, error) {
	t := &thrift{buf: b}
	f := &footer{rows: -1}
	hasGroups := false
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 2 && t.want(typ, thriftList):
			f.schema = make([]element, 0, min(t.remaining()/4, 1024))
			for n := t.list(thriftStruct); n > 0 && t.err == nil; n-- {
				f.schema = append(f.schema, t.element())
				if len(f.schema) > maxElements {
					t.fail(fmt.Errorf("the schema has more than %d elements", maxElements))
				}
			}
		case id == 3 && t.want(typ, thriftI64):
			f.rows = t.int64()
		case id == 4 && t.want(typ, thriftList):
			hasGroups = true
			for n := t.list(thriftStruct); n > 0 && t.err == nil; n-- {
				f.groups = append(f.groups, t.rowGroup())
			}
		case id == 7 && t.want(typ, thriftList):
			for n := t.list(thriftStruct); n > 0 && t.err == nil; n-- {
				f.ordered = append(f.ordered, t.columnOrder())
			}
		case id == 8:
			f.encrypted = true
			t.skip(typ)
		default:
			t.skip(typ)
		}
	})
	switch {
	case t.err != nil:
		return nil, t.err
	case t.pos != len(b) && !f.encrypted:
		return nil, fmt.Errorf("%d bytes follow the metadata", len(b)-t.pos)
	case len(f.schema) == 0 || f.rows < 0 || !hasGroups:
		return nil, errIncomplete
	}
	return f, nil
}

// columnOrder reports whether a ColumnOrder is TYPE_ORDER, the only one that is known here.
func (t *thrift) columnOrder() bool {
	byType := false
	t.fields(func(id int16, typ byte) {
		byType = byType || id == 1
		t.skip(typ)
	})
	return byType
}

func (t *thrift) remaining() int { return len(t.buf) - t.pos }

func (t *thrift) element() element {
	e := element{converted: -1}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftI32):
			e.physical, e.leaf = format.Type(t.int32()), true
		case id == 2 && t.want(typ, thriftI32):
			e.length = t.int32()
		case id == 3 && t.want(typ, thriftI32):
			e.repetition = format.FieldRepetitionType(t.int32())
		case id == 4 && t.want(typ, thriftBinary):
			e.name = string(t.bytes())
		case id == 5 && t.want(typ, thriftI32):
			e.children = t.int32()
		case id == 6 && t.want(typ, thriftI32):
			e.converted = deprecated.ConvertedType(t.int32())
		case id == 7 && t.want(typ, thriftI32):
			e.scale = t.int32()
		case id == 8 && t.want(typ, thriftI32):
			e.precision = t.int32()
		case id == 10 && t.want(typ, thriftStruct):
			t.fields(func(id int16, typ byte) {
				e.logical.id = id
				if t.want(typ, thriftStruct) {
					t.logical(&e.logical)
				}
			})
		default:
			t.skip(typ)
		}
	})
	return e
}

// logical reads the parameters of a logical type.
func (t *thrift) logical(l *logical) {
	t.fields(func(id int16, typ byte) {
		timed := l.id == logicalTimestamp || l.id == logicalTime
		switch {
		case timed && id == 1:
			l.utc = t.bool(typ)
		case timed && id == 2 && t.want(typ, thriftStruct):
			t.fields(func(id int16, typ byte) {
				l.unit = unit(id)
				t.skip(typ)
			})
		case l.id == logicalInt && id == 1 && t.want(typ, thriftByte):
			l.bits = int8(t.byte())
		case l.id == logicalInt && id == 2:
			l.signed = t.bool(typ)
		case l.id == logicalDecimal && id == 1 && t.want(typ, thriftI32):
			l.scale = t.int32()
		case l.id == logicalDecimal && id == 2 && t.want(typ, thriftI32):
			l.precision = t.int32()
		default:
			t.skip(typ)
		}
	})
}

func (t *thrift) rowGroup() rowGroup {
	g := rowGroup{rows: -1}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftList):
			for n := t.list(thriftStruct); n > 0 && t.err == nil; n-- {
				g.chunks = append(g.chunks, t.chunk())
			}
		case id == 3 && t.want(typ, thriftI64):
			g.rows = t.int64()
		default:
			t.skip(typ)
		}
	})
	// Refused at once, so that a list of hollow elements can't take many times its own size in memory.
	if g.rows < 0 {
		t.fail(errIncomplete)
	}
	return g
}

func (t *thrift) chunk() chunkMeta {
	c := chunkMeta{}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftBinary):
			c.elsewhere = len(t.bytes()) > 0
		case id == 3 && t.want(typ, thriftStruct):
			c.present = true
			t.chunkMeta(&c)
		case id == 4 && t.want(typ, thriftI64):
			c.offsetIndex.offset = t.int64()
		case id == 5 && t.want(typ, thriftI32):
			c.offsetIndex.length = t.int32()
		case id == 6 && t.want(typ, thriftI64):
			c.columnIndex.offset = t.int64()
		case id == 7 && t.want(typ, thriftI32):
			c.columnIndex.length = t.int32()
		case id == 8 || id == 9:
			c.encrypted = true
			t.skip(typ)
		default:
			t.skip(typ)
		}
	})
	complete := c.path != nil && c.values >= 0 && c.compressed >= 0 && c.codec >= 0 && c.physical >= 0 && c.data >= 0
	if !c.encrypted && !(c.present && complete) {
		t.fail(errIncomplete)
	}
	return c
}

func (t *thrift) chunkMeta(c *chunkMeta) {
	c.values, c.compressed, c.codec, c.physical, c.data = -1, -1, -1, -1, -1
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftI32):
			c.physical = format.Type(t.int32())
		case id == 3 && t.want(typ, thriftList):
			start := t.pos
			t.skip(typ)
			c.path = t.buf[start:t.pos]
		case id == 4 && t.want(typ, thriftI32):
			c.codec = format.CompressionCodec(t.int32())
		case id == 5 && t.want(typ, thriftI64):
			c.values = t.int64()
		case id == 6 && typ == thriftI64:
			c.plain = t.int64()
		case id == 7 && t.want(typ, thriftI64):
			c.compressed = t.int64()
		case id == 9 && t.want(typ, thriftI64):
			c.data = t.int64()
		case id == 11 && t.want(typ, thriftI64):
			c.dict = t.int64()
		case id == 12 && t.want(typ, thriftStruct):
			// The deprecated bounds (1 and 2) are passed over: writers disagreed on their order.
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 5 && t.want(typ, thriftBinary):
					c.greatest = t.bytes()
				case id == 6 && t.want(typ, thriftBinary):
					c.least = t.bytes()
				default:
					t.skip(typ)
				}
			})
		default:
			t.skip(typ)
		}
	})
}
