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
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/sdk/client"
)

// applyFlags are those of commands that apply a plan.
type applyFlags struct{ yes, allowBreaking bool }

func (f *applyFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&f.allowBreaking, "allow-breaking", false, "do it although it breaks what services use")
}

func (a *app) applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make the definition files the registry's next revision",
		Long: `Show what would change, ask, and do exactly that in one transaction; refused if the registry has moved in between, and,
without --allow-breaking, if it breaks what services use. With a FILE that provender plan --out wrote: that plan, unless the
definition files have changed since.`,
		Example: "  provender apply\n  provender apply --yes\n  provender plan --out change.plan && provender apply change.plan",
		Args:    takes(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRegistry(c.Context(), func(ctx context.Context, c *client.Client) error {
				return a.apply(ctx, c, args, f)
			})
		},
	}
	f.register(c)
	return c
}

func (a *app) apply(ctx context.Context, c *client.Client, args []string, f applyFlags) error {
	var made *planReport
	var err error
	if len(args) == 1 {
		made, err = a.readPlan(ctx, c, args[0])
	} else {
		made, err = a.makePlan(ctx, c, 0)
	}
	if err != nil {
		return err
	}
	return a.applyPlan(ctx, c, &applyReport{Plan: made}, "apply", f)
}

// applyPlan shows the report's plan, asks, and applies it; command is what asks.
func (a *app) applyPlan(ctx context.Context, c *client.Client, r *applyReport, command string, f applyFlags) error {
	made := r.Plan.plan
	r.Revision = made.BaseRevision
	if made.Empty() {
		return a.show(r)
	}
	if err := made.Allowed(f.allowBreaking); err != nil {
		if a.output != "json" {
			r.Plan.text(a.out())
		}
		return err
	}
	if !f.yes {
		if err := a.confirm(ctx, r, command); err != nil {
			return err
		}
		r.shown = true
	}
	rev, err := a.commit(ctx, c, made, f.allowBreaking)
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

// readPlan reads a saved plan that leads on from the registry's current revision, and that the definition files agree with.
func (a *app) readPlan(ctx context.Context, c *client.Client, path string) (*planReport, error) {
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
	if !made.Empty() { // else it was applied already
		files, err := definition.Read(a.dir)
		if err != nil {
			return nil, problems(err)
		}
		if err := control.CheckFiles(saved, files); err != nil {
			return nil, err
		}
	}
	return newPlanReport(made, nil), nil
}

// confirm shows a plan and asks.
func (a *app) confirm(ctx context.Context, r *applyReport, command string) error {
	if !a.StdinTerminal || !a.StderrTerminal || a.output == "json" {
		err := problem.New(problem.Invalid, "%s asks before it changes the registry, and there is nobody to ask", command)
		err.Suggestion = "look at provender plan, then run provender " + command + " --yes"
		if r.RollbackOf != 0 {
			err.Suggestion = "provender " + command + " --yes"
		}
		return err
	}
	r.Plan.text(a.out())
	if r.Note != "" {
		a.talk().printf("\n%s\n", r.Note)
	}
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
	Version    formatVersion `json:"version"`
	Applied    bool          `json:"applied"`
	Revision   int64         `json:"revision"`
	RollbackOf int64         `json:"rollback_of,omitempty"`
	Note       string        `json:"note,omitempty"`
	Plan       *planReport   `json:"plan"`

	shown bool // the plan was shown when asking
}

func (r *applyReport) text(p *printer) {
	if !r.shown {
		r.Plan.text(p)
	}
	if r.Applied {
		p.printf("%s\n", p.good("Applied as revision "+count(r.Revision)+": "+r.Plan.plan.Done()+"."))
	}
	if r.Note != "" && !r.shown && !r.Plan.plan.Empty() {
		p.printf("%s\n", p.warn(r.Note))
	}
}
