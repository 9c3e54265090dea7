package control

import (
	"context"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/plan"
)

// ApplyOptions say who applies a plan, and how.
type ApplyOptions struct {
	AllowBreaking bool
	By            string // user@host, or the name of a token
	Commit        string // Git commit of the definitions, "" if unknown
}

// Apply does exactly what a plan says, in one transaction. Conflict where the registry has moved since the plan was made,
// Precondition where it breaks what is in use and that is not allowed; the current revision where there is nothing to do,
// or where it is what the plan has become.
func (s *Service) Apply(ctx context.Context, saved *plan.Plan, o ApplyOptions) (registry.Revision, error) {
	current, made, err := s.again(ctx, saved)
	if err != nil || made.Empty() {
		return current, err
	}
	if err := made.Allowed(o.AllowBreaking); err != nil {
		return registry.Revision{}, err
	}
	raw, err := made.Marshal()
	if err != nil {
		return registry.Revision{}, err
	}
	summary := made.Done()
	if made.RollbackOf != 0 {
		summary = fmt.Sprintf("rollback to %d: %s", made.RollbackOf, summary)
	}
	rev, err := s.Registry.Append(ctx, made.BaseRevision, registry.Revision{
		Applied: s.Now().UTC(), By: o.By, Commit: o.Commit, Tool: s.Tool, Summary: summary, RollbackOf: made.RollbackOf, Plan: raw,
	}, made.Target)
	if problem.CodeOf(err) != problem.Conflict {
		return rev, err
	}
	// Somebody was faster, with another change or with the same.
	current, made, why := s.again(ctx, saved)
	if why != nil || made.Empty() {
		return current, why
	}
	return registry.Revision{}, err
}

// Again makes a saved plan anew: what it says of itself comes from its definitions, not from what its file says of them.
// It is empty where the current revision is what the plan has become. Conflict where the registry has moved since the plan
// was made.
func (s *Service) Again(ctx context.Context, saved *plan.Plan) (*plan.Plan, error) {
	_, made, err := s.again(ctx, saved)
	return made, err
}

// again is Again, with the current revision.
func (s *Service) again(ctx context.Context, saved *plan.Plan) (registry.Revision, *plan.Plan, error) {
	rev, current, err := s.Registry.Current(ctx)
	if err != nil {
		return rev, nil, err
	}
	if rev.Number != saved.BaseRevision || rev.Digest != saved.BaseDigest {
		done, err := s.became(ctx, saved, rev)
		if err != nil {
			return rev, nil, err
		}
		if !done {
			return rev, nil, moved(saved, rev)
		}
	}
	if saved.RollbackOf != 0 {
		earlier, _, err := s.Registry.At(ctx, saved.RollbackOf)
		if err != nil {
			return rev, nil, err
		}
		if earlier.Digest != saved.TargetDigest {
			return rev, nil, problem.New(problem.Invalid, "the plan is said to go back to revision %d, whose definitions are others", earlier.Number)
		}
	}
	made, err := plan.Restore(rev, current, saved.Target)
	if err != nil {
		return rev, nil, err
	}
	made.FilesDigest, made.RollbackOf = saved.FilesDigest, saved.RollbackOf
	return rev, made, nil
}

// became reports whether a revision is what a plan has become: it follows the plan's base and has the plan's target.
func (s *Service) became(ctx context.Context, saved *plan.Plan, rev registry.Revision) (bool, error) {
	if rev.Number != saved.BaseRevision+1 || rev.Digest != saved.TargetDigest || rev.RollbackOf != saved.RollbackOf {
		return false, nil
	}
	base := (&registry.Definitions{}).Digest()
	if saved.BaseRevision > 0 {
		before, _, err := s.Registry.At(ctx, saved.BaseRevision)
		if err != nil {
			return false, err
		}
		base = before.Digest
	}
	return base == saved.BaseDigest, nil
}

// moved is the error of a plan whose base is no longer the current revision, rev.
func moved(saved *plan.Plan, rev registry.Revision) error {
	if rev.Number <= saved.BaseRevision {
		return &problem.Error{
			Code: problem.Conflict,
			Message: fmt.Sprintf("the plan was made on revision %d of another registry than this one, or of a newer state of it; nothing was applied",
				saved.BaseRevision),
			Suggestion: "provender history lists what this one has",
		}
	}
	return &problem.Error{
		Code: problem.Conflict,
		Message: fmt.Sprintf("the registry has moved since the plan was made; nothing was applied: the plan is for revision %d, and %s made revision %d at %s (%s)",
			saved.BaseRevision, rev.By, rev.Number, rev.Applied.UTC().Format(time.RFC3339), rev.Summary),
		Suggestion: "look at the new plan: provender plan",
	}
}
