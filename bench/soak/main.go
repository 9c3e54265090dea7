// Soak keeps servers under half of the load that they can take, with new data all the time, and lets one fault after
// another happen; every cell of every answer is checked. bench/soak/run builds what it needs; bench/README.md tells how to
// read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/provender-dev/provender/test/load"
)

const (
	storeRedis    = "redis"
	storeEmbedded = "embedded"
)

type settings struct {
	provender         string // binary
	config            string // further lines of provender.yaml, with ; between them
	store             string
	minutes           float64
	runEvery          time.Duration
	faultEvery        time.Duration
	reportEvery       time.Duration
	entities, drivers int // all; per call
	callers           int
	deadline          time.Duration
	share             float64 // of the peak
	seed              uint64
	keep              bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.provender, "provender", "", "the program")
	flags.StringVar(&s.store, "store", storeRedis, "redis: two servers over Redis; embedded: one server")
	flags.Float64Var(&s.minutes, "minutes", 30, "how long")
	flags.DurationVar(&s.runEvery, "runs", 0, "new data and a run, so often; default 1m, less where -minutes is small")
	flags.DurationVar(&s.faultEvery, "faults", 0, "a fault, so often; default 2m, less where -minutes is small")
	flags.DurationVar(&s.reportEvery, "report", 0, "a line, so often; default 1m, less where -minutes is small")
	flags.IntVar(&s.entities, "entities", 50_000, "drivers")
	flags.IntVar(&s.drivers, "drivers", 20, "drivers per call")
	flags.IntVar(&s.callers, "callers", 16, "callers, each with connections of its own")
	flags.DurationVar(&s.deadline, "deadline", 2*time.Second, "of a call")
	flags.Float64Var(&s.share, "share", 0.5, "of the peak, that calls are paced at")
	flags.Uint64Var(&s.seed, "seed", 0, "of what is random; 0: a new one")
	flags.StringVar(&s.config, "config", "", "further lines of provender.yaml, with ; between them")
	flags.BoolVar(&s.keep, "keep", false, "leave the folder with data and logs")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.provender == "" || flags.NArg() > 0 || s.store != storeRedis && s.store != storeEmbedded || s.minutes <= 0 || s.entities < 1 {
		flags.Usage()
		return s, errors.New("bench/soak/run gives the program that -provender names")
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1 << 32)
	}
	whole := time.Duration(s.minutes * float64(time.Minute))
	for _, every := range []struct {
		at      *time.Duration
		usually time.Duration
		parts   time.Duration // of a short soak
	}{{&s.runEvery, time.Minute, 8}, {&s.faultEvery, 2 * time.Minute, 5}, {&s.reportEvery, time.Minute, 6}} {
		if *every.at <= 0 {
			*every.at = min(every.usually, max(whole/every.parts, time.Second))
		}
	}
	return s, nil
}

// soak is one at work.
type soak struct {
	*site
	out  io.Writer
	load *load.Load

	speak    sync.Mutex
	begun    time.Time
	samples  []sample
	slowest  time.Duration // recovery
	troubles []string      // what must not be
	runs     int
	failed   int // runs
}

// sample is what is used at a moment.
type sample struct {
	at         time.Duration
	servers    []int64 // resident
	redis      int64
	goroutines []int
}

func (s *soak) say(format string, args ...any) {
	s.speak.Lock()
	defer s.speak.Unlock()
	fmt.Fprintf(s.out, "%7.1f  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

// peakTime is how long the peak is measured.
const peakTime = 5 * time.Second

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	settings, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "provender-soak")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "seed %d, %s, %s\n", settings.seed, settings.store, dir)
	if !settings.keep {
		defer func() {
			if err == nil { // else its logs are wanted
				err = os.RemoveAll(dir)
			}
		}()
	}
	x, err := open(ctx, settings, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	s := &soak{site: x, out: stdout, begun: time.Now()}
	peak, err := x.start(settings.callers, 0)
	if err != nil {
		return err
	}
	wait(ctx, time.Second)
	peak.Cut()
	wait(ctx, peakTime)
	most := peak.Cut()
	if all := peak.Stop(); all.Wrong+all.Missing+all.Failed() > 0 {
		return fmt.Errorf("before any fault: %s", &all)
	}
	s.say("peak %.0f calls per second of %d drivers each, p50 %s, p99 %s", most.Rate(), settings.drivers, most.Quantile(0.5), most.Quantile(0.99))
	if s.load, err = x.start(settings.callers, most.Rate()*settings.share); err != nil {
		return err
	}
	whole, cancel := context.WithTimeout(ctx, time.Duration(settings.minutes*float64(time.Minute)))
	defer cancel()
	err = s.endure(whole)
	total := s.load.Stop()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.judge(ctx, &total)
}
