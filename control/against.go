package control

import (
	"context"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// PlanAgainst compares definition files with others, which stand for what is applied: the registry is not asked. The plan
// can't be applied. The error is a diag.Set where the files, or the others, have problems.
func (s *Service) PlanAgainst(ctx context.Context, files, others []definition.File) (*plan.Plan, diag.Set, error) {
	project, err := s.Project.Parse(files)
	if err != nil {
		return nil, nil, err
	}
	base, _, err := definition.Parse(others)
	if err != nil {
		return nil, nil, err
	}
	return s.compare(ctx, project, registry.Revision{}, base)
}
