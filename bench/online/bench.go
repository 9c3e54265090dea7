package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/process"
)

// The names of targets in -only.
const (
	targetOwn      = "own"
	targetFeast    = "feast"
	targetBulk     = "bulk"
	targetEmbedded = "embedded"
	targetFloor    = "floor"
	targetEcho     = "echo"
	targetViews    = "views" // by -views
	targetOther    = "other" // by -other
	targetPeer     = "peer"  // by -feast-addr
)

var targetNames = []string{targetOwn, targetBulk, targetFeast, targetEmbedded, targetFloor, targetEcho}

// bench is one run: what is running, and what is to be measured.
type bench struct {
	settings
	files   string // folder of the data
	dir     string // folder of the run
	stderr  io.Writer
	running []*process.Process // in the order of starting
	targets []*target
	notes   []string
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

func (b *bench) wants(name string) bool { return slices.Contains(b.settings.targets, name) }

func redisURL(addr string, db int) string { return fmt.Sprintf("redis://%s/%d", addr, db) }

// start starts the servers that the targets need, filled.
func (b *bench) start(ctx context.Context) error {
	cache, err := b.keep(process.StartRedis(ctx, b.dir, b.listpack))
	if err != nil {
		return err
	}
	if b.wants(targetOwn) || b.wants(targetBulk) || b.wants(targetFeast) {
		server, err := b.serve(ctx, b.provender, lookups.Project{Online: redisURL(cache.Addr, 0)})
		if err != nil {
			return err
		}
		b.add(ownTarget(targetOwn, "Provender", server, cache))
		b.add(&target{
			Target: loop.Target{
				Title: "Provender, one stream", Addr: server.Addr, Server: server, Redis: cache,
				Method: "/provender.v1.OnlineService/StreamFeatures", Stream: true,
			},
			name: targetBulk, encode: encodeStreamed, check: checkStreamed, only: "W3",
		})
		b.add(&target{
			Target: loop.Target{Title: "Provender, Feast's call", Addr: server.Addr, Method: feastMethod, Server: server, Redis: cache},
			name:   targetFeast, encode: encodeFeast, check: checkFeast,
		})
	}
	if b.views > 0 {
		server, err := b.serve(ctx, b.provender, lookups.Project{Online: redisURL(cache.Addr, 0), Extra: b.views})
		if err != nil {
			return err
		}
		more := ownTarget(targetViews, fmt.Sprintf("Provender, %d more views", b.views), server, cache)
		more.only = "W1"
		b.targets = append(b.targets, more)
	}
	if b.other != "" {
		server, err := b.serve(ctx, b.other, lookups.Project{Online: redisURL(cache.Addr, 0)})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, ownTarget(targetOther, "Provender, other binary", server, cache))
	}
	if b.wants(targetEmbedded) {
		server, err := b.serve(ctx, b.provender, lookups.Project{Online: "embedded://.provender/online"})
		if err != nil {
			return err
		}
		b.add(ownTarget(targetEmbedded, "Provender, embedded", server, nil))
	}
	if b.wants(targetFloor) || b.wants(targetEcho) {
		b.say("loading the floor's rows")
		server, err := b.keep(process.Start(ctx, b.dir, "floor", process.Announced, b.floor, "-redis", redisURL(cache.Addr, 1),
			"-entities", fmt.Sprint(b.data.Entities), "-views", fmt.Sprint(lookups.ViewCount)))
		if err != nil {
			return err
		}
		b.add(&target{
			Target: loop.Target{Title: "gRPC + Redis, bare", Addr: server.Addr, Method: "/floor.Floor/Lookup", Server: server, Redis: cache},
			name:   targetFloor, encode: encodeFloor, check: checkFloor,
		})
		b.add(&target{
			Target: loop.Target{Title: "gRPC echo, bare", Addr: server.Addr, Method: "/floor.Floor/Echo", Server: server},
			name:   targetEcho, encode: encodeEcho, check: checkFloor,
		})
	}
	if b.feastRedis != "" {
		b.say("writing Feast's layout to %s", b.feastRedis)
		if err := loadFeast(ctx, b.feastRedis, b.data); err != nil {
			return err
		}
	}
	if b.feast != "" {
		b.targets = append(b.targets, &target{
			Target: loop.Target{Title: "Feast", Addr: b.feast, Method: feastMethod},
			name:   targetPeer, encode: encodeFeast, check: checkFeast,
		})
	}
	return nil
}

const (
	ownMethod   = "/provender.v1.OnlineService/GetFeatures"
	feastMethod = "/feast.serving.ServingService/GetOnlineFeatures"
)

func ownTarget(name, title string, server, cache *process.Process) *target {
	return &target{
		Target: loop.Target{Title: title, Addr: server.Addr, Method: ownMethod, Server: server, Redis: cache},
		name:   name, encode: lookups.Workload.Encode, check: checkOwn,
	}
}

// add keeps a target that -only names.
func (b *bench) add(t *target) {
	if b.wants(t.name) {
		b.targets = append(b.targets, t)
	}
}

// keep remembers a process for stop.
func (b *bench) keep(p *process.Process, err error) (*process.Process, error) {
	if err == nil {
		b.running = append(b.running, p)
	}
	return p, err
}

// stop ends what was started, the last first.
func (b *bench) stop() (err error) {
	for _, p := range slices.Backward(b.running) {
		err = errors.Join(err, p.Stop())
	}
	return err
}

// materialized makes a project of the run whose online store is filled, and returns its folder.
func (b *bench) materialized(ctx context.Context, binary string, p lookups.Project) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "project")
	if err != nil {
		return "", err
	}
	if err := p.Write(dir, b.files); err != nil {
		return "", err
	}
	b.say("materializing into %s", p.Online)
	if err := process.Command(ctx, binary, "-C", dir, "apply", "--yes"); err != nil {
		return "", err
	}
	args := []string{"-C", dir, "materialize"}
	for view := range lookups.ViewCount {
		args = append(args, lookups.ViewName(view))
	}
	return dir, process.Command(ctx, binary, args...)
}

// serve starts a server of a project that is filled first, by the same binary.
func (b *bench) serve(ctx context.Context, binary string, p lookups.Project) (*process.Process, error) {
	dir, err := b.materialized(ctx, binary, p)
	if err != nil {
		return nil, err
	}
	args := append(strings.Fields(b.under), binary, "-C", dir, "-o", "json", "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	return b.keep(process.Start(ctx, b.dir, "provender", process.Announced, args...))
}

// check looks at the answers of every target, and leaves out those that do not have the call.
func (b *bench) check(ctx context.Context) error {
	have := b.targets[:0]
	for _, t := range b.targets {
		err := b.checkTarget(ctx, t)
		switch {
		case errors.Is(err, errUnimplemented):
			b.notes = append(b.notes, t.Title+" is left out: the server does not have the call.")
			continue
		case err != nil:
			return err
		}
		have = append(have, t)
	}
	b.targets = have
	return nil
}

func (b *bench) checkTarget(ctx context.Context, t *target) error {
	for _, w := range b.workloads {
		if t.only != "" && t.only != w.Name {
			continue
		}
		if err := t.checkAnswers(ctx, b.data, w); err != nil {
			return err
		}
	}
	return nil
}

// measureAll runs the rounds: per workload and number of callers the targets take turns, each round beginning with
// another one.
func (b *bench) measureAll(ctx context.Context) (*report, error) {
	r := &report{
		Entities: b.data.Entities, Rounds: b.rounds, Seconds: b.measure.Seconds(), Listpack: b.listpack, Notes: b.notes,
		Deadline: b.deadline.Seconds(),
	}
	groups, err := b.groups()
	if err != nil {
		return nil, err
	}
	for round := range b.rounds {
		for _, group := range groups {
			for i := range group {
				c := group[(round+i)%len(group)]
				m, err := c.loop.Run(ctx)
				if err != nil {
					return nil, err
				}
				c.Runs = append(c.Runs, m)
				b.say("round %d of %d: %s, %2d callers: %-26s %8.0f/s, p50 %6.0f µs, p99 %6.0f µs",
					round+1, b.rounds, c.Workload, c.Callers, c.Title, m.Rate, m.P50, m.P99)
			}
		}
	}
	for _, group := range groups {
		for _, c := range group {
			r.Results = append(r.Results, c.result)
		}
	}
	return r, nil
}

// cell is one thing to measure.
type cell struct {
	*result
	loop loop.Loop
}

// groups returns what is measured side by side.
func (b *bench) groups() (groups [][]cell, err error) {
	group := func(w lookups.Workload, callers int, tolerant bool) error {
		var cells []cell
		for _, t := range b.targets {
			if t.only != "" && t.only != w.Name || tolerant && t.name != targetOwn && t.name != targetFloor {
				continue
			}
			// One stream takes what the server can give: it stands beside the greatest number of callers.
			connections := callers
			if t.Stream {
				if callers != slices.Max(b.callers) {
					continue
				}
				connections = 1
			}
			bodies, err := t.bodies(b.data, w)
			if err != nil {
				return err
			}
			cells = append(cells, cell{
				&result{Target: t.name, Title: t.Title, Workload: w.Name, Callers: callers, Overload: tolerant},
				loop.Loop{Target: t.Target, Bodies: bodies, Callers: connections, Warm: b.warm, Measure: b.measure, Tolerant: tolerant},
			})
		}
		groups = append(groups, cells)
		return nil
	}
	for _, w := range b.workloads {
		for _, callers := range b.callers {
			if err := group(w, callers, false); err != nil {
				return nil, err
			}
		}
	}
	if b.overload {
		err = group(lookups.Workloads()[0], 4*slices.Max(b.callers), true)
	}
	return groups, err
}
