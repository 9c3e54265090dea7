package redis

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online"
)

// Read fills out by one HMGET per key in one round trip, which reads that come at the same time share, and looks for
// markers only where a row is absent.
func (s *Store) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	out.Reset(groups)
	if len(out.Cells) == 0 {
		return nil
	}
	if s.cluster != nil {
		return s.readCluster(ctx, o, groups, out)
	}
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = &call{seat: newSeat()}
	}
	c.ask(o, groups, out.Scratch)
	if c.commands > 0 {
		left, err := s.reads.do(ctx, c)
		if !left {
			out.Trip = c.trip
		}
		if left {
			out.Scratch = nil // what is still under way may yet write there
			return s.failure(ctx, "read rows", err)
		}
		if err == nil {
			err = c.refused
		}
		if err != nil {
			s.release(c)
			return s.failure(ctx, "read rows", err)
		}
	}
	missing := c.cut(groups, out)
	s.release(c)
	return s.behind(ctx, o, groups, out, missing)
}

// behind looks for the markers of generations of which rows are absent.
func (s *Store) behind(ctx context.Context, o *owner, groups []online.Group, out *online.Rows, absent []online.GenerationID) error {
	if len(absent) == 0 {
		return nil
	}
	began := clock.Now()
	err := s.markers.behind(ctx, o, groups, out, absent)
	out.Trip.Ended = clock.Now()
	told := err
	if errors.Is(err, online.ErrGenerationLost) {
		told = nil
	}
	s.opts.Watch(outcomeOf(told), out.Trip.Ended.Sub(began))
	return s.markerFailure(ctx, err)
}

// outcomeOf tells how a round trip ended.
func outcomeOf(err error) online.Outcome {
	if err != nil && isReply(err) {
		return online.Refused
	}
	return online.OutcomeOf(err)
}

// Pool tells of the connections to all servers.
func (s *Store) Pool() online.Pool {
	p := online.Pool{
		Idle: s.lanes.waiting(), Used: s.reads.underWay(), Waits: s.reads.waits.Load(), Timeouts: s.reads.timeouts.Load(),
	}
	known := s.client.PoolStats()
	for _, k := range []*redis.PoolStats{known, (*redis.PoolStats)(known.PipelineStats)} {
		if k != nil {
			p.Idle, p.Used = p.Idle+int(k.IdleConns), p.Used+max(0, int(k.TotalConns)-int(k.IdleConns))
			p.Waits, p.Timeouts = p.Waits+int64(k.WaitCount), p.Timeouts+int64(k.Timeouts)
		}
	}
	return p
}

var _ online.Pooled = (*Store)(nil)

// call is one Read on its way. It is used again.
type call struct {
	seat
	request  []byte // its commands, as they are sent
	fields   []byte // of the group at hand
	commands int
	shape    []shape
	// What came back: a size per cell, then absent, foreign or that many bytes of values.
	sizes   []int
	values  []byte
	refused error // by the server
}

// shape is a number of commands of one group, each for so many fields.
type shape struct{ commands, width int }

// ask encodes the commands of a read, whose values go to buf.
func (c *call) ask(o *owner, groups []online.Group, buf []byte) {
	c.request, c.shape, c.commands, c.values, c.err = c.request[:0], c.shape[:0], 0, buf, nil
	c.reset()
	for g := range groups {
		group := &groups[g]
		if len(group.Generations) == 0 {
			continue
		}
		space := o.keyspace(group.Keyspace)
		c.fields = c.fields[:0]
		for _, id := range group.Generations {
			c.fields = appendBulk(c.fields, field(id))
		}
		n := 0
		for _, key := range group.Keys {
			if key == nil {
				continue
			}
			n++
			c.request = appendCount(c.request, '*', 2+len(group.Generations))
			c.request = append(c.request, "$5\r\nHMGET\r\n"...)
			c.request = appendCount(c.request, '$', len(space)+len(key))
			c.request = append(append(append(c.request, space...), key...), "\r\n"...)
			c.request = append(c.request, c.fields...)
		}
		c.shape = append(c.shape, shape{n, len(group.Generations)})
		c.commands += n
	}
}

// reset forgets what came back.
func (c *call) reset() { c.sizes, c.values, c.refused = c.sizes[:0], c.values[:0], nil }

// noRow is the cell of what is there and no row: bytes that no decoder takes.
var noRow = []byte{}

// cut hands the values over to out, and returns the generations of which a row is absent.
func (c *call) cut(groups []online.Group, out *online.Rows) (missing []online.GenerationID) {
	out.Scratch = c.values
	sizes, rest := c.sizes, c.values
	for g := range groups {
		group := &groups[g]
		width := len(group.Generations)
		for k, key := range group.Keys {
			if key == nil || width == 0 {
				continue
			}
			cells := out.Cells[out.Starts[g]+k*width:][:width]
			for f, n := range sizes[:width] {
				switch {
				case n > 0:
					cells[f], rest = rest[:n:n], rest[n:]
				case n == 0 || n == foreign:
					cells[f] = noRow
				case !slices.Contains(missing, group.Generations[f]):
					missing = append(missing, group.Generations[f])
				}
			}
			sizes = sizes[width:]
		}
	}
	return missing
}

// maxPooledRequest bounds what a call keeps for the next.
const maxPooledRequest = 1 << 20

// release keeps c for another Read.
func (s *Store) release(c *call) {
	c.values = nil
	if cap(c.request)+8*cap(c.sizes) <= maxPooledRequest {
		s.calls.Put(c)
	}
}
