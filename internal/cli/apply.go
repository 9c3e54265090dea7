package cli

import (
	"bufio"
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/sdk/client"
)

type applyFlags struct{ yes, allowBreaking bool }

func (a *app) applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make the definition files the registry's next revision",
		Long: `Show what would change, ask, and do exactly that in one transaction; refused if the registry has moved in between. With a
FILE that provender plan --out wrote: that plan, not the files as they are now.`,
		Example: "  provender apply\n  provender apply --yes\n  provender plan --out change.plan && provender apply change.plan",
		Args:    takes(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRegistry(c.Context(), func(ctx context.Context, c *client.Client) error {
				return a.apply(ctx, c, args, f)
			})
		},
	}
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&f.allowBreaking, "allow-breaking", false, "apply also what breaks services that are in use")
	return c
}

func (a *app) apply(ctx context.Context, c *client.Client, args []string, f applyFlags) error {
	var made *planReport
	var err error
	if len(args) == 1 {
		made, err = readPlan(ctx, c, args[0])
	} else {
		made, err = a.makePlan(ctx, c, 0)
	}
	if err != nil {
		return err
	}
	r := &applyReport{Plan: made, Revision: made.BaseRevision}
	if made.plan.Empty() {
		return a.show(r)
	}
	if !f.yes {
		if err := a.confirm(ctx, made); err != nil {
			return err
		}
		r.shown = true
	}
	rev, err := a.commit(ctx, c, made.plan, f.allowBreaking)
	if err != nil {
		return err
	}
	r.Applied, r.Revision = true, rev.Number
	return a.show(r)
}

// commit applies a plan. An interrupt does not end it: whether it was applied would not be known.
func (a *app) commit(ctx context.Context, c *client.Client, made *plan.Plan, allowBreaking bool) (client.Revision, error) {
	raw, err := made.Marshal()
	if err != nil {
		return client.Revision{}, err
	}
	return c.Apply(context.WithoutCancel(ctx), client.ApplyRequest{
		Plan: raw, AllowBreaking: allowBreaking, Commit: gitCommit(ctx, a.dir), By: server.User(),
	})
}

// readPlan reads a saved plan that leads on from the registry's current revision.
func readPlan(ctx context.Context, c *client.Client, path string) (*planReport, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("read plan: %w", err)
	}
	saved, err := plan.Unmarshal(raw)
	if err != nil {
		return nil, err
	}
	made, err := control.New(control.Config{Registry: appliedRegistry{c}}).Again(ctx, saved)
	if err != nil {
		return nil, err
	}
	return newPlanReport(made, nil), nil
}

// confirm shows a plan and asks.
func (a *app) confirm(ctx context.Context, made *planReport) error {
	if !a.StdinTerminal || !a.StderrTerminal || a.output == "json" {
		err := problem.New(problem.Invalid, "apply asks before it changes the registry, and there is nobody to ask")
		err.Suggestion = "look at provender plan, then run provender apply --yes"
		return err
	}
	made.text(a.out())
	a.talk().printf("\nApply? Only yes is taken for it: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.Stdin).ReadString('\n') // without an end of line it is no answer
		answer <- line
	}()
	select {
	case line := <-answer:
		if strings.HasSuffix(line, "\n") && strings.TrimSpace(line) == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return problem.New(problem.Canceled, "not applied")
}

type applyReport struct {
	Version  formatVersion `json:"version"`
	Applied  bool          `json:"applied"`
	Revision int64         `json:"revision"`
	Plan     *planReport   `json:"plan"`

	shown bool // the plan was shown when asking
}

func (r *applyReport) text(p *printer) {
	if !r.shown {
		r.Plan.text(p)
	}
	if r.Applied {
		p.printf("%s\n", p.good("Applied as revision "+count(r.Revision)+": "+r.Plan.plan.Done()+"."))
	}
}
