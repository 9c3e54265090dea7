package redis

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/clock"
)

// triesPerTimeout is how many reads go to a still server in the time that an answer may take, to see whether it is back:
// the fewer, the later that is noticed; the more, the more callers wait in vain.
const triesPerTimeout = maxLanes

// stillness notices a server that hangs: that says nothing for as long as an answer may take, though it was asked. Then
// reads are refused at once, but for a few that try; the first answer ends it. A server that is gone says so by itself,
// and is not still. Safe for concurrent use.
type stillness struct {
	timeout time.Duration // of an answer

	asked atomic.Int64 // clock.Instant when the server was first asked since it was last heard; 0: not since
	tried atomic.Int64 // clock.Instant when a read was last let through meanwhile, or one ended in vain
}

var errStill = errors.New("it has been still for longer than read_timeout, and is asked only now and then until it is back")

// allow returns errStill where the server is not to be asked now.
func (s *stillness) allow() error {
	asked := s.asked.Load()
	if asked == 0 {
		return nil
	}
	now := clock.Now()
	if now.Sub(clock.Instant(asked)) <= s.timeout {
		return nil
	}
	tried := s.tried.Load()
	if tried != 0 && now.Sub(clock.Instant(tried)) < s.timeout/triesPerTimeout || !s.tried.CompareAndSwap(tried, int64(now)) {
		return errStill
	}
	return nil
}

// asks says that a request goes out now.
func (s *stillness) asks(now clock.Instant) {
	if s.asked.Load() == 0 {
		s.asked.CompareAndSwap(0, int64(now))
	}
}

// hears takes what became of a request: an answer ends stillness, and so does an error that somebody had to send.
func (s *stillness) hears(err error) {
	var wait net.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &wait) && wait.Timeout() {
		s.tried.Store(int64(clock.Now())) // a caller that asks again at once is not to wait again
		return
	}
	s.asked.Store(0)
}
