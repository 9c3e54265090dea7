package parquet

import (
	"bytes"
	"context"
)

// Span is the rows [From, To) of a row group.
type Span struct{ From, To int }

// meets reports whether one of some ascending spans has a row of [from, to).
func meets(spans []Span, from, to int) bool {
	for _, s := range spans {
		if s.From < to && from < s.To {
			return true
		}
	}
	return false
}

// Intersect returns the rows that are in both of two lists of spans, each ascending and apart.
func Intersect(a, b []Span) []Span {
	both := []Span{}
	for len(a) > 0 && len(b) > 0 {
		if s := (Span{max(a[0].From, b[0].From), min(a[0].To, b[0].To)}); s.From < s.To {
			both = append(both, s)
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

// before compares bounds of one column.
func (b Bound) before(x Bound) bool { return b.Int < x.Int || bytes.Compare(b.Bytes, x.Bytes) < 0 }

// indexBytes bounds a part of the page index that is read.
const indexBytes = 16 << 20

// Spans returns the rows of a row group whose pages may have values that keep wants, by the bounds of the column's pages in
// the file's page index. ok is false where the file has none, or none that can be trusted: all rows may be wanted. Pages of
// nulls are among them, as nulls are counted.
func (r *Reader) Spans(ctx context.Context, group, column int, keep func(least, greatest Bound) bool) (spans []Span, ok bool) {
	b := &r.columns[column]
	if b.leaf == nil || b.leaf.maxRep > 0 {
		return nil, false
	}
	c := &r.file.footer.groups[group].chunks[b.leaf.index]
	starts, ok := parseOffsetIndex(r.indexPart(ctx, c.offsetIndex), r.Rows(group))
	if !ok {
		return nil, false
	}
	pages, ok := parseColumnIndex(r.indexPart(ctx, c.columnIndex))
	if !ok || len(pages.low) != len(starts) {
		return nil, false
	}
	spans = []Span{}
	low, high, whole := r.KeyBounds(group, column)
	for i, from := range starts {
		least, greatest, known := r.file.bounds(b, pages.low[i], pages.high[i])
		if whole && known && !pages.null[i] && (least.before(low) || high.before(greatest)) {
			return nil, false // one of the two is wrong
		}
		if known && !pages.null[i] && !keep(least, greatest) {
			continue
		}
		to := r.Rows(group)
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		if n := len(spans); n > 0 && spans[n-1].To == from {
			spans[n-1].To = to
		} else {
			spans = append(spans, Span{from, to})
		}
	}
	return spans, true
}

// indexPart reads a part of the page index, nil where there is none. What can't be read is as good as absent.
func (r *Reader) indexPart(ctx context.Context, at extent) []byte {
	if at.length <= 0 || at.length > indexBytes || at.offset < 4 {
		return nil
	}
	b := make([]byte, at.length)
	if err := readAt(r.file.under(ctx), b, at.offset); err != nil {
		return nil
	}
	return b
}

// parseOffsetIndex returns the first row of every page.
func parseOffsetIndex(b []byte, rows int) (starts []int, ok bool) {
	t := thrift{buf: b}
	t.fields(func(id int16, typ byte) {
		if id != 1 || !t.want(typ, thriftList) {
			t.skip(typ)
			return
		}
		for n := t.list(thriftStruct); n > 0 && t.err == nil; n-- {
			first := int64(-1)
			t.fields(func(id int16, typ byte) {
				if id == 3 && t.want(typ, thriftI64) {
					first = t.int64()
				} else {
					t.skip(typ)
				}
			})
			least := int64(0)
			if k := len(starts); k > 0 {
				least = int64(starts[k-1]) + 1
			}
			if first < least || first >= int64(rows) {
				t.fail(errThrift)
				return
			}
			starts = append(starts, int(first))
		}
	})
	return starts, t.err == nil && len(starts) > 0 && starts[0] == 0
}

// columnIndex is what is known of the pages of a column.
type columnIndex struct {
	null      []bool // it has nulls alone
	low, high [][]byte
}

func parseColumnIndex(b []byte) (c columnIndex, ok bool) {
	t := thrift{buf: b}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftList):
			elem, n := t.listHeader()
			if n > 0 && elem != thriftTrue && elem != thriftFalse {
				t.fail(errThrift)
			}
			for ; n > 0 && t.err == nil; n-- {
				c.null = append(c.null, t.byte() == thriftTrue)
			}
		case id == 2 && t.want(typ, thriftList):
			c.low = t.byteStrings()
		case id == 3 && t.want(typ, thriftList):
			c.high = t.byteStrings()
		default:
			t.skip(typ)
		}
	})
	return c, t.err == nil && len(c.null) == len(c.low) && len(c.low) == len(c.high)
}

func (t *thrift) byteStrings() (list [][]byte) {
	for n := t.list(thriftBinary); n > 0 && t.err == nil; n-- {
		list = append(list, t.bytes())
	}
	return list
}
