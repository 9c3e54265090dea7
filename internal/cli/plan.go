package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/sdk/client"
)

type planFlags struct {
	out         string
	against     string
	detailed    bool
	markdown    bool
	annotations annotations
}

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Long: `Compare the definition files with what is applied: what would be added, changed and deleted, what of that breaks somebody,
which services and generations it touches. Columns are checked against the sources' files where there are any. Changes
nothing.

With --against: compare with a revision by its number, with the same folder in a Git commit, branch or tag (git:REF), or
with another folder. The last two need no registry.`,
		Example: "  provender plan\n  provender plan --markdown > comment.md\n  provender plan --out change.plan --detailed-exitcode\n  provender plan --against git:origin/main",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.markdown && a.output == "json" {
				return usagef("--markdown and -o json: want one of them")
			}
			err := a.plan(c.Context(), &f)
			var found diag.Set
			if errors.As(err, &found) {
				err = errors.Join(a.annotate(f.annotations, diag.LevelError, found), err)
			}
			return err
		},
	}
	c.Flags().StringVar(&f.out, "out", "", "file to save the plan in, for provender apply FILE")
	c.Flags().StringVar(&f.against, "against", "", "what to compare with: a revision, git:REF or a folder (default: the current revision)")
	c.Flags().BoolVar(&f.markdown, "markdown", false, "write the plan as a comment for a pull request on GitHub")
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit 2 where there is something to apply")
	f.annotations.add(c)
	return c
}

func (a *app) plan(ctx context.Context, f *planFlags) error {
	made, err := a.planned(ctx, f)
	if err != nil {
		return err
	}
	if err := a.annotate(f.annotations, diag.LevelWarning, made.Warnings); err != nil {
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

// planned compares the project's files with what is applied, or with what --against names.
func (a *app) planned(ctx context.Context, f *planFlags) (made *planReport, err error) {
	if f.against != "" {
		return a.planAgainst(ctx, f.against, f.out != "")
	}
	err = a.withRegistry(ctx, func(ctx context.Context, c *client.Client) error {
		made, err = a.makePlan(ctx, c, 0)
		return err
	})
	return made, err
}

// makePlan compares the project's files with a revision, 0 for the current one. Problems of the files end it.
func (a *app) makePlan(ctx context.Context, c *client.Client, against int64) (*planReport, error) {
	files, err := a.definitionFiles()
	if err != nil {
		return nil, err
	}
	sent := make([]client.DefinitionFile, len(files))
	for i, f := range files {
		sent[i] = client.DefinitionFile{Name: f.Name, Content: f.Content}
	}
	found, err := c.Plan(ctx, sent, against)
	if err != nil {
		return nil, err
	}
	if err := diagnosticsOf(found.Problems).Err(); err != nil {
		return nil, problems(err)
	}
	made, err := plan.Unmarshal(found.JSON)
	if err != nil {
		return nil, err
	}
	return newPlanReport(made, diagnosticsOf(found.Warnings)), nil
}

// definitionFiles reads the project's definition files. There must be a project: of any other folder the files are not
// all that there is.
func (a *app) definitionFiles() ([]definition.File, error) {
	var missing *problem.Error
	if _, err := definition.LoadConfig(a.dir, a.outside()); errors.As(err, &missing) {
		return nil, err
	}
	files, err := definition.Read(a.dir)
	if err != nil {
		_, _, err = definition.Load(a.dir) // all problems at once
		return nil, problems(err)
	}
	return files, nil
}

func diagnosticsOf(list []client.Diagnostic) diag.Set {
	set := make(diag.Set, len(list))
	for i, d := range list {
		set[i] = diag.Diagnostic{
			Position: diag.Position{File: d.File, Line: d.Line, Col: d.Col}, Code: d.Code, Message: d.Message, Hint: d.Hint,
		}
	}
	return set
}

// waiting tells what a plan waits for.
func (a *app) waiting(source string, within time.Duration) {
	a.say(fmt.Sprintf("waiting for %s, at most %s", source, within))
}
