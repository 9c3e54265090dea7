package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/load"
)

// each calls do every so often, until ctx ends or do fails.
func each(ctx context.Context, every time.Duration, do func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := do(); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// fullEvery: a run of so many fills a new generation.
const fullEvery = 5

// endure goes on until ctx ends: new data, faults, reports.
func (s *soak) endure(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		rnd := rand.New(rand.NewPCG(s.seed, 1))
		return each(ctx, s.runEvery, func() error {
			s.runs++
			begun := time.Now()
			if err := s.materialize(ctx, rnd, s.runs%fullEvery == 0); err != nil && ctx.Err() == nil {
				s.failed++ // among faults runs may fail: the next one does it all
				s.say("run %d failed after %s: %s", s.runs, time.Since(begun).Round(time.Millisecond), lastLine(err.Error()))
			}
			return nil
		})
	})
	group.Go(func() error {
		rnd := rand.New(rand.NewPCG(s.seed, 2))
		next := order(rnd, s.faults())
		return each(ctx, s.faultEvery, func() error { return s.suffer(ctx, next()) })
	})
	group.Go(func() error {
		return each(ctx, s.reportEvery, func() error {
			s.report(ctx)
			return nil
		})
	})
	return group.Wait()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// report tells of the time since the last report.
func (s *soak) report(ctx context.Context) {
	part := s.load.Cut()
	now := sample{at: time.Since(s.begun), redis: s.stored(ctx)}
	for _, server := range s.servers {
		now.servers = append(now.servers, server.memory())
		now.goroutines = append(now.goroutines, server.goroutines(ctx))
	}
	s.samples = append(s.samples, now)
	text := fmt.Sprintf("%d calls, p50 %s, p99 %s, longest %s", part.Answers+part.Failed(),
		part.Quantile(0.5).Round(time.Microsecond), part.Quantile(0.99).Round(time.Microsecond), part.Longest.Round(time.Microsecond))
	if refused := refusals(&part); refused != "" {
		text += ", " + refused
	}
	for i, server := range s.servers {
		text += fmt.Sprintf("; %s %d MiB, %d goroutines", server.name, now.servers[i]>>20, now.goroutines[i])
	}
	if now.redis > 0 {
		text += fmt.Sprintf("; Redis %d MiB", now.redis>>20)
	}
	s.say("%s", text)
	if part.Wrong+part.Missing > 0 {
		s.say("WRONG: %s", &part)
	}
}

func refusals(t *load.Tally) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(t.Refusals)) {
		parts = append(parts, fmt.Sprintf("%d %s", t.Refusals[code].Calls, code))
	}
	return strings.Join(parts, ", ")
}

// judge tells what all came to. It fails where a cell was wrong, calls failed for other reasons than faults give, memory
// grew, or online is not what files say.
func (s *soak) judge(ctx context.Context, total *load.Tally) error {
	s.say("%s", total)
	s.say("%d runs, %d of them failed; after faults the last failure came within %s", s.runs, s.failed, s.slowest.Round(time.Millisecond))
	if total.Wrong+total.Missing > 0 {
		s.troubles = append(s.troubles, fmt.Sprintf("%d rows are wrong and %d missing", total.Wrong, total.Missing))
	}
	if n := total.FailedBut(client.CodeUnavailable, client.CodeDeadlineExceeded); n > 0 {
		s.troubles = append(s.troubles, fmt.Sprintf("%d calls failed for other reasons than a store or a server that is away", n))
	}
	s.growth()
	if err := s.refill(ctx); err != nil {
		s.troubles = append(s.troubles, err.Error())
	}
	if err := s.run(ctx, "verify", "--full"); err != nil {
		s.troubles = append(s.troubles, err.Error())
	} else {
		s.say("verify --full: online and offline are equal")
	}
	if len(s.troubles) > 0 {
		return errors.New(strings.Join(s.troubles, "\n"))
	}
	s.say("every cell of %d answers was right", total.Answers)
	return nil
}

// settling is the share of a soak in which memory may yet grow: caches fill, and the collector finds its pace.
const settling = 0.2

// growth tells the slopes of memory, of the server that nothing was done to and of Redis, and what is too much.
func (s *soak) growth() {
	later := s.samples[int(settling*float64(len(s.samples))):]
	if len(later) < 3 {
		return
	}
	tell := func(name string, of func(sample) int64) (perMinute, mean float64) {
		perMinute, mean = slope(later, of)
		s.say("memory of %s: %.1f MiB, %+.3f MiB per minute", name, mean, perMinute)
		return perMinute, mean
	}
	perMinute, mean := tell("server "+s.servers[0].name, func(p sample) int64 { return p.servers[0] })
	if grown := perMinute * (later[len(later)-1].at - later[0].at).Minutes(); len(later) >= 10 && grown > 0.25*mean {
		s.troubles = append(s.troubles, fmt.Sprintf("the server's memory grew by %.0f MiB", grown))
	}
	if s.redis != nil {
		tell("Redis", func(p sample) int64 { return p.redis })
	}
}

// slope is that of the line that fits samples best, in MiB per minute, and their mean. Those of nothing don't count.
func slope(samples []sample, of func(sample) int64) (perMinute, mean float64) {
	var n, sx, sy, sxx, sxy float64
	for _, p := range samples {
		y := float64(of(p)) / (1 << 20)
		if y == 0 {
			continue
		}
		x := p.at.Minutes()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d > 0 {
		perMinute = (n*sxy - sx*sy) / d
	}
	return perMinute, sy / max(n, 1)
}
