// Package server wires a project: its configuration, its concrete stores, and the API on top of them, for a server and
// for a single command alike.
package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/store"
)

// stateFolder holds what a project keeps on this machine.
const stateFolder = ".provender"

// Project is an open project folder. It opens a store when it is first needed. Safe for concurrent use.
type Project struct {
	Dir    string // absolute
	Config *definition.Config
	Files  *source.Files
	Tool   string // Provender's version, for records
	// Waiting is told of a source that a plan waits for; may be nil.
	Waiting func(source string, within time.Duration)

	mu       sync.Mutex
	registry *store.Store
}

// Open reads the configuration of the project in dir, and what is said of it outside. It opens no store.
func Open(dir string, o definition.Outside) (*Project, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open project %s: %w", dir, err)
	}
	config, err := definition.LoadConfig(dir, o)
	if err != nil {
		return nil, err
	}
	return &Project{Dir: abs, Config: config, Files: source.New(abs, config.Roots)}, nil
}

// ParquetLimits returns what Parquet files may ask for.
func (p *Project) ParquetLimits() parquet.Limits {
	l := &p.Config.Limits
	return parquet.Limits{
		PageBytes: l.ParquetPage, ValueBytes: l.ParquetValue, FooterBytes: l.ParquetFooter,
		GroupValues: l.ParquetGroupValues, ChunkBytes: l.ParquetChunk,
	}
}

// SpineLimits returns what spines may ask for.
func (p *Project) SpineLimits() offline.SpineLimits {
	l := &p.Config.Limits
	return offline.SpineLimits{SpineRows: l.SpineRows, SpineColumns: l.SpineColumns, CSVRecord: l.CSVRecord, ArrowBatch: l.ArrowBatch}
}

// Registry returns the project's registry, opening it at the first call.
func (p *Project) Registry(ctx context.Context) (*store.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.registry == nil {
		s, err := store.Open(ctx, p.Config.Registry, p.Dir)
		if err != nil {
			return nil, err
		}
		p.registry = s
	}
	return p.registry, nil
}

// Control returns what plans and applies the project's definitions.
func (p *Project) Control(ctx context.Context) (*control.Service, error) {
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	return p.control(reg), nil
}

// Comparison returns what compares definition files with others, for which no registry is opened.
func (p *Project) Comparison() *control.Service { return p.control(nil) }

func (p *Project) control(reg registry.Store) *control.Service {
	return control.New(control.Config{
		Registry: reg, Project: p.Config, Files: p.Files, Limits: p.ParquetLimits(), Now: time.Now, Tool: p.Tool,
		Waiting: p.Waiting,
	})
}

// Snapshot compiles the current revision. Precondition where nothing was applied yet.
func (p *Project) Snapshot(ctx context.Context) (*registry.Snapshot, error) {
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	rev, defs, err := reg.Current(ctx)
	if err != nil {
		return nil, err
	}
	if rev.Number == 0 {
		err := problem.New(problem.Precondition, "nothing was applied to the registry of project %s yet", p.Config.Project)
		err.Suggestion = "run provender apply first"
		return nil, err
	}
	return registry.Compile(rev.Number, defs)
}

// Close closes what was opened.
func (p *Project) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.registry == nil {
		return nil
	}
	err := p.registry.Close()
	p.registry = nil
	return err
}

// socket returns where the holder of the project's embedded store listens.
func (p *Project) socket() socket {
	return newSocket(filepath.Join(p.Dir, stateFolder), p.Config.Environment)
}

// listen makes the project's socket, for the holder of its embedded store. Several servers of one folder may share a Redis:
// the first is found by commands, and errClaimed is what the others get.
func (p *Project) listen() (net.Listener, error) {
	if p.isEmbedded() {
		return p.socket().listen()
	}
	return p.socket().claim()
}

// identity is user@host:pid, for records and leases.
func identity() string { return fmt.Sprintf("%s:%d", User(), os.Getpid()) }

// User is user@host, for records.
func User() string {
	name := os.Getenv("USER")
	if name == "" {
		name = fmt.Sprintf("uid%d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
