package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

// indentation is what an inner block is moved to the right by.
const indentation = 2

// printed is one line of the result.
type printed struct{ text, comment string }

// printer writes documents.
type printer struct {
	sheet *sheet
	lines []printed
	dash  string // begins the next line instead of its indentation
}

// format writes all documents; schema returns the one of a root.
func (s *sheet) format(schema func(root *yaml.Node) *jsonschema.Schema) []byte {
	p := &printer{sheet: s}
	for i, doc := range s.docs {
		if doc.explicit || i > 0 && doc.root != nil {
			p.lines = append(p.lines, printed{"---", doc.line})
		}
		if doc.root == nil {
			p.comments(doc.comments, 0, len(p.lines) > 0 && !doc.explicit)
			continue
		}
		head, root := s.layOut(doc, schema(doc.root))
		p.comments(head, 0, false)
		if props := properties(doc.root); props != "" {
			p.line(0, strings.TrimSpace(props), "")
		}
		if len(root.entries) == 0 {
			p.line(0, empty(root.node), "")
		}
		p.entries(root, 0, len(head) > 0)
	}
	return p.bytes()
}

// bytes puts lines together; comments behind lines that follow each other begin in one column.
func (p *printer) bytes() []byte {
	var out strings.Builder
	for i := 0; i < len(p.lines); {
		end, most := i, 0
		for end < len(p.lines) && p.lines[end].comment != "" && p.lines[end].text != "" {
			most = max(most, runes(p.lines[end].text))
			end++
		}
		for ; i < end; i++ {
			l := p.lines[i]
			out.WriteString(l.text + strings.Repeat(" ", most-runes(l.text)+2) + l.comment + "\n")
		}
		if i < len(p.lines) {
			out.WriteString(p.lines[i].text + p.lines[i].comment + "\n")
			i++
		}
	}
	return []byte(out.String())
}

func (p *printer) line(indent int, text, comment string) {
	before := strings.Repeat(" ", indent)
	if p.dash != "" {
		before, p.dash = p.dash, ""
	}
	p.lines = append(p.lines, printed{before + text, comment})
}

// gap writes an empty line, unless there is one, or nothing to set apart.
func (p *printer) gap() {
	if n := len(p.lines); n > 0 && p.lines[n-1] != (printed{}) {
		p.lines = append(p.lines, printed{})
	}
}

// comments writes comments on lines of their own; the first has an empty line before it only where that is said.
func (p *printer) comments(list []comment, indent int, gap bool) {
	for i, c := range list {
		if c.blank && (gap || i > 0) {
			p.gap()
		}
		p.line(indent, c.text, "")
	}
}

// entries writes a mapping or a list, one entry a line or more; gap: an empty line may be before the first.
func (p *printer) entries(b *block, indent int, gap bool) {
	for _, e := range b.entries {
		p.comments(e.head, indent, gap)
		if e.blank && (gap || len(e.head) > 0) {
			p.gap()
		}
		if e.key == nil {
			p.element(e, indent, gap || len(e.head) > 0)
		} else {
			p.pair(e, indent)
		}
		gap = true
	}
	p.comments(b.foot, indent, true)
}

func (p *printer) pair(e *entry, indent int) {
	key := written(e.key) + ":"
	if e.key.Kind == yaml.AliasNode {
		key = written(e.key) + " :"
	}
	if e.block == nil {
		p.scalar(key+" ", e, indent)
		return
	}
	if value, ok := p.fits(e, indent+runes(key)+1); ok {
		p.line(indent, key+" "+value, e.line)
		return
	}
	p.line(indent, strings.TrimRight(key+" "+properties(e.value), " "), e.line)
	p.entries(e.block, indent+indentation, false)
}

// element writes an element of a list; gap: an empty line may be before it.
func (p *printer) element(e *entry, indent int, gap bool) {
	if e.block == nil {
		p.scalar("- ", e, indent)
		return
	}
	if value, ok := p.fits(e, indent+2); ok {
		p.line(indent, "- "+value, e.line)
		return
	}
	if props := properties(e.value); props != "" || e.line != "" {
		p.line(indent, strings.TrimRight("- "+props, " "), e.line)
		p.entries(e.block, indent+indentation, false)
		return
	}
	// A comment before the first key would otherwise stand between it and its dash.
	for inner := e.block; ; {
		first := inner.entries[0]
		p.comments(first.head, indent, gap)
		gap = gap || len(first.head) > 0
		first.head = nil
		if first.key != nil || first.block == nil || first.block.oneLine || first.line != "" || len(first.block.entries) == 0 {
			break
		}
		inner = first.block
	}
	if p.dash == "" {
		p.dash = strings.Repeat(" ", indent)
	}
	p.dash += "- "
	p.entries(e.block, indent+indentation, false)
}

// fits returns an entry's mapping or list in brackets, where it is written so and has room behind a column.
func (p *printer) fits(e *entry, column int) (string, bool) {
	if len(e.block.entries) == 0 {
		return properties(e.value) + empty(e.value), true
	}
	if !e.block.oneLine {
		return "", false
	}
	value := inline(e.block)
	return value, column+runes(value) <= width
}

func empty(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "{}"
	}
	return "[]"
}

// inline returns a mapping or a list in brackets.
func inline(b *block) string {
	parts := make([]string, len(b.entries))
	for i, e := range b.entries {
		var value string
		switch {
		case e.block == nil:
			value = written(e.value)
		case len(e.block.entries) == 0:
			value = properties(e.value) + empty(e.value)
		default:
			value = inline(e.block)
		}
		if e.key != nil {
			colon := ": "
			if e.key.Kind == yaml.AliasNode {
				colon = " : "
			}
			value = written(e.key) + colon + value
		}
		parts[i] = value
	}
	all := strings.Join(parts, ", ")
	if b.node.Kind == yaml.MappingNode {
		return properties(b.node) + "{" + all + "}"
	}
	return properties(b.node) + "[" + all + "]"
}

// scalar writes an entry whose value is no mapping or list behind a label.
func (p *printer) scalar(label string, e *entry, indent int) {
	n := e.value
	if body, ok := p.body(n); ok {
		p.line(indent, label+properties(n)+body[0], e.line)
		for _, line := range body[1:] {
			if line != "" {
				line = strings.Repeat(" ", indent+indentation) + line
			}
			p.lines = append(p.lines, printed{text: line})
		}
		return
	}
	value := written(n)
	if indent+runes(label)+runes(value) > width && n.Kind == yaml.ScalarNode {
		if folded := fold(n, width-indent-indentation); folded != nil {
			p.line(indent, label+anchor(n)+">-", e.line)
			for _, line := range folded {
				p.line(indent+indentation, line, "")
			}
			return
		}
	}
	p.line(indent, label+value, e.line)
}

// body returns the header and the lines of a block scalar, false for what is none or is better put in quotes.
func (p *printer) body(n *yaml.Node) ([]string, bool) {
	lines := p.sheet.bodies[n]
	if len(lines) == 0 || p.sheet.wrapped {
		return nil, false
	}
	header := "|"
	if n.Style&yaml.FoldedStyle != 0 {
		header = ">"
	}
	for _, line := range lines {
		if line != "" {
			if blank(rune(line[0])) {
				header += fmt.Sprint(indentation)
			}
			break
		}
	}
	last := len(lines)
	for last > 0 && lines[last-1] == "" {
		last--
	}
	if last == 0 {
		return nil, false
	}
	out := append([]string{""}, lines[:last]...)
	switch n := len(n.Value) - len(strings.TrimRight(n.Value, "\n")); n {
	case 0:
		header += "-"
	case 1:
	default:
		header += "+"
		out = append(out, make([]string, n-1)...)
	}
	out[0] = header
	return out, true
}

// fold cuts a text that is too long for its line at single spaces, nil where it can't be written so.
func fold(n *yaml.Node, room int) []string {
	if n.ShortTag() != "!!str" || strings.ContainsFunc(n.Value, func(r rune) bool { return !plain(r) }) ||
		strings.TrimSpace(n.Value) != n.Value || strings.Contains(n.Value, "  ") {
		return nil
	}
	var lines []string
	for word := range strings.SplitSeq(n.Value, " ") {
		if last := len(lines) - 1; last >= 0 && runes(lines[last])+1+runes(word) <= room {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	if len(lines) < 2 {
		return nil
	}
	return lines
}

// properties returns a node's anchor and tag, with a space behind each.
func properties(n *yaml.Node) string {
	out := anchor(n)
	if n.Style&yaml.TaggedStyle == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return out
	}
	if tag := n.ShortTag(); strings.HasPrefix(tag, "!") {
		return out + tag + " "
	}
	return out + "!<" + n.Tag + "> "
}

func anchor(n *yaml.Node) string {
	if n.Anchor == "" {
		return ""
	}
	return "&" + n.Anchor + " "
}

// written returns a scalar or an alias in one line.
func written(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return "*" + n.Value
	case n.Kind != yaml.ScalarNode:
		return ""
	}
	quoted := n.Style&(quotedStyle|blockStyle) != 0
	switch tagged := n.Style&yaml.TaggedStyle != 0; {
	case n.ShortTag() != "!!str" && n.Value == "" && !tagged:
		return properties(n) + "null"
	case n.ShortTag() != "!!str" && !quoted:
		return properties(n) + n.Value
	case n.ShortTag() != "!!str":
		return properties(n) + Quote(n.Value)
	case bare(n.Value), !quoted && !tagged && n.Tag != "!" && !strings.ContainsFunc(n.Value, func(r rune) bool { return !plain(r) }):
		return anchor(n) + n.Value
	default:
		return anchor(n) + Quote(n.Value)
	}
}

var (
	words = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*([ ./@-][A-Za-z0-9_]+)*|([0-9]+(d|h|m|s|ms|us))+)$`)
	// meanings are words that are no texts without quotes, for this YAML or an older one, or for people.
	meanings = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"}
)

// bare reports whether a text never needs quotes.
func bare(s string) bool {
	return words.MatchString(s) && !slices.Contains(meanings, strings.ToLower(s))
}

// plain reports whether a character can stand in a text without an escape.
func plain(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r) && !unicode.Is(unicode.Zl, r) && !unicode.Is(unicode.Zp, r)
}

// Quote returns a text in double quotes, or in single ones where that saves escapes.
func Quote(s string) string {
	if strings.ContainsAny(s, `"\`) && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case plain(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02X`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
