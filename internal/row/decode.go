package row

import (
	"encoding/binary"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

// Projection decodes some columns of a layout. Immutable.
type Projection struct {
	layout *Layout
	to     []int    // per field in canonical order: the column it goes to, or skip
	copies [][2]int // a field projected more than once: from column, to column
}

// skip marks a field that no column wants.
const skip = -1

// Project returns a projection to the fields at the given positions of the layout's declared order.
func (l *Layout) Project(fields []int) *Projection {
	p := &Projection{layout: l, to: make([]int, len(l.order))}
	canonical := make([]int, len(l.order))
	for j, s := range l.order {
		canonical[s.declared] = j
		p.to[j] = skip
	}
	for column, f := range fields {
		if j := canonical[f]; p.to[j] == skip {
			p.to[j] = column
		} else {
			p.copies = append(p.copies, [2]int{p.to[j], column})
		}
	}
	return p
}

// Append decodes stored and appends one value to each of dst, in the projection's order. On ErrDamaged nothing was
// appended. It never panics, whatever the bytes.
func (p *Projection) Append(dst []*columnar.Vector, stored []byte) (event, created int64, err error) {
	r, err := Open(stored)
	if err != nil {
		return 0, 0, err
	}
	return r.Event, r.Created, p.AppendOpened(dst, r)
}

// AppendOpened is Append for a row that was opened before.
func (p *Projection) AppendOpened(dst []*columnar.Vector, r Opened) error {
	if done, ok := p.appendBody(dst, r.body); !ok {
		for _, column := range p.to[:done] {
			if column != skip {
				truncate(dst[column], dst[column].Len()-1)
			}
		}
		return ErrDamaged
	}
	for _, c := range p.copies {
		dst[c[1]].AppendFrom(dst[c[0]], dst[c[0]].Len()-1)
	}
	return nil
}

// appendBody decodes a canonical encoding, all of b, and returns how many fields it has dealt with.
func (p *Projection) appendBody(dst []*columnar.Vector, b []byte) (done int, ok bool) {
	l := p.layout
	if len(b) == 0 || b[0]&^flagNulls != version {
		return 0, false
	}
	var nulls columnar.Bitmap // nil: none
	hasNulls := b[0]&flagNulls != 0
	b = b[1:]
	if hasNulls {
		if nulls, b, ok = bitmap(b, len(l.order)); !ok || nulls.Count(len(l.order)) == 0 {
			return 0, false
		}
	}
	bools, b, ok := bitmap(b, l.bools)
	if !ok {
		return 0, false
	}
	from := 0
	if nulls == nil {
		if from, b, ok = p.appendFixed(dst, bools, b); !ok {
			return from, false
		}
	}
	for j := from; j < len(l.order); j++ {
		column := p.to[j]
		if nulls != nil && nulls.Get(j) {
			if j < l.bools && bools.Get(j) {
				return j, false
			}
			if column != skip {
				dst[column].AppendNull()
			}
			continue
		}
		var v *columnar.Vector
		if column != skip {
			v = dst[column]
		}
		kind := l.order[j].typ.Kind
		switch {
		case j < l.bools:
			if v != nil {
				v.AppendBool(bools.Get(j))
			}
			continue
		case l.order[j].typ.List:
			b, ok = parseList(b, kind, v)
		default:
			b, ok = parseValue(b, kind, v)
		}
		if !ok {
			return j, false
		}
	}
	return len(l.order), len(b) == 0
}

// appendFixed decodes the fields of a row without nulls up to the last integer, as the loop of appendBody would, class by
// class.
func (p *Projection) appendFixed(dst []*columnar.Vector, bools columnar.Bitmap, b []byte) (done int, rest []byte, ok bool) {
	l := p.layout
	for j, column := range p.to[:l.bools] {
		if column != skip {
			dst[column].AppendBool(bools.Get(j))
		}
	}
	eights, fours := l.order[l.bools:l.eights], l.fours-l.eights
	if len(b) < 8*len(eights)+4*fours {
		return l.bools, nil, false
	}
	for j, column := range p.to[l.bools:l.eights] {
		if column == skip {
			continue
		}
		x := binary.LittleEndian.Uint64(b[8*j:])
		if eights[j].typ.Kind == columnar.Float64 {
			dst[column].AppendFloat64(math.Float64frombits(x))
		} else {
			dst[column].AppendInt64(int64(x))
		}
	}
	b = b[8*len(eights):]
	for j, column := range p.to[l.eights:l.fours] {
		if column != skip {
			dst[column].AppendFloat32(math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:])))
		}
	}
	b = b[4*fours:]
	for j := l.fours; j < l.ints; j++ {
		var x uint64
		if x, b, ok = uvarint(b); !ok {
			return j, nil, false
		}
		column := p.to[j]
		if l.order[j].typ.Kind == columnar.Int64 {
			if column != skip {
				dst[column].AppendInt64(unzigzag(x))
			}
			continue
		}
		small, ok := int32Of(x)
		if !ok {
			return j, nil, false
		}
		if column != skip {
			dst[column].AppendInt32(small)
		}
	}
	return l.ints, b, true
}

// parseValue reads one value of a kind other than bool and appends it to v, unless v is nil.
func parseValue(b []byte, kind columnar.Kind, v *columnar.Vector) (rest []byte, ok bool) {
	switch kind {
	case columnar.Float64:
		if len(b) < 8 {
			return nil, false
		}
		if v != nil {
			v.AppendFloat64(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
		return b[8:], true
	case columnar.Timestamp:
		if len(b) < 8 {
			return nil, false
		}
		if v != nil {
			v.AppendInt64(int64(binary.LittleEndian.Uint64(b)))
		}
		return b[8:], true
	case columnar.Float32:
		if len(b) < 4 {
			return nil, false
		}
		if v != nil {
			v.AppendFloat32(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return b[4:], true
	}
	x, b, ok := uvarint(b)
	if !ok {
		return nil, false
	}
	switch kind {
	case columnar.Int64:
		if v != nil {
			v.AppendInt64(unzigzag(x))
		}
		return b, true
	case columnar.Int32:
		small, ok := int32Of(x)
		if ok && v != nil {
			v.AppendInt32(small)
		}
		return b, ok
	default:
		if x > uint64(len(b)) {
			return nil, false
		}
		if v != nil {
			v.AppendBytes(b[:x])
		}
		return b[x:], true
	}
}

// parseList reads one list and appends it to v, unless v is nil. On a failure v is as it was.
func parseList(b []byte, kind columnar.Kind, v *columnar.Vector) (rest []byte, ok bool) {
	var elem *columnar.Vector
	var before int
	if v != nil {
		elem = v.Elem
		before = elem.Len()
	}
	rest, ok = parseElems(b, kind, elem)
	switch {
	case v == nil:
	case ok:
		v.EndList()
	default:
		truncate(elem, before)
	}
	return rest, ok
}

func parseElems(b []byte, kind columnar.Kind, elem *columnar.Vector) (rest []byte, ok bool) {
	head, b, ok := uvarint(b)
	// An element takes a bit at least, so the bytes that are there bound the count.
	if !ok || head>>1 > 8*uint64(len(b)) {
		return nil, false
	}
	n := int(head >> 1)
	var nulls, bools columnar.Bitmap // nil: none
	if head&1 != 0 {
		if nulls, b, ok = bitmap(b, n); !ok || nulls.Count(n) == 0 {
			return nil, false
		}
	}
	if kind == columnar.Bool {
		if bools, b, ok = bitmap(b, n); !ok {
			return nil, false
		}
	}
	for k := range n {
		switch {
		case nulls != nil && nulls.Get(k):
			if kind == columnar.Bool && bools.Get(k) {
				return nil, false
			}
			if elem != nil {
				elem.AppendNull()
			}
		case kind == columnar.Bool:
			if elem != nil {
				elem.AppendBool(bools.Get(k))
			}
		default:
			if b, ok = parseValue(b, kind, elem); !ok {
				return nil, false
			}
		}
	}
	return b, true
}

// bitmap takes n bits off b; the bits that fill the last byte are zero.
func bitmap(b []byte, n int) (bits columnar.Bitmap, rest []byte, ok bool) {
	size := bitmapLen(n)
	if size > len(b) || n&7 != 0 && b[size-1]>>(n&7) != 0 {
		return nil, nil, false
	}
	return columnar.Bitmap(b[:size]), b[size:], true
}

// truncate cuts v back to its first n values.
func truncate(v *columnar.Vector, n int) {
	v.SetLen(n)
	if v.Valid != nil {
		v.Valid = v.Valid[:bitmapLen(n)]
		if n&7 != 0 {
			v.Valid[n>>3] &= 1<<(n&7) - 1
		}
	}
	if v.Offsets != nil {
		v.Offsets = v.Offsets[:n+1]
		if v.Type.List {
			truncate(v.Elem, int(v.Offsets[n]))
		} else {
			v.Data = v.Data[:v.Offsets[n]]
		}
		return
	}
	switch v.Type.Kind {
	case columnar.Bool:
		v.Bools = v.Bools[:n]
	case columnar.Int32:
		v.Int32s = v.Int32s[:n]
	case columnar.Int64, columnar.Timestamp:
		v.Int64s = v.Int64s[:n]
	case columnar.Float32:
		v.Float32s = v.Float32s[:n]
	case columnar.Float64:
		v.Float64s = v.Float64s[:n]
	}
}
