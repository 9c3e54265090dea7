package asof

import "github.com/provender-dev/provender/internal/columnar"

// Cells appends to dst feature f (an index into the features asked for) of the spine rows [lo, hi): the value where
// the row is Present, else a null. dst has the feature's type.
func (r *Result) Cells(f, lo, hi int, dst *columnar.Vector) {
	cells := r.cells[lo:hi]
	if dst.Offsets != nil {
		for _, c := range cells {
			if c == nowhere {
				dst.AppendNull()
			} else {
				dst.AppendFrom(r.chunks[c>>32][f], int(uint32(c)))
			}
		}
		return
	}
	switch dst.Type.Kind {
	case columnar.Bool:
		dst.Bools = appendCells(dst.Bools, r, f, cells, func(v *columnar.Vector) []bool { return v.Bools })
	case columnar.Int32:
		dst.Int32s = appendCells(dst.Int32s, r, f, cells, func(v *columnar.Vector) []int32 { return v.Int32s })
	case columnar.Int64, columnar.Timestamp:
		dst.Int64s = appendCells(dst.Int64s, r, f, cells, func(v *columnar.Vector) []int64 { return v.Int64s })
	case columnar.Float32:
		dst.Float32s = appendCells(dst.Float32s, r, f, cells, func(v *columnar.Vector) []float32 { return v.Float32s })
	case columnar.Float64:
		dst.Float64s = appendCells(dst.Float64s, r, f, cells, func(v *columnar.Vector) []float64 { return v.Float64s })
	}
	r.appendValidity(f, cells, dst)
}

// Size returns the bytes of the cell of feature f in spine row i, 0 where it is not Present or of fixed width.
func (r *Result) Size(f, i int) int {
	c := r.cells[i]
	if c == nowhere {
		return 0
	}
	return r.chunks[c>>32][f].Size(int(uint32(c)))
}

// appendCells appends the values of cells, zero for nulls.
func appendCells[T any](dst []T, r *Result, f int, cells []int64, values func(*columnar.Vector) []T) []T {
	chunks := make([][]T, len(r.chunks))
	for i, c := range r.chunks {
		chunks[i] = values(c[f])
	}
	for _, c := range cells {
		var x T
		if c != nowhere {
			x = chunks[c>>32][uint32(c)]
		}
		dst = append(dst, x)
	}
	return dst
}

// appendValidity appends which of cells have a value, and takes them into dst's length. A vector that has no null
// needs no bitmap.
func (r *Result) appendValidity(f int, cells []int64, dst *columnar.Vector) {
	n := dst.Len()
	for i, c := range cells {
		valid := c != nowhere && !r.chunks[c>>32][f].IsNull(int(uint32(c)))
		if dst.Valid == nil && !valid {
			for j := range n + i {
				dst.Valid = dst.Valid.Append(j, true)
			}
		}
		if dst.Valid != nil || !valid {
			dst.Valid = dst.Valid.Append(n+i, valid)
		}
	}
	dst.SetLen(n + len(cells))
}
