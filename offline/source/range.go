package source

import "context"

// Range is the bytes [Start, End) of a file.
type Range struct{ Start, End int64 }

// Prefetcher is what a Handle of a remote object has beside io.ReaderAt. Local files have the page cache.
type Prefetcher interface {
	// Prefetch begins to fetch ranges that will be read soon, joining those that are near each other. A range's bytes are
	// held until they have been read once or the handle is closed; ranges beyond the handle's memory are fetched when read.
	Prefetch(ctx context.Context, ranges []Range)
}
