// Package row encodes keys and rows as the online stores hold them. It lies below both halves, because exports break
// ties by the same bytes that stores compare (R4). docs/format/row.md has the bytes.
package row

import (
	"errors"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

// NoCreated is the created time of a row that has none; it sorts below every other (R4).
const NoCreated = math.MinInt64

// ErrDamaged reports bytes that are not a row of the layout: truncated, altered, or of an unknown version.
var ErrDamaged = errors.New("damaged row")

// Field is one column of a layout.
type Field struct {
	Name string
	Type columnar.Type
}

// Layout is the columns of one view, fixed for a generation. Immutable. The bytes do not depend on the order in which
// fields are declared.
type Layout struct {
	fields []Field
}

// NewLayout returns the layout of fields; their order here is the order of column arguments below.
func NewLayout(fields []Field) *Layout { panic("unwritten") }

// Fields returns the fields in declared order; the caller must not change them.
func (l *Layout) Fields() []Field { return l.fields }

// AppendBody appends the canonical encoding (R4) of row i of cols, one vector per field.
func (l *Layout) AppendBody(dst []byte, cols []*columnar.Vector, i int) []byte { panic("unwritten") }

// AppendRow appends a stored row: times, canonical encoding, checksum.
func (l *Layout) AppendRow(dst []byte, event, created int64, cols []*columnar.Vector, i int) []byte {
	panic("unwritten")
}

// Times returns the event and created time of a stored row (NoCreated for none), checking the row's checksum.
func Times(stored []byte) (event, created int64, err error) { panic("unwritten") }

// Compare orders two stored rows of one layout by R4: event time, created time, canonical encoding. Redis's script and
// the embedded store order rows the same way: bytes.Compare of the rows less their checksums.
func Compare(a, b []byte) int { panic("unwritten") }

// Projection decodes some columns of a layout. Immutable.
type Projection struct{ layout *Layout }

// Project returns a projection to the fields at the given positions of the layout's declared order.
func (l *Layout) Project(fields []int) *Projection { panic("unwritten") }

// Append decodes stored and appends one value to each of dst, in the projection's order. On ErrDamaged nothing was
// appended. It never panics, whatever the bytes.
func (p *Projection) Append(dst []*columnar.Vector, stored []byte) (event, created int64, err error) {
	panic("unwritten")
}

// AppendKey appends the entity key of row i of cols, the join keys in R8's order (int64 and string vectors), and
// reports false, with dst as it was, where one of them is null. Length-prefixed and typed. No columns: the key of a
// global view, empty.
func AppendKey(dst []byte, cols []*columnar.Vector, i int) ([]byte, bool) { panic("unwritten") }

// AppendInt64Key appends one int64 join key.
func AppendInt64Key(dst []byte, x int64) []byte { panic("unwritten") }

// AppendStringKey appends one string join key.
func AppendStringKey(dst []byte, s []byte) []byte { panic("unwritten") }

// ParseKey is the reverse of AppendKey, appending one value to each vector of cols; the kinds must match.
func ParseKey(key []byte, cols []*columnar.Vector) error { panic("unwritten") }
