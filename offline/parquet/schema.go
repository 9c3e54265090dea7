package parquet

import (
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// leaf is a column of values in a file.
type leaf struct {
	ColumnInfo
	path  []string // in the schema
	index int      // among the chunks of a row group
	elem  element
	form  form
	unit  unit // of timestamps

	// Levels (Dremel): a value is there where the definition level is maxDef. Of a list, an element has a level of at
	// least elemDef, elemDef-1 says that the list is empty, less that it is null.
	maxDef, maxRep, elemDef uint8
}

// form is how a physical value becomes one of Provender's.
type form uint8

const (
	formNone      form = iota // not readable
	formNull                  // every value is null
	formBool                  // BOOLEAN
	formInt32                 // INT32
	formUint32                // INT32 that holds a uint32
	formInt64                 // INT64
	formFloat                 // FLOAT
	formDouble                // DOUBLE
	formHalf                  // FIXED_LEN_BYTE_ARRAY(2), IEEE 754 half precision
	formText                  // BYTE_ARRAY
	formBytes                 // BYTE_ARRAY without a logical type: bytes, or a string of an old writer
	formFixed                 // FIXED_LEN_BYTE_ARRAY
	formTimestamp             // INT64 with a unit
	formInt96                 // INT96: nanoseconds of the day, Julian day
	formDate                  // INT32: days
)

// schema builds the leaves of a file from its flattened schema.
type schema struct {
	elements []element
	next     int
	leaves   []*leaf
}

// node is where a walk through the schema stands.
type node struct {
	path     []string
	def, rep uint8
	list     *listNode // the list around, nil for none
	reason   string    // why leaves below are not readable, "" if they are
}

// listNode is the one list that a leaf may be in.
type listNode struct {
	name    string // of the column
	elemDef uint8
}

func parseSchema(elements []element) ([]*leaf, error) {
	s := &schema{elements: elements, next: 1}
	root := elements[0]
	if root.leaf {
		return nil, fmt.Errorf("the schema's root is not a group")
	}
	for range root.children {
		if err := s.walk(node{}, nil); err != nil {
			return nil, err
		}
	}
	if s.next != len(elements) {
		return nil, fmt.Errorf("the schema has %d elements, but its root holds %d", len(elements), s.next)
	}
	return s.leaves, nil
}

// walk reads the next element and what is below it. parent is nil for the root's children.
func (s *schema) walk(at node, parent *element) error {
	if s.next >= len(s.elements) {
		return fmt.Errorf("the schema's groups promise more elements than the %d there are", len(s.elements))
	}
	if len(at.path) >= maxDepth {
		return fmt.Errorf("the schema is more than %d levels deep", maxDepth)
	}
	e := &s.elements[s.next]
	s.next++
	at.path = append(at.path[:len(at.path):len(at.path)], e.name)

	switch e.repetition {
	case format.Required:
	case format.Optional:
		at.def++
	case format.Repeated:
		at.def++
		at.rep++
		s.enterList(&at, e, parent)
	default:
		return fmt.Errorf("column %q has an unknown repetition %d", strings.Join(at.path, "."), int32(e.repetition))
	}
	if e.leaf {
		s.addLeaf(at, e)
		return nil
	}
	if e.children < 0 {
		return fmt.Errorf("group %q has %d children", strings.Join(at.path, "."), e.children)
	}
	switch {
	case at.reason != "":
	case e.isMap():
		at.reason = "maps are not read"
	case e.logical.id == logicalVariant:
		at.reason = "variants are not read"
	case at.list != nil && e.repetition != format.Repeated:
		at.reason = "lists of lists and lists of structs are not read"
	}
	for range e.children {
		if err := s.walk(at, e); err != nil {
			return err
		}
	}
	return nil
}

// enterList marks that what follows is inside a repeated element, by the format's rules for LIST, old ones included.
func (s *schema) enterList(at *node, e, parent *element) {
	if at.reason != "" {
		return
	}
	if at.rep > 1 {
		at.reason = "lists of lists are not read"
		return
	}
	wrapped := parent != nil && parent.isList()
	at.list = &listNode{name: strings.Join(at.path, "."), elemDef: at.def}
	if wrapped {
		at.list.name = strings.Join(at.path[:len(at.path)-1], ".")
	}
	if e.leaf {
		return
	}
	// A repeated group is the middle of the three levels of LIST, or itself the element: a struct.
	if !wrapped || e.children != 1 || e.name == "array" || e.name == parent.name+"_tuple" {
		at.reason = "lists of structs are not read"
	}
}

func (e *element) isList() bool {
	return e.logical.id == logicalList || e.logical.id == logicalNone && e.converted == deprecated.List
}

func (e *element) isMap() bool {
	return e.logical.id == logicalMap ||
		e.logical.id == logicalNone && (e.converted == deprecated.Map || e.converted == deprecated.MapKeyValue)
}

func (s *schema) addLeaf(at node, e *element) {
	l := &leaf{path: at.path, index: len(s.leaves), elem: *e, maxDef: at.def, maxRep: at.rep}
	l.Name = strings.Join(at.path, ".")
	l.natural()
	if at.list != nil && at.reason == "" {
		l.Name = at.list.name
		l.elemDef = at.list.elemDef
		l.Type.List = l.Type.Kind != columnar.Invalid
		l.Physical = "list of " + l.Physical
	}
	if at.reason != "" {
		l.Type, l.Reason, l.form = columnar.Type{}, at.reason, formNone
	}
	s.leaves = append(s.leaves, l)
}

// natural decides the natural type of a leaf from its physical and logical type.
func (l *leaf) natural() {
	e := &l.elem
	kind := normalize(e)
	l.Physical = e.physicalName()
	is := func(f form, k columnar.Kind) { l.form, l.Type.Kind = f, k }
	not := func(reason string) { l.form, l.Reason = formNone, reason }

	if kind.id == logicalNull {
		l.form = formNull
		l.Reason = "the column has no type: all its values are null"
		l.Physical += " null"
		return
	}
	if name := kind.name(e); name != "" {
		l.Physical += " " + name
	}
	if kind.id == logicalDecimal {
		not("decimals are not read, because float64 would not hold them exactly; cast the column to float64 or int64")
		return
	}
	switch e.physical {
	case format.Boolean:
		is(formBool, columnar.Bool)
	case format.Int32:
		switch {
		case kind.id == logicalDate:
			is(formDate, columnar.Timestamp)
			l.Date = true
		case kind.id == logicalTime:
			not("a time of day is not an instant; cast the column to int64")
		case kind.id == logicalInt && !kind.signed && kind.bits == 32:
			is(formUint32, columnar.Int64)
		default:
			is(formInt32, columnar.Int32)
		}
	case format.Int64:
		switch {
		case kind.id == logicalTimestamp && kind.unit >= unitMillis && kind.unit <= unitNanos:
			is(formTimestamp, columnar.Timestamp)
			l.Naive, l.unit = !kind.utc, kind.unit
		case kind.id == logicalTimestamp:
			not("the timestamp's unit is unknown")
		case kind.id == logicalTime:
			not("a time of day is not an instant; cast the column to int64")
		case kind.id == logicalInt && !kind.signed && kind.bits == 64:
			not("uint64 does not fit int64; cast the column to int64 or string")
		default:
			is(formInt64, columnar.Int64)
		}
	case format.Int96:
		is(formInt96, columnar.Timestamp)
	case format.Float:
		is(formFloat, columnar.Float32)
	case format.Double:
		is(formDouble, columnar.Float64)
	case format.ByteArray:
		switch kind.id {
		case logicalString, logicalEnum, logicalJSON:
			is(formText, columnar.String)
		case logicalNone, logicalBSON:
			is(formBytes, columnar.Bytes)
		default:
			not("its logical type is not read")
		}
	case format.FixedLenByteArray:
		switch {
		case e.length <= 0:
			not("its length is missing")
		case kind.id == logicalFloat16 && e.length == 2:
			is(formHalf, columnar.Float32)
		case kind.id == logicalUUID:
			not("UUIDs are not read, because they have several spellings; cast the column to string")
		case kind.id == logicalNone && e.converted == deprecated.Interval:
			not("intervals are not read")
		case kind.id == logicalNone:
			is(formFixed, columnar.Bytes)
		default:
			not("its logical type is not read")
		}
	default:
		not("its physical type is unknown")
	}
}

// normalize returns an element's logical type, taken from the older converted type where it has only that.
func normalize(e *element) logical {
	if e.logical.id != logicalNone {
		return e.logical
	}
	switch e.converted {
	case deprecated.UTF8:
		return logical{id: logicalString}
	case deprecated.Enum:
		return logical{id: logicalEnum}
	case deprecated.Json:
		return logical{id: logicalJSON}
	case deprecated.Bson:
		return logical{id: logicalBSON}
	case deprecated.Decimal:
		return logical{id: logicalDecimal}
	case deprecated.Date:
		return logical{id: logicalDate}
	case deprecated.TimeMillis:
		return logical{id: logicalTime, utc: true, unit: unitMillis}
	case deprecated.TimeMicros:
		return logical{id: logicalTime, utc: true, unit: unitMicros}
	case deprecated.TimestampMillis:
		return logical{id: logicalTimestamp, utc: true, unit: unitMillis}
	case deprecated.TimestampMicros:
		return logical{id: logicalTimestamp, utc: true, unit: unitMicros}
	case deprecated.Int8, deprecated.Int16, deprecated.Int32, deprecated.Int64:
		return logical{id: logicalInt, signed: true, bits: 8 << (e.converted - deprecated.Int8)}
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return logical{id: logicalInt, bits: 8 << (e.converted - deprecated.Uint8)}
	}
	return logical{}
}

func (e *element) physicalName() string {
	switch e.physical {
	case format.Boolean:
		return "BOOLEAN"
	case format.Int32:
		return "INT32"
	case format.Int64:
		return "INT64"
	case format.Int96:
		return "INT96"
	case format.Float:
		return "FLOAT"
	case format.Double:
		return "DOUBLE"
	case format.ByteArray:
		return "BYTE_ARRAY"
	case format.FixedLenByteArray:
		return fmt.Sprintf("FIXED_LEN_BYTE_ARRAY(%d)", e.length)
	}
	return fmt.Sprintf("type %d", int32(e.physical))
}

// name returns a logical type as messages have it: "timestamp[ns]".
func (l logical) name(e *element) string {
	switch l.id {
	case logicalNone:
		return ""
	case logicalString:
		return "string"
	case logicalEnum:
		return "enum"
	case logicalDecimal:
		return fmt.Sprintf("decimal(%d, %d)", e.precision, e.scale)
	case logicalDate:
		return "date"
	case logicalTime:
		return "time[" + l.unit.String() + "]"
	case logicalTimestamp:
		if l.utc {
			return "timestamp[" + l.unit.String() + ", UTC]"
		}
		return "timestamp[" + l.unit.String() + "]"
	case logicalInt:
		if l.signed {
			return fmt.Sprintf("int%d", l.bits)
		}
		return fmt.Sprintf("uint%d", uint8(l.bits))
	case logicalJSON:
		return "json"
	case logicalBSON:
		return "bson"
	case logicalUUID:
		return "uuid"
	case logicalFloat16:
		return "float16"
	case logicalVariant:
		return "variant"
	}
	return fmt.Sprintf("logical type %d", l.id)
}

func (u unit) String() string {
	switch u {
	case unitMillis:
		return "ms"
	case unitMicros:
		return "us"
	case unitNanos:
		return "ns"
	}
	return "?"
}
