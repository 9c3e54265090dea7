// Materialize measures how history gets into an online store: the newest row of every entity beside DuckDB, loads into
// Redis and into the embedded store beside bare ones, whole runs beside Feast's, lookups while a run goes on, and the
// memory of a run over many entities. bench/materialize/run builds what it needs; bench/README.md tells how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type settings struct {
	dir                  string // for data and what a run leaves out of memory
	provender, gen, step string // binaries
	python, feast        string // of the peers
	scripts, script      string
	only                 []string
	workload             string
	rounds, feastRounds  int
	threads              int
	rate                 int
	measure              time.Duration
	entities             int
	store                string
}

// The names of parts in -only.
const (
	partScan     = "scan"
	partRedis    = "redis"
	partEmbedded = "embedded"
	partFeast    = "feast"
	partServing  = "serving"
	partMemory   = "memory"
)

var partNames = []string{partScan, partRedis, partEmbedded, partFeast, partServing, partMemory}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "materialize:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	b := &bench{settings: s, stderr: stderr}
	if b.dir, err = os.MkdirTemp(s.dir, "materialize-run"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	measure := map[string]func(context.Context) error{
		partScan:     b.measureScan,
		partRedis:    b.measureRedis,
		partEmbedded: b.measureEmbedded,
		partFeast:    b.measureFeast,
		partServing:  b.measureServing,
		partMemory:   b.measureMemory,
	}
	for _, name := range s.only {
		if err := measure[name](ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return b.report(stdout)
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("materialize", flag.ContinueOnError)
	flags.StringVar(&s.dir, "dir", ".cache/bench-data", "folder for the data, made once, and for a run's files, which do not stay")
	flags.StringVar(&s.provender, "provender", "", "the provender binary")
	flags.StringVar(&s.gen, "gen", "", "the binary of bench/gen")
	flags.StringVar(&s.step, "step", "", "the binary of bench/materialize/step")
	flags.StringVar(&s.python, "python", "", "a Python with DuckDB")
	flags.StringVar(&s.feast, "feast", "", "folder of the programs of a Python with Feast")
	flags.StringVar(&s.scripts, "scripts", "bench/materialize", "folder of the peers' scripts")
	flags.StringVar(&s.script, "script", "online/redis/write.lua", "the script of the bare loader into Redis")
	only := flags.String("only", strings.Join(partNames[:len(partNames)-1], ","), "parts to measure; memory is another")
	flags.StringVar(&s.workload, "workload", "M", "data of bench/gen for all but feast, which has S, and memory")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, each of all that is measured side by side")
	flags.IntVar(&s.feastRounds, "feast-rounds", 1, "the same of feast, which takes minutes")
	flags.IntVar(&s.threads, "threads", 2, "threads of each engine")
	flags.IntVar(&s.rate, "rate", 50_000, "serving: rows per second of the run beside lookups; 0: as fast as it can")
	measure := flags.Float64("seconds", 10, "serving: time to measure lookups, each with and without a run; the run of M writes for 13 at the default rate")
	flags.IntVar(&s.entities, "entities", 50_000_000, "memory: entities")
	flags.StringVar(&s.store, "store", "embedded", "memory: embedded or redis")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.measure = time.Duration(*measure * float64(time.Second))
	s.only = strings.Split(*only, ",")
	for _, name := range s.only {
		if !slices.Contains(partNames, name) {
			return s, fmt.Errorf("-only %q: want some of %s", name, strings.Join(partNames, ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case s.provender == "" || s.gen == "" || s.step == "" || s.python == "" || s.feast == "":
		return s, errors.New("-provender, -gen, -step, -python and -feast are needed; bench/materialize/run gives them")
	case s.rounds < 1 || s.feastRounds < 1 || s.threads < 1 || s.entities < 1 || s.measure <= 0 || s.rate < 0:
		return s, errors.New("-rounds, -feast-rounds, -threads, -entities and -seconds are above 0, -rate not below")
	case s.entities%scatter == 0:
		return s, fmt.Errorf("-entities is no multiple of %d", scatter)
	case s.store != "embedded" && s.store != "redis":
		return s, fmt.Errorf("-store %q: want embedded or redis", s.store)
	}
	// Projects have folders of their own, from which paths are read.
	for _, path := range []*string{&s.dir, &s.provender, &s.gen, &s.step} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return s, err
		}
		*path = absolute
	}
	return s, os.MkdirAll(s.dir, 0o755)
}
