// Package flights serves the flights example in a test's own process.
package flights

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/sdk/client"
)

// Evening is the server's read time: the example is materialized up to it.
var Evening = time.Date(2001, 6, 30, 18, 0, 0, 0, time.UTC)

// Server is `provender serve` for the flights example, in this process.
type Server struct {
	Addr string // of gRPC
	Dir  string // of the project
	stop func() error
}

// Start unpacks the example into a temporary folder, applies its definitions, materializes and serves them.
func Start() (f *Server, err error) {
	f = &Server{}
	if f.Dir, err = os.MkdirTemp("", "flights"); err != nil {
		return nil, err
	}
	if _, err := flights.Unpack(f.Dir, flights.End); err != nil {
		return nil, err
	}
	project, err := server.Open(f.Dir, definition.Outside{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	logger := slog.New(slog.DiscardHandler)
	err = project.DoRegistry(ctx, logger, func(ctx context.Context, c *client.Client) error {
		files, err := DefinitionFiles(f.Dir)
		if err != nil {
			return err
		}
		plan, err := c.Plan(ctx, files, 0)
		if err != nil {
			return err
		}
		_, err = c.Apply(ctx, client.ApplyRequest{Plan: plan.JSON, By: "ann@desk"})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = project.Do(ctx, logger, func(ctx context.Context, c *client.Client) error {
		_, err := c.Materialize(ctx, client.MaterializeRequest{To: Evening}, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	ready, served := make(chan server.Addresses, 1), make(chan error, 1)
	go func() {
		served <- server.Serve(ctx, project, server.ServeOptions{
			GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Now: Evening, Logger: logger,
			Ready: func(at server.Addresses) { ready <- at },
		})
	}()
	f.stop = func() error {
		cancel()
		return errors.Join(<-served, project.Close(), os.RemoveAll(f.Dir))
	}
	select {
	case at := <-ready:
		f.Addr = at.GRPC
		return f, nil
	case err := <-served:
		return nil, errors.Join(errors.New("the server ended"), err)
	}
}

// Stop ends the server, and removes its folder.
func (f *Server) Stop() error { return f.stop() }

// DefinitionFiles returns the definition files of a project.
func DefinitionFiles(dir string) (all []client.DefinitionFile, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "definitions"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, client.DefinitionFile{Name: "definitions/" + entry.Name(), Content: content})
		return err
	})
	return all, err
}
