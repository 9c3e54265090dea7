package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
)

// Doctor looks at what the project needs, and at how it is set up. It changes nothing of it, but a registry that is not
// there yet is made.
func (p *Project) Doctor(ctx context.Context, logger *slog.Logger) []checkup.Check {
	var found []checkup.Check
	for _, look := range []func(context.Context, *slog.Logger) []checkup.Check{
		p.doctorRegistry,
		p.doctorOnline,
	} {
		found = append(found, look(ctx, logger)...)
	}
	return found
}

func (p *Project) doctorRegistry(ctx context.Context, _ *slog.Logger) []checkup.Check {
	c := checkup.Check{Name: "registry", State: checkup.OK}
	reg, err := p.Registry(ctx)
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

func (p *Project) doctorOnline(ctx context.Context, logger *slog.Logger) []checkup.Check {
	if p.isEmbedded() {
		return p.doctorEmbedded(ctx, logger)
	}
	const name = "online store"
	failed := func(err error) []checkup.Check { return []checkup.Check{checkup.Failed(name, err)} }
	reg, err := p.Registry(ctx)
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
	store, err := p.openOnline(logger)
	if err != nil {
		return failed(err)
	}
	var found []checkup.Check
	if advisor, ok := store.(online.Advisor); ok {
		found = advisor.Advise(ctx, id, prefix)
	}
	if err := store.Close(); err != nil {
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
	store, err := embedded.Open(dir, embedded.Options{Logger: logger})
	switch {
	case err == nil:
		err = store.Close()
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
	var at Addresses
	raw, err := os.ReadFile(filepath.Join(p.Dir, stateFolder, addressFile))
	if err != nil || json.Unmarshal(raw, &at) != nil || syscall.Kill(at.PID, 0) != nil {
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
