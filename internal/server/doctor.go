package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry/store"
)

const (
	// doctorTime is what all looks have together; they are taken side by side.
	doctorTime = 8 * time.Second
	// doctorLast is when a look that does not even see that its time is over is left behind.
	doctorLast = 10 * time.Second
)

// doctor looks at a project and at this machine. Whatever hangs, the others are told.
type doctor struct {
	*Project
	logger   *slog.Logger
	now      func() time.Time
	kernel   func() (synchronised, known bool) // of this machine's clock
	system   fs.FS                             // the root of the file system, for what the kernel tells there
	registry func() (*store.Store, error)      // opened once; why it can't be is told by the look at it alone
}

// look is one thing that is looked at. It ends with ctx, unless a system call hangs.
type look struct {
	name string
	at   func(*doctor, context.Context) []checkup.Check
}

func looks() []look {
	return []look{
		{"registry", (*doctor).lookAtRegistry},
		{"online store", (*doctor).lookAtOnline},
		{"clock", (*doctor).lookAtClocks},
		{"versions", (*doctor).lookAtVersions},
		{"roots", (*doctor).lookAtRoots},
		{"sources", (*doctor).lookAtSources},
		{"disk", (*doctor).lookAtDisks},
		{"addresses", (*doctor).lookAtAddresses},
		{"TLS", (*doctor).lookAtTLS},
		{"limits of the process", (*doctor).lookAtLimits},
	}
}

// Doctor looks at what the project needs, at how it is set up, and at this machine, within about ten seconds. It changes nothing
// of it, but a registry that is not there yet, and the folder for it, are made.
func (p *Project) Doctor(ctx context.Context, logger *slog.Logger) []checkup.Check {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	return p.doctor(ctx, logger).examine(ctx, looks(), doctorLast)
}

func (p *Project) doctor(ctx context.Context, logger *slog.Logger) *doctor {
	return &doctor{
		Project: p, logger: logger, now: time.Now, kernel: kernelClock, system: os.DirFS("/"),
		registry: sync.OnceValues(func() (*store.Store, error) { return p.Registry(ctx) }),
	}
}

// examine takes the looks side by side, and returns what they find in their order.
func (d *doctor) examine(ctx context.Context, looks []look, last time.Duration) (found []checkup.Check) {
	results := make([]chan []checkup.Check, len(looks))
	for i, l := range looks {
		results[i] = make(chan []checkup.Check, 1)
		go func() { results[i] <- l.at(d, ctx) }()
	}
	over := make(chan struct{})
	timer := time.AfterFunc(last, func() { close(over) })
	defer timer.Stop()
	for i, l := range looks {
		select {
		case checks := <-results[i]:
			found = append(found, checks...)
			continue
		default:
		}
		select {
		case checks := <-results[i]:
			found = append(found, checks...)
		case <-over:
			found = append(found, checkup.Check{
				Name: l.name, State: checkup.Error, Text: fmt.Sprintf("no answer within %v", last),
				Fix: "look at the network, and at file systems that are mounted from elsewhere",
			})
		}
	}
	return found
}

func (d *doctor) lookAtRegistry(ctx context.Context) []checkup.Check {
	c := checkup.Check{Name: "registry", State: checkup.OK}
	reg, err := d.registry()
	if err != nil {
		return []checkup.Check{checkup.Failed(c.Name, err)}
	}
	rev, defs, err := reg.Current(ctx)
	if err != nil {
		return []checkup.Check{checkup.Failed(c.Name, err)}
	}
	if rev.Number == 0 {
		c.State, c.Text, c.Fix = checkup.Warning, "it opens; nothing was applied yet", "run provender apply"
		return []checkup.Check{c}
	}
	c.Text = fmt.Sprintf("it opens; revision %d with %d feature views and %d services", rev.Number, len(defs.Views), len(defs.Services))
	return []checkup.Check{c}
}

func (d *doctor) lookAtOnline(ctx context.Context) []checkup.Check {
	if d.isEmbedded() {
		return d.doctorEmbedded(ctx, d.logger)
	}
	const name = "online store"
	failed := func(err error) []checkup.Check { return []checkup.Check{checkup.Failed(name, err)} }
	reg, err := d.registry()
	if err != nil {
		return nil // told already; without it nobody knows which keys are ours
	}
	id, err := reg.ID(ctx)
	if err != nil {
		return failed(err)
	}
	ops, err := state.Open(ctx, reg.DB())
	if err != nil {
		return failed(err)
	}
	prefix, err := ops.Prefix(ctx)
	if err != nil {
		return failed(err)
	}
	opened, err := d.openOnline(nil, d.logger)
	if err != nil {
		return failed(err)
	}
	var found []checkup.Check
	if advisor, ok := opened.(online.Advisor); ok {
		found = advisor.Advise(ctx, id, prefix)
	}
	if err := opened.Close(); err != nil {
		found = append(found, checkup.Failed(name, err))
	}
	return found
}

func (p *Project) doctorEmbedded(ctx context.Context, logger *slog.Logger) []checkup.Check {
	c := checkup.Check{Name: "online store", State: checkup.OK}
	dir := p.embeddedDir()
	where := "embedded in " + strings.TrimPrefix(p.Config.Online, embeddedScheme)
	size, err := sizeOf(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Text = where + ", which the first run makes"
		return []checkup.Check{c}
	case err != nil:
		return []checkup.Check{checkup.Failed(c.Name, fmt.Errorf("%s: %w", where, err))}
	}
	c.Text = fmt.Sprintf("%s, %s on disk", where, humanize.IBytes(size))
	if p.held(ctx) {
		c.Text += "; a process holds it and answers for it: " + p.holder()
		return []checkup.Check{c}
	}
	opened, err := p.openOnline(nil, logger)
	switch {
	case err == nil:
		err = opened.Close()
	case problem.CodeOf(err) == problem.Unavailable && p.held(ctx):
		return []checkup.Check{c} // it began just now
	}
	if err != nil {
		failed := checkup.Failed(c.Name, err)
		failed.Text = c.Text + ": " + failed.Text
		return []checkup.Check{failed}
	}
	c.Text += "; no process holds it, and it opens"
	return []checkup.Check{c}
}

// holder names the process that holds the embedded store: a server has left its addresses, a command has not.
func (p *Project) holder() string {
	at, running := p.addresses()
	if !running {
		return "a command"
	}
	return fmt.Sprintf("the server at %s, process %d", at.GRPC, at.PID)
}

// sizeOf returns the bytes of all files in a folder. Files that go meanwhile don't count.
func sizeOf(dir string) (size uint64, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				size += uint64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return size, err
}
