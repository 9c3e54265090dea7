package parquet

import (
	"encoding/binary"
	"fmt"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// Bounds returns bounds of an int64 or timestamp column from the row group's statistics, after conversion: no value is
// less than least or greater than greatest. ok is false where the file does not say or what it says can't be trusted.
func (r *Reader) Bounds(group, column int) (least, greatest int64, ok bool) {
	b := &r.columns[column]
	if b.Type.List || b.Type.Kind != columnar.Int64 && b.Type.Kind != columnar.Timestamp {
		return 0, 0, false
	}
	if b.leaf == nil {
		if b.constant.IsNull(0) {
			return 0, 0, false
		}
		return b.constant.Int64s[0], b.constant.Int64s[0], true
	}
	c := &r.file.footer.groups[group].chunks[b.leaf.index]
	if least, ok = b.leaf.statistic(c.least); !ok {
		return 0, 0, false
	}
	if greatest, ok = b.leaf.statistic(c.greatest); !ok || least > greatest {
		return 0, 0, false
	}
	if b.leaf.Type.Kind == columnar.Timestamp {
		times := b.instants(b.leaf.Naive, b.leaf.unit)
		if least, _, ok = times.bounds(b.leaf, least); !ok {
			return 0, 0, false
		}
		if _, greatest, ok = times.bounds(b.leaf, greatest); !ok {
			return 0, 0, false
		}
	}
	return least, greatest, least <= greatest
}

// checkBounds fails where timestamps of a row group, in v from the given position on, are not within its statistics:
// other calls would leave the row group out because of them.
func (r *Reader) checkBounds(group, column int, v *columnar.Vector, from int) error {
	if v.Type.Kind != columnar.Timestamp {
		return nil
	}
	least, greatest, ok := r.Bounds(group, column)
	if !ok {
		return nil
	}
	for i := from; i < v.Len(); i++ {
		if t := v.Int64s[i]; (t < least || t > greatest) && !v.IsNull(i) {
			return fmt.Errorf("row %d: %s is not between %s and %s, which the row group's statistics promise; rewrite the file",
				i-from, instantText(t), instantText(least), instantText(greatest))
		}
	}
	return nil
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
