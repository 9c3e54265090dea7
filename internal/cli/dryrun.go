package cli

import (
	"context"
	"time"

	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) planMaterialize(ctx context.Context, views []string, f materializeFlags) error {
	return a.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		plans, err := c.PlanMaterialize(ctx, f.request(views))
		if err != nil {
			return err
		}
		r := newRunPlansReport(plans)
		if err := a.show(r); err != nil {
			return err
		}
		if r.failed() {
			return exitError{code: exitFailure}
		}
		return nil
	})
}

type runPlansReport struct {
	Version formatVersion   `json:"version"`
	Plans   []runPlanReport `json:"plans"`
}

type runPlanReport struct {
	View   string              `json:"view"`
	T      *time.Time          `json:"t,omitempty"`
	Full   bool                `json:"full"`
	Reason string              `json:"reason,omitempty"`
	Files  []plannedFileReport `json:"files"`
	Error  string              `json:"error,omitempty"`
}

type plannedFileReport struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Why  string `json:"why"`
}

func newRunPlansReport(plans []client.RunPlan) *runPlansReport {
	r := &runPlansReport{Plans: make([]runPlanReport, len(plans))}
	for i, p := range plans {
		one := runPlanReport{
			View: p.View, T: timePointer(p.T), Full: p.Full, Reason: p.Reason, Error: p.Error,
			Files: make([]plannedFileReport, len(p.Files)),
		}
		for k, f := range p.Files {
			one.Files[k] = plannedFileReport(f)
		}
		r.Plans[i] = one
	}
	return r
}

func (r *runPlansReport) failed() bool {
	for _, p := range r.Plans {
		if p.Error != "" {
			return true
		}
	}
	return false
}

func (r *runPlansReport) text(p *printer) {
	for _, plan := range r.Plans {
		if plan.Error != "" {
			p.printf("%s: %s\n", plan.View, p.bad(plan.Error))
			continue
		}
		p.printf("%s up to %s, %s\n", plan.View, pointed(plan.T), how(plan.Full, plan.Reason))
		for _, f := range plan.Files {
			p.printf("  %-8s %s\n", f.Why, f.Path)
		}
	}
	p.printf("Nothing was changed.\n")
}
