package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

type planFlags struct {
	out      string
	detailed bool
}

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Long: `Compare the definition files with what is applied: what would be added, changed and deleted, what of that breaks somebody,
which services and generations it touches. Columns are checked against the sources' files where there are any. Changes
nothing.`,
		Example: "  provender plan\n  provender plan --out change.plan --detailed-exitcode",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withProject(func(p *server.Project) error {
				made, err := a.makePlan(c.Context(), p)
				if err != nil {
					return err
				}
				if f.out != "" {
					if err := writePlan(f.out, made.plan); err != nil {
						return err
					}
				}
				if err := a.show(made); err != nil {
					return err
				}
				if f.out != "" {
					talk := a.talk()
					talk.printf("\nSaved. To do exactly this:\n")
					talk.command("provender apply %s", f.out)
				}
				if f.detailed && !made.plan.Empty() {
					return exitError{code: exitChanges}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&f.out, "out", "", "file to save the plan in, for provender apply FILE")
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit 2 where there is something to apply")
	return c
}

func writePlan(path string, p *plan.Plan) error {
	raw, err := p.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return usagef("--out: %w", err)
	}
	return nil
}

// makePlan compares the project's files with its registry. Problems of the files end it.
func (a *app) makePlan(ctx context.Context, p *server.Project) (*planReport, error) {
	project, err := definition.LoadProject(a.dir, a.env, a.Getenv)
	if err != nil {
		return nil, problems(err)
	}
	warnings, err := checkSources(ctx, p, project)
	if err != nil {
		return nil, problems(err)
	}
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	rev, current, err := reg.Current(ctx)
	if err != nil {
		return nil, err
	}
	made, err := plan.Make(rev, current, project.Definitions)
	if err != nil {
		return nil, err
	}
	return newPlanReport(made, warnings), nil
}

type planReport struct {
	Version      formatVersion           `json:"version"`
	BaseRevision int64                   `json:"base_revision"`
	Summary      string                  `json:"summary"`
	Breaking     bool                    `json:"breaking"`
	Changes      []plan.DefinitionChange `json:"changes"`
	Services     []string                `json:"services"`
	Generations  []string                `json:"generations"`
	Warnings     []diag.Diagnostic       `json:"warnings"`

	plan *plan.Plan
}

func newPlanReport(p *plan.Plan, warnings diag.Set) *planReport {
	if warnings == nil {
		warnings = diag.Set{}
	}
	return &planReport{
		BaseRevision: p.BaseRevision, Summary: p.Summary(), Breaking: p.Breaking(), Changes: p.Changes,
		Services: p.Services, Generations: p.Generations, Warnings: warnings, plan: p,
	}
}

func (r *planReport) text(p *printer) {
	for _, w := range r.Warnings {
		p.printf("%s %s\n", p.warn("Warning:"), w)
	}
	if r.plan.Empty() {
		p.printf("No changes: the definitions are those of revision %d.\n", r.BaseRevision)
		return
	}
	p.printf("Changes to revision %d:\n\n", r.BaseRevision)
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
	for _, b := range c.Breaking {
		p.printf("      %s\n", p.bad(fmt.Sprintf("breaking: %s", b)))
	}
}
