package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

type planFlags struct {
	out      string
	detailed bool
	markdown bool
}

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Long: `Compare the definition files with what is applied: what would be added, changed and deleted, what of that breaks somebody,
which services and generations it touches. Columns are checked against the sources' files where there are any. Changes
nothing.`,
		Example: "  provender plan\n  provender plan --markdown > comment.md\n  provender plan --out change.plan --detailed-exitcode",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.markdown && a.output == "json" {
				return usagef("--markdown and -o json: want one of them")
			}
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
				if err := a.showPlan(made, f.markdown); err != nil {
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
	c.Flags().BoolVar(&f.markdown, "markdown", false, "write the plan as a comment for a pull request on GitHub")
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit 2 where there is something to apply")
	return c
}

// showPlan prints a plan on stdout, as Markdown or in the form that --output asks for.
func (a *app) showPlan(made *planReport, markdown bool) error {
	if !markdown {
		return a.show(made)
	}
	_, err := io.WriteString(a.Stdout, made.markdown())
	return err
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
	files, err := definition.Read(a.dir)
	if err != nil {
		_, _, err = definition.Load(a.dir) // all problems at once
		return nil, problems(err)
	}
	c, err := p.Control(ctx, a.Now, version())
	if err != nil {
		return nil, err
	}
	made, warnings, err := c.Plan(ctx, files, 0)
	if err != nil {
		return nil, problems(err)
	}
	return newPlanReport(made, warnings), nil
}
