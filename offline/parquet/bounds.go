package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// Bound is the least or the greatest value of some rows: of an int64 or timestamp column Int, of a string column Bytes,
// which a value need not be.
type Bound struct {
	Int   int64
	Bytes []byte
}

// Bounds returns bounds of an int64 or timestamp column from the row group's statistics, after conversion: no value is
// less than least or greater than greatest. ok is false where the file does not say or what it says can't be trusted.
func (r *Reader) Bounds(group, column int) (least, greatest int64, ok bool) {
	if t := r.columns[column].Type; t.List || t.Kind != columnar.Int64 && t.Kind != columnar.Timestamp {
		return 0, 0, false
	}
	from, to, ok := r.KeyBounds(group, column)
	return from.Int, to.Int, ok
}

// KeyBounds is Bounds for string columns too.
func (r *Reader) KeyBounds(group, column int) (least, greatest Bound, ok bool) {
	b := &r.columns[column]
	if b.leaf == nil {
		return b.constantBounds()
	}
	c := &r.file.footer.groups[group].chunks[b.leaf.index]
	return r.file.bounds(b, c.least, c.greatest)
}

func (b *binding) constantBounds() (least, greatest Bound, ok bool) {
	v := b.constant
	switch {
	case b.Type.List || v.IsNull(0):
		return least, greatest, false
	case b.Type.Kind == columnar.Int64, b.Type.Kind == columnar.Timestamp:
		least.Int = v.Int64s[0]
	case b.Type.Kind == columnar.String:
		least.Bytes = v.BytesAt(0)
	default:
		return least, greatest, false
	}
	return least, least, true
}

// bounds converts two bounds as the file has them, nil for none. Bounds of strings may be cut short, the greatest then
// being raised: they are bounds all the same.
func (f *File) bounds(b *binding, low, high []byte) (least, greatest Bound, ok bool) {
	l := b.leaf
	switch {
	case low == nil || high == nil || b.Type.List:
		return least, greatest, false
	case l.index >= len(f.footer.ordered) || !f.footer.ordered[l.index]:
		return least, greatest, false // their order is not known
	case b.Type.Kind == columnar.String && (l.form == formText || l.form == formBytes):
		return Bound{Bytes: low}, Bound{Bytes: high}, bytes.Compare(low, high) <= 0
	case b.Type.Kind != columnar.Int64 && b.Type.Kind != columnar.Timestamp:
		return least, greatest, false
	}
	if least.Int, ok = l.statistic(low); !ok {
		return least, greatest, false
	}
	if greatest.Int, ok = l.statistic(high); !ok || least.Int > greatest.Int {
		return least, greatest, false
	}
	if l.Type.Kind == columnar.Timestamp {
		times := b.instants(l.Naive, l.unit)
		if least.Int, _, ok = times.bounds(l, least.Int); !ok {
			return least, greatest, false
		}
		if _, greatest.Int, ok = times.bounds(l, greatest.Int); !ok {
			return least, greatest, false
		}
	}
	return least, greatest, least.Int <= greatest.Int
}

// checkBounds fails where timestamps of a row group, in v from the given position on, are not within its statistics:
// other calls would leave the row group out because of them. rows are the rows of the values; nil: 0, 1, 2, …
func (r *Reader) checkBounds(group, column int, v *columnar.Vector, from int, rows []int32) error {
	if v.Type.Kind != columnar.Timestamp {
		return nil
	}
	least, greatest, ok := r.Bounds(group, column)
	if !ok {
		return nil
	}
	for i := from; i < v.Len(); i++ {
		if t := v.Int64s[i]; (t < least || t > greatest) && !v.IsNull(i) {
			row := i - from
			if rows != nil {
				row = int(rows[row])
			}
			return fmt.Errorf("row %d: %s is not between %s and %s, which the row group's statistics promise; rewrite the file",
				row, instantText(t), instantText(least), instantText(greatest))
		}
	}
	return nil
}

// keyCheck holds the pages of a row group's column of integers or strings against the row group's statistics.
type keyCheck struct {
	least, greatest Bound
	dictionary      *columnar.Vector // that strays are of
	strays          []bool           // per value, which are outside; nil: none
}

// newKeyCheck returns nil where there is nothing to check.
func (r *Reader) newKeyCheck(group, column int) *keyCheck {
	t := r.columns[column].Type
	if t.List || t.Kind != columnar.Int64 && t.Kind != columnar.String {
		return nil
	}
	least, greatest, ok := r.KeyBounds(group, column)
	if !ok {
		return nil
	}
	return &keyCheck{least: least, greatest: greatest}
}

// page fails where a page has a value outside of the statistics. A dictionary may hold more than is used.
func (k *keyCheck) page(p *Page) error {
	switch {
	case k == nil:
		return nil
	case p.Index == nil:
		if k.outside(p.Values) == nil {
			return nil
		}
	default:
		if p.Values != k.dictionary {
			k.dictionary, k.strays = p.Values, k.outside(p.Values)
		}
		if k.strays == nil || !slices.ContainsFunc(p.Index, func(i int32) bool { return i >= 0 && k.strays[i] }) {
			return nil
		}
	}
	return fmt.Errorf("rows %d to %d: a value is not within the row group's statistics; rewrite the file", p.First, p.First+p.Rows-1)
}

// outside tells which values of v are outside, nil for none.
func (k *keyCheck) outside(v *columnar.Vector) (strays []bool) {
	stray := func(i int) {
		if v.IsNull(i) {
			return
		}
		if strays == nil {
			strays = make([]bool, v.Len())
		}
		strays[i] = true
	}
	if v.Type.Kind == columnar.Int64 {
		for i, x := range v.Int64s {
			if x < k.least.Int || x > k.greatest.Int {
				stray(i)
			}
		}
		return strays
	}
	for i := range v.Len() {
		if x := v.BytesAt(i); bytes.Compare(x, k.least.Bytes) < 0 || bytes.Compare(x, k.greatest.Bytes) > 0 {
			stray(i)
		}
	}
	return strays
}

func instantText(t int64) string { return string(columnar.AppendTimestamp(nil, t)) }

// statistic reads a bound as the column stores values.
func (l *leaf) statistic(raw []byte) (int64, bool) {
	switch l.form {
	case formInt64, formTimestamp:
		if len(raw) == 8 {
			return int64(binary.LittleEndian.Uint64(raw)), true
		}
	case formInt32, formDate:
		if len(raw) == 4 {
			return int64(int32(binary.LittleEndian.Uint32(raw))), true
		}
	case formUint32:
		if len(raw) == 4 {
			return int64(binary.LittleEndian.Uint32(raw)), true
		}
	}
	return 0, false
}

// bounds converts a bound of times: no value on its far side is before least, none on its near side after greatest.
func (c *instants) bounds(l *leaf, v int64) (least, greatest int64, ok bool) {
	if l.form == formDate {
		t, err := c.date(int32(v))
		return t, t, err == nil
	}
	utc := *c
	utc.local = newLocalTime(nil, registry.AmbiguousError)
	if utc.round == Exact {
		utc.round = RoundDown // a rest fails when it is read
	}
	t, err := utc.timestamp(v)
	if err != nil {
		return 0, 0, false
	}
	if !c.naive || c.local.loc == nil {
		return t, t, true
	}
	// Around a change of the zone instants are not in the order of local times.
	seconds := t / 1_000_000
	if t%1_000_000 < 0 {
		seconds--
	}
	first, last := c.local.bounds(seconds)
	rest := t - seconds*1_000_000
	return first*1_000_000 + rest, last*1_000_000 + rest, true
}
