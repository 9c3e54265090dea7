package source

import (
	"context"
	"io"
)

// Range is the bytes [Start, End) of a file.
type Range struct{ Start, End int64 }

// Prefetcher is what a Handle has beside io.ReaderAt, for files whose reads cost a request. Local files have the page
// cache.
type Prefetcher interface {
	// Under returns the same file, read under a context.
	Under(ctx context.Context) io.ReaderAt
	// Prefetch begins to fetch ranges that will be read soon, joining those that are near each other. A range's bytes are
	// held until it is forgotten or the handle is closed; ranges beyond the memory for that are fetched when read. Ranges
	// that are on their way already are left alone.
	Prefetch(ctx context.Context, ranges []Range)
	// Forget says that ranges will not be read any more, whether they were or not.
	Forget(ranges []Range)
}
