package definition

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// place is a position in a text, line and column from 0, in characters.
type place struct{ line, col int }

func placeOf(n *yaml.Node) place { return place{n.Line - 1, n.Column - 1} }

func (p place) before(q place) bool { return p.line < q.line || p.line == q.line && p.col < q.col }

// comment is one comment, from its # to the end of the line.
type comment struct {
	place
	text  string
	own   bool // nothing else is on its line
	blank bool // the line before is empty
}

// sheet is a YAML text with what its nodes do not tell: comments, separators, and where things end.
type sheet struct {
	lines      [][]rune
	lasting    []bool // lines that are part of a block scalar, though they may be empty
	wrapped    bool   // a line ends in a Unicode separator, which block scalars keep
	comments   []comment
	separators []separator
	directives []place
	docs       []*page
	ends       map[*yaml.Node]place    // of lists and mappings in brackets: the closing one
	bodies     map[*yaml.Node][]string // of block scalars: lines without their indentation
}

// separator is a line that begins with --- or ....
type separator struct {
	line  int
	start bool // ---
}

// page is one document: what stands between two separators.
type page struct {
	explicit bool // begins with ---
	line     string
	root     *yaml.Node // nil where there are comments at most
	from     place
	comments []comment
}

// newSheet reads a text whose documents have the roots; empty documents have none.
func newSheet(content []byte, roots []*yaml.Node) *sheet {
	s := &sheet{ends: map[*yaml.Node]place{}, bodies: map[*yaml.Node][]string{}}
	s.split(string(content))
	s.lasting = make([]bool, len(s.lines))
	var marks []mark
	for _, root := range roots {
		marks = collectMarks(marks, root, -1)
	}
	s.scan(marks)
	s.divide(roots)
	return s
}

// split cuts the text where YAML sees a line end.
func (s *sheet) split(text string) {
	var line []rune
	skip := false
	for _, r := range text {
		switch {
		case r == '\n' && skip: // of \r\n
			skip = false
			continue
		case r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			s.wrapped = s.wrapped || r >= '\u2028'
			s.lines = append(s.lines, line)
			line = nil
		default:
			line = append(line, r)
		}
		skip = r == '\r'
	}
	s.lines = append(s.lines, line)
}

// mark is a node whose extent a scan for comments has to know: in quotes, in brackets, or a block scalar.
type mark struct {
	node   *yaml.Node
	indent int // of the block that holds it
}

const (
	quotedStyle = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle
	blockStyle  = yaml.LiteralStyle | yaml.FoldedStyle
)

// collectMarks appends the marks below n, in the order of the text.
func collectMarks(marks []mark, n *yaml.Node, indent int) []mark {
	if n.Style&(quotedStyle|blockStyle|yaml.FlowStyle) != 0 && n.Kind != yaml.AliasNode {
		marks = append(marks, mark{n, indent})
	}
	if n.Kind != yaml.AliasNode {
		if n.Style&yaml.FlowStyle == 0 && n.Kind != yaml.ScalarNode {
			indent = indentOf(n)
		}
		for _, c := range n.Content {
			marks = collectMarks(marks, c, indent)
		}
	}
	return marks
}

// indentOf returns the column of a block's entries: the node's own may be that of an anchor or a tag before it.
func indentOf(n *yaml.Node) int {
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
		return n.Content[0].Column - 1
	}
	return n.Column - 1
}

// scan finds comments, separators, directives and ends.
func (s *sheet) scan(marks []mark) {
	var open []*yaml.Node // brackets
	var due *yaml.Node    // begins behind an anchor or a tag
	var dueIndent int
	for at := (place{}); at.line < len(s.lines); {
		line := s.lines[at.line]
		if at.col >= len(line) {
			at = place{at.line + 1, 0}
			continue
		}
		if at.col == 0 && len(open) == 0 && due == nil {
			if text := string(line[:min(3, len(line))]); (text == "---" || text == "...") && (len(line) == 3 || blank(line[3])) {
				s.separators = append(s.separators, separator{at.line, text == "---"})
				at.col = 3
				continue
			}
			if line[0] == '%' {
				s.directives = append(s.directives, at)
			}
		}
		if due == nil && len(marks) > 0 && !at.before(placeOf(marks[0].node)) {
			due, dueIndent = marks[0].node, marks[0].indent
			marks = marks[1:]
		}
		c := line[at.col]
		switch {
		case blank(c):
			at.col++
		case c == '#' && (at.col == 0 || blank(line[at.col-1])):
			own := strings.TrimSpace(string(line[:at.col])) == ""
			s.comments = append(s.comments, comment{at, strings.TrimRight(string(line[at.col:]), " \t"), own, s.blankBefore(at.line)})
			at = place{at.line + 1, 0}
		case due != nil && (c == '&' || c == '!'):
			for at.col < len(line) && !blank(line[at.col]) && !strings.ContainsRune("[]{},", line[at.col]) {
				at.col++
			}
		case due != nil:
			n := due
			due = nil
			switch {
			case n.Style&quotedStyle != 0:
				at = s.closing(at)
			case n.Style&blockStyle != 0:
				at = s.body(n, at, dueIndent)
			case c == '[' || c == '{':
				open = append(open, n)
				at.col++
			}
		case len(open) > 0 && (c == ']' || c == '}'):
			s.ends[open[len(open)-1]] = at
			open = open[:len(open)-1]
			at.col++
		default:
			at.col++
		}
	}
}

func blank(r rune) bool { return r == ' ' || r == '\t' }

// blankBefore reports whether the line before is empty, and not by its meaning.
func (s *sheet) blankBefore(line int) bool {
	return line > 0 && !s.lasting[line-1] && strings.TrimSpace(string(s.lines[line-1])) == ""
}

// closing returns the place behind a quoted scalar that begins at a place.
func (s *sheet) closing(at place) place {
	quote := s.lines[at.line][at.col]
	for at.col++; at.line < len(s.lines); at = (place{at.line + 1, 0}) {
		for line := s.lines[at.line]; at.col < len(line); at.col++ {
			switch c := line[at.col]; {
			case c == '\\' && quote == '"':
				at.col++
			case c == quote && quote == '\'' && at.col+1 < len(line) && line[at.col+1] == quote:
				at.col++
			case c == quote:
				return place{at.line, at.col + 1}
			}
		}
	}
	return at
}

// body keeps the lines of a block scalar whose header begins at a place, and returns the place behind its header, so
// that a comment there is found, or behind its lines.
func (s *sheet) body(n *yaml.Node, at place, parent int) place {
	header := at
	indent := 0
	for line := s.lines[at.line]; header.col < len(line) && !blank(line[header.col]); header.col++ {
		if c := line[header.col]; '1' <= c && c <= '9' {
			indent = max(parent, 0) + int(c-'0')
		}
	}
	if rest := strings.TrimLeft(string(s.lines[at.line][header.col:]), " \t"); strings.HasPrefix(rest, "#") {
		col := len(s.lines[at.line]) - len([]rune(rest))
		s.comments = append(s.comments, comment{place{at.line, col}, strings.TrimRight(rest, " \t"), false, false})
	}
	body := []string{}
	end := at.line + 1
	for i := end; i < len(s.lines); i++ {
		line := s.lines[i]
		spaces := 0
		for spaces < len(line) && line[spaces] == ' ' {
			spaces++
		}
		if spaces == len(line) && (indent == 0 || spaces <= indent) {
			body = append(body, "")
			continue
		}
		if indent == 0 && spaces > parent {
			indent = spaces
		}
		if indent == 0 || spaces < indent {
			break
		}
		body = append(body, string(line[indent:]))
		end = i + 1
	}
	// Empty lines at the end count only where they are kept.
	kept := body[:end-at.line-1]
	if strings.HasSuffix(n.Value, "\n\n") || strings.Trim(n.Value, "\n") == "" {
		end = at.line + 1 + len(body)
	}
	s.bodies[n] = kept
	for i := at.line; i < min(end, len(s.lines)); i++ {
		s.lasting[i] = true
	}
	return place{end, 0}
}

// directive returns the place of a line such as %YAML 1.1.
func (s *sheet) directive() (place, bool) {
	if len(s.directives) == 0 {
		return place{}, false
	}
	return s.directives[0], true
}

// texts returns all comments, sorted.
func (s *sheet) texts() []string {
	out := make([]string, len(s.comments))
	for i, c := range s.comments {
		out[i] = c.text
	}
	slices.Sort(out)
	return out
}

// divide puts roots and comments into their documents.
func (s *sheet) divide(roots []*yaml.Node) {
	comments := s.comments
	fill := func(p *page, end place) *page {
		if len(roots) > 0 && placeOf(roots[0]).before(end) {
			p.root, roots = roots[0], roots[1:]
		}
		n := 0
		for n < len(comments) && comments[n].before(end) {
			n++
		}
		p.comments, comments = comments[:n], comments[n:]
		return p
	}
	keep := func(p *page) {
		if p.explicit || p.root != nil || len(p.comments) > 0 {
			s.docs = append(s.docs, p)
		}
	}
	p := &page{}
	for _, sep := range s.separators {
		keep(fill(p, place{sep.line, 0}))
		p = &page{explicit: sep.start, from: place{sep.line, 3}}
	}
	keep(fill(p, place{len(s.lines), 0}))
	for _, p := range s.docs {
		// A comment on the line of the separator stays there.
		if p.explicit && len(p.comments) > 0 {
			c := p.comments[0]
			if c.line == p.from.line && (p.root == nil || c.place.before(placeOf(p.root))) {
				p.line, p.comments = c.text, p.comments[1:]
			}
		}
	}
}
