package materialize

import (
	"context"
	"time"

	"github.com/provender-dev/provender/registry"
)

// RunPlan is what a run of one view would do.
type RunPlan struct {
	View   string
	T      time.Time
	Full   bool
	Reason string        // as of Run
	Files  []PlannedFile // that it would read, and those of the ledger that are no more
	Error  string        // why it can't be run, "" where it can
}

// PlannedFile is one file that a run would deal with.
type PlannedFile struct {
	Path string
	Size int64
	Why  string // one of the constants below
}

// Why a run deals with a file.
const (
	FileNew     = "new"
	FileChanged = "changed"
	FileDeleted = "deleted"
	FileDue     = "due"   // has held rows that T covers
	FileAgain   = "again" // as it was; a rebuild reads it
)

// Plan tells what Run would do, as of now. It needs no lease and records nothing. What can't be found out of one view is
// in its Error.
func (s *Service) Plan(ctx context.Context, req Request) ([]RunPlan, error) {
	snap := s.cfg.Snapshot()
	views, err := s.wanted(snap, req)
	if err != nil {
		return nil, err
	}
	plans := make([]RunPlan, 0, len(views))
	for _, v := range views {
		p, err := s.plan(ctx, v, req)
		if ctx.Err() != nil {
			return nil, err
		}
		if err != nil {
			p.Error = err.Error()
		}
		plans = append(plans, p)
	}
	return plans, nil
}

func (s *Service) plan(ctx context.Context, v *registry.View, req Request) (p RunPlan, err error) {
	p.View = v.Name
	j := &job{queue: &queue{Service: s}, view: v, req: req, dry: true, progress: func(Progress) {}}
	j.run.Started = s.cfg.Now().UTC()
	gens, err := s.cfg.State.Generations(ctx, v.StoredName())
	if err != nil {
		return p, err
	}
	// A store that was never used is left alone: asking it would claim it.
	for _, g := range gens {
		if g.Store == s.cfg.StoreName {
			if j.identity, err = s.look(ctx); err != nil {
				return p, err
			}
			break
		}
	}
	if err := j.survey(ctx, gens); err != nil {
		return p, err
	}
	p.T, p.Full, p.Reason, p.Files = j.run.T, j.run.Full, j.run.Reason, j.plan.planned()
	return p, nil
}
