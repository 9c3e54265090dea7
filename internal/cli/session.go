package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// withProject calls fn with the project of -C and --env.
func (a *app) withProject(fn func(*server.Project) error) error {
	p, err := server.Open(a.dir, a.env, a.Getenv)
	if err != nil {
		return problems(err)
	}
	return errors.Join(fn(p), p.Close())
}

// withClient calls fn with a client: of the server that --server names, else of whoever holds the project's online
// store, which may be this process. fn may be called twice, and shows nothing before it knows that it has succeeded.
func (a *app) withClient(ctx context.Context, fn func(context.Context, *client.Client) error) error {
	if a.server != "" {
		return a.remote(ctx, fn)
	}
	return a.withProject(func(p *server.Project) error { return p.Do(ctx, a.logger(slog.LevelWarn), fn) })
}

// logger writes to stderr what is at least of a level.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}

// snapshotOf compiles what a server has applied.
func snapshotOf(ctx context.Context, c *client.Client) (*registry.Snapshot, error) {
	rev, list, err := c.Definitions(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	defs := &registry.Definitions{}
	for _, d := range list {
		var err error
		switch d.Kind {
		case client.Entity:
			err = appendJSON(&defs.Entities, d)
		case client.Source:
			err = appendJSON(&defs.Sources, d)
		case client.FeatureView:
			err = appendJSON(&defs.Views, d)
		case client.FeatureService:
			err = appendJSON(&defs.Services, d)
		}
		if err != nil {
			return nil, err
		}
	}
	return registry.Compile(rev.Number, defs)
}
