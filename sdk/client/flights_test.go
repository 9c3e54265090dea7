package client_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/sdk/client"
)

// evening is the read time of the examples: the flights example is materialized up to it.
var evening = time.Date(2001, 6, 30, 18, 0, 0, 0, time.UTC)

// addr is where a server of the flights example listens, which is started when it is first asked for.
var addr = sync.OnceValue(func() string {
	f := &flightsServer{}
	must(nil, f.start())
	running = f
	return f.addr
})

var running *flightsServer

// flightsServer is `provender serve` for the flights example.
type flightsServer struct {
	addr    string
	dir     string
	project *server.Project
	stop    func() error
}

func (f *flightsServer) start() (err error) {
	if f.dir, err = os.MkdirTemp("", "flights"); err != nil {
		return err
	}
	if _, err := flights.Unpack(f.dir, flights.End); err != nil {
		return err
	}
	if f.project, err = server.Open(f.dir, "", func(string) string { return "" }); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	logger := slog.New(slog.DiscardHandler)
	err = f.project.DoRegistry(ctx, logger, func(ctx context.Context, c *client.Client) error {
		plan, err := c.Plan(ctx, definitionFiles(f.dir), 0)
		if err != nil {
			return err
		}
		_, err = c.Apply(ctx, client.ApplyRequest{Plan: plan.JSON, By: "ann@desk"})
		return err
	})
	if err != nil {
		return err
	}
	err = f.project.Do(ctx, logger, func(ctx context.Context, c *client.Client) error {
		_, err := c.Materialize(ctx, client.MaterializeRequest{To: evening}, nil)
		return err
	})
	if err != nil {
		return err
	}
	ready, served := make(chan server.Addresses, 1), make(chan error, 1)
	go func() {
		served <- server.Serve(ctx, f.project, server.ServeOptions{
			GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Now: evening, Logger: logger,
			Ready: func(at server.Addresses) { ready <- at },
		})
	}()
	f.stop = func() error {
		cancel()
		return errors.Join(<-served, f.project.Close(), os.RemoveAll(f.dir))
	}
	select {
	case at := <-ready:
		f.addr = at.GRPC
		return nil
	case err := <-served:
		return errors.Join(errors.New("the server ended"), err)
	}
}

// definitionFiles are the definition files of a project.
func definitionFiles(dir string) (all []client.DefinitionFile) {
	folder := filepath.Join(dir, "definitions")
	must(nil, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, client.DefinitionFile{Name: "definitions/" + entry.Name(), Content: content})
		return err
	}))
	return all
}

// withFlights runs tests, and ends the server of the examples.
type withFlights struct{ *testing.M }

func (m withFlights) Run() int {
	code := m.M.Run()
	if running != nil {
		must(nil, running.stop())
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(withFlights{m}) }
