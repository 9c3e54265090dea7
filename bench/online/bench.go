package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	running []*process // in the order of starting
	targets []*target
	notes   []string
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

func (b *bench) wants(name string) bool { return slices.Contains(b.settings.targets, name) }

func redisURL(addr string, db int) string { return fmt.Sprintf("redis://%s/%d", addr, db) }

// start starts the servers that the targets need, filled.
func (b *bench) start(ctx context.Context) error {
	cache, err := b.keep(startRedis(ctx, b.dir, b.listpack))
	if err != nil {
		return err
	}
	if b.wants(targetOwn) || b.wants(targetBulk) || b.wants(targetFeast) {
		server, err := b.serve(ctx, b.provender, project{online: redisURL(cache.addr, 0)})
		if err != nil {
			return err
		}
		b.add(ownTarget(targetOwn, "Provender", server, cache))
		b.add(&target{
			name: targetBulk, title: "Provender, one stream", addr: server.addr, server: server, redis: cache,
			method: "/provender.v1.OnlineService/StreamFeatures", encode: encodeStreamed, check: checkStreamed,
			only: "W3", stream: true,
		})
		b.add(&target{
			name: targetFeast, title: "Provender, Feast's call", addr: server.addr, server: server, redis: cache,
			method: feastMethod, encode: encodeFeast, check: checkFeast,
		})
	}
	if b.views > 0 {
		server, err := b.serve(ctx, b.provender, project{online: redisURL(cache.addr, 0), extra: b.views})
		if err != nil {
			return err
		}
		more := ownTarget(targetViews, fmt.Sprintf("Provender, %d more views", b.views), server, cache)
		more.only = "W1"
		b.targets = append(b.targets, more)
	}
	if b.other != "" {
		server, err := b.serve(ctx, b.other, project{online: redisURL(cache.addr, 0)})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, ownTarget(targetOther, "Provender, other binary", server, cache))
	}
	if b.wants(targetEmbedded) {
		server, err := b.serve(ctx, b.provender, project{online: "embedded://.provender/online"})
		if err != nil {
			return err
		}
		b.add(ownTarget(targetEmbedded, "Provender, embedded", server, nil))
	}
	if b.wants(targetFloor) || b.wants(targetEcho) {
		b.say("loading the floor's rows")
		server, err := b.keep(start(ctx, b.dir, "floor", announced, b.floor, "-redis", redisURL(cache.addr, 1),
			"-entities", fmt.Sprint(b.data.Entities), "-views", fmt.Sprint(viewCount)))
		if err != nil {
			return err
		}
		b.add(&target{
			name: targetFloor, title: "gRPC + Redis, bare", addr: server.addr, server: server, redis: cache,
			method: "/floor.Floor/Lookup", encode: encodeFloor, check: checkFloor,
		})
		b.add(&target{
			name: targetEcho, title: "gRPC echo, bare", addr: server.addr, server: server,
			method: "/floor.Floor/Echo", encode: encodeEcho, check: checkFloor,
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
			name: targetPeer, title: "Feast", addr: b.feast, method: feastMethod, encode: encodeFeast, check: checkFeast,
		})
	}
	return nil
}

const (
	ownMethod   = "/provender.v1.OnlineService/GetFeatures"
	feastMethod = "/feast.serving.ServingService/GetOnlineFeatures"
)

func ownTarget(name, title string, server, cache *process) *target {
	return &target{
		name: name, title: title, addr: server.addr, server: server, redis: cache,
		method: ownMethod, encode: encodeOwn, check: checkOwn,
	}
}

// add keeps a target that -only names.
func (b *bench) add(t *target) {
	if b.wants(t.name) {
		b.targets = append(b.targets, t)
	}
}

// keep remembers a process for stop.
func (b *bench) keep(p *process, err error) (*process, error) {
	if err == nil {
		b.running = append(b.running, p)
	}
	return p, err
}

// stop ends what was started, the last first.
func (b *bench) stop() (err error) {
	for _, p := range slices.Backward(b.running) {
		err = errors.Join(err, p.stop())
	}
	return err
}

// materialized makes a project of the run whose online store is filled, and returns its folder.
func (b *bench) materialized(ctx context.Context, binary string, p project) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "project")
	if err != nil {
		return "", err
	}
	if err := p.write(dir, b.files); err != nil {
		return "", err
	}
	b.say("materializing into %s", p.online)
	if err := command(ctx, binary, "-C", dir, "apply", "--yes"); err != nil {
		return "", err
	}
	args := []string{"-C", dir, "materialize"}
	for view := range viewCount {
		args = append(args, viewName(view))
	}
	return dir, command(ctx, binary, args...)
}

// serve starts a server of a project that is filled first, by the same binary.
func (b *bench) serve(ctx context.Context, binary string, p project) (*process, error) {
	dir, err := b.materialized(ctx, binary, p)
	if err != nil {
		return nil, err
	}
	return b.keep(start(ctx, b.dir, "provender", announced, binary, "-C", dir, "-o", "json",
		"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"))
}

// check looks at the answers of every target, and leaves out those that do not have the call.
func (b *bench) check(ctx context.Context) error {
	have := b.targets[:0]
	for _, t := range b.targets {
		err := b.checkTarget(ctx, t)
		switch {
		case errors.Is(err, errUnimplemented):
			b.notes = append(b.notes, t.title+" is left out: the server does not have the call.")
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
		if t.only != "" && t.only != w.name {
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
	}
	groups, err := b.groups()
	if err != nil {
		return nil, err
	}
	for round := range b.rounds {
		for _, group := range groups {
			for i := range group {
				c := group[(round+i)%len(group)]
				m, err := c.load.run(ctx)
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
	load load
}

// groups returns what is measured side by side.
func (b *bench) groups() (groups [][]cell, err error) {
	group := func(w workload, callers int, tolerant bool) error {
		var cells []cell
		for _, t := range b.targets {
			if t.only != "" && t.only != w.name || tolerant && t.name != targetOwn && t.name != targetFloor {
				continue
			}
			// One stream takes what the server can give: it stands beside the greatest number of callers.
			connections := callers
			if t.stream {
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
				&result{Target: t.name, Title: t.title, Workload: w.name, Callers: callers, Overload: tolerant},
				load{target: t, bodies: bodies, callers: connections, warm: b.warm, measure: b.measure, tolerant: tolerant},
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
		err = group(workloads()[0], 4*slices.Max(b.callers), true)
	}
	return groups, err
}
