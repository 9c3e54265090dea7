package redis

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online"
)

const (
	// maxLanes is how many pipelines of reads are under way at once. The fewer, the more reads share one.
	maxLanes = 4
	// maxShared bounds the commands of a pipeline that several reads share, so that a small read never waits for many
	// large ones.
	maxShared = 256
)

// sharer lets reads that come at the same time share a pipeline. A read that finds a free lane leaves at once, in its
// own goroutine; while all lanes are busy reads wait, and whoever comes back sends the next pipeline off with what has
// gathered. So nothing waits for company, and the busier the server, the fewer round trips it needs per read.
type sharer struct {
	exec  func(ctx context.Context, calls []*call) error
	wait  time.Duration // for a lane, at most
	watch online.Watch  // is told of each pipeline
	still stillness

	trips, waits, timeouts atomic.Int64

	mu    sync.Mutex
	busy  int     // lanes
	queue []*call // first come, first served
}

// seat is a call's place in a sharer.
type seat struct {
	deadline time.Time     // zero: none
	wake     chan struct{} // one token: lead, or the call is done
	timer    *time.Timer   // stopped, unless the call waits
	lead     []*call       // the pipeline that this call has to send, itself first; set before wake
	err      error         // of the pipeline, where another call sent it
	asked    clock.Instant // when the call began to wait; 0: it did not
	trip     online.Trip
}

func newSeat() seat {
	s := seat{wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	return s
}

// errBusy ends the wait for a lane.
var errBusy = errors.New("all connections are busy, for longer than pool_timeout")

// do returns when c has been sent and answered, or ctx ends. left reports that c is in a pipeline of another call that
// is still under way: it must not be touched again.
func (s *sharer) do(ctx context.Context, c *call) (left bool, err error) {
	c.asked, c.trip = 0, online.Trip{}
	if err := s.still.allow(); err != nil {
		return false, err
	}
	c.deadline, _ = ctx.Deadline()
	s.mu.Lock()
	if s.busy < maxLanes {
		s.busy++
		s.mu.Unlock()
		c.lead = append(c.lead[:0], c)
		return false, s.send(ctx, c.lead)
	}
	c.asked = clock.Now() // before another call can take this one along
	s.queue = append(s.queue, c)
	s.mu.Unlock()
	s.waits.Add(1)
	c.timer.Reset(s.wait)
	defer c.timer.Stop()
	select {
	case <-c.wake:
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.timer.C:
		err = errBusy
		s.timeouts.Add(1)
	}
	if err != nil {
		waits, leads := s.leave(c)
		if !leads {
			if waits {
				c.trip.Waited = c.asked.Since()
			}
			return !waits, err
		}
		<-c.wake // others count on it
	}
	if len(c.lead) == 0 {
		return false, c.err
	}
	return false, s.send(ctx, c.lead)
}

// leave takes c out of the queue. waits reports that it was there, leads that it is to send a pipeline.
func (s *sharer) leave(c *call) (waits, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.queue, c)
	if at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
	}
	return at >= 0, len(c.lead) > 0
}

// send executes a pipeline, hands the lane on and wakes the pipeline's other calls. The first call is the caller's.
func (s *sharer) send(ctx context.Context, calls []*call) error {
	if len(calls) > 1 {
		ctx = until(calls)
	}
	trip := online.Trip{Began: clock.Now(), Reads: len(calls), ID: s.trips.Add(1)}
	s.still.asks(trip.Began)
	err := s.exec(ctx, calls)
	s.still.hears(err)
	trip.Ended = clock.Now()
	s.next()
	s.watch(outcome(err, calls), trip.Ended.Sub(trip.Began))
	for _, c := range calls {
		c.trip = trip
		if c.asked != 0 {
			c.trip.Waited = trip.Began.Sub(c.asked)
		}
	}
	for _, c := range calls[1:] {
		c.err = err
		c.wake <- struct{}{}
	}
	own := calls[0]
	clear(calls)
	own.lead = own.lead[:0]
	return err
}

// outcome tells how a pipeline ended. Of one that was answered, the first refusal counts.
func outcome(err error, calls []*call) online.Outcome {
	if err != nil {
		return online.OutcomeOf(err)
	}
	for _, c := range calls {
		if c.refused != nil {
			return online.Refused
		}
	}
	return online.Answered
}

// underWay returns how many pipelines are.
func (s *sharer) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// next gives the lane to those that wait, or frees it.
func (s *sharer) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.busy--
		return
	}
	n, commands := 0, 0
	for n < len(s.queue) && (n == 0 || commands+s.queue[n].commands <= maxShared) {
		commands += s.queue[n].commands
		n++
	}
	leader := s.queue[0]
	leader.lead = append(leader.lead[:0], s.queue[:n]...)
	s.queue = slices.Delete(s.queue, 0, n)
	leader.wake <- struct{}{}
}

// until returns a context that ends at the latest deadline of some calls, if all have one: those that can't wait so long
// leave by themselves.
func until(calls []*call) context.Context {
	var latest time.Time
	for _, c := range calls {
		if c.deadline.IsZero() {
			return context.Background()
		}
		if c.deadline.After(latest) {
			latest = c.deadline
		}
	}
	return deadline{context.Background(), latest}
}

// deadline is a context with a deadline and no timer: what is read from a connection ends by the connection's own.
type deadline struct {
	context.Context
	at time.Time
}

// Deadline returns when the work has to end.
func (d deadline) Deadline() (time.Time, bool) { return d.at, true }
