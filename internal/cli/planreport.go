package cli

import (
	"fmt"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry/plan"
)

type planReport struct {
	Version      formatVersion           `json:"version"`
	BaseRevision int64                   `json:"base_revision"`
	Against      string                  `json:"against,omitempty"` // a commit or a folder, in place of a revision
	Summary      string                  `json:"summary"`
	Breaking     bool                    `json:"breaking"`
	Changes      []plan.DefinitionChange `json:"changes"`
	Services     []string                `json:"services"`
	Generations  []string                `json:"generations"`
	Estimates    []plan.Estimate         `json:"estimates,omitempty"`
	Warnings     []diag.Diagnostic       `json:"warnings"`

	plan *plan.Plan
}

func newPlanReport(p *plan.Plan, warnings diag.Set) *planReport {
	if warnings == nil {
		warnings = diag.Set{}
	}
	return &planReport{
		BaseRevision: p.BaseRevision, Summary: p.Summary(), Breaking: p.Breaking(), Changes: p.Changes,
		Services: p.Services, Generations: p.Generations, Estimates: p.Estimates, Warnings: warnings, plan: p,
	}
}

func (r *planReport) text(p *printer) {
	for _, w := range r.Warnings {
		p.printf("%s %s\n", p.warn("Warning:"), w)
	}
	base := r.Against
	if base == "" {
		base = fmt.Sprintf("revision %d", r.BaseRevision)
	}
	if r.plan.Empty() {
		p.printf("No changes: the definitions are those of %s.\n", base)
		return
	}
	p.printf("Changes to %s:\n\n", base)
	for _, c := range r.Changes {
		p.change(c)
	}
	p.printf("\n%s.\n", r.Summary)
	if len(r.Services) > 0 {
		p.printf("Services touched: %s.\n", list(r.Services))
	}
	if len(r.Generations) > 0 {
		p.printf("Views filled anew by their next run: %s. What is online serves until then.\n", list(r.Generations))
	}
	if r.Breaking {
		p.printf("%s\n", p.bad("Some of this breaks what is in use; see the lines marked breaking."))
	}
}

func (p *printer) change(c plan.DefinitionChange) {
	switch c.Action {
	case plan.Add:
		p.printf("  %s %s %s\n", p.good("+"), c.Kind, c.Name)
	case plan.Delete:
		p.printf("  %s %s %s\n", p.bad("-"), c.Kind, c.Name)
	case plan.Change:
		p.printf("  %s %s %s\n", p.warn("~"), c.Kind, c.Name)
	}
	for _, f := range c.Fields {
		switch {
		case f.Old == "":
			p.printf("      %s: %s\n", f.Path, p.good(f.New))
		case f.New == "":
			p.printf("      %s: %s, removed\n", f.Path, p.bad(f.Old))
		default:
			p.printf("      %s: %s -> %s\n", f.Path, f.Old, f.New)
		}
	}
	for _, h := range c.Hazards {
		if h.Breaking {
			p.printf("      %s\n", p.bad(fmt.Sprintf("breaking: %s", h.Message)))
		}
	}
}
