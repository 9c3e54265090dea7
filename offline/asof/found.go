package asof

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
)

// Found returns how many source rows are Present somewhere: a gathered feature has a value, or a null, for each.
func (r *Result) Found() int { return r.present }

// Summary returns a copy of what a result tells of the source, without the spine's rows: Status and Event are nil, and there
// is nothing to Gather.
func (r *Result) Summary() *Result {
	return &Result{Stats: r.Stats, Least: r.Least, Greatest: r.Greatest, Footers: r.Footers}
}

// GatherRows is Gather of one feature of no fixed width, for Cells and Size of the spine rows [lo, hi) alone. Where its
// values take more than limit bytes, ok is false and nothing is gathered, unless there is but one row. Beyond the limit
// each worker may hold as much again.
func (r *Result) GatherRows(ctx context.Context, feature, lo, hi int, limit int64) (ok bool, err error) {
	features := []int{feature}
	if err := r.kernel.checkFeatures(features); err != nil {
		return false, err
	}
	r.columns = nil
	positions, only := r.found[:r.present], []int32(nil)
	if hi-lo < len(r.rows) {
		positions, only = r.answering(lo, hi)
	}
	type piece struct {
		lo     int
		values *columnar.Vector
	}
	if hi-lo == 1 {
		limit = math.MaxInt64
	}
	var mu sync.Mutex // guards pieces and taken
	var pieces []piece
	taken := int64(0)
	err = r.kernel.gather(ctx, positions, r.kernel.featureColumns(features), func(ctx context.Context, _ int, p *part) error {
		v := columnar.NewVector(r.kernel.in.View.Features[feature].Type, p.hi-p.lo)
		if err := p.readWithin(ctx, feature, v, limit); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if taken += bytesOf(v); taken > limit {
			return parquet.ErrOverLimit
		}
		pieces = append(pieces, piece{p.lo, v})
		return nil
	})
	if errors.Is(err, parquet.ErrOverLimit) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	slices.SortFunc(pieces, func(a, b piece) int { return a.lo - b.lo })
	c := gathered{only: only}
	for _, p := range pieces {
		c.add(p.values, p.lo)
	}
	r.columns = []gathered{c}
	return true, nil
}

// answering returns the positions of the rows that are Present in the spine rows [lo, hi), and for every row in found its
// index among them.
func (r *Result) answering(lo, hi int) (positions []int64, only []int32) {
	only = make([]int32, r.present)
	for i := lo; i < hi; i++ {
		if r.Status[i] == columnar.Present {
			only[r.rows[i]] = 1
		}
	}
	for i, used := range only {
		if used == 1 {
			only[i] = int32(len(positions))
			positions = append(positions, r.found[i])
		}
	}
	return positions, only
}

// bytesOf returns the memory of a vector's values.
func bytesOf(v *columnar.Vector) int64 {
	n := int64(4*cap(v.Offsets) + cap(v.Data))
	if v.Elem != nil {
		n += bytesOf(v.Elem) + int64(v.Elem.Len()*v.Elem.Type.Kind.Width())
	}
	return n
}
