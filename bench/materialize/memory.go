package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/ratio"
	"github.com/provender-dev/provender/bench/internal/table"
)

// The many entities have a row each, in files of rowsPerFile. Neighbours there are scatter apart in the order of keys.
const (
	rowsPerFile = 1_000_000
	scatter     = 7919
)

// measureMemory materializes many entities, once, and looks at the greatest memory of the process.
func (b *bench) measureMemory(ctx context.Context) (err error) {
	data := filepath.Join(b.settings.dir, fmt.Sprintf("entities-%d", b.entities))
	if err := b.writeEntities(data); err != nil {
		return err
	}
	url := "embedded://.provender/online"
	if b.store == "redis" {
		server, err := process.StartRedis(ctx, b.dir, recommendedListpack)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		url = redisURL(server)
	}
	text, err := definitions(data)
	if err != nil {
		return err
	}
	project, err := b.project(ctx, data, url, "", text)
	if err != nil {
		return err
	}
	e := &engine{title: "provender materialize", do: func(ctx context.Context) (did, error) {
		usage, err := b.materialize(ctx, project, "many")
		return did{usage, b.entities}, err
	}}
	p := &part{title: fmt.Sprintf("%d entities, store: %s", b.entities, b.store), engines: []*engine{e}}
	if err := b.measureRounds(ctx, 1, p); err != nil {
		return err
	}
	b.bars = append(b.bars, ratio.Bar{Title: "GiB of memory at most", Want: 1, AtMost: true, Got: []float64{e.runs[0].mebibytes() / 1024}}.Judged())
	return nil
}

const manyDefinitions = `kind: Entity
name: thing
join_keys: [{name: id, type: int64}]
---
kind: FeatureView
name: many
entities: [thing]
source: {parquet: "lake:**", event_time: event, created_time: created}
features:
  - {name: value, type: float64}
`

// writeEntities writes the files, unless they are there. The definitions come last, so that a folder with them is whole.
func (b *bench) writeEntities(dir string) error {
	marker := filepath.Join(dir, "definitions.yaml")
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	b.say("writing %d entities to %s", b.entities, dir)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return err
	}
	var files errgroup.Group
	files.SetLimit(b.threads)
	for first := 0; first < b.entities; first += rowsPerFile {
		files.Go(func() error {
			path := filepath.Join(dir, "data", fmt.Sprintf("%05d.parquet", first/rowsPerFile))
			return writeFile(path, first, min(first+rowsPerFile, b.entities), b.entities)
		})
	}
	if err := files.Wait(); err != nil {
		return err
	}
	return os.WriteFile(marker, []byte(manyDefinitions), 0o644)
}

// writeFile writes rows first to last of all.
func writeFile(path string, first, last, all int) (err error) {
	t, err := table.Create(path, pq.Group{
		"id": pq.Int(64), "event": table.Instant(), "created": table.Instant(), "value": pq.Leaf(pq.DoubleType),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	id, event, created, value := t.Column("id"), t.Column("event"), t.Column("created"), t.Column("value")
	for i := first; i < last; i++ {
		at := end.Add(-time.Duration(i%86_400) * time.Second).UnixMicro()
		t.Set(id, pq.Int64Value(int64(i*scatter%all)))
		t.Set(event, pq.Int64Value(at))
		t.Set(created, pq.Int64Value(at+time.Minute.Microseconds()))
		t.Set(value, pq.DoubleValue(float64(i)/4))
		if err := t.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
