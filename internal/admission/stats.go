package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// Reason says why a call was not worked on.
type Reason int

// The reasons.
const (
	Full      Reason = iota // as many were under way or waiting as may be
	Bulk                    // the same of bulk calls, or of the bytes that wait
	Deadline                // it would not have been answered within its deadline
	Expired                 // its deadline passed while it waited
	Cancelled               // its caller left while it waited
	reasons
)

// String returns the reason's name in metrics.
func (r Reason) String() string {
	return [...]string{"full", "bulk", "deadline", "expired", "cancelled"}[r]
}

// Reasons returns all of them.
func Reasons() []Reason { return []Reason{Full, Bulk, Deadline, Expired, Cancelled} }

// waits are the upper bounds of Stats.Waits; what waited longer is counted in none.
var waits = [...]time.Duration{
	0, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Stats is what a controller has seen.
type Stats struct {
	Working, Waiting int // now
	Refused          [reasons]uint64
	// Of the calls that were worked on: how many, how long they waited, and how many of them up to each of WaitBounds but
	// longer than the one before.
	Admitted uint64
	Waited   time.Duration
	Waits    [len(waits)]uint64
}

// WaitBounds returns the bounds of Stats.Waits, from 0 for those that did not wait.
func WaitBounds() []time.Duration { return slices.Clone(waits[:]) }

// Stats returns what the controller has seen until now.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Waiting = len(c.small.queue) + len(c.bulk.queue)
	s.Working = c.small.held + c.bulk.held - s.Waiting
	return s
}

func (s *Stats) waited(d time.Duration) {
	s.Admitted++
	s.Waited += d
	if i, _ := slices.BinarySearch(waits[:], d); i < len(waits) {
		s.Waits[i]++
	}
}

// retry is the advice to callers that were refused, give or take half of it so that they do not come back at once.
const retry = time.Second

// shed counts a refusal and returns it.
func (c *Controller) shed(r Reason) error {
	c.stats.Refused[r]++
	err := &problem.Error{
		Code: problem.Exhausted, RetryAfter: retry/2 + rand.N(retry),
		Suggestion: "try again later and with fewer calls at once; if it stays so, add servers",
	}
	most := "of " + strconv.Itoa(c.limit) + " (limits.requests)"
	switch r {
	case Full:
		err.Message = "the server is overloaded: it has its most lookups under way or waiting, " + most
		err.Suggestion += " or raise the limit in provender.yaml"
	case Bulk:
		err.Message = "the server is overloaded: it has its most large lookups under way or waiting, half " + most
	default:
		err.Message = "the server is overloaded: it would not answer within the deadline; " +
			strconv.Itoa(c.small.held+c.bulk.held) + " lookups are under way or waiting, " + most
	}
	return err
}

// ended counts a call whose caller did not wait for its turn, and returns the error.
func (c *Controller) ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return c.expired()
	}
	c.stats.Refused[Cancelled]++
	return ended(ctx.Err())
}

// expired counts a call whose deadline has passed while it waited, and returns the error.
func (c *Controller) expired() error {
	c.stats.Refused[Expired]++
	return ended(context.DeadlineExceeded)
}

func ended(cause error) error {
	return &problem.Error{
		Code: problem.Canceled, Err: cause,
		Message: "the lookup ended early, while it waited for its turn (limits.requests): " + cause.Error(),
	}
}
