// Step runs one step of a materialization in a process of its own: the newest rows of a view, or their load into a store,
// by Provender's own writer or by a bare loop. Bench/materialize starts it.
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
	"time"

	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

type settings struct {
	project, view string
	to            time.Time
	out           string // of latest
	redis, script string
	folder        string
	bare          bool
	profile       string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "step:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("which step? latest, redis or embedded")
	}
	var s settings
	flags := flag.NewFlagSet("step "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.project, "project", "", "folder of the project")
	flags.StringVar(&s.view, "view", "", "view to take the newest rows of")
	to := flags.String("to", "", "instant up to which")
	flags.StringVar(&s.profile, "cpuprofile", "", "file for a CPU profile of the step")
	switch args[0] {
	case "latest":
		flags.StringVar(&s.out, "out", "", "Parquet file to write the rows into; default: none")
	case "redis":
		flags.StringVar(&s.redis, "redis", "", "URL of an empty Redis")
		flags.StringVar(&s.script, "script", "online/redis/write.lua", "the script of the bare loader")
		flags.BoolVar(&s.bare, "bare", false, "load by a bare pipeline")
	case "embedded":
		flags.StringVar(&s.folder, "folder", "", "folder for the store")
		flags.BoolVar(&s.bare, "bare", false, "load by a bare loop")
	default:
		return fmt.Errorf("no such step: %q", args[0])
	}
	err := flags.Parse(args[1:])
	if err == nil {
		s.to, err = time.Parse(time.RFC3339, *to)
	}
	if err != nil {
		return err
	}
	if args[0] == "latest" {
		return s.profiled(func() error { return s.latest(ctx) })
	}
	rows, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	var phases []phase
	err = s.profiled(func() (err error) {
		phases, err = s.load(ctx, args[0], rows)
		return err
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(phases)
}

func (s *settings) load(ctx context.Context, store string, r rows) ([]phase, error) {
	switch {
	case store == "redis" && s.bare:
		return s.bareRedis(ctx, r)
	case store == "redis":
		return s.ownRedis(ctx, r)
	case s.bare:
		return s.bareEmbedded(ctx, r)
	default:
		return s.ownEmbedded(ctx, r)
	}
}

// profiled runs a step, under the profiler where a profile is asked for.
func (s *settings) profiled(step func() error) (err error) {
	if s.profile == "" {
		return step()
	}
	f, err := os.Create(s.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return step()
}

// input opens the view's history, and returns the least event time that counts.
func (s *settings) input(ctx context.Context) (in asof.Input, since int64, err error) {
	dir, err := filepath.Abs(s.project)
	if err != nil {
		return in, 0, err
	}
	p, err := definition.LoadProject(dir, definition.Outside{})
	if err != nil {
		return in, 0, err
	}
	snap, err := registry.Compile(1, p.Definitions)
	if err != nil {
		return in, 0, err
	}
	view := snap.Views[s.view]
	if view == nil {
		return in, 0, fmt.Errorf("no view %q", s.view)
	}
	in = asof.Input{View: view, Source: source.New(dir, p.Config.Roots), Cutoff: s.to.UnixMicro()}
	in.Files, err = in.Source.List(ctx, view.Source.Parquet)
	return in, in.Cutoff - 2*view.TTLMicros, err
}
