package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/ratio"
)

// bench is one run: what was measured so far.
type bench struct {
	settings
	dir    string // folder of the run
	stderr io.Writer
	parts  []*part
	bars   []ratio.Bar
	notes  []string
}

// part is some engines that did the same work by turns.
type part struct {
	title   string
	engines []*engine
}

// engine is one of them.
type engine struct {
	title string
	do    func(context.Context) (did, error)
	runs  []did
}

// did is what one piece of work took.
type did struct {
	process.Usage
	rows int // 0: not known
}

// Every workload of bench/gen ends here.
var (
	end   = time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
	endAt = end.Format(time.RFC3339)
)

// The view that is materialized. Of its ttl of 30 days twice that is read: two thirds of its rows.
const (
	view   = "view2"
	window = 60 * 24 * time.Hour
)

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

// generated returns the folder of a workload, made now if it is missing.
func (b *bench) generated(ctx context.Context, workload string) (string, error) {
	b.say("workload %s, generated where it is missing", workload)
	dir := filepath.Join(b.settings.dir, workload)
	return dir, process.Command(ctx, b.gen, "-workload", workload, "-out", dir)
}

// definitions are those of a workload's folder.
func definitions(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, "definitions.yaml"))
	return string(text), err
}

// project makes a project of the run over a workload's folder, and applies it. config is further lines of provender.yaml.
func (b *bench) project(ctx context.Context, data, online, config, definitions string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "project")
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("version: 1\nproject: bench\nroots: {lake: %q}\nonline: %q\n%s", filepath.Join(data, "data"), online, config)
	if err := os.WriteFile(filepath.Join(dir, "provender.yaml"), []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "definitions.yaml"), []byte(definitions), 0o644); err != nil {
		return "", err
	}
	return dir, process.Command(ctx, b.provender, "-C", dir, "apply", "--yes")
}

// materialize runs the command in a project, once.
func (b *bench) materialize(ctx context.Context, project, view string) (process.Usage, error) {
	_, usage, err := process.Run(ctx, b.threads, b.provender, "-C", project, "materialize", view, "--to", endAt)
	return usage, err
}

// measureRounds lets engines take turns, each round beginning with another one.
func (b *bench) measureRounds(ctx context.Context, rounds int, p *part) error {
	b.parts = append(b.parts, p)
	for round := range rounds {
		for i := range p.engines {
			e := p.engines[(round+i)%len(p.engines)]
			m, err := e.do(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", e.title, err)
			}
			e.runs = append(e.runs, m)
			b.say("%s, round %d of %d: %-40s %s", p.title, round+1, rounds, e.title, m)
		}
	}
	return nil
}

// bar compares how long two engines took: over ÷ under, so that above 1 the second is faster.
func (b *bench) bar(title string, over, under *engine, want float64) {
	wall := func(d did) float64 { return d.Wall.Seconds() }
	cpu := func(d did) float64 { return d.CPU.Seconds() }
	b.bars = append(b.bars, ratio.Bar{
		Title: title, Want: want, Got: ratio.Of(over.each(wall), under.each(wall)), CPU: ratio.Of(over.each(cpu), under.each(cpu)),
	}.Judged())
}

func (e *engine) each(of func(did) float64) []float64 {
	values := make([]float64, len(e.runs))
	for i, d := range e.runs {
		values[i] = of(d)
	}
	return values
}
