package parquet

import (
	"context"
	"fmt"

	"github.com/provender-dev/provender/internal/columnar"
)

// ValueError is a value that its column's type can't hold, wherever the bytes of the file are sound.
type ValueError struct {
	Row int // in the row group
	Err error
}

// Error names the row.
func (e *ValueError) Error() string { return fmt.Sprintf("row %d: %v", e.Row, e.Err) }

// Unwrap returns what is wrong with the value.
func (e *ValueError) Unwrap() error { return e.Err }

// Flaw is a row of a row group whose value can't be converted.
type Flaw struct {
	Row int32
	Err error
}

// GatherLenient is GatherWithin of rows, nil meaning all, where a value that can't be converted is a null, and told. Flaws
// ascend, each row once. It is slow: callers read as if all values were sound, and come here after a *ValueError.
func (r *Reader) GatherLenient(
	ctx context.Context, group, column int, rows []int32, dst *columnar.Vector, limit int64,
) (flaws []Flaw, err error) {
	b := &r.columns[column]
	defer func() { err = r.failure(group, b, err) }()
	defer guard(&err)
	if rows == nil {
		rows = make([]int32, r.Rows(group))
		for i := range rows {
			rows[i] = int32(i)
		}
	}
	if b.leaf == nil {
		return nil, b.repeat(len(rows), dst)
	}
	c := r.open(ctx, group, b)
	defer c.release()
	c.lenient, c.most = true, limit
	if b.leaf.maxRep > 0 {
		l := lists{dst: dst, rows: rows}
		err := c.eachPage(ctx, func(d *data) error { return l.add(c, d) })
		return l.flaws, err
	}
	from, all := dst.Len(), rows
	var at []int32
	err = c.eachPage(ctx, func(d *data) error {
		here := 0
		for here < len(rows) && int(rows[here]) < c.row+d.entries {
			here++
		}
		src, err := c.source(d)
		if err != nil {
			return err
		}
		positions := c.positions(d)
		at = at[:0]
		for _, row := range rows[:here] {
			p := row - int32(c.row)
			if positions != nil {
				p = positions[p]
			}
			at = append(at, p)
		}
		flaws = c.forgive(flaws, d, rows[:here], at)
		rows = rows[here:]
		c.row += d.entries
		return take(dst, src, at, limit)
	})
	if err != nil {
		return nil, err
	}
	return flaws, r.checkBounds(group, column, dst, from, all)
}

// eachPage decodes all pages of a chunk. fn adds the page's rows to c.row.
func (c *chunk) eachPage(ctx context.Context, fn func(d *data) error) error {
	for {
		h, ok, err := c.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return c.finish()
		}
		d, err := c.decode(&h)
		if err != nil {
			return err
		}
		if err := fn(&d); err != nil {
			return err
		}
	}
}

// forgive makes nulls of positions in a page's values, or its dictionary, that can't be converted, and appends the rows
// that they are of.
func (c *chunk) forgive(flaws []Flaw, d *data, rows, positions []int32) []Flaw {
	known := c.flaws
	if d.dict {
		known = c.flawed
	} else if d.present == 0 {
		return flaws
	}
	for i, p := range positions {
		if p < 0 {
			continue
		}
		if err := flawAt(known, p); err != nil {
			positions[i] = -1
			if n := len(flaws); n == 0 || flaws[n-1].Row != rows[i] {
				flaws = append(flaws, Flaw{rows[i], err})
			}
		}
	}
	return flaws
}

// Sound reports whether statistics rule out that a timestamp column has a value in a row group that can't be converted.
func (r *Reader) Sound(group, column int) bool {
	b := &r.columns[column]
	_, _, ok := r.Bounds(group, column)
	return ok && (b.leaf == nil || !b.leaf.Naive || b.Location == nil)
}
