package parquet

import (
	"context"
	"io"

	"github.com/provender-dev/provender/offline/source"
)

const (
	tailBytes  = 64 << 10  // most footers are shorter
	wholeBytes = 256 << 10 // a file so small is fetched at once
)

// Prefetch begins to fetch the pages of columns of a row group that will be read soon, where reads cost a request.
func (r *Reader) Prefetch(ctx context.Context, group int, columns ...int) {
	if p, ok := r.file.r.(source.Prefetcher); ok {
		p.Prefetch(ctx, r.ranges(group, columns))
	}
}

// Forget says that columns of a row group will not be read any more: what was fetched of them makes room.
func (r *Reader) Forget(group int, columns ...int) {
	if p, ok := r.file.r.(source.Prefetcher); ok {
		p.Forget(r.ranges(group, columns))
	}
}

// ranges returns where the pages of columns are; a constant column has none.
func (r *Reader) ranges(group int, columns []int) []source.Range {
	ranges := make([]source.Range, 0, len(columns))
	for _, c := range columns {
		if l := r.columns[c].leaf; l != nil {
			m := &r.file.footer.groups[group].chunks[l.index]
			ranges = append(ranges, source.Range{Start: m.start(), End: m.start() + m.compressed})
		}
	}
	return ranges
}

// prefetchFooter begins to fetch what Open reads: the first bytes and, in one request, what is most likely the footer.
func (f *File) prefetchFooter(ctx context.Context, size int64) {
	p, ok := f.r.(source.Prefetcher)
	switch {
	case !ok || size < 12:
	case size <= wholeBytes:
		p.Prefetch(ctx, []source.Range{{Start: 0, End: size}})
	default:
		p.Prefetch(ctx, []source.Range{{Start: 0, End: 4}, {Start: size - tailBytes, End: size}})
	}
}

// under returns the file's bytes, read under a context.
func (f *File) under(ctx context.Context) io.ReaderAt {
	if p, ok := f.r.(source.Prefetcher); ok {
		return p.Under(ctx)
	}
	return f.r
}
