package definition

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
)

// MaxFileBytes is the size of the largest file that is read.
const MaxFileBytes = 4 << 20

// Limits of a document. A node is counted every time an alias leads to it.
const (
	maxDocumentNodes = 200_000
	maxDocumentDepth = 32
	// maxAliased bounds, for all documents of a file, what aliases repeat: bytes of text, and aliasedNode for each node.
	maxAliased  = MaxFileBytes
	aliasedNode = 20
)

// Limits of what definitions hold. They are far beyond what anybody declares, and bound the work of checking.
const (
	maxProblems = 1_000 // of a file that are told
	maxJoinKeys = 64    // of an entity, entities of a view, entries of keys and join
	maxFeatures = 10_000
	maxOutputs  = 1_000_000 // of all services together
	maxGuesses  = 500_000   // names that misspelt ones are compared with
)

// decoder reads the documents of one file strictly: what it does not understand is a problem in set.
type decoder struct {
	file string
	set  *diag.Set
	// elsewhere has the nodes that are in no file, and what stands in place of their position.
	elsewhere map[*yaml.Node]string
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, set: &diag.Set{}, elsewhere: map[*yaml.Node]string{}}
}

// documents returns the root nodes of a file's documents, empty ones left out, and false where the rest of the file
// could not be read.
func (d *decoder) documents(content []byte) ([]*yaml.Node, bool) {
	if len(content) > MaxFileBytes {
		d.set.Add(diag.Position{File: d.file}, codeFileTooLarge, "the file has %d bytes, at most %d are read", len(content), MaxFileBytes).
			Hint = "split it"
		return nil, false
	}
	if !utf8.Valid(content) {
		line, col := lineCol(content, invalidUTF8(content))
		d.set.Add(diag.Position{File: d.file, Line: line, Col: col}, codeNotUTF8, "not UTF-8 text")
		return nil, false
	}
	var roots []*yaml.Node
	whole := true
	var size measure
	for dec := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, whole
		}
		if err != nil {
			d.syntax(content, err)
			return roots, false
		}
		if len(doc.Content) == 0 {
			continue
		}
		root := doc.Content[0]
		if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue
		}
		size.nodes = 0
		if !size.fits(root, 0, false) {
			d.set.Add(d.at(root), codeDocumentTooLarge, "the document has more than %d nodes, is nested deeper than %d, or repeats too much by aliases",
				maxDocumentNodes, maxDocumentDepth)
			whole = false
			continue
		}
		roots = append(roots, root)
	}
}

// measure counts what a file's documents hold, aliases expanded. Later walks need not look again.
type measure struct {
	nodes   int // of the document
	aliased int // of the file
}

// fits counts the nodes below n and reports whether they stay within the limits.
func (m *measure) fits(n *yaml.Node, depth int, aliased bool) bool {
	m.nodes++
	if aliased {
		m.aliased += aliasedNode + len(n.Value)
	}
	if m.nodes > maxDocumentNodes || depth > maxDocumentDepth || aliased && m.aliased > maxAliased {
		return false
	}
	if n.Kind == yaml.AliasNode {
		return m.fits(n.Alias, depth+1, true)
	}
	for _, c := range n.Content {
		if !m.fits(c, depth+1, aliased) {
			return false
		}
	}
	return true
}

func (d *decoder) syntax(content []byte, err error) {
	at := diag.Position{File: d.file, Line: 1}
	message := err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		message = load.Message
		at.Line, at.Col = load.Mark.Line, load.Mark.Column
		if at.Line == 0 { // the reader knows the offset alone
			at.Line, at.Col = lineCol(content, load.Mark.Index)
		}
		if load.ContextMsg != "" {
			message += " " + load.ContextMsg
			if from := load.ContextMark.Line; from > 0 && from != at.Line {
				message += " that begins in line " + strconv.Itoa(from)
			}
		}
	}
	d.set.Add(at, codeSyntax, "%s", message)
}

// lineCol returns the position of a byte, from 1, the column in characters.
func lineCol(content []byte, offset int) (line, col int) {
	before := content[:min(max(offset, 0), len(content))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

func invalidUTF8(content []byte) int {
	for i := 0; i < len(content); {
		r, n := utf8.DecodeRune(content[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(content)
}

func (d *decoder) at(n *yaml.Node) diag.Position {
	if from, ok := d.elsewhere[n]; ok {
		return diag.Position{File: from}
	}
	return diag.Position{File: d.file, Line: n.Line, Col: n.Column}
}

// add reports a problem of a node.
func (d *decoder) add(n *yaml.Node, code, format string, args ...any) *diag.Diagnostic {
	return d.set.Add(d.at(n), code, format, args...)
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// describe names a node's YAML type for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "a boolean"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "a text"
	default:
		return "a " + n.ShortTag()
	}
}

// mapping is a YAML mapping with its keys checked. The methods of a nil mapping return nothing.
type mapping struct {
	*decoder
	node   *yaml.Node
	what   string // "an entity"
	keys   map[string]*yaml.Node
	values map[string]*yaml.Node
}

// mapping returns n as a mapping, or nil. Keys that are not allowed or come twice are problems; nil allows every key.
func (d *decoder) mapping(n *yaml.Node, what string, allowed []string) *mapping {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		d.add(n, codeWrongType, "want %s, a mapping, got %s", what, describe(n))
		return nil
	}
	m := &mapping{decoder: d, node: n, what: what, keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := target(n.Content[i])
		switch first := m.keys[k.Value]; {
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null":
			d.add(k, codeWrongType, "want a text as key of %s, got %s", what, describe(k))
		case first != nil:
			d.add(k, codeDuplicateKey, "key %q is in line %d already", k.Value, first.Line)
		case allowed != nil && !slices.Contains(allowed, k.Value):
			p := d.add(k, codeUnknownKey, "unknown key %q in %s", k.Value, what)
			if p.Hint = diag.Suggest(k.Value, allowed); k.ShortTag() == "!!merge" {
				p.Hint = "write the keys out"
			}
		default:
			m.keys[k.Value], m.values[k.Value] = k, target(n.Content[i+1])
		}
	}
	return m
}

// get returns the value of a key, nil where it is absent.
func (m *mapping) get(key string) *yaml.Node {
	if m == nil {
		return nil
	}
	return m.values[key]
}

// position returns where the value of a key stands, the zero position where it is absent.
func (m *mapping) position(key string) diag.Position {
	n := m.get(key)
	if n == nil {
		return diag.Position{}
	}
	return m.at(n)
}

// need returns the value of a key that must be there; its absence is a problem with the hint.
func (m *mapping) need(key, hint string) *yaml.Node {
	n := m.get(key)
	if n == nil && m != nil {
		m.add(m.node, codeMissingKey, "%s needs the key %q", m.what, key).Hint = hint
	}
	return n
}

// text returns a text, "" where the key is absent.
func (m *mapping) text(key string) string {
	n := m.get(key)
	if n == nil {
		return ""
	}
	s, _ := m.scalar(n, key)
	return s
}

// scalar returns a text node's value.
func (d *decoder) scalar(n *yaml.Node, what string) (string, bool) {
	n = target(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return n.Value, true
	}
	p := d.add(n, codeWrongType, "%s: want a text, got %s", what, describe(n))
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		p.Hint = "write " + strconv.Quote(n.Value) + " with the quotes"
	}
	return "", false
}

// boolean returns a boolean, or otherwise where the key is absent.
func (m *mapping) boolean(key string, otherwise bool) bool {
	n := m.get(key)
	if n == nil {
		return otherwise
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		switch strings.ToLower(n.Value) {
		case "true":
			return true
		case "false":
			return false
		}
	}
	m.add(n, codeWrongType, "%s: want a boolean, got %s", key, describe(n)).Hint = "write true or false"
	return otherwise
}

// choice returns one of the allowed texts, the first where the key is absent.
func (m *mapping) choice(key string, allowed ...string) string {
	n := m.get(key)
	if n == nil {
		return allowed[0]
	}
	s, ok := m.scalar(n, key)
	if ok && !slices.Contains(allowed, s) {
		p := m.add(n, codeBadChoice, "%s: %q is not one of %s", key, s, strings.Join(allowed, ", "))
		p.Hint = diag.Suggest(s, allowed)
	}
	return s
}

// list returns the elements of a list that must not be empty.
func (m *mapping) list(key, what string) []*yaml.Node {
	n := m.get(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		m.add(n, codeWrongType, "%s: want a list of %s, got %s", key, what, describe(n))
		return nil
	}
	if len(n.Content) == 0 {
		m.add(n, codeEmptyList, "%s: want %s, got an empty list", key, what)
	}
	most := maxFeatures
	if key == "join_keys" {
		most = maxJoinKeys
	}
	if len(n.Content) > most {
		m.add(n, codeTooMany, "%s: %d %s, at most %d are read", key, len(n.Content), what, most)
		return n.Content[:most]
	}
	return n.Content
}

// texts returns a mapping of texts to texts, nil where the key is absent. A check that is not nil sees every value, and
// the mapping is one of join keys then.
func (m *mapping) texts(key string, check func(n *yaml.Node, what, value string)) map[string]string {
	n := m.get(key)
	if n == nil {
		return nil
	}
	inner := m.mapping(n, key, nil)
	if inner == nil || len(inner.values) == 0 {
		return nil
	}
	if check != nil && len(inner.values) > maxJoinKeys {
		m.add(n, codeTooMany, "%s: %d entries, at most %d are read", key, len(inner.values), maxJoinKeys)
		return nil
	}
	out := make(map[string]string, len(inner.values))
	for k, v := range inner.values {
		s, ok := m.scalar(v, key+"."+k)
		if !ok {
			continue
		}
		if check != nil {
			check(v, key+"."+k, s)
		}
		out[k] = s
	}
	return out
}
