// Client measures the Go client beside the generated stub that it stands on: the same lookups on the same connection, by
// turns. bench/client/run builds what it needs; bench/README.md tells how to read it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/process"
	"github.com/provender-dev/provender/bench/internal/ratio"
)

type settings struct {
	dir        string // for data and what a run leaves out of memory
	provender  string // the binary
	rounds     int
	measure    time.Duration
	json       bool
	cpuprofile string
	data       lookups.Dataset
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	server, stop, err := serve(ctx, s, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.cpuprofile != "" {
		file, err := os.Create(s.cpuprofile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, file.Close())
		}()
	}
	r := &report{Rounds: s.rounds, Seconds: s.measure.Seconds()}
	all := lookups.Workloads()
	for _, w := range []lookups.Workload{all[0], all[2]} {
		if err := r.measure(ctx, s, conn, w); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	if s.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.text(stdout)
}

func parse(args []string) (settings, error) {
	s := settings{data: lookups.Dataset{Entities: 100_000, Seed: 1}}
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.StringVar(&s.dir, "dir", ".cache/bench-data", "folder for the data, made once, and for a run's files, which do not stay")
	flags.StringVar(&s.provender, "provender", "", "the provender binary")
	flags.IntVar(&s.rounds, "rounds", 7, "rounds, each of every workload")
	measure := flags.Float64("seconds", 2, "time to measure each")
	flags.StringVar(&s.cpuprofile, "cpuprofile", "", "write a profile of this process")
	output := flags.String("o", "table", "table or json")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.measure = time.Duration(*measure * float64(time.Second))
	s.json = *output == "json"
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case s.provender == "":
		return s, errors.New("-provender is needed; bench/client/run gives it")
	case s.rounds < 1 || s.measure <= 0:
		return s, errors.New("-rounds and -seconds are above 0")
	case !s.json && *output != "table":
		return s, fmt.Errorf("-o %q: want table or json", *output)
	}
	return s, nil
}

// serve starts a server over the embedded store, filled.
func serve(ctx context.Context, s settings, stderr io.Writer) (addr string, stop func() error, err error) {
	files := filepath.Join(s.dir, "online")
	if err := s.data.Write(files); err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "client-run")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	project := filepath.Join(dir, "project")
	if err := (lookups.Project{Online: "embedded://.provender/online"}).Write(project, files); err != nil {
		return "", nil, err
	}
	fmt.Fprintln(stderr, "materializing")
	for _, args := range [][]string{{"apply", "--yes"}, {"materialize"}} {
		if err := process.Command(ctx, s.provender, append([]string{"-C", project}, args...)...); err != nil {
			return "", nil, err
		}
	}
	p, err := process.Start(ctx, dir, "provender", process.Announced, s.provender, "-C", project, "-o", "json",
		"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return p.Addr, func() error { return errors.Join(p.Stop(), os.RemoveAll(dir)) }, nil
}

// report is what a run found. Its fields are the JSON, its text the tables.
type report struct {
	Rounds  int         `json:"rounds"`
	Seconds float64     `json:"seconds"`
	Results []result    `json:"results"`
	Bars    []ratio.Bar `json:"bars"`
}

// result is the rounds of one way of looking up under one workload.
type result struct {
	Title    string `json:"title"`
	Workload string `json:"workload"`
	Runs     []cost `json:"rounds"`
}

func (r *report) text(w io.Writer) error {
	fmt.Fprintf(w, "%d rounds of %g s, one connection, one caller\n\n", r.Rounds, r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "workload\tby\tµs per call\tCPU µs\tallocations\tbytes\t")
	for i := range r.Results {
		x := &r.Results[i]
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", x.Workload, x.Title, ratio.Median(x.each(cost.wall)),
			ratio.Median(x.each(cost.cpu)), ratio.Median(x.each(cost.allocations)), ratio.Median(x.each(cost.bytes)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return ratio.Print(w, r.Bars)
}

func (x *result) each(of func(cost) float64) []float64 {
	values := make([]float64, len(x.Runs))
	for i, c := range x.Runs {
		values[i] = of(c)
	}
	return values
}
