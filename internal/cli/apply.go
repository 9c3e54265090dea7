package cli

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/plan"
)

func (a *app) applyCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make the definition files the registry's next revision",
		Long: `Show what would change, ask, and do exactly that in one transaction; refused if the registry has moved in between. With a
FILE that provender plan --out wrote: that plan, not the files as they are now.`,
		Example: "  provender apply\n  provender apply --yes\n  provender plan --out change.plan && provender apply change.plan",
		Args:    takes(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withProject(func(p *server.Project) error { return a.apply(c.Context(), p, args, yes) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) apply(ctx context.Context, p *server.Project, args []string, yes bool) error {
	var made *planReport
	var err error
	if len(args) == 1 {
		made, err = a.readPlan(ctx, p, args[0])
	} else {
		made, err = a.makePlan(ctx, p)
	}
	if err != nil {
		return err
	}
	r := &applyReport{Plan: made, Revision: made.BaseRevision}
	if made.plan.Empty() {
		return a.show(r)
	}
	if !yes {
		if err := a.confirm(ctx, made); err != nil {
			return err
		}
		r.shown = true
	}
	rev, err := a.commit(ctx, p, made.plan)
	if err != nil {
		return err
	}
	r.Applied, r.Revision = true, rev.Number
	return a.show(r)
}

// commit applies a plan.
func (a *app) commit(ctx context.Context, p *server.Project, made *plan.Plan) (registry.Revision, error) {
	c, err := p.Control(ctx, a.Now, version())
	if err != nil {
		return registry.Revision{}, err
	}
	return c.Apply(ctx, made, control.ApplyOptions{By: server.User(), Commit: gitCommit(ctx, p.Dir)})
}

// readPlan reads a saved plan that leads on from the registry's current revision.
func (a *app) readPlan(ctx context.Context, p *server.Project, path string) (*planReport, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("read plan: %w", err)
	}
	saved, err := plan.Unmarshal(raw)
	if err != nil {
		return nil, err
	}
	c, err := p.Control(ctx, a.Now, version())
	if err != nil {
		return nil, err
	}
	made, err := c.Again(ctx, saved)
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

// gitTimeout bounds how long Git is asked.
const gitTimeout = 2 * time.Second

// gitCommit is the commit of the definition files in dir, marked where they differ from it; "" without Git.
func gitCommit(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return ""
	}
	if changed, err := git("status", "--porcelain", "--", "*.yaml", "*.yml"); err != nil || changed != "" {
		commit += "-dirty"
	}
	return commit
}
