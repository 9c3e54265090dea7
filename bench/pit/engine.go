package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/bench/internal/process"
)

// engine is a program that joins, and what its runs took.
type engine struct {
	title  string
	script string // of a peer
	args   []string
	out    string
	rounds []measurement
	cells  int // that differ from Provender's
}

// measurement is of one process.
type measurement struct {
	process.Usage
	size int64 // bytes of output
}

// engines returns Provender first, then the peers.
func (s *settings) engines() ([]*engine, error) {
	all := []*engine{{title: "Provender"}}
	for name := range strings.SplitSeq(s.only, ",") {
		switch name {
		case "duckdb", "polars":
			all = append(all, &engine{title: name, script: name + "_exact.py"})
		case "":
		default:
			return nil, fmt.Errorf("-only %q: want duckdb, polars or both", name)
		}
	}
	return all, nil
}

// prepare gives the engines their command lines.
func (s *settings) prepare(engines []*engine) {
	spine := filepath.Join(s.data, s.spine)
	for i, e := range engines {
		e.out = filepath.Join(s.out, strconv.Itoa(i)+".parquet")
		if e.script == "" {
			e.args = []string{
				s.provender, "-C", s.data, "export", "--service", "all", "--spine", spine, "--time", "event_timestamp", "--out", e.out,
			}
			continue
		}
		e.args = []string{s.python, filepath.Join(s.scripts, e.script), "join", s.data, spine, e.out, strconv.Itoa(s.threads)}
	}
}

// measure runs an engine once.
func (s *settings) measure(ctx context.Context, e *engine) (m measurement, err error) {
	if err := os.Remove(e.out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	if _, m.Usage, err = process.Run(ctx, s.threads, e.args...); err != nil {
		return m, fmt.Errorf("%s: %w", e.title, err)
	}
	info, err := os.Stat(e.out)
	if err != nil {
		return m, err
	}
	m.size = info.Size()
	return m, nil
}

// compare returns how many cells of the peer's output are not those of Provender's, row by row.
func (s *settings) compare(ctx context.Context, ours, peer *engine) (int, error) {
	said, err := output(ctx, s.python, filepath.Join(s.scripts, "duckdb_exact.py"), "compare", ours.out, peer.out)
	if err != nil {
		return 0, err
	}
	var cells, rows int
	if _, err := fmt.Sscan(said, &cells, &rows); err != nil {
		return 0, fmt.Errorf("comparison said %q: %w", said, err)
	}
	return cells, nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	var said strings.Builder
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, said.String())
	}
	return string(out), nil
}
