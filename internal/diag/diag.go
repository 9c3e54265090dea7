// Package diag holds diagnostics of files that users write: a position, a stable code, a message and, where it helps, a
// hint. It also has the one "did you mean" of the repository.
package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Line and Col count from 1, Col in characters; 0 means the file, or the line, as a whole.
type Position struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// String returns "file:line:col", less what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
}

// Diagnostic is one problem of a file.
type Diagnostic struct {
	Position
	Code    string `json:"code"` // kebab-case, stable, never reused
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // "did you mean …?" or what to write instead
}

// String returns "file:line:col: code: message (hint)".
func (d Diagnostic) String() string {
	s := d.Position.String() + ": " + d.Code + ": " + d.Message
	if d.Hint != "" {
		s += " (" + d.Hint + ")"
	}
	return s
}

// Set is the problems of one pass. As an error it prints one line per problem; use Err to return it.
type Set []Diagnostic

// Add adds a problem with a formatted message and returns it, so that a hint can be set before the next Add.
func (s *Set) Add(at Position, code, format string, args ...any) *Diagnostic {
	*s = append(*s, Diagnostic{Position: at, Code: code, Message: fmt.Sprintf(format, args...)})
	return &(*s)[len(*s)-1]
}

// maxText bounds the bytes of a message and of a hint: what they quote may be a file.
const maxText = 1000

// Err returns the set sorted by position, each problem once, long messages cut, or nil if there is none.
func (s Set) Err() error {
	if len(s) == 0 {
		return nil
	}
	sorted := slices.Clone(s)
	for i := range sorted {
		sorted[i].Message, sorted[i].Hint = cut(sorted[i].Message), cut(sorted[i].Hint)
	}
	slices.SortFunc(sorted, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Hint, b.Hint),
		)
	})
	return slices.Compact(sorted)
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// Error returns one line per problem, without a newline at the end.
func (s Set) Error() string {
	lines := make([]string, len(s))
	for i, d := range s {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}
