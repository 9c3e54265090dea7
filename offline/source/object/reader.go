package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Span is the bytes [Start, End) of an object.
type Span struct{ Start, End int64 }

const (
	joinGap    = 1 << 20 // bytes between two ranges that cost less than a request of their own
	blockBytes = 8 << 20 // of one request; a longer range is fetched by several
)

// Budget bounds what all readers that share it fetch ahead.
type Budget struct {
	memory   *semaphore.Weighted
	requests *semaphore.Weighted
}

// NewBudget returns a budget of so many bytes held and requests at once.
func NewBudget(bytes int64, requests int) *Budget {
	return &Budget{memory: semaphore.NewWeighted(bytes), requests: semaphore.NewWeighted(int64(requests))}
}

// Reader reads ranges of one version of an object. Safe for concurrent use.
type Reader struct {
	bucket Bucket
	policy Policy
	budget *Budget
	object Object

	life   context.Context
	end    context.CancelFunc
	ahead  sync.WaitGroup
	mu     sync.Mutex
	blocks []*block // by start, apart from each other
}

// block is a range that will be read: declared, then on its way, then held.
type block struct {
	Span
	held    bool               // its bytes are taken from the budget
	gone    bool               // nobody finds it any more
	claimed bool               // somebody fetches it, or has
	stop    context.CancelFunc // of the fetch while it is on its way
	done    chan struct{}
	data    []byte // once done is closed
	err     error
}

// NewReader returns a reader of an object's version. Nothing is sent yet.
func NewReader(bucket Bucket, policy Policy, budget *Budget, object Object) *Reader {
	r := &Reader{bucket: bucket, policy: policy, budget: budget, object: object}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Close ends what is on its way and gives all memory back. No read may be running.
func (r *Reader) Close() {
	r.end()
	r.ahead.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.blocks {
		r.release(b)
	}
	r.blocks = nil
}

// release gives a block's bytes back to the budget, or ends the fetch that needs them, which then does; the block is not
// held again. r.mu is held.
func (r *Reader) release(b *block) {
	b.gone = true
	switch {
	case b.stop != nil:
		b.stop()
	case b.held:
		b.held = false
		r.budget.memory.Release(b.End - b.Start)
	}
}

// Prefetch begins to fetch ranges that will be read soon, and holds them until they are forgotten. What the budget has no
// room for is fetched when it is read.
func (r *Reader) Prefetch(ctx context.Context, spans []Span) {
	for _, b := range r.declare(spans) {
		if !r.hold(b) {
			continue
		}
		r.ahead.Go(func() {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(r.life, cancel)()
			if err := r.budget.requests.Acquire(ctx, 1); err != nil {
				return // the block stays, to be fetched by its reader
			}
			defer r.budget.requests.Release(1)
			r.fetch(ctx, b)
		})
	}
}

// hold takes a block's bytes from the budget, and reports whether it has them.
func (r *Reader) hold(b *block) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !b.held && !b.gone {
		b.held = r.budget.memory.TryAcquire(b.End - b.Start)
	}
	return b.held
}

// declare notes the ranges that are not known yet as blocks, near ones joined, long ones divided.
func (r *Reader) declare(spans []Span) []*block {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fresh []Span
	for _, s := range spans {
		s.Start, s.End = max(s.Start, 0), min(s.End, r.object.Size)
		fresh = append(fresh, r.unknown(s)...)
	}
	slices.SortFunc(fresh, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	var blocks []*block
	var last *block
	for _, s := range fresh {
		for s.Start < s.End {
			if last != nil && s.Start < last.End {
				s.Start = last.End // asked for twice
				continue
			}
			if last != nil && s.Start-last.End <= joinGap && s.Start-last.Start < blockBytes && !r.known(Span{last.End, s.Start}) {
				last.End = min(s.End, last.Start+blockBytes)
				s.Start = last.End
				continue
			}
			last = &block{Span: Span{s.Start, min(s.End, s.Start+blockBytes)}, done: make(chan struct{})}
			blocks = append(blocks, last)
			s.Start = last.End
		}
	}
	r.blocks = append(r.blocks, blocks...)
	slices.SortFunc(r.blocks, func(a, b *block) int { return cmp.Compare(a.Start, b.Start) })
	return blocks
}

// unknown returns the parts of s that no block has.
func (r *Reader) unknown(s Span) []Span {
	var parts []Span
	for _, b := range r.blocks {
		if b.End <= s.Start {
			continue
		}
		if b.Start >= s.End {
			break
		}
		if s.Start < b.Start {
			parts = append(parts, Span{s.Start, b.Start})
		}
		s.Start = b.End
	}
	if s.Start < s.End {
		parts = append(parts, s)
	}
	return parts
}

// known reports whether a block has any byte of s.
func (r *Reader) known(s Span) bool { return r.at(s.Start, s.End) != nil }

// at returns the first block with a byte in [start, end).
func (r *Reader) at(start, end int64) *block {
	i, _ := slices.BinarySearchFunc(r.blocks, start, func(b *block, at int64) int { return cmp.Compare(b.End-1, at) })
	if i < len(r.blocks) && r.blocks[i].Start < end {
		return r.blocks[i]
	}
	return nil
}

// fetch reads the bytes of a block that is held, unless somebody does so already or nobody wants them any more.
func (r *Reader) fetch(ctx context.Context, b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.claimed {
		return
	}
	b.claimed = true
	defer close(b.done)
	if b.gone {
		b.err = errForgotten
		return
	}
	ctx, b.stop = context.WithCancel(ctx)
	r.mu.Unlock()
	data := make([]byte, b.End-b.Start)
	_, err := r.read(ctx, data, b.Start)
	r.mu.Lock()
	b.stop()
	b.stop = nil
	b.data, b.err = data, err
	if b.gone {
		r.release(b)
	}
}

var errForgotten = errors.New("the range was forgotten")

// ReadAt fills p with the bytes at offset: all of them, or an error; io.EOF where the object ends before.
func (r *Reader) ReadAt(ctx context.Context, p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("read at offset %d", offset)
	}
	short := false
	if left := max(0, r.object.Size-offset); int64(len(p)) > left {
		p, short = p[:left], true
	}
	for n := 0; n < len(p); {
		m, err := r.some(ctx, p[n:], offset+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// some reads the first bytes of p: from a block, or directly up to the next block. It returns how many are there, with an
// error those before it.
func (r *Reader) some(ctx context.Context, p []byte, offset int64) (int, error) {
	r.mu.Lock()
	b := r.at(offset, offset+int64(len(p)))
	r.mu.Unlock()
	switch {
	case b == nil:
		return r.read(ctx, p, offset)
	case b.Start > offset:
		return r.read(ctx, p[:b.Start-offset], offset)
	}
	p = p[:min(int64(len(p)), b.End-offset)]
	if !r.hold(b) {
		return r.read(ctx, p, offset)
	}
	r.fetch(ctx, b)
	select {
	case <-b.done:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if b.err != nil {
		// It may have failed for a reason that this caller does not share, such as the end of another one.
		r.drop(b)
		return r.read(ctx, p, offset)
	}
	return copy(p, b.data[offset-b.Start:]), nil
}

// Forget says that ranges that were fetched together will not be read any more. A block that reaches beyond them stays.
func (r *Reader) Forget(spans []Span) {
	if len(spans) == 0 {
		return
	}
	all := spans[0]
	for _, s := range spans {
		all.Start, all.End = min(all.Start, s.Start), max(all.End, s.End)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = slices.DeleteFunc(r.blocks, func(b *block) bool {
		if b.Start < all.Start || b.End > all.End {
			return false
		}
		r.release(b)
		return true
	})
}

// drop lets a block go.
func (r *Reader) drop(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = slices.DeleteFunc(r.blocks, func(other *block) bool { return other == b })
	r.release(b)
}

// read fills p from the store, going on where an answer broke off. It returns how many bytes came.
func (r *Reader) read(ctx context.Context, p []byte, offset int64) (n int, err error) {
	failures, sinceFailure := 0, 0
	for n < len(p) {
		m, err := r.request(ctx, p[n:], offset+int64(n))
		n += m
		sinceFailure += m
		if err == nil {
			continue
		}
		if sinceFailure >= progressBytes {
			failures = 0
		}
		failures++
		sinceFailure = 0
		if err := r.policy.wait(ctx, failures, err); err != nil {
			return n, err
		}
	}
	return n, nil
}

// request reads what one answer gives. The tries of asking are the client's.
func (r *Reader) request(ctx context.Context, p []byte, offset int64) (int, error) {
	body, err := r.bucket.Get(ctx, r.object.Key, r.object.Version, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return n, nil
}
