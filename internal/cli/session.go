package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// withProject calls fn with the project of -C and --env.
func (a *app) withProject(fn func(*server.Project) error) error {
	p, err := server.Open(a.dir, a.outside())
	if err != nil {
		return problems(err)
	}
	p.Tool, p.Waiting = version.String(), a.waiting
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

// withRegistry calls fn with a client that reads, plans and applies definitions: of the server that --server names, else of
// the project's registry in this process. No online store is opened.
func (a *app) withRegistry(ctx context.Context, fn func(context.Context, *client.Client) error) error {
	if a.server != "" {
		return a.remote(ctx, fn)
	}
	return a.withProject(func(p *server.Project) error { return p.DoRegistry(ctx, a.logger(slog.LevelWarn), fn) })
}

// logger writes to stderr what is at least of a level.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}

// snapshotOf compiles what a server has applied.
func snapshotOf(ctx context.Context, c *client.Client) (*registry.Snapshot, error) {
	rev, defs, err := appliedRegistry{c}.Current(ctx)
	if err != nil {
		return nil, err
	}
	return registry.Compile(rev.Number, defs)
}

// appliedRegistry is a registry as a client reads it.
type appliedRegistry struct{ *client.Client }

// Current implements registry.Store.
func (r appliedRegistry) Current(ctx context.Context) (registry.Revision, *registry.Definitions, error) {
	return r.At(ctx, 0)
}

// At implements registry.Store; 0 is the current revision.
func (r appliedRegistry) At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	rev, list, err := r.Definitions(ctx, "", number)
	if err != nil {
		return registry.Revision{}, nil, err
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
			return registry.Revision{}, nil, err
		}
	}
	return revisionRecord(rev), defs, nil
}

// History implements registry.Store.
func (r appliedRegistry) History(ctx context.Context, limit int) ([]registry.Revision, error) {
	list, err := r.Revisions(ctx, limit)
	revs := make([]registry.Revision, 0, len(list))
	for _, rev := range list {
		revs = append(revs, revisionRecord(rev))
	}
	return revs, err
}

// ID implements registry.Store: a client does not learn it.
func (r appliedRegistry) ID(context.Context) (string, error) {
	return "", errors.New("the registry's identity is not known here")
}

// Append implements registry.Store: a client sends plans.
func (r appliedRegistry) Append(
	context.Context, int64, registry.Revision, *registry.Definitions,
) (registry.Revision, error) {
	return registry.Revision{}, errors.New("the registry is only read here")
}

func revisionRecord(r client.Revision) registry.Revision {
	return registry.Revision{
		Number: r.Number, Digest: r.Digest, Applied: r.Applied, By: r.By, Commit: r.Commit, Tool: r.Tool, Summary: r.Summary, RollbackOf: r.RollbackOf,
	}
}
