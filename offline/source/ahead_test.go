package source_test

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/test/stores"
)

// metered counts the bytes that a bucket was asked for and that are on their way.
type metered struct {
	object.Bucket
	requests, now, most atomic.Int64
	hold                chan struct{} // answers begin once it is closed
}

func (m *metered) Get(ctx context.Context, key, version string, offset, n int64) (io.ReadCloser, error) {
	m.requests.Add(1)
	now := m.now.Add(n)
	for most := m.most.Load(); now > most && !m.most.CompareAndSwap(most, now); most = m.most.Load() {
	}
	select {
	case <-m.hold:
	case <-ctx.Done():
	}
	body, err := m.Bucket.Get(ctx, key, version, offset, n)
	if err != nil {
		m.now.Add(-n)
		return nil, err
	}
	return &meteredBody{body, func() { m.now.Add(-n) }}, nil
}

type meteredBody struct {
	io.ReadCloser
	closed func()
}

func (b *meteredBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

const aheadSpan = 64 << 10

// span is the i-th part of an object.
func span(i int64) []object.Span {
	return []object.Span{{Start: i * aheadSpan, End: (i + 1) * aheadSpan}}
}

// aheadBucket returns a bucket with an object of 4 spans.
func aheadBucket(t *testing.T, s *stores.Store) (*metered, object.Object, []byte) {
	t.Helper()
	content := randomBytes(4 * aheadSpan)
	put(t, s, "x", content)
	m := &metered{Bucket: s.BucketVia(t, stores.Lake, "", impatient), hold: make(chan struct{})}
	o, err := m.Head(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return m, o, content
}

func readSpan(t *testing.T, r *object.Reader, content []byte, i int64) {
	t.Helper()
	b := make([]byte, aheadSpan)
	if n, err := r.ReadAt(context.Background(), b, i*aheadSpan); err != nil || string(b[:n]) != string(content[i*aheadSpan:(i+1)*aheadSpan]) {
		t.Errorf("span %d: %d bytes: %v", i, n, err)
	}
}

// However many files are open, what is fetched ahead of their readers stays within the budget, and what is forgotten
// makes room again, whether it was fetched, on its way or still waiting.
func testBytesAheadAreBounded(t *testing.T, s *stores.Store) {
	const files, room = 40, 4
	m, o, content := aheadBucket(t, s)
	close(m.hold)
	ctx := context.Background()
	budget := object.NewBudget(room*aheadSpan, files)
	readers := make([]*object.Reader, files)
	for i := range readers {
		readers[i] = object.NewReader(m, impatient, budget, o)
		readers[i].Prefetch(ctx, span(0))
	}
	for _, r := range readers[:room] {
		readSpan(t, r, content, 0)
	}
	if n := m.requests.Load(); n != room {
		t.Errorf("%d requests ahead, there is room for %d", n, room)
	}
	for _, r := range readers {
		readSpan(t, r, content, 0)
		r.Close()
	}

	m.most.Store(0)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for range files {
				r := object.NewReader(m, impatient, budget, o)
				for i := range int64(4) {
					r.Prefetch(ctx, span(i))
				}
				r.Forget(span(1)) // on its way, or waiting for its turn
				readSpan(t, r, content, 0)
				r.Forget(span(0))
				r.Prefetch(ctx, span(1))
				readSpan(t, r, content, 1)
				readSpan(t, r, content, 3)
				r.Close() // span 2 was not read
			}
		})
	}
	workers.Wait()
	// Beside the budget, each worker reads what it has no room for.
	if most := m.most.Load(); most > (room+2)*aheadSpan {
		t.Errorf("%d bytes were on their way at once, the budget is %d", most, room*aheadSpan)
	}
	m.requests.Store(0)
	r := object.NewReader(m, impatient, budget, o)
	for i := range int64(room) {
		r.Prefetch(ctx, span(i))
	}
	for i := range int64(room) {
		readSpan(t, r, content, i)
	}
	if n := m.requests.Load(); n != room {
		t.Errorf("%d requests for %d spans: the budget was not given back", n, room)
	}
	r.Close()
}

// What is forgotten on its way is ended, and has its room until then.
func testForgottenIsEnded(t *testing.T, s *stores.Store) {
	m, o, content := aheadBucket(t, s)
	const room = 2
	r := object.NewReader(m, impatient, object.NewBudget(room*aheadSpan, 100), o)
	for range 20 {
		r.Prefetch(context.Background(), span(2))
		for range 1000 { // a fetch that may begin, begins
			runtime.Gosched()
		}
		r.Forget(span(2))
	}
	// Looked at before the last read, which is direct and so beside the budget.
	if most := m.most.Load(); most > room*aheadSpan {
		t.Errorf("%d bytes were on their way at once, the budget is %d", most, room*aheadSpan)
	}
	close(m.hold)
	readSpan(t, r, content, 2)
	r.Close()
}

// A reader whose context ends leaves nothing running.
func testNothingRunsAfterCancel(t *testing.T, s *stores.Store) {
	m, o, _ := aheadBucket(t, s)
	running := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	budget := object.NewBudget(1<<20, 2)
	r := object.NewReader(m, impatient, budget, o)
	for i := range int64(4) {
		r.Prefetch(ctx, span(i))
	}
	var readers sync.WaitGroup
	for i := range int64(4) {
		readers.Go(func() {
			if _, err := r.ReadAt(ctx, make([]byte, aheadSpan), i*aheadSpan); err == nil {
				t.Error("read what was not sent")
			}
		})
	}
	cancel()
	readers.Wait()
	r.Close()
	testenv.NoLeaks(t, running)
}
