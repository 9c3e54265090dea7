// Package control plans and applies definitions, the same for the command line, the API and Git: definition files
// become a plan, a plan becomes a revision. It knows the registry and the files of sources, and no online store.
package control

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// Config is what a Service works with.
type Config struct {
	Registry registry.Store
	Project  *definition.Config
	Files    *source.Files
	Limits   parquet.Limits
	Now      func() time.Time
	Tool     string // Provender's version

	// SourceTime is how long a plan waits for the files of one source; 0: 20 seconds.
	SourceTime time.Duration
	// Waiting is told of a source that is slow, and how long it is waited for; called concurrently, may be nil.
	Waiting func(source string, within time.Duration)
}

// Service plans and applies. Safe for concurrent use.
type Service struct{ Config }

// New returns a Service.
func New(c Config) *Service { return &Service{c} }

// Plan compares definition files with a revision, 0 for the current one, and the columns that they name with the files of
// their sources, and estimates what those hold that are to be read anew. The error is a diag.Set where the files have problems.
func (s *Service) Plan(ctx context.Context, files []definition.File, against int64) (*plan.Plan, diag.Set, error) {
	project, err := s.Project.Parse(files)
	if err != nil {
		return nil, nil, err
	}
	rev, base, err := s.revision(ctx, against)
	if err != nil {
		return nil, nil, err
	}
	made, warnings, err := s.compare(ctx, project, rev, base)
	if err != nil {
		return nil, nil, err
	}
	made.FilesDigest = filesDigest(files)
	return made, warnings, nil
}

// compare plans the way from a base to a project's definitions, and looks at the files of their sources.
func (s *Service) compare(
	ctx context.Context, project *definition.Project, rev registry.Revision, base *registry.Definitions,
) (*plan.Plan, diag.Set, error) {
	made, err := plan.Make(rev, base, project.Definitions)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := s.checkSources(ctx, project, made)
	if err != nil {
		return nil, nil, err
	}
	return made, warnings, nil
}

// revision reads a revision, 0 for the current one.
func (s *Service) revision(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	if number == 0 {
		return s.Registry.Current(ctx)
	}
	return s.Registry.At(ctx, number)
}

// PlanRollback returns the plan that makes the next revision equal to an earlier one.
func (s *Service) PlanRollback(ctx context.Context, number int64) (*plan.Plan, error) {
	_, target, err := s.Registry.At(ctx, number)
	if err != nil {
		return nil, err
	}
	rev, current, err := s.Registry.Current(ctx)
	if err != nil {
		return nil, err
	}
	made, err := plan.Restore(rev, current, target)
	if err != nil {
		return nil, err
	}
	made.RollbackOf = number
	return made, nil
}
