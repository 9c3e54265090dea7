package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/table"
)

// What Feast materializes: all rows of a view of S.
const (
	feastWorkload = "S"
	feastView     = "view0"
	feastRows     = 1_000_000
	feastDays     = 90
)

// measureFeast lets both commands bring the same rows into Redis servers of their own, each in its own layout.
func (b *bench) measureFeast(ctx context.Context) error {
	data, err := b.generated(ctx, feastWorkload)
	if err != nil {
		return err
	}
	if err := table.Warm(filepath.Join(data, "data", feastView)); err != nil {
		return err
	}
	// Feast reads what the command's arguments say; with a ttl we would read less.
	text, err := definitions(data)
	if err != nil {
		return err
	}
	var whole strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ttl:") {
			whole.WriteString(line)
		}
	}
	f := feast{bench: b, files: filepath.Join(data, "data", feastView)}
	ours := &engine{title: "provender materialize", do: func(ctx context.Context) (did, error) {
		return f.into(ctx, func(ctx context.Context, server *process.Process) (usage process.Usage, err error) {
			project, err := b.project(ctx, data, redisURL(server), "", whole.String())
			if err != nil {
				return usage, err
			}
			return b.materialize(ctx, project, feastView)
		})
	}}
	peer := &engine{title: "feast materialize", do: func(ctx context.Context) (did, error) { return f.into(ctx, f.materialize) }}
	err = b.measureRounds(ctx, b.feastRounds, &part{title: "1M rows into Redis by the whole command", engines: []*engine{ours, peer}})
	if err != nil {
		return err
	}
	if f.entities[0] == 0 || f.entities[0] != f.entities[1] {
		return fmt.Errorf("one wrote %d entities, the other %d", f.entities[0], f.entities[1])
	}
	peer.title = f.version + ", materialize"
	b.bar("Feast ÷ Provender: materialize", peer, ours, 20)
	return nil
}

type feast struct {
	*bench
	files, version string
	entities       [2]int64 // that the last two runs wrote
}

// into lets one of them fill a Redis.
func (f *feast) into(ctx context.Context, fill func(context.Context, *process.Process) (process.Usage, error)) (d did, err error) {
	server, err := process.StartRedis(ctx, f.dir, recommendedListpack)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if d.Usage, err = fill(ctx, server); err != nil {
		return d, err
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	// Of an entity both have one hash; our claim and marker are plain values.
	for keys := client.ScanType(ctx, 0, "*", 10_000, "hash").Iterator(); keys.Next(ctx); {
		d.rows++
	}
	f.entities = [2]int64{f.entities[1], int64(d.rows)}
	d.rows = feastRows
	return d, nil
}

// materialize runs Feast's command.
func (f *feast) materialize(ctx context.Context, server *process.Process) (usage process.Usage, err error) {
	dir, err := os.MkdirTemp(f.dir, "feast")
	if err != nil {
		return usage, err
	}
	script := filepath.Join(f.scripts, "feast_project.py")
	said, _, err := process.Run(ctx, f.threads, filepath.Join(f.settings.feast, "python"), script, dir, f.files, server.Addr)
	if err != nil {
		return usage, err
	}
	f.version = strings.TrimSpace(said)
	const local = "2006-01-02T15:04:05"
	begin := end.Add(-feastDays * 24 * time.Hour)
	_, usage, err = process.Run(ctx, f.threads, filepath.Join(f.settings.feast, "feast"), "-c", dir, "materialize",
		begin.Format(local), end.Format(local))
	return usage, err
}
