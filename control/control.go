// Package control plans and applies definitions, the same for the command line, the API and Git: definition files
// become a plan, a plan becomes a revision. It knows the registry and the files of sources, and no online store.
package control

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
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
	return plan.Make(rev, current, target)
}

// ApplyOptions say who applies a plan, and how.
type ApplyOptions struct {
	AllowBreaking bool
	By            string // user@host, or the name of a token
	Commit        string // Git commit of the definitions, "" if unknown
}

// Apply does exactly what a plan says, in one transaction. Conflict where the registry has moved since the plan was made;
// the current revision where there is nothing to do.
func (s *Service) Apply(ctx context.Context, saved *plan.Plan, o ApplyOptions) (registry.Revision, error) {
	made, err := s.Again(ctx, saved)
	if err != nil {
		return registry.Revision{}, err
	}
	if made.Empty() {
		rev, _, err := s.Registry.Current(ctx)
		return rev, err
	}
	rev, err := s.Registry.Append(ctx, made.BaseRevision, registry.Revision{
		Digest: made.TargetDigest, Applied: s.Now().UTC(), By: o.By, Commit: o.Commit, Tool: s.Tool, Summary: made.Done(),
	}, made.Target)
	if problem.CodeOf(err) == problem.Conflict {
		return rev, moved(err)
	}
	return rev, err
}

// Again makes a saved plan anew: what it says of itself comes from its definitions, not from what its file says of them.
// Conflict where the registry has moved since it was made.
func (s *Service) Again(ctx context.Context, saved *plan.Plan) (*plan.Plan, error) {
	rev, current, err := s.Registry.Current(ctx)
	if err != nil {
		return nil, err
	}
	if rev.Number != saved.BaseRevision || current.Digest() != saved.BaseDigest {
		return nil, moved(nil)
	}
	return plan.Make(rev, current, saved.Target)
}

// moved is the error of a plan whose base is no longer current.
func moved(cause error) error {
	err := problem.New(problem.Conflict, "the registry has moved since the plan was made; nothing was applied")
	err.Suggestion, err.Err = "look at the new plan: provender plan", cause
	return err
}
