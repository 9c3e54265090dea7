package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/provender-dev/provender/test/link"
)

// fault is harm that is done and undone.
type fault struct {
	name string
	do   func(ctx context.Context, x *site) error // returns when the harm has ended
}

// faults are those that a site can suffer.
func (x *site) faults() []fault {
	last := x.servers[len(x.servers)-1]
	all := []fault{
		{"SIGTERM of " + last.name, func(context.Context, *site) error { return restart(last, syscall.SIGTERM) }},
		{"SIGKILL of " + last.name, func(context.Context, *site) error { return restart(last, syscall.SIGKILL) }},
	}
	if x.store != storeRedis {
		return append(all, fault{"SIGSTOP of " + last.name, func(ctx context.Context, _ *site) error { return pause(ctx, &last.process) }})
	}
	through := func(harm func(*link.Link), of time.Duration) func(context.Context, *site) error {
		return func(ctx context.Context, x *site) error {
			harm(x.link)
			wait(ctx, of)
			x.link.Restore()
			return nil
		}
	}
	return append(all,
		fault{"Redis is killed and comes back with its data", func(ctx context.Context, x *site) error {
			if err := x.redis.end(syscall.SIGKILL); err != nil {
				return err
			}
			wait(ctx, 2*time.Second)
			return x.redis.start()
		}},
		fault{"SIGSTOP of Redis", func(ctx context.Context, x *site) error { return pause(ctx, x.redis) }},
		fault{"connections to Redis are reset", through((*link.Link).Lose, 0)},
		fault{"connections to Redis are forgotten", through((*link.Link).Forget, 0)},
		fault{"Redis refuses", through((*link.Link).Sever, 3*time.Second)},
		fault{"Redis is slow", through(func(l *link.Link) { l.Slow(20 * time.Millisecond) }, 10*time.Second)},
		fault{"Redis is too slow", through(func(l *link.Link) { l.Slow(4 * time.Second) }, 8*time.Second)},
		fault{"Redis loses everything", func(ctx context.Context, x *site) error {
			if err := x.client.FlushAll(ctx).Err(); err != nil {
				return err
			}
			return x.refill(ctx)
		}},
	)
}

func restart(s *server, by syscall.Signal) error {
	if err := s.end(by); err != nil {
		return err
	}
	return s.start()
}

// pauseTime is how long a process stands still.
const pauseTime = 3 * time.Second

func pause(ctx context.Context, p *process) error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, pauseTime)
	return p.signal(syscall.SIGCONT)
}

// order returns faults in random order, time and again: each once before any comes again.
func order(rnd *rand.Rand, all []fault) func() fault {
	var left []int
	return func() fault {
		if len(left) == 0 {
			left = rnd.Perm(len(all))
		}
		next := all[left[0]]
		left = left[1:]
		return next
	}
}

// suffer lets a fault happen and tells how soon after its end all was well again.
func (s *soak) suffer(ctx context.Context, f fault) error {
	s.say("fault: %s", f.name)
	if err := f.do(ctx, s.site); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	s.load.FaultEnds()
	ended := time.Now()
	for ctx.Err() == nil && time.Since(ended) < 30*time.Second {
		wait(ctx, 100*time.Millisecond)
		if first, last, recovered := s.load.Recovery(); recovered && time.Since(ended) > last+3*time.Second {
			s.say("after it: first answer %s, last failure %s", first.Round(time.Millisecond), last.Round(time.Millisecond))
			s.slowest = max(s.slowest, last)
			return nil
		}
	}
	if ctx.Err() == nil {
		s.troubles = append(s.troubles, fmt.Sprintf("half a minute after %q calls still fail", f.name))
	}
	return nil
}
