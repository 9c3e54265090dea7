package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/ratio"
)

// bulk is the view that is materialized beside lookups of others.
const bulk = "bulk"

// callers of lookups, each on a connection of its own.
const callers = 16

// measureServing looks up one entity of one view (W1 of bench/online) at half of the rate that the server can answer, by turns
// with and without a run of another view in the same server.
func (b *bench) measureServing(ctx context.Context) (err error) {
	data, err := b.generated(ctx, b.workload)
	if err != nil {
		return err
	}
	d := lookups.Dataset{Entities: 100_000, Seed: 1}
	files := filepath.Join(b.settings.dir, "online")
	if err := d.Write(files); err != nil {
		return err
	}
	cache, err := process.StartRedis(ctx, b.dir, recommendedListpack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Stop()) }()
	server, err := b.serve(ctx, lookups.Project{
		Online: redisURL(cache), Config: fmt.Sprintf("materialize: {rate: %d}\n", b.rate),
		Roots: map[string]string{bulk: filepath.Join(data, "data")}, Definitions: bulkDefinitions(),
	}, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	calls, err := b.lookups(d, loop.Target{
		Title: "lookups", Addr: server.Addr, Method: "/provender.v1.OnlineService/GetFeatures", Server: server, Redis: cache,
	})
	if err != nil {
		return err
	}
	return b.measureBeside(ctx, calls, server)
}

// serve starts a server of a project whose views of lookups are filled.
func (b *bench) serve(ctx context.Context, p lookups.Project, files string) (*process.Process, error) {
	dir, err := os.MkdirTemp(b.dir, "project")
	if err != nil {
		return nil, err
	}
	if err := p.Write(dir, files); err != nil {
		return nil, err
	}
	if err := process.Command(ctx, b.provender, "-C", dir, "apply", "--yes"); err != nil {
		return nil, err
	}
	if err := process.Command(ctx, b.provender, "-C", dir, "materialize", lookups.ViewName(0)); err != nil {
		return nil, err
	}
	return process.Start(ctx, b.dir, "provender", process.Announced, b.provender, "-C", dir, "-o", "json",
		"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
}

// bulkDefinitions are those of bench/gen for one view, under another name.
func bulkDefinitions() string {
	var s strings.Builder
	fmt.Fprintf(&s, "---\nkind: Entity\nname: user\njoin_keys: [{name: user_id, type: int64}]\n")
	fmt.Fprintf(&s, "---\nkind: FeatureView\nname: %s\nentities: [user]\nkeys: {user_id: entity_id}\nttl: 30d\n", bulk)
	fmt.Fprintf(&s, "source: {parquet: \"%s:%s/**\", event_time: event_timestamp, created_time: created_timestamp}\nfeatures:\n", bulk, view)
	for i := range 10 {
		fmt.Fprintf(&s, "  - {name: f%d, column: v2_f%d, type: float64}\n", i, i)
	}
	return s.String()
}

// lookups makes the loop of calls.
func (b *bench) lookups(d lookups.Dataset, target loop.Target) (loop.Loop, error) {
	l := loop.Loop{Target: target, Callers: callers, Warm: time.Second, Measure: b.measure}
	w := lookups.Workloads()[0]
	for _, entities := range w.Requests(d) {
		body, err := w.Encode(entities)
		if err != nil {
			return l, err
		}
		l.Bodies = append(l.Bodies, body)
	}
	return l, nil
}

// measureBeside finds the greatest rate, then measures at half of it.
func (b *bench) measureBeside(ctx context.Context, calls loop.Loop, server *process.Process) error {
	peak := calls
	peak.Measure = min(5*time.Second, b.measure)
	m, err := peak.Run(ctx)
	if err != nil {
		return err
	}
	calls.Pace = m.Rate / 2
	b.say("lookups: at most %.0f per s by %d callers", m.Rate, callers)
	alone := func() (err error) { m, err = calls.Run(ctx); return err }
	variants := []struct {
		title   string
		measure func() error
		want    float64 // p99 ÷ that of the first
		p99     []float64
		rates   []float64
	}{
		{title: "without a run", measure: alone},
		{title: "beside a run's writes", want: 2, measure: func() error { return b.beside(ctx, server, true, alone) }},
		{title: "beside a whole run", measure: func() error { return b.beside(ctx, server, false, alone) }},
	}
	for round := range b.rounds {
		for i := range variants {
			v := &variants[(round+i)%len(variants)]
			if err := v.measure(); err != nil {
				return err
			}
			v.p99, v.rates = append(v.p99, m.P99), append(v.rates, m.Rate)
			b.say("serving, round %d of %d: %-22s %.0f/s, p50 %6.0f µs, p99 %6.0f µs", round+1, b.rounds, v.title, m.Rate, m.P50, m.P99)
		}
	}
	note := fmt.Sprintf("W1 at %.0f lookups per s, half of the peak; p99, medians:", calls.Pace)
	for i, v := range variants {
		note += fmt.Sprintf(" %s %.0f µs;", v.title, ratio.Median(v.p99))
		if i > 0 {
			b.bars = append(b.bars, ratio.Bar{
				Title: fmt.Sprintf("W1's p99 %s, %d rows/s, ÷ without", v.title, b.rate), Want: v.want, AtMost: true,
				Got: ratio.Of(v.p99, variants[0].p99),
			}.Judged())
		}
	}
	b.notes = append(b.notes, strings.TrimSuffix(note, ";")+".")
	if got := ratio.Median(variants[0].rates); got < 0.98*calls.Pace {
		b.notes = append(b.notes, fmt.Sprintf("Without a run only %.0f lookups per s were answered: other things ran, and these times mean nothing.", got))
	}
	return nil
}

// beside calls measure while the server materializes, one rebuild after the other, and lets the last one end. writing: only
// when it writes.
func (b *bench) beside(ctx context.Context, server *process.Process, writing bool, measure func() error) error {
	var enough atomic.Bool
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		tell := sync.OnceFunc(func() { close(begun) })
		defer tell()
		var err error
		for err == nil && !enough.Load() {
			err = b.rebuild(ctx, server, writing, tell)
		}
		ended <- err
	}()
	<-begun
	err := measure()
	enough.Store(true)
	return errors.Join(err, <-ended)
}

// rebuild lets the server fill a new generation, and calls begun once it begins, or, if writing, writes.
func (b *bench) rebuild(ctx context.Context, server *process.Process, writing bool, begun func()) error {
	c := exec.CommandContext(ctx, b.provender, "--server", server.Addr, "materialize", bulk, "--full", "--to", endAt)
	progress, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return err
	}
	var said strings.Builder
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if !writing || strings.HasPrefix(lines.Text(), bulk+": write") {
			begun()
		}
		fmt.Fprintln(&said, lines.Text())
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("materialize %s: %w\n%s", bulk, err, said.String())
	}
	return nil
}
