// Package loop sends calls to a gRPC server and tells how long their answers took.
package loop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/raw"
)

// Patience is how long calls may go on after the time of measuring before they are given up.
const Patience = 30 * time.Second

// Target is what is called, and the processes behind it, whose CPU time counts.
type Target struct {
	Title, Addr, Method string
	Server, Redis       *process.Process
	// Stream: one bidirectional stream in place of calls, its requests sent as fast as the server takes them.
	Stream bool
}

// Loop is a closed loop: every caller has a connection of its own and sends its next request when it has the answer to
// the one before.
type Loop struct {
	Target        Target
	Bodies        [][]byte // callers go round
	Callers       int
	Warm, Measure time.Duration
	// Tolerant counts failed calls instead of ending at the first.
	Tolerant bool
	// Pace opens the loop: so many calls per second are due, each at its time, whatever became of those before, and a call
	// took from when it was due. 0: closed.
	Pace float64
}

// Measurement is what one loop saw.
type Measurement struct {
	Rate   float64 `json:"rate"` // answers per second
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Bytes  int     `json:"bytes"` // of the last answer
	Failed int     `json:"failed"`
	// Milliseconds of CPU per 1,000 answers.
	Server    float64 `json:"server_cpu_ms"`
	Redis     float64 `json:"redis_cpu_ms"`
	Generator float64 `json:"generator_cpu_ms"`
	// Others is how many processors other processes kept busy.
	Others float64 `json:"others_cpus"`
}

// The phases of a loop.
const (
	warming int32 = iota
	measuring
	ending
)

// caller is one of the loop's.
type caller struct {
	times  []time.Duration // of the calls that began and ended while measuring
	failed int
	size   int
	err    error // the first
}

// Run sends calls for the times to warm up and to measure.
func (l Loop) Run(ctx context.Context) (m Measurement, err error) {
	conns := make([]*grpc.ClientConn, l.Callers)
	for i := range conns {
		if conns[i], err = Dial(l.Target.Addr); err != nil {
			return m, err
		}
		defer conns[i].Close()
	}
	// Calls carry no deadline: a timer of the servers' would be measured with them.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(l.Warm+l.Measure+Patience, cancel)
	defer late.Stop()

	var phase atomic.Int32
	callers := make([]caller, l.Callers)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			if l.Target.Stream {
				callers[i] = l.stream(ctx, conns[i], &phase)
			} else {
				callers[i] = l.call(ctx, conns[i], i, &phase)
			}
		})
	}
	before, after, err := l.watch(ctx, &phase)
	phase.Store(ending)
	if err != nil {
		cancel()
	}
	running.Wait()
	if err != nil {
		return m, err
	}
	return l.sum(callers, before, after)
}

// call is the loop of one caller.
func (l Loop) call(ctx context.Context, conn *grpc.ClientConn, number int, phase *atomic.Int32) caller {
	c := caller{times: make([]time.Duration, 0, 1<<15)}
	in, out := raw.Message{}, raw.Message{Discard: true}
	start := time.Now()
	for i := number; phase.Load() != ending; i += l.Callers {
		in.Body = l.Bodies[i%len(l.Bodies)]
		begin := time.Now()
		if l.Pace > 0 {
			begin = start.Add(time.Duration(float64(i) / l.Pace * float64(time.Second)))
			if c.err = Wait(ctx, time.Until(begin)); c.err != nil {
				return c
			}
		}
		measured := phase.Load() == measuring
		err := conn.Invoke(ctx, l.Target.Method, &in, &out)
		took := time.Since(begin)
		switch {
		case err != nil && c.err == nil:
			c.err = err
			fallthrough
		case err != nil:
			c.failed++
			if !l.Tolerant {
				return c
			}
		case measured && phase.Load() == measuring:
			c.times, c.size = append(c.times, took), out.Size
		}
	}
	return c
}

// StreamDescription describes a stream of requests and answers.
func StreamDescription() *grpc.StreamDesc {
	return &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
}

// stream sends requests on one stream until the end, and takes the answers. Times are from answer to answer.
func (l Loop) stream(ctx context.Context, conn *grpc.ClientConn, phase *atomic.Int32) (c caller) {
	stream, err := conn.NewStream(ctx, StreamDescription(), l.Target.Method)
	if err != nil {
		return caller{err: err}
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i := 0; phase.Load() != ending; i++ {
			if stream.SendMsg(&raw.Message{Body: l.Bodies[i%len(l.Bodies)]}) != nil {
				return // the receiver gets the reason
			}
		}
		_ = stream.CloseSend() // never fails
	})
	out := raw.Message{Discard: true}
	for last := time.Now(); ; {
		err := stream.RecvMsg(&out)
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			c.err = err
			return c
		}
		now := time.Now()
		if phase.Load() == measuring {
			c.times, c.size = append(c.times, now.Sub(last)), out.Size
		}
		last = now
	}
}

// usage is a reading of the clock and of CPU times.
type usage struct {
	at                                time.Time
	server, redis, generator, machine time.Duration
}

// watch waits while the callers warm up and are measured, and returns readings of both ends of measuring.
func (l Loop) watch(ctx context.Context, phase *atomic.Int32) (before, after usage, err error) {
	if err := Wait(ctx, l.Warm); err != nil {
		return before, after, err
	}
	if before, err = l.usage(); err != nil {
		return before, after, err
	}
	phase.Store(measuring)
	if err := Wait(ctx, l.Measure); err != nil {
		return before, after, err
	}
	phase.Store(ending)
	after, err = l.usage()
	return before, after, err
}

func (l Loop) usage() (u usage, err error) {
	var errs [4]error
	u.at = time.Now()
	u.server, errs[0] = l.Target.Server.CPU()
	u.redis, errs[1] = l.Target.Redis.CPU()
	u.generator, errs[2] = process.TimeOf(os.Getpid())
	u.machine, errs[3] = process.MachineTime()
	return u, errors.Join(errs[:]...)
}

func (l Loop) sum(callers []caller, before, after usage) (m Measurement, err error) {
	var times []time.Duration
	for _, c := range callers {
		if c.err != nil && !l.Tolerant {
			return m, fmt.Errorf("%s: %w", l.Target.Title, c.err)
		}
		times = append(times, c.times...)
		m.Failed += c.failed
		m.Bytes = max(m.Bytes, c.size)
	}
	if len(times) == 0 {
		return m, fmt.Errorf("%s: no answer came within the %s that were measured", l.Target.Title, l.Measure)
	}
	slices.Sort(times)
	wall := after.at.Sub(before.at)
	m.Rate = float64(len(times)) / wall.Seconds()
	m.P50, m.P99 = quantile(times, 0.5), quantile(times, 0.99)
	per := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(len(times)) }
	server, redis, generator := after.server-before.server, after.redis-before.redis, after.generator-before.generator
	m.Server, m.Redis, m.Generator = per(server), per(redis), per(generator)
	m.Others = max(0, (after.machine-before.machine-server-redis-generator).Seconds()/wall.Seconds())
	return m, nil
}

// quantile returns a quantile of sorted times, in microseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(q*float64(len(sorted)-1))].Nanoseconds()) / 1000
}

// Dial returns a connection of its own for bytes as they are.
func Dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw.Codec{}), grpc.MaxCallRecvMsgSize(64<<20)))
}

// Wait waits, or returns the error of a context that ends first.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
