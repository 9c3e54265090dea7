// Package admission decides which lookups a server works on, which wait for their turn and which it refuses at once, so
// that under more load than it can bear it goes on answering as many in time as it can.
//
// Calls are told apart by the bytes of their keys, which are known before anything is decoded. Small ones and bulk have
// turns and queues of their own: neither takes the other's. A bulk call weighs what it asks for, and while small ones come
// bulk leaves them half of the processors. Where there are far too many, they are refused as their heads come: to read a call,
// wake who would work on it and refuse it then costs a good part of an answer.
package admission

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	// smallBytes of keys make a call that is not bulk: some dozens of entities.
	smallBytes = 512
	// unitBytes of keys weigh one turn of bulk; a call of maxWeight or more keeps a processor busy for milliseconds.
	unitBytes = 256
	maxWeight = 16
	// smallTurns and bulkTurns, per processor, are enough to keep it and the online store busy: more calls at once would be
	// answered no sooner, and each of them later. Of the heaviest calls they are two: one computes while the other waits for
	// the store.
	smallTurns = 32
	bulkTurns  = 2 * maxWeight
	// company is how long after a small call bulk still leaves room for the next.
	company = 100 * time.Millisecond
	// maxWaitingBytes bounds the messages that wait, unless it is one.
	maxWaitingBytes = 64 << 20

	// patience is the deadline of calls that have none, in the order of the queue of those with a later one too: so they pass
	// nobody whose time is short, and are passed for no longer.
	patience = 10 * time.Second
	// window is what speed is measured over at least, and how long it is no surprise that no turn comes free.
	window = 10 * time.Millisecond
)

// Options are settings of a Controller.
type Options struct {
	Requests   int // calls under way or waiting at once; zero or negative: any number
	Processors int // zero or negative: GOMAXPROCS
	// Waited is told of each call that got its turn after a wait; may be nil.
	Waited func(ctx context.Context, d time.Duration)
}

// Controller admits the lookups of one server. A nil one admits all. Safe for concurrent use.
type Controller struct {
	limit, bulkLimit int
	watch            func(ctx context.Context, d time.Duration) // nil: nobody
	waiters          sync.Pool                                  // of *waiter

	mu          sync.Mutex
	small, bulk lane
	share       int       // of the bulk lane's turns, while small calls come
	smallAt     time.Time // when the last one came
	bytes       int       // of messages that wait
	stats       Stats
}

// New returns a controller.
func New(o Options) *Controller {
	if o.Requests <= 0 {
		o.Requests = math.MaxInt
	}
	if o.Processors <= 0 {
		o.Processors = runtime.GOMAXPROCS(0)
	}
	return &Controller{
		limit: o.Requests, bulkLimit: max(1, o.Requests/2), watch: o.Waited,
		small: lane{turns: smallTurns * o.Processors},
		bulk:  lane{turns: bulkTurns * o.Processors},
		share: maxWeight * max(1, o.Processors/2),
	}
}

// Call is what is known of a call before it is decoded.
type Call struct {
	Keys  int // bytes of its keys, or of the message where they are not known
	Bytes int // of the message, which is held while it waits
	// Stream: a message of a stream, which is not refused for the time that it would take: its caller has not sent the next.
	Stream bool
}

// KeysOfJSON returns about how many bytes of a JSON body are keys: those from the member of a name on, to the features where
// they follow.
func KeysOfJSON(body []byte, member string) int {
	if len(body) <= smallBytes {
		return len(body)
	}
	at := bytes.Index(body, strconv.AppendQuote(nil, member))
	if at < 0 {
		return len(body)
	}
	keys, _, _ := bytes.Cut(body[at:], []byte(`"features"`))
	return len(keys)
}

// Turn is the permission to work on a call. It is given back by Release, once.
type Turn struct {
	controller *Controller
	lane       *lane
	weight     int
}

// Enter returns when the call may be worked on. Errors are *problem.Error, Exhausted with RetryAfter where the server has
// too much to do to take the call, or that of ctx, which ended before.
func (c *Controller) Enter(ctx context.Context, call Call) (Turn, error) {
	if c == nil {
		return Turn{}, nil
	}
	l, weight := &c.small, 1
	if call.Keys > smallBytes {
		l, weight = &c.bulk, min(1+call.Keys/unitBytes, maxWeight)
	}
	now := time.Now()
	c.mu.Lock()
	if err := c.refuse(l, call); err != nil {
		c.mu.Unlock()
		return Turn{}, err
	}
	if l == &c.small {
		c.smallAt = now
	}
	l.held++
	if len(l.queue) == 0 && l.fits(weight, c.room(l, now)) {
		l.busy += weight
		c.stats.waited(0)
		c.mu.Unlock()
		return Turn{c, l, weight}, nil
	}
	return c.wait(ctx, l, call, weight, now) // unlocks
}

// RefuseEarly is asked when the head of a lookup has come and nothing else of it, at a price far below Enter's. It returns the
// error of one that would not be answered within its deadline even if it is small; nil where Enter is to be asked. Where
// small calls are refused so, bulk is too: nobody can tell them apart yet.
func (c *Controller) RefuseEarly(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.small
	if len(l.queue) == 0 {
		return nil
	}
	now := time.Now()
	left := patience
	if at, ok := ctx.Deadline(); ok {
		left = at.Sub(now)
	}
	// Half of the time is left for what waits in connections, where it is not seen, for the work and for the way back.
	if l.takes(len(l.queue), 1, now) <= left/2 {
		return nil
	}
	return c.shed(Deadline)
}

// refuse returns why a call is not taken, however long it would wait.
func (c *Controller) refuse(l *lane, call Call) error {
	switch {
	case c.small.held+c.bulk.held >= c.limit:
		return c.shed(Full)
	case l == &c.bulk && (l.held >= c.bulkLimit || c.bytes > 0 && c.bytes+call.Bytes > maxWaitingBytes):
		return c.shed(Bulk)
	default:
		return nil
	}
}

// room returns how many turns a lane has now.
func (c *Controller) room(l *lane, now time.Time) int {
	if l == &c.bulk && now.Sub(c.smallAt) < company {
		return c.share
	}
	return l.turns
}

// wait queues a call that l has counted. c.mu is held, and released.
func (c *Controller) wait(ctx context.Context, l *lane, call Call, weight int, now time.Time) (Turn, error) {
	e := entry{due: now.Add(patience), weight: weight, stream: call.Stream}
	limit := e.due
	if at, ok := ctx.Deadline(); ok {
		e.deadline, limit = at, at
		if at.Before(e.due) {
			e.due = at
		}
	}
	l.watch(now)
	place := l.place(e.due)
	// A quarter of the time is left for what can't be foreseen.
	if !call.Stream && l.takes(place, weight, now) > limit.Sub(now)*3/4 {
		l.held--
		err := c.shed(Deadline)
		c.mu.Unlock()
		return Turn{}, err
	}
	e.waiter, _ = c.waiters.Get().(*waiter)
	if e.waiter == nil {
		e.waiter = &waiter{ready: make(chan error, 1)}
	}
	l.insert(place, e)
	c.bytes += call.Bytes
	c.mu.Unlock()

	var err error
	select {
	case err = <-e.waiter.ready:
		c.mu.Lock()
		if err == nil && ctx.Err() == nil {
			c.stats.waited(time.Since(now))
		} else if err == nil {
			c.free(l, weight)
			err = c.ended(ctx)
		}
	case <-ctx.Done():
		c.mu.Lock()
		if l.remove(e) {
			l.held--
		} else if <-e.waiter.ready == nil { // its turn had come at the same time
			c.free(l, weight)
		}
		err = c.ended(ctx)
	}
	c.bytes -= call.Bytes
	c.mu.Unlock()
	c.waiters.Put(e.waiter)
	if err != nil {
		return Turn{}, err
	}
	if c.watch != nil {
		c.watch(ctx, time.Since(now))
	}
	return Turn{c, l, weight}, nil
}

// Release gives the turn to those that wait.
func (t Turn) Release() {
	if t.controller == nil {
		return
	}
	t.controller.mu.Lock()
	t.controller.free(t.lane, t.weight)
	t.controller.mu.Unlock()
}

// free takes back what a call had, and lets others begin. c.mu is held.
func (c *Controller) free(l *lane, weight int) {
	l.held--
	l.busy -= weight
	if len(l.queue) == 0 && l.busy+weight < l.turns {
		l.forget()
		return
	}
	now := time.Now()
	l.measure(weight, now)
	room := c.room(l, now)
	for len(l.queue) > 0 {
		e := &l.queue[0]
		var err error
		switch {
		case e.deadline.IsZero():
		case !now.Before(e.deadline):
			err = c.expired()
		case !e.stream && l.takes(0, e.weight, now) > e.deadline.Sub(now):
			err = c.shed(Deadline)
		}
		if err == nil {
			if !l.fits(e.weight, room) {
				return
			}
			l.busy += e.weight
		} else {
			l.held--
		}
		e.waiter.ready <- err
		l.pop()
	}
}
