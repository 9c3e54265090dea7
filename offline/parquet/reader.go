package parquet

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

// Reader reads bound columns, by their index in Bind's argument. Safe for concurrent use.
type Reader struct {
	file    *File
	columns []binding
}

// RowGroups returns the number of row groups.
func (r *Reader) RowGroups() int { return len(r.file.footer.groups) }

// Rows returns the rows of a row group.
func (r *Reader) Rows(group int) int { return int(r.file.footer.groups[group].rows) }

// Name returns the name of a column.
func (r *Reader) Name(column int) string { return r.columns[column].Name }

// Bytes is about what a column of a row group takes before compression, each text of a dictionary counted once, as far as
// the file says.
func (r *Reader) Bytes(group, column int) int64 {
	b := &r.columns[column]
	if b.leaf == nil {
		return int64(len(b.constant.Data))
	}
	return max(0, min(r.file.footer.groups[group].chunks[b.leaf.index].plain, math.MaxUint32))
}

// Page is a run of rows. Valid until the callback returns, except that Values of a dictionary stays the same vector
// from page to page of one row group, so that a caller can map it once.
type Page struct {
	First  int // in the row group
	Rows   int
	Values *columnar.Vector // with Index: the dictionary; without: Rows values
	Index  []int32          // per row the position in Values, -1 for a null; nil: not a dictionary page
}

// Read appends all values of a row group to dst. On an error dst is of no use.
func (r *Reader) Read(ctx context.Context, group, column int, dst *columnar.Vector) (err error) {
	b := &r.columns[column]
	defer func() { err = r.failure(group, b, err) }()
	defer guard(&err)
	if b.leaf == nil {
		return b.repeat(r.Rows(group), dst)
	}
	c := r.open(ctx, group, b)
	defer c.release()
	if b.leaf.maxRep > 0 {
		return c.readLists(ctx, nil, dst)
	}
	before := dst.Len()
	for {
		h, ok, err := c.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			if err := c.finish(); err != nil {
				return err
			}
			return r.checkBounds(group, column, dst, before, nil)
		}
		d, err := c.decode(&h)
		if err != nil {
			return err
		}
		if d.defs == nil && !d.dict {
			err = c.plain(dst, &d)
		} else {
			err = c.expand(dst, &d)
		}
		if err != nil {
			return err
		}
		c.row += d.entries
	}
}

// expand appends the rows of a page, nulls and values of a dictionary in their places.
func (c *chunk) expand(dst *columnar.Vector, d *data) error {
	src, err := c.source(d)
	if err != nil {
		return err
	}
	return take(dst, src, c.positions(d), c.most)
}

// Pages calls fn for every page of a row group's column, in order, stopping at fn's error. A column of lists comes as
// one page.
func (r *Reader) Pages(ctx context.Context, group, column int, fn func(Page) error) error {
	return r.pages(ctx, group, column, nil, fn)
}

// PagesOf is Pages for those that have rows of spans, which are ascending and apart; nil means all. The others are not
// decoded, and as far as it can be helped not read. An integer or a string that is not within the row group's statistics is
// an error: other calls would leave the row group out because of them.
func (r *Reader) PagesOf(ctx context.Context, group, column int, spans []Span, fn func(Page) error) error {
	check := r.newKeyCheck(group, column)
	return r.pages(ctx, group, column, spans, func(p Page) error {
		if err := check.page(&p); err != nil {
			return r.failure(group, &r.columns[column], err)
		}
		return fn(p)
	})
}

func (r *Reader) pages(ctx context.Context, group, column int, spans []Span, fn func(Page) error) error {
	b := &r.columns[column]
	if b.leaf == nil {
		return r.constantPages(group, b, fn)
	}
	if b.leaf.maxRep > 0 {
		v := columnar.NewVector(b.Type, r.Rows(group))
		if err := r.Read(ctx, group, column, v); err != nil || v.Len() == 0 {
			return err
		}
		return fn(Page{Rows: v.Len(), Values: v})
	}
	c := r.open(ctx, group, b)
	defer c.release()
	if spans != nil {
		c.leap()
	}
	for {
		page, ok, err := c.nextPage(ctx, spans)
		if err != nil {
			return r.failure(group, b, err)
		}
		if !ok {
			return nil
		}
		if err := fn(page); err != nil {
			return err
		}
	}
}

// nextPage decodes the next page of a flat column that has rows of spans, any if nil; ok is false after the last.
func (c *chunk) nextPage(ctx context.Context, spans []Span) (p Page, ok bool, err error) {
	defer guard(&err)
	h, ok, err := c.next(ctx)
	for ok && err == nil && spans != nil && !meets(spans, c.row, c.row+int(h.values)) {
		c.skip(&h)
		c.row += int(h.values)
		h, ok, err = c.next(ctx)
	}
	if err != nil {
		return p, false, err
	}
	if !ok {
		return p, false, c.finish()
	}
	d, err := c.decode(&h)
	if err != nil {
		return p, false, err
	}
	src, err := c.source(&d)
	if err != nil {
		return p, false, err
	}
	p = Page{First: c.row, Rows: d.entries, Values: src}
	if d.defs != nil || d.dict {
		positions := c.positions(&d)
		if d.dict {
			p.Index = positions
		} else {
			if c.spread == nil || c.spread.Type != c.elem {
				c.spread = columnar.NewVector(c.elem, d.entries)
			}
			c.spread.Reset()
			if err := take(c.spread, src, positions, c.most); err != nil {
				return p, false, err
			}
			p.Values = c.spread
		}
	}
	c.row += d.entries
	return p, true, nil
}

// constantRows is how many rows a page of a constant column has.
const constantRows = 1 << 16

func (r *Reader) constantPages(group int, b *binding, fn func(Page) error) error {
	rows := r.Rows(group)
	index := make([]int32, min(rows, constantRows))
	values := b.constant
	if values.IsNull(0) {
		values = columnar.NewVector(b.Type, 0)
		for i := range index {
			index[i] = -1
		}
	}
	for first := 0; first < rows; first += constantRows {
		n := min(rows-first, constantRows)
		if err := fn(Page{First: first, Rows: n, Values: values, Index: index[:n]}); err != nil {
			return err
		}
	}
	return nil
}

// Gather appends to dst the values at rows, which are ascending positions in the row group without repeats. Pages
// without a wanted row are not decoded. On an error dst is of no use.
func (r *Reader) Gather(ctx context.Context, group, column int, rows []int32, dst *columnar.Vector) error {
	return r.GatherWithin(ctx, group, column, rows, dst, math.MaxInt64)
}

// ErrOverLimit is the error of GatherWithin where values take too many bytes.
var ErrOverLimit = errors.New("the values take more bytes than the limit")

// GatherWithin is Gather of text, bytes or lists as long as what dst then holds takes at most limit bytes.
func (r *Reader) GatherWithin(ctx context.Context, group, column int, rows []int32, dst *columnar.Vector, limit int64) (err error) {
	b := &r.columns[column]
	defer func() { err = r.failure(group, b, err) }()
	defer guard(&err)
	for i, row := range rows {
		if row < 0 || int(row) >= r.Rows(group) || i > 0 && row <= rows[i-1] {
			return fmt.Errorf("gather: row %d of %d is out of range or order", row, r.Rows(group))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if b.leaf == nil {
		return b.repeat(len(rows), dst)
	}
	c := r.open(ctx, group, b)
	defer c.release()
	c.most = limit
	if b.leaf.maxRep > 0 {
		return c.readLists(ctx, rows, dst)
	}
	if len(rows)*leapRows < c.rows {
		c.leap()
	}
	from, all := dst.Len(), rows
	for len(rows) > 0 {
		h, ok, err := c.nextAfter(ctx, c.keepDictionary)
		if err != nil {
			return err
		}
		if !ok {
			return c.finish()
		}
		end := c.row + int(h.values)
		here := 0
		for here < len(rows) && int(rows[here]) < end {
			here++
		}
		if here == 0 {
			c.skip(&h)
			c.row = end
			continue
		}
		if err := c.gather(dst, &h, rows[:here]); err != nil {
			return err
		}
		rows = rows[here:]
		c.row = end
	}
	return r.checkBounds(group, column, dst, from, all)
}

// leapRows is of how many rows one is wanted at most for the pages between them to be leaped over.
const leapRows = 4096

// readLists appends the wanted rows of a list column; nil means all.
func (c *chunk) readLists(ctx context.Context, rows []int32, dst *columnar.Vector) error {
	l := lists{dst: dst, rows: rows, element: c.wanted}
	defer func() { c.wanted = l.element }()
	return c.eachPage(ctx, func(d *data) error { return l.add(c, d) })
}

// open starts reading a column of a row group.
func (r *Reader) open(ctx context.Context, group int, b *binding) *chunk {
	c := chunks.Get().(*chunk)
	g := &r.file.footer.groups[group]
	c.limits, c.leaf, c.meta = r.file.limits, b.leaf, &g.chunks[b.leaf.index]
	c.elem, c.rows, c.sparse.values, c.most = b.Type.Elem(), int(g.rows), -1, math.MaxInt64
	c.times = b.instants(b.leaf.Naive, b.leaf.unit)
	c.win.r, c.win.next, c.win.end = r.file.under(ctx), c.meta.start(), c.meta.start()+c.meta.compressed
	c.win.step = windowBytes
	return c
}

// repeat appends a constant n times.
func (b *binding) repeat(n int, dst *columnar.Vector) error {
	if n == 0 {
		return nil
	}
	if b.constant.IsNull(0) {
		for range n {
			dst.AppendNull()
		}
		return nil
	}
	if uint64(len(b.constant.Data))*uint64(n)+uint64(len(dst.Data)) > math.MaxUint32 {
		return tooMuchData()
	}
	for range n {
		dst.AppendFrom(b.constant, 0)
	}
	return nil
}

func (r *Reader) failure(group int, b *binding, err error) error {
	if err == nil {
		return nil
	}
	return r.file.failure(group, b.Name, err)
}

// guard turns a panic of a decoder into an error: bytes may be anything, and the process goes on.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = errors.Join(fmt.Errorf("the page can't be decoded: %v", p), *err)
	}
}
