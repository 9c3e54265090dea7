// Package row encodes keys and rows as the online stores hold them. It lies below both halves, because exports break
// ties by the same bytes that stores compare (R4). docs/format/row.md has the bytes.
package row

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"

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
	order  []slot // canonical order: by class, then name

	// Where the classes end in order; the last one ends with it.
	bools, eights, fours, ints int
}

// slot is one field in canonical order.
type slot struct {
	typ      columnar.Type
	declared int // its index in Layout.fields
}

// class groups fields whose values are written alike.
type class uint8

const (
	classBool   class = iota // one bit
	classEight               // 8 bytes: float64, timestamp
	classFour                // 4 bytes: float32
	classInt                 // zigzag varint: int32, int64
	classLength              // length first: string, bytes, lists
)

func classOf(t columnar.Type) class {
	if t.List {
		return classLength
	}
	switch t.Kind {
	case columnar.Bool:
		return classBool
	case columnar.Float64, columnar.Timestamp:
		return classEight
	case columnar.Float32:
		return classFour
	case columnar.Int32, columnar.Int64:
		return classInt
	default:
		return classLength
	}
}

// NewLayout returns the layout of fields; their order here is the order of column arguments below. Names are unique.
func NewLayout(fields []Field) *Layout {
	l := &Layout{fields: slices.Clone(fields), order: make([]slot, len(fields))}
	for i, f := range fields {
		l.order[i] = slot{typ: f.Type, declared: i}
	}
	slices.SortStableFunc(l.order, func(a, b slot) int {
		return cmp.Or(
			cmp.Compare(classOf(a.typ), classOf(b.typ)),
			cmp.Compare(fields[a.declared].Name, fields[b.declared].Name),
		)
	})
	end := func(c class) int {
		n, _ := slices.BinarySearchFunc(l.order, c+1, func(s slot, c class) int { return cmp.Compare(classOf(s.typ), c) })
		return n
	}
	l.bools, l.eights, l.fours, l.ints = end(classBool), end(classEight), end(classFour), end(classInt)
	return l
}

// Fields returns the fields in declared order; the caller must not change them.
func (l *Layout) Fields() []Field { return l.fields }

// AppendRow appends a stored row: times, canonical encoding, checksum. Both times are ValidTime, which the caller has
// checked (it panics otherwise); created may be NoCreated.
func (l *Layout) AppendRow(dst []byte, event, created int64, cols []*columnar.Vector, i int) []byte {
	start := len(dst)
	dst = appendTimes(dst, event, created)
	dst = l.AppendBody(dst, cols, i)
	return appendChecksum(dst, dst[start:])
}

// Opened is a stored row whose checksum agrees and whose times are known; its values are not decoded yet.
type Opened struct {
	Event, Created int64 // NoCreated for none
	body           []byte
}

// Open checks a stored row's checksum and reads its times. The result shares stored's memory. ErrDamaged.
func Open(stored []byte) (r Opened, err error) {
	b, ok := unseal(stored)
	if !ok {
		return r, ErrDamaged
	}
	if r.Event, r.Created, r.body, ok = parseTimes(b); !ok {
		return Opened{}, ErrDamaged
	}
	return r, nil
}

// Times returns the event and created time of a stored row (NoCreated for none), checking the row's checksum.
func Times(stored []byte) (event, created int64, err error) {
	r, err := Open(stored)
	return r.Event, r.Created, err
}

// Compare orders two stored rows of one layout by R4: event time, created time, canonical encoding. Redis's script and
// the embedded store order rows the same way: bytes.Compare of the rows less their checksums.
func Compare(a, b []byte) int {
	return bytes.Compare(a[:max(0, len(a)-checksumLen)], b[:max(0, len(b)-checksumLen)])
}

// SameTimes reports whether two stored rows have equal event and created times. A row too short to have times equals
// none.
func SameTimes(a, b []byte) bool {
	n := timesLen(a)
	return n > 0 && n <= len(b) && bytes.Equal(a[:n], b[:n])
}
