package asof

import (
	"context"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
)

// gathered is one feature of the rows in Result.found that are present.
type gathered struct {
	values *columnar.Vector // of a fixed width: of all rows
	// Otherwise the rows come in parts, each of at most 4 GiB, in order: part i begins with row first[i]; near[row >>
	// nearBits] is the part of a row at or little before it.
	parts []*columnar.Vector
	first []int
	near  []int32
	only  []int32 // where not all rows are gathered: per row its index among those that are
}

const nearBits = 6

// Gather reads features (indexes into the view's Features) for Cells, in place of what was gathered before, whose memory
// it takes over where it can. An error of a file names it, and leaves nothing gathered.
func (r *Result) Gather(ctx context.Context, features []int) error {
	if err := r.kernel.checkFeatures(features); err != nil {
		return err
	}
	columns := make([]gathered, len(features))
	for i, f := range features {
		if t := r.kernel.in.View.Features[f].Type; t.FixedWidth() {
			columns[i].values = r.reuse(t)
		}
	}
	r.columns = nil
	if len(features) == 0 || r.present == 0 {
		r.columns = columns
		return nil
	}
	type piece struct {
		lo      int
		columns []*columnar.Vector
	}
	var mu sync.Mutex // guards pieces
	var pieces []piece
	err := r.kernel.gather(ctx, r.found[:r.present], r.kernel.featureColumns(features), func(ctx context.Context, _ int, p *part) error {
		got := piece{p.lo, make([]*columnar.Vector, len(features))}
		for i, f := range features {
			if all := columns[i].values; all != nil {
				got.columns[i] = window(all, p.lo, p.hi)
			} else {
				got.columns[i] = columnar.NewVector(r.kernel.in.View.Features[f].Type, p.hi-p.lo)
			}
			if err := p.read(ctx, f, got.columns[i]); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		pieces = append(pieces, got)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(pieces, func(a, b piece) int { return a.lo - b.lo })
	for i := range columns {
		c := &columns[i]
		for _, p := range pieces {
			if c.values != nil {
				joinValidity(c.values, p.columns[i], p.lo)
			} else {
				c.add(p.columns[i], p.lo)
			}
		}
		if c.values != nil {
			c.values.SetLen(r.present)
		}
	}
	r.columns = columns
	return nil
}

// Release gives up what was gathered.
func (r *Result) Release() { r.columns = nil }

// reuse returns a vector of r.present values to be filled, in the memory of a gathered column of its type if there is
// one, which it takes.
func (r *Result) reuse(t columnar.Type) *columnar.Vector {
	for i := range r.columns {
		if v := r.columns[i].values; v != nil && v.Type == t {
			r.columns[i].values = nil
			v.Valid = nil
			return v
		}
	}
	v := &columnar.Vector{Type: t}
	switch n := r.present; t.Kind {
	case columnar.Bool:
		v.Bools = make([]bool, n)
	case columnar.Int32:
		v.Int32s = make([]int32, n)
	case columnar.Int64, columnar.Timestamp:
		v.Int64s = make([]int64, n)
	case columnar.Float32:
		v.Float32s = make([]float32, n)
	case columnar.Float64:
		v.Float64s = make([]float64, n)
	}
	return v
}

// window returns an empty vector that grows into v's rows [lo, hi).
func window(v *columnar.Vector, lo, hi int) *columnar.Vector {
	w := &columnar.Vector{Type: v.Type}
	switch v.Type.Kind {
	case columnar.Bool:
		w.Bools = v.Bools[lo:lo:hi]
	case columnar.Int32:
		w.Int32s = v.Int32s[lo:lo:hi]
	case columnar.Int64, columnar.Timestamp:
		w.Int64s = v.Int64s[lo:lo:hi]
	case columnar.Float32:
		w.Float32s = v.Float32s[lo:lo:hi]
	case columnar.Float64:
		w.Float64s = v.Float64s[lo:lo:hi]
	}
	return w
}

// joinValidity appends the validity of a part that begins with row lo; those of the rows before have been appended. A
// vector that has no null needs no bitmap.
func joinValidity(all, part *columnar.Vector, lo int) {
	n := part.Len()
	if part.Valid == nil && all.Valid == nil {
		return
	}
	if all.Valid == nil {
		for i := range lo {
			all.Valid = all.Valid.Append(i, true)
		}
	}
	for i := range n {
		all.Valid = all.Valid.Append(lo+i, !part.IsNull(i))
	}
}

// add appends a part that begins with row lo.
func (c *gathered) add(part *columnar.Vector, lo int) {
	for end := lo + part.Len(); len(c.near)<<nearBits < end; {
		if len(c.near)<<nearBits < lo {
			// Its first row is of the part before.
			c.near = append(c.near, int32(len(c.parts)-1))
		} else {
			c.near = append(c.near, int32(len(c.parts)))
		}
	}
	c.parts, c.first = append(c.parts, part), append(c.first, lo)
}

// at returns the part of a row and where the row is in it.
func (c *gathered) at(row int) (*columnar.Vector, int) {
	if c.only != nil {
		row = int(c.only[row])
	}
	p := int(c.near[row>>nearBits])
	for p+1 < len(c.first) && c.first[p+1] <= row {
		p++
	}
	return c.parts[p], row - c.first[p]
}

// Cells appends to dst feature f (an index into the features gathered) of the spine rows [lo, hi): the value where the row
// is Present, else a null. dst has the feature's type.
func (r *Result) Cells(f, lo, hi int, dst *columnar.Vector) {
	c, rows, status := &r.columns[f], r.rows[lo:hi], r.Status[lo:hi]
	if c.values == nil {
		for i, at := range rows {
			if status[i] == columnar.Present {
				part, j := c.at(int(at))
				dst.AppendFrom(part, j)
			} else {
				dst.AppendNull()
			}
		}
		return
	}
	switch v := c.values; dst.Type.Kind {
	case columnar.Bool:
		dst.Bools = appendCells(dst.Bools, v.Bools, rows, status)
	case columnar.Int32:
		dst.Int32s = appendCells(dst.Int32s, v.Int32s, rows, status)
	case columnar.Int64, columnar.Timestamp:
		dst.Int64s = appendCells(dst.Int64s, v.Int64s, rows, status)
	case columnar.Float32:
		dst.Float32s = appendCells(dst.Float32s, v.Float32s, rows, status)
	case columnar.Float64:
		dst.Float64s = appendCells(dst.Float64s, v.Float64s, rows, status)
	}
	appendValidity(dst, c.values.Valid, rows, status)
}

// Size returns the bytes of the cell of feature f in spine row i, 0 where it is not Present or of fixed width.
func (r *Result) Size(f, i int) int {
	c := &r.columns[f]
	if c.values != nil || r.Status[i] != columnar.Present {
		return 0
	}
	part, j := c.at(int(r.rows[i]))
	return part.Size(j)
}

// appendCells appends the values of rows, zero for those that are not Present.
func appendCells[T any](dst, values []T, rows []int32, status []columnar.Status) []T {
	at := len(dst)
	dst = slices.Grow(dst, len(rows))[:at+len(rows)]
	out := dst[at:]
	for i, row := range rows {
		var x T
		if status[i] == columnar.Present {
			x = values[row]
		}
		out[i] = x
	}
	return dst
}

// appendValidity appends which of rows have a value, and takes them into dst's length. A vector that has no null needs no
// bitmap.
func appendValidity(dst *columnar.Vector, values columnar.Bitmap, rows []int32, status []columnar.Status) {
	n := dst.Len()
	for i, row := range rows {
		valid := status[i] == columnar.Present && (values == nil || values.Get(int(row)))
		if dst.Valid == nil && !valid {
			for j := range n + i {
				dst.Valid = dst.Valid.Append(j, true)
			}
		}
		if dst.Valid != nil || !valid {
			dst.Valid = dst.Valid.Append(n+i, valid)
		}
	}
	dst.SetLen(n + len(rows))
}
