package pit

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// NoCutoff lets every row take part.
const NoCutoff = Instant(math.MaxInt64)

// Find returns the row that a read of keys at an instant sees, of the rows with event time up to the cutoff, however old it
// is; nil for none: a loop over all of them, rule by rule.
func (v *View) Find(rows []Row, keys []Value, at, cutoff Instant) *Row {
	t := floorMicros(at)
	var found *Row
	for i := range rows {
		r := &rows[i]
		if !sameKeys(r.Keys, keys) { // R7: a null key is nobody's
			continue
		}
		if e := ceilMicros(r.Event); e > t || e > floorMicros(cutoff) { // R2
			continue
		}
		if found == nil || v.compare(r, found) > 0 {
			found = r
		}
	}
	return found
}

// Answer says what a read of keys at an instant must give, over the rows with event time up to the cutoff.
func (v *View) Answer(rows []Row, keys []Value, at, cutoff Instant) []Cell {
	found := v.Find(rows, keys, at, cutoff)
	status := "NOT_FOUND"
	if found != nil {
		status = v.status(floorMicros(at) - ceilMicros(found.Event))
	}
	cells := make([]Cell, len(v.Features))
	for i, f := range v.Features {
		cells[i] = Cell{Status: status, Value: Value{Null: true}}
		switch {
		case status != "PRESENT":
			if f.Default != nil {
				cells[i].Value = *f.Default
			}
		case found.Values[i].Null: // R5
			cells[i].Status = "NULL"
		default:
			cells[i].Value = found.Values[i]
		}
	}
	return cells
}

// status judges an age in microseconds (R3, R6).
func (v *View) status(age int64) string {
	switch {
	case v.TTL == 0 || age <= v.TTL:
		return "PRESENT"
	case age <= 2*v.TTL:
		return "EXPIRED"
	default:
		return "NOT_FOUND"
	}
}

// R1: event times round up, spine times round down.
func ceilMicros(t Instant) int64 { return -floorMicros(-t) }

func floorMicros(t Instant) int64 {
	q := int64(t) / 1000
	if int64(t)%1000 < 0 {
		q--
	}
	return q
}

func sameKeys(a, b []Value) bool {
	for i := range a {
		if a[i].Null || b[i].Null || !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// compare orders two rows of one entity (R4).
func (v *View) compare(a, b *Row) int {
	return cmp.Or(
		compareTimes(a, b),
		bytes.Compare(v.encode(a.Values), v.encode(b.Values)),
	)
}

func compareCreated(a, b *Instant) int {
	switch {
	case a == nil || b == nil:
		return cmp.Compare(boolInt(a != nil), boolInt(b != nil))
	default:
		return cmp.Compare(ceilMicros(*a), ceilMicros(*b))
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// encode writes the canonical encoding as docs/format/row.md says.
func (v *View) encode(values []Value) []byte {
	order := make([]int, len(v.Features))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		fa, fb := v.Features[a], v.Features[b]
		return cmp.Or(cmp.Compare(classOf(fa.Type), classOf(fb.Type)), cmp.Compare(fa.Name, fb.Name))
	})
	var nulls, bools, rest []byte
	nBools := 0
	anyNull := false
	for pos, i := range order {
		if pos%8 == 0 {
			nulls = append(nulls, 0)
		}
		value, typ := values[i], v.Features[i].Type
		if value.Null {
			nulls[pos/8] |= 1 << (pos % 8)
			anyNull = true
		}
		if typ == "bool" {
			if nBools%8 == 0 {
				bools = append(bools, 0)
			}
			bools[nBools/8] |= byte(value.Bits) << (nBools % 8)
			nBools++
		} else if !value.Null {
			rest = encodeValue(rest, typ, value)
		}
	}
	out := []byte{0x10}
	if anyNull {
		out[0] |= 1
		out = append(out, nulls...)
	}
	return slices.Concat(out, bools, rest)
}

func classOf(typ string) int {
	switch typ {
	case "bool":
		return 1
	case "float64", "timestamp":
		return 2
	case "float32":
		return 3
	case "int32", "int64":
		return 4
	default:
		return 5
	}
}

func encodeValue(dst []byte, typ string, v Value) []byte {
	switch classOf(typ) {
	case 2:
		return binary.LittleEndian.AppendUint64(dst, v.Bits)
	case 3:
		return binary.LittleEndian.AppendUint32(dst, uint32(v.Bits))
	case 4:
		return binary.AppendVarint(dst, int64(v.Bits))
	}
	elem, list := strings.CutPrefix(typ, "list<")
	if !list {
		return append(binary.AppendUvarint(dst, uint64(len(v.Str))), v.Str...)
	}
	elem = strings.TrimSuffix(elem, ">")
	nulls, bools := make([]byte, (len(v.List)+7)/8), make([]byte, (len(v.List)+7)/8)
	head := uint64(2 * len(v.List))
	var rest []byte
	for i, e := range v.List {
		switch {
		case e.Null:
			nulls[i/8] |= 1 << (i % 8)
			head |= 1
		case elem == "bool":
			bools[i/8] |= byte(e.Bits) << (i % 8)
		default:
			rest = encodeValue(rest, elem, e)
		}
	}
	dst = binary.AppendUvarint(dst, head)
	if head&1 != 0 {
		dst = append(dst, nulls...)
	}
	if elem == "bool" {
		dst = append(dst, bools...)
	}
	return append(dst, rest...)
}
