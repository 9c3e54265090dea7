package loop

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/bench/internal/raw"
)

// Open is an open loop: calls are made at a rate, each at its time, whatever becomes of those before. Where the generator
// itself is late by more than behind, it leaves calls out: they are not the server's.
type Open struct {
	Target        Target
	Bodies        [][]byte // calls go round
	Connections   int
	Rate          float64       // calls per second
	Deadline      time.Duration // of each
	Warm, Measure time.Duration
}

// behind is how late a call may be made.
const behind = 5 * time.Millisecond

// Goodput is what an open loop saw.
type Goodput struct {
	Offered float64 `json:"offered"` // calls per second that were made
	Good    float64 `json:"good"`    // that were answered within their deadline
	Refused float64 `json:"refused"` // that were answered RESOURCE_EXHAUSTED
	P50     float64 `json:"p50_us"`  // of the good
	P99     float64 `json:"p99_us"`
	// Milliseconds of CPU per 1,000 good answers.
	Server float64 `json:"server_cpu_ms"`
	Redis  float64 `json:"redis_cpu_ms"`
	// Resident is the server's peak since it began, in MiB.
	Resident float64 `json:"server_peak_mib"`
	// Others is how many processors other processes kept busy.
	Others float64 `json:"others_cpus"`
}

// counts of the calls that were due while measuring.
type counts struct {
	mu            sync.Mutex
	times         []time.Duration // of those that were answered
	made, refused int
}

// Run makes calls for the times to warm up and to measure.
func (o Open) Run(ctx context.Context) (g Goodput, err error) {
	conns := make([]*grpc.ClientConn, o.Connections)
	for i := range conns {
		if conns[i], err = Dial(o.Target.Addr); err != nil {
			return g, err
		}
		defer conns[i].Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	from, to := start.Add(o.Warm), start.Add(o.Warm+o.Measure)
	var c counts
	var running sync.WaitGroup
	for i, conn := range conns {
		running.Go(func() {
			for n := i; ; n += len(conns) {
				due := start.Add(time.Duration(float64(n) / o.Rate * float64(time.Second)))
				wait := time.Until(due)
				switch {
				case due.After(to) || wait > 0 && Wait(ctx, max(wait, time.Millisecond)) != nil:
					return
				case wait < -behind:
					continue
				}
				running.Go(func() { o.call(ctx, conn, n, &c, !due.Before(from)) })
			}
		})
	}
	l := Loop{Target: o.Target}
	var before, after usage
	if err = Wait(ctx, time.Until(from)); err == nil {
		before, err = l.usage()
	}
	if err == nil {
		err = Wait(ctx, time.Until(to))
	}
	if err == nil {
		after, err = l.usage()
	}
	if err != nil {
		cancel()
	}
	running.Wait()
	if err != nil {
		return g, err
	}
	return o.sum(&c, before, after)
}

func (o Open) call(ctx context.Context, conn *grpc.ClientConn, n int, c *counts, counted bool) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	in, out := raw.Message{Body: o.Bodies[n%len(o.Bodies)]}, raw.Message{Discard: true}
	err := conn.Invoke(ctx, o.Target.Method, &in, &out)
	took := time.Since(begin)
	if !counted {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	switch {
	case err == nil && took <= o.Deadline:
		c.times = append(c.times, took)
	case status.Code(err) == codes.ResourceExhausted:
		c.refused++
	}
}

func (o Open) sum(c *counts, before, after usage) (g Goodput, err error) {
	if len(c.times) == 0 {
		c.times = []time.Duration{o.Deadline}
	}
	slices.Sort(c.times)
	per := func(n int) float64 { return float64(n) / o.Measure.Seconds() }
	g.Offered, g.Good, g.Refused = per(c.made), per(len(c.times)), per(c.refused)
	g.P50, g.P99 = quantile(c.times, 0.5), quantile(c.times, 0.99)
	server, redis, generator := after.server-before.server, after.redis-before.redis, after.generator-before.generator
	g.Server = server.Seconds() * 1e6 / float64(len(c.times))
	g.Redis = redis.Seconds() * 1e6 / float64(len(c.times))
	g.Others = max(0, (after.machine-before.machine-server-redis-generator).Seconds()/after.at.Sub(before.at).Seconds())
	g.Resident, err = o.Target.Server.Peak()
	return g, err
}
