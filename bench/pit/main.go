// Pit runs the point-in-time join of Provender and its peers side by side, compares every cell of their outputs, and
// prints time, memory and ratios. bench/run builds what it needs; bench/README.md tells how to read it.
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
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/provender-dev/provender/bench/internal/table"
	"github.com/provender-dev/provender/internal/cli"
)

type settings struct {
	data, spine, out  string
	provender, python string
	scripts           string
	only              string
	rounds, threads   int
	profile           string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	engines, err := s.engines()
	if err != nil {
		return err
	}
	out, err := os.MkdirTemp(s.out, "pit")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	if s.out, err = filepath.Abs(out); err != nil {
		return err
	}
	s.prepare(engines)
	if err := s.apply(ctx); err != nil {
		return err
	}
	if s.profile != "" {
		return s.writeProfile(engines[0])
	}
	if err := s.warm(ctx, engines); err != nil {
		return err
	}
	for round := range s.rounds {
		for i := range engines {
			e := engines[(round+i)%len(engines)]
			m, err := s.measure(ctx, e)
			if err != nil {
				return err
			}
			e.rounds = append(e.rounds, m)
			fmt.Fprintf(os.Stderr, "round %d of %d: %-14s %s\n", round+1, s.rounds, e.title, m)
		}
	}
	different := 0
	for _, peer := range engines[1:] {
		if peer.cells, err = s.compare(ctx, engines[0], peer); err != nil {
			return err
		}
		different += peer.cells
	}
	report(stdout, s, engines)
	if different > 0 {
		return fmt.Errorf("%d cells differ", different)
	}
	return nil
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("pit", flag.ContinueOnError)
	flags.StringVar(&s.data, "data", "", "folder that gen wrote")
	flags.StringVar(&s.spine, "spine", "spine.parquet", "name of the spine in it")
	flags.StringVar(&s.out, "out", "", "folder for the outputs, which do not stay; default: the system's for temporary files")
	flags.StringVar(&s.provender, "provender", "", "the provender binary")
	flags.StringVar(&s.python, "python", "", "a Python with the packages of bench/requirements.txt")
	flags.StringVar(&s.scripts, "scripts", "bench/pit", "folder of the peers' scripts")
	flags.StringVar(&s.only, "only", "duckdb,polars", "peers to run")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, each of every engine")
	flags.IntVar(&s.threads, "threads", 2, "threads of each engine")
	flags.StringVar(&s.profile, "cpuprofile", "", "run Provender alone, once, and write its CPU profile into this file")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case s.data == "" || s.provender == "":
		return nil, errors.New("-data and -provender are needed; bench/run gives them")
	case s.only != "" && s.python == "" && s.profile == "":
		return nil, errors.New("-python is needed for peers; bench/run gives it")
	case s.rounds < 1 || s.threads < 1:
		return nil, errors.New("-rounds and -threads are at least 1")
	}
	for _, path := range []*string{&s.data, &s.provender} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = absolute
	}
	return s, nil
}

// apply registers the project's definitions, anew each time: the registry is the business of the binary that runs.
func (s *settings) apply(ctx context.Context) error {
	if err := os.RemoveAll(filepath.Join(s.data, ".provender")); err != nil {
		return err
	}
	_, err := output(ctx, s.provender, "-C", s.data, "apply", "--yes")
	return err
}

// warm brings the files and the peers' libraries into the page cache, and learns the peers' versions.
func (s *settings) warm(ctx context.Context, engines []*engine) error {
	for _, e := range engines[1:] {
		version, err := output(ctx, s.python, filepath.Join(s.scripts, e.script), "version")
		if err != nil {
			return err
		}
		e.title = strings.TrimSpace(version)
	}
	return table.Warm(s.data)
}

// writeProfile runs Provender's command line inside this process.
func (s *settings) writeProfile(e *engine) (err error) {
	f, err := os.Create(s.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	if code := cli.Main(e.args[1:], cli.Process()); code != 0 {
		return fmt.Errorf("export ended with code %d", code)
	}
	return nil
}
