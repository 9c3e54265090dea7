package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/provender-dev/provender/bench/internal/process"
)

// measureRedis loads the newest rows into Redis servers of their own.
func (b *bench) measureRedis(ctx context.Context) error {
	return b.measureLoads(ctx, "Redis", "bare pipeline", func(ctx context.Context, use func(url string, args []string) error) (err error) {
		server, err := process.StartRedis(ctx, b.dir, recommendedListpack)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		url := redisURL(server)
		return use(url, []string{"redis", "-redis", url, "-script", b.script})
	})
}

// measureEmbedded loads them into folders of their own.
func (b *bench) measureEmbedded(ctx context.Context) error {
	return b.measureLoads(ctx, "the embedded store", "bare loop", func(_ context.Context, use func(url string, args []string) error) (err error) {
		dir, err := os.MkdirTemp(b.dir, "store")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		return use("embedded://"+dir, []string{"embedded", "-folder", dir})
	})
}

// recommendedListpack is the hash-max-listpack-value that docs/how-to/redis.md recommends.
const recommendedListpack = 128

func redisURL(server *process.Process) string { return fmt.Sprintf("redis://%s/0", server.Addr) }

// fresh calls use with the URL of an empty store, and with what the step that loads into it needs.
type fresh func(ctx context.Context, use func(url string, args []string) error) error

// measureLoads writes the same rows by Provender's writer, in batches as a run has them, and by a bare one; and lets the command
// do it, which reads and encodes them too.
func (b *bench) measureLoads(ctx context.Context, store, floor string, with fresh) error {
	data, err := b.generated(ctx, b.workload)
	if err != nil {
		return err
	}
	text, err := definitions(data)
	if err != nil {
		return err
	}
	bare, own := b.load(data, floor, with, "-bare"), b.load(data, "Provender's writer", with)
	rows := 0
	whole := &engine{title: "provender materialize, scan included", do: func(ctx context.Context) (d did, err error) {
		d.rows = rows
		return d, with(ctx, func(url string, _ []string) error {
			project, err := b.project(ctx, data, url, "", text)
			if err != nil {
				return err
			}
			d.Usage, err = b.materialize(ctx, project, view)
			return errors.Join(err, os.RemoveAll(project))
		})
	}}
	phases := &part{title: "load into " + store}
	b.parts = append(b.parts, phases)
	loads := []*load{bare, own}
	for round := range b.rounds {
		for i := range loads {
			if err := loads[(round+i)%2].run(ctx); err != nil {
				return err
			}
		}
		rows = bare.engines[0].runs[round].rows
		m, err := whole.do(ctx)
		if err != nil {
			return err
		}
		whole.runs = append(whole.runs, m)
		for _, e := range append(append(bare.engines[:2:2], own.engines[:2]...), whole) {
			b.say("load into %s, round %d of %d: %-40s %s", store, round+1, b.rounds, e.title, e.runs[round])
		}
	}
	for i, kind := range kinds {
		phases.engines = append(phases.engines, bare.engines[i], own.engines[i])
		b.bar(fmt.Sprintf("Provender's writer ÷ bare: %s, %s", store, kind), bare.engines[i], own.engines[i], 0.8)
	}
	phases.engines = append(phases.engines, whole)
	return nil
}

// kinds are the phases of a load, as the step tells them.
var kinds = [2]string{"new keys", "overwrite"}

// load is a step, and its phases as engines.
type load struct {
	engines [len(kinds)]*engine
	run     func(context.Context) error
}

func (b *bench) load(data, title string, with fresh, flags ...string) *load {
	l := &load{}
	for i, kind := range kinds {
		l.engines[i] = &engine{title: title + ", " + kind}
	}
	l.run = func(ctx context.Context) error {
		return with(ctx, func(_ string, args []string) error {
			args = append(append([]string{b.step}, args...), "-project", data, "-view", view, "-to", endAt)
			out, _, err := process.Run(ctx, b.threads, append(args, flags...)...)
			if err != nil {
				return err
			}
			var phases []struct {
				Kind      string
				Rows      int
				Wall, CPU time.Duration
			}
			if err := json.Unmarshal([]byte(out), &phases); err != nil || len(phases) != len(kinds) {
				return fmt.Errorf("the step said %q: %w", out, err)
			}
			for i, p := range phases {
				if p.Kind != kinds[i] || p.Rows == 0 {
					return fmt.Errorf("the step said %q", out)
				}
				l.engines[i].runs = append(l.engines[i].runs, did{process.Usage{Wall: p.Wall, CPU: p.CPU}, p.Rows})
			}
			return nil
		})
	}
	return l
}
