package definition

import (
	"cmp"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

// entry is a key with its value, or an element of a list, and the comments that go with it.
type entry struct {
	key, value *yaml.Node // key is nil in a list
	block      *block     // of a value that is a mapping or a list
	head       []comment  // on the lines before
	line       string     // behind it
	blank      bool       // an empty line is before it, behind the head
}

// block is a mapping or a list.
type block struct {
	node    *yaml.Node
	entries []*entry
	foot    []comment // behind the last entry
	oneLine bool      // is in brackets and may stay so
}

// layout attaches a document's comments to its entries.
type layout struct {
	sheet    *sheet
	comments []comment // those left
	last     *entry    // the last that began
	ordered  bool      // keys may change places
}

// layOut returns a document's root, and the comments before its first entry.
func (s *sheet) layOut(p *page, schema *jsonschema.Schema) (head []comment, root *block) {
	l := &layout{sheet: s, comments: p.comments, ordered: !anchored(p.root)}
	first := placeOf(p.root)
	if len(p.root.Content) > 0 {
		first = placeOf(p.root.Content[0])
	}
	head = l.take(first)
	root = l.block(p.root, schema, -1, place{len(s.lines), 0})
	root.foot = append(root.foot, l.comments...)
	return head, root
}

// anchored reports whether there is an anchor below n: its aliases must stay behind it.
func anchored(n *yaml.Node) bool {
	return n.Anchor != "" || n.Kind != yaml.AliasNode && slices.ContainsFunc(n.Content, anchored)
}

// take removes and returns the comments before a place.
func (l *layout) take(end place) []comment {
	n := 0
	for n < len(l.comments) && l.comments[n].before(end) {
		n++
	}
	out := l.comments[:n]
	l.comments = l.comments[n:]
	return out
}

// settle gives comments before a place to the entry that began last where they follow something in their line; the
// others are returned.
func (l *layout) settle(end place) []comment {
	var own []comment
	for _, c := range l.take(end) {
		switch {
		case c.own || l.last == nil:
			own = append(own, c)
		case l.last.line == "":
			l.last.line = c.text
		default:
			l.last.head = append(l.last.head, c)
		}
	}
	return own
}

// block lays out a mapping or a list whose owner's entries begin in a column; limit is where what follows it begins.
func (l *layout) block(n *yaml.Node, schema *jsonschema.Schema, owner int, limit place) *block {
	b := &block{node: n}
	end, bracketed := l.sheet.ends[n]
	if !bracketed { // a pair within a list in brackets has none
		end = limit
	}
	b.oneLine = n.Style&yaml.FlowStyle != 0 && !(len(l.comments) > 0 && l.comments[0].before(end))
	column := indentOf(n)
	starts := l.starts(n, column)
	outer := l.last
	for i, at := range starts {
		e := &entry{value: n.Content[i]}
		below := below(schema, "", target(e.value))
		if n.Kind == yaml.MappingNode {
			e.key, e.value = n.Content[2*i], n.Content[2*i+1]
			below = belowKey(schema, e.key, e.value)
		}
		e.head = l.settle(at)
		e.blank = l.sheet.blankBefore(at.line) && l.sheet.leads(at)
		b.entries = append(b.entries, e)
		l.last = e
		next := limit
		if i+1 < len(starts) {
			next = starts[i+1]
		} else if bracketed {
			next = end
		}
		l.value(e, below, column, next)
	}
	switch {
	case bracketed:
		b.foot = l.settle(end)
		l.last = outer
	case n.Style&yaml.FlowStyle == 0:
		b.foot = l.foot(column, owner, limit)
	}
	if l.ordered && n.Kind == yaml.MappingNode && schema != nil {
		slices.SortStableFunc(b.entries, func(x, y *entry) int {
			return cmp.Compare(slices.Index(schema.PropertyOrder, x.key.Value), slices.Index(schema.PropertyOrder, y.key.Value))
		})
	}
	return b
}

func belowKey(schema *jsonschema.Schema, key, value *yaml.Node) *jsonschema.Schema {
	return below(schema, target(key).Value, target(value))
}

// value lays out what an entry holds; next is where what follows it begins.
func (l *layout) value(e *entry, schema *jsonschema.Schema, column int, next place) {
	n := e.value
	if n.Kind == yaml.ScalarNode || n.Kind == yaml.AliasNode {
		e.head = append(e.head, l.settle(placeOf(n))...)
		return
	}
	if end, bracketed := l.sheet.ends[n]; bracketed {
		e.head = append(e.head, l.settle(placeOf(n))...)
		if len(n.Content) == 0 {
			e.head = append(e.head, l.settle(end)...)
		}
	}
	e.block = l.block(n, schema, column, next)
}

// foot takes the comments that stand behind the last entry of a block and are indented like it.
func (l *layout) foot(column, owner int, limit place) []comment {
	var foot []comment
	for len(l.comments) > 0 && l.comments[0].before(limit) {
		c := l.comments[0]
		if c.own && (c.col < column || c.col <= owner) {
			break
		}
		foot = append(foot, l.settle(place{c.line, c.col + 1})...)
	}
	return foot
}

// starts returns where the entries of a mapping or a list begin: keys, dashes, elements in brackets.
func (l *layout) starts(n *yaml.Node, column int) []place {
	var out []place
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			out = append(out, placeOf(n.Content[i]))
		}
		return out
	}
	for _, c := range n.Content {
		at := placeOf(c)
		if n.Style&yaml.FlowStyle == 0 {
			at = l.sheet.dash(at, column)
		}
		out = append(out, at)
	}
	return out
}

// dash returns the place of the dash before an element of a list.
func (s *sheet) dash(at place, column int) place {
	for line := at.line; line >= 0; line-- {
		if text := s.lines[line]; column < len(text) && text[column] == '-' && (line < at.line || column < at.col) && !s.commented(place{line, column}) {
			return place{line, column}
		}
	}
	return at
}

// commented reports whether a place is within a comment.
func (s *sheet) commented(at place) bool {
	i, _ := slices.BinarySearchFunc(s.comments, at.line, func(c comment, line int) int { return cmp.Compare(c.line, line) })
	return i < len(s.comments) && s.comments[i].line == at.line && s.comments[i].col <= at.col
}

// leads reports whether nothing is before a place in its line.
func (s *sheet) leads(at place) bool {
	for _, c := range s.lines[at.line][:at.col] {
		if !blank(c) {
			return false
		}
	}
	return true
}
