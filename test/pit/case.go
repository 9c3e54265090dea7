// Package pit is a small language for point-in-time cases and a slow reference for what they must answer. It shares no
// code with the engine: the tests of this package run the same cases through the reference, the as-of kernel and the
// online stores. README.md describes the language.
package pit

import "fmt"

// Value is one cell: nothing of it depends on how the engine holds values.
type Value struct {
	Null bool
	Bits uint64 // integers in two's complement, bools, floats by their bits (float32 in the lower half)
	Str  string // string, bytes
	List []Value
}

// Equal compares bit for bit; the types are equal.
func (v Value) Equal(w Value) bool {
	if v.Null || w.Null {
		return v.Null == w.Null
	}
	if v.Bits != w.Bits || v.Str != w.Str || len(v.List) != len(w.List) {
		return false
	}
	for i := range v.List {
		if !v.List[i].Equal(w.List[i]) {
			return false
		}
	}
	return true
}

// Column is a join key or a feature; Type is as definition files write it.
type Column struct {
	Name, Type string
	Default    *Value // features alone
	Literal    string // Default as the case wrote it
}

// Instant is a time in nanoseconds since 1970-01-01T00:00:00Z.
type Instant int64

// Row is a row of a source.
type Row struct {
	File    string
	Keys    []Value
	Event   Instant
	Created *Instant
	Values  []Value
}

// Ask is a row of the spine, or a lookup.
type Ask struct {
	Line int
	Keys []Value
	At   Instant
	Want []Cell // nil where the reference alone says what is right
}

// Cell is an answer.
type Cell struct {
	Status string // PRESENT, NULL, EXPIRED, NOT_FOUND
	Value  Value
}

// Equal reports whether two cells say the same.
func (c Cell) Equal(d Cell) bool { return c.Status == d.Status && c.Value.Equal(d.Value) }

// View is the one view of a case.
type View struct {
	TTL      int64 // microseconds, 0 for never
	Rewrites string
	Keys     []Column
	Features []Column
}

// Run is a run up to an instant.
type Run struct {
	To   Instant
	Full bool
	// Cut makes the run fail at that write, from 1, if it comes to so many, and be repeated; 0: never.
	Cut int
}

// Step is one line of a case's history. Exactly one field is set.
type Step struct {
	Line   int
	Row    *Row   // appears in its file
	Delete string // the file disappears; rows given to it later are another file of that name
	Run    *Run   // materialize
	Online *Ask   // a lookup in what the runs left
	Ask    *Ask   // a spine row over all rows so far; and a lookup after a run up to its time
}

// Case is a view and a history.
type Case struct {
	Name  string
	Line  int
	View  View
	Steps []Step
}

// Files returns the rows of each file after all of the steps before n.
func (c *Case) Files(n int) map[string][]Row {
	files := map[string][]Row{}
	for _, s := range c.Steps[:n] {
		switch {
		case s.Row != nil:
			files[s.Row.File] = append(files[s.Row.File], *s.Row)
		case s.Delete != "":
			delete(files, s.Delete)
		}
	}
	return files
}

// Rows returns the rows of all files after all of the steps before n.
func (c *Case) Rows(n int) (rows []Row) {
	for _, f := range c.Files(n) {
		rows = append(rows, f...)
	}
	return rows
}

// String names the case and its place.
func (c *Case) String() string { return fmt.Sprintf("%s (line %d)", c.Name, c.Line) }
