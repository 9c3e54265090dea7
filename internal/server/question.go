package server

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// askPatience is how long those who ask wait for an answer.
	askPatience = 2 * time.Second
	// askTimeout is how long an answer may take that comes too late for them, but in time for the next.
	askTimeout = 10 * time.Second
)

// asker asks questions of what may hang. Safe for concurrent use.
type asker struct {
	ctx     context.Context //nolint:containedctx // of questions, which those who ask do not wait for
	stop    context.CancelFunc
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func newAsker() *asker {
	a := &asker{}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a
}

// begin runs ask in the background, unless it is too late for that.
func (a *asker) begin(ask func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, askTimeout)
		defer cancel()
		ask(ctx)
	})
	return true
}

// close ends what is being asked.
func (a *asker) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}

// question is asked by one at a time; others wait for the same answer. The zero value was never asked. Safe for concurrent
// use.
type question[T any] struct {
	mu     sync.Mutex
	asking chan struct{} // closed with the answer; nil: nobody asks
	last   reply[T]
}

// reply is the newest answer to a question.
type reply[T any] struct {
	value T
	at    time.Time // when it was asked; zero: there is none
	err   error     // why there is none newer; nil: it is of now
}

// ask returns the answer, or the one before, with the reason, where it does not come while ctx goes on.
func (q *question[T]) ask(ctx context.Context, a *asker, answer func(context.Context) (T, error)) reply[T] {
	q.mu.Lock()
	if q.asking == nil {
		done := make(chan struct{})
		if a.begin(func(ctx context.Context) { q.answered(ctx, done, answer) }) {
			q.asking = done
		}
	}
	asking := q.asking
	q.mu.Unlock()
	var late error
	if asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
			late = fmt.Errorf("no answer within %v", askPatience)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.last
	if late != nil {
		r.err = late
	}
	return r
}

func (q *question[T]) answered(ctx context.Context, done chan struct{}, answer func(context.Context) (T, error)) {
	begun := time.Now()
	value, err := answer(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.last = reply[T]{value: value, at: begun}
	} else {
		q.last.err = err
	}
	q.asking = nil
	close(done)
}
