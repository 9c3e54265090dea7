// Online measures lookups: Provender over Redis and embedded, its call for Feast's clients, and beside them, in the same
// run, a bare gRPC server over the same Redis. bench/online/run builds what it needs; bench/README.md tells how to read
// it.
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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/provender-dev/provender/bench/internal/lookups"
)

type settings struct {
	dir              string // for data and what a run leaves out of memory
	provender, floor string // binaries
	other            string // another provender binary
	under            string // a command that Provender's servers are started by
	rounds           int
	warm, measure    time.Duration
	callers          []int
	targets          []string
	workloads        []lookups.Workload
	feast            string // address of a Feast server
	feastRedis       string // address of its Redis
	listpack         int
	memory           bool
	views            int
	overload, beside bool
	deadline         time.Duration // under overload
	json             bool
	data             lookups.Dataset
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "online:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	files := filepath.Join(s.dir, "online")
	if err := s.data.Write(files); err != nil {
		return err
	}
	b := &bench{settings: s, files: files, stderr: stderr}
	if b.dir, err = os.MkdirTemp(s.dir, "online-run"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.check(ctx); err != nil {
		return err
	}
	r, err := b.measureAll(ctx)
	if err != nil {
		return err
	}
	if s.overload {
		if err := b.measureOpen(ctx, r); err != nil {
			return err
		}
	}
	if s.beside {
		if err := b.measureBeside(ctx, r); err != nil {
			return err
		}
	}
	if s.memory {
		if r.Memory, err = b.measureMemory(ctx); err != nil {
			return err
		}
	}
	r.judge()
	if s.json {
		return r.json(stdout)
	}
	return r.text(stdout)
}

func parse(args []string) (settings, error) {
	s := settings{data: lookups.Dataset{Entities: 100_000, Seed: 1}}
	flags := flag.NewFlagSet("online", flag.ContinueOnError)
	flags.StringVar(&s.dir, "dir", ".cache/bench-data", "folder for the data, made once, and for a run's files, which do not stay")
	flags.StringVar(&s.provender, "provender", "", "the provender binary")
	flags.StringVar(&s.floor, "floor", "", "the floor binary")
	flags.StringVar(&s.other, "other", "", "another provender binary, to be measured beside the first")
	flags.StringVar(&s.under, "under", "", "a command, with spaces between its words, that becomes each server of Provender: one that takes processors away")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds, each of every target, workload and number of callers")
	measure := flags.Float64("seconds", 5, "time to measure each")
	warm := flags.Float64("warm", 1, "seconds to warm up before each")
	callers := flags.String("callers", "1,16", "numbers of callers, each on a connection of its own")
	only := flags.String("only", strings.Join(targetNames, ","), "targets")
	names := flags.String("workloads", "W1,W2,W3", "workloads")
	flags.StringVar(&s.feast, "feast-addr", "", "host:port of a Feast server with this data, to be measured as well")
	flags.StringVar(&s.feastRedis, "feast-redis", "", "host:port of the Feast server's Redis, to write the data there first as Feast does, for project bench")
	flags.IntVar(&s.listpack, "listpack", recommendedListpack, "hash-max-listpack-value of Redis, 64 by its own default")
	flags.BoolVar(&s.memory, "memory", true, "measure memory too")
	flags.IntVar(&s.views, "views", 0, "measure W1 also with so many more views in the registry")
	flags.BoolVar(&s.overload, "overload", false, "measure W1 also with four times the greatest number of callers, and all workloads at four times the peak, with a deadline")
	flags.DurationVar(&s.deadline, "deadline", 100*time.Millisecond, "of calls at four times the peak")
	flags.BoolVar(&s.beside, "beside", false, "measure calls for one entity also beside a flood of calls for very many")
	output := flags.String("o", "table", "table or json")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.measure, s.warm = seconds(*measure), seconds(*warm)
	s.json = *output == "json"
	s.targets = strings.Split(*only, ",")
	for _, name := range s.targets {
		if !slices.Contains(targetNames, name) {
			return s, fmt.Errorf("-only %q: want some of %s", name, strings.Join(targetNames, ", "))
		}
	}
	for name := range strings.SplitSeq(*names, ",") {
		i := slices.IndexFunc(lookups.Workloads(), func(w lookups.Workload) bool { return w.Name == name })
		if i < 0 {
			return s, fmt.Errorf("-workloads %q: want some of W1, W2, W3", name)
		}
		s.workloads = append(s.workloads, lookups.Workloads()[i])
	}
	for text := range strings.SplitSeq(*callers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return s, fmt.Errorf("-callers %q: want numbers of at least 1", text)
		}
		s.callers = append(s.callers, n)
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case s.provender == "" || s.floor == "":
		return s, errors.New("-provender and -floor are needed; bench/online/run gives them")
	case s.rounds < 1 || s.measure <= 0 || s.warm < 0 || s.views < 0 || s.listpack < 1:
		return s, errors.New("-rounds, -seconds and -listpack are above 0, -warm and -views not below")
	case !s.json && *output != "table":
		return s, fmt.Errorf("-o %q: want table or json", *output)
	}
	return s, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
