// Gen writes a workload of the point-in-time join: a Provender project, the daily files of its feature views, and a
// spine. The same flags and seed give the same bytes.
//
//	gen -workload M -out DIR
//	gen -workload M -out DIR -only-spine spine-10m.parquet -spine 10000000   another spine beside views that exist
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// params are the parameters of a workload. Its JSON form is left in the folder, to tell what is there.
type params struct {
	Views    int    `json:"views"`
	Rows     int    `json:"rows"` // of each view
	Features int    `json:"features"`
	Spine    int    `json:"spine"`
	Entities int    `json:"entities"`
	Days     int    `json:"days"`
	Strings  bool   `json:"strings"` // keys like user_0001234 instead of integers
	Seed     uint64 `json:"seed"`
}

var workloads = map[string]params{
	"S":     {Views: 3, Rows: 1_000_000, Features: 10, Spine: 100_000, Entities: 1_000_000, Days: 90, Seed: 1},
	"M":     {Views: 3, Rows: 10_000_000, Features: 10, Spine: 1_000_000, Entities: 1_000_000, Days: 90, Seed: 1},
	"M-str": {Views: 3, Rows: 10_000_000, Features: 10, Spine: 1_000_000, Entities: 1_000_000, Days: 90, Seed: 1, Strings: true},
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	p, out, spine, err := parse(args)
	if err != nil {
		return err
	}
	if spine != "" {
		return p.writeSpine(filepath.Join(out, spine))
	}
	return p.write(out)
}

func parse(args []string) (p params, out, spine string, err error) {
	p = workloads["M"]
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	workload := flags.String("workload", "M", "S, M or M-str; the flags below change its parameters")
	flags.StringVar(&out, "out", "", "folder to write")
	flags.StringVar(&spine, "only-spine", "", "write only a spine of this name into the folder")
	set := map[string]*int{
		"views":    flags.Int("views", p.Views, "feature views"),
		"rows":     flags.Int("rows", p.Rows, "rows of each view"),
		"features": flags.Int("features", p.Features, "features of each view, at most 10"),
		"spine":    flags.Int("spine", p.Spine, "rows of the spine"),
		"entities": flags.Int("entities", p.Entities, "distinct entities"),
		"days":     flags.Int("days", p.Days, "days, each a file of each view"),
	}
	strings := flags.Bool("strings", false, "keys are strings")
	seed := flags.Uint64("seed", p.Seed, "seed")
	if err := flags.Parse(args); err != nil {
		return p, "", "", err
	}
	p, known := workloads[*workload]
	if !known {
		return p, "", "", fmt.Errorf("-workload %q: want S, M or M-str", *workload)
	}
	fields := map[string]*int{
		"views": &p.Views, "rows": &p.Rows, "features": &p.Features,
		"spine": &p.Spine, "entities": &p.Entities, "days": &p.Days,
	}
	flags.Visit(func(f *flag.Flag) {
		switch {
		case fields[f.Name] != nil:
			*fields[f.Name] = *set[f.Name]
		case f.Name == "strings":
			p.Strings = *strings
		case f.Name == "seed":
			p.Seed = *seed
		}
	})
	return p, out, spine, errors.Join(p.check(), required("-out", out))
}

func required(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing", name)
	}
	return nil
}

func (p params) check() error {
	switch {
	case p.Views < 1 || p.Rows < 1 || p.Spine < 1:
		return errors.New("-views, -rows and -spine are at least 1")
	case p.Features < 1 || p.Features > 10:
		return errors.New("-features is 1 to 10")
	case p.Entities < 2 || p.Entities%scatter == 0:
		return fmt.Errorf("-entities is at least 2 and no multiple of %d", scatter)
	case p.Days < 2:
		return errors.New("-days is at least 2: the spine begins on the second day")
	}
	return nil
}

// write fills the folder unless it holds the very workload already. parameters.json comes last, so that a folder with
// it is whole.
func (p params) write(out string) error {
	marker := filepath.Join(out, "parameters.json")
	want, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	switch have, err := os.ReadFile(marker); {
	case err == nil && string(have) == string(want):
		fmt.Fprintln(os.Stderr, out, "is there already")
		return nil
	case err == nil:
		return fmt.Errorf("%s holds another workload: name another folder, or remove this one", out)
	}
	start := time.Now()
	if err := p.writeProject(out); err != nil {
		return err
	}
	var days errgroup.Group
	days.SetLimit(2)
	for view := range p.Views {
		for day := range p.Days {
			days.Go(func() error { return p.writeDay(out, view, day) })
		}
	}
	if err := days.Wait(); err != nil {
		return err
	}
	if err := p.writeSpine(filepath.Join(out, "spine.parquet")); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d views of %d rows, a spine of %d rows, in %.0f s\n",
		out, p.Views, p.Rows, p.Spine, time.Since(start).Seconds())
	return os.WriteFile(marker, want, 0o644)
}
