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
	depth   int    // of its elements: a path as long is one of them, a longer one a field of one
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
		at.reason = "maps are not read; write the keys that are features as columns of their own"
	case e.logical.id == logicalVariant:
		at.reason = "variants are not read; write the fields that are features as columns of their own"
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
		at.reason = "lists of lists are not read; flatten them, or write one row per inner list"
		return
	}
	wrapped := parent != nil && parent.isList()
	at.list = &listNode{name: strings.Join(at.path, "."), depth: len(at.path), elemDef: at.def}
	if wrapped {
		at.list.name = strings.Join(at.path[:len(at.path)-1], ".")
	}
	// A repeated group is the middle of the three levels of LIST, or itself the element: a struct.
	if wrapped && !e.leaf && !e.isElement(parent, s.elements[s.next:]) {
		at.list.depth++
	}
}

// isElement reports whether a repeated group in a LIST is the element and not the level around it; below is what
// follows it in the schema.
func (e *element) isElement(parent *element, below []element) bool {
	return e.children != 1 || len(below) == 0 || below[0].repetition == format.Repeated ||
		e.name == "array" || e.name == parent.name+"_tuple"
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
		l.Name = strings.Join(append([]string{at.list.name}, at.path[at.list.depth:]...), ".")
		l.elemDef = at.list.elemDef
		l.Type.List = l.Type.Kind != columnar.Invalid
		l.Physical = "list of " + l.Physical
	}
	if at.reason != "" {
		l.Type, l.Reason, l.form = columnar.Type{}, at.reason, formNone
	}
	s.leaves = append(s.leaves, l)
}
