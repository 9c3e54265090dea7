package arrowipc

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A small file may not take as much as a large one: no codec expands by more than expansion, but for what is small anyway.
const expansion, floor = 1 << 16, 256 << 20

// Allocator is Go's memory with a limit on how much is in use. A breach is a panic with a *LimitError, as the interface
// has no errors. The window of a zstd frame, 512 MiB at most, does not count. Not safe for concurrent use.
type Allocator struct {
	memory.GoAllocator
	used, size, limit int64
}

// NewAllocator returns an allocator for reading a file of size bytes, of which limit may be in use.
func NewAllocator(size, limit int64) *Allocator { return &Allocator{size: size, limit: limit} }

// Used returns how many bytes are in use.
func (a *Allocator) Used() int64 { return a.used }

// LimitError is the breach of an allocator's limit.
type LimitError struct {
	Bytes, Limit int64
	Lie          bool // the file is too small to hold so much, whatever the limit
}

func (e *LimitError) Error() string {
	if e.Lie {
		return fmt.Sprintf("a record batch says that it takes %d bytes, which the file is too small for", e.Bytes)
	}
	return fmt.Sprintf("a record batch takes %d bytes, over the limit of %d (limits.arrow_batch)", e.Bytes, e.Limit)
}

// check returns a *LimitError where n more bytes are too many.
func (a *Allocator) check(n int64) error {
	if n > a.limit-a.used {
		return &LimitError{Bytes: a.used + n, Limit: a.limit}
	}
	if used := a.used + n; used > floor && (used-floor)/expansion > a.size {
		return &LimitError{Bytes: used, Lie: true}
	}
	return nil
}

func (a *Allocator) take(n int64) {
	if err := a.check(n); err != nil {
		panic(err)
	}
	a.used += n
}

// Allocate is part of memory.Allocator, as what follows.
func (a *Allocator) Allocate(size int) []byte {
	a.take(int64(size))
	return a.GoAllocator.Allocate(size)
}

// Reallocate grows or shrinks b, keeping what it holds.
func (a *Allocator) Reallocate(size int, b []byte) []byte {
	a.take(int64(size) - int64(len(b)))
	return a.GoAllocator.Reallocate(size, b)
}

// Free gives b back.
func (a *Allocator) Free(b []byte) {
	a.used -= int64(len(b))
	a.GoAllocator.Free(b)
}
