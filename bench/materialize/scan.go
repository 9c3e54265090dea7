package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/table"
)

// measureScan takes the newest row of every entity: asof.Latest, whose rows nobody keeps, and DuckDB, into a table in
// memory.
func (b *bench) measureScan(ctx context.Context) error {
	data, err := b.generated(ctx, b.workload)
	if err != nil {
		return err
	}
	if err := table.Warm(filepath.Join(data, "data", view)); err != nil {
		return err
	}
	d := duckdb{bench: b, files: filepath.Join(data, "data", view, "**", "*.parquet")}
	if err := d.choose(ctx); err != nil {
		return err
	}
	entities, err := d.compare(ctx, data)
	if err != nil {
		return err
	}
	ours := &engine{title: "Provender", do: func(ctx context.Context) (did, error) {
		_, usage, err := process.Run(ctx, b.threads, b.latest(data)...)
		return did{Usage: usage}, err
	}}
	peer := &engine{title: d.title, do: func(ctx context.Context) (did, error) {
		_, usage, err := process.Run(ctx, b.threads, d.run(d.form)...)
		return did{Usage: usage}, err
	}}
	err = b.measureRounds(ctx, b.rounds, &part{
		title: fmt.Sprintf("scan and newest row of %s: %d entities", b.workload, entities), engines: []*engine{ours, peer},
	})
	if err == nil {
		b.bar("DuckDB ÷ Provender: scan and newest row", peer, ours, 1.3)
	}
	return err
}

// latest is the command line of our scan.
func (b *bench) latest(data string) []string {
	return []string{b.step, "latest", "-project", data, "-view", view, "-to", endAt}
}

// duckdb is DuckDB in the form that is fastest here.
type duckdb struct {
	*bench
	files       string
	title, form string
}

func (d *duckdb) python(ctx context.Context, args ...string) (string, error) {
	out, _, err := process.Run(ctx, d.threads, append([]string{d.settings.python, filepath.Join(d.scripts, "duckdb_latest.py")}, args...)...)
	return strings.TrimSpace(out), err
}

func (d *duckdb) run(form string) []string {
	return []string{
		d.settings.python, filepath.Join(d.scripts, "duckdb_latest.py"), "run", form, d.files,
		fmt.Sprint(end.Add(-window).UnixMicro()), fmt.Sprint(end.UnixMicro()), fmt.Sprint(d.threads),
	}
}

// choose runs every form once.
func (d *duckdb) choose(ctx context.Context) error {
	version, err := d.python(ctx, "version")
	if err != nil {
		return err
	}
	forms, err := d.python(ctx, "forms")
	if err != nil {
		return err
	}
	var best process.Usage
	for form := range strings.FieldsSeq(forms) {
		_, usage, err := process.Run(ctx, d.threads, d.run(form)...)
		if err != nil {
			return err
		}
		d.say("%s, %-8s %s", version, form, usage)
		if d.form == "" || usage.Wall < best.Wall {
			d.form, best = form, usage
		}
	}
	d.title = fmt.Sprintf("%s, form %q", version, d.form)
	return nil
}

// compare returns how many entities there are, unless a cell differs from ours.
func (d *duckdb) compare(ctx context.Context, data string) (entities int, err error) {
	ours, theirs := filepath.Join(d.dir, "ours.parquet"), filepath.Join(d.dir, "theirs.parquet")
	for _, args := range [][]string{append(d.latest(data), "-out", ours), append(d.run(d.form), theirs)} {
		if _, _, err := process.Run(ctx, d.threads, args...); err != nil {
			return 0, err
		}
	}
	said, err := d.python(ctx, "compare", ours, theirs)
	if err != nil {
		return 0, err
	}
	var cells int
	if _, err := fmt.Sscan(said, &cells, &entities); err != nil {
		return 0, fmt.Errorf("comparison said %q: %w", said, err)
	}
	if cells > 0 {
		return 0, fmt.Errorf("%d cells differ from those of %s", cells, d.title)
	}
	return entities, nil
}
