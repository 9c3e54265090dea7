package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/registry/plan"
	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) rollbackCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "rollback REV",
		Short: "Make a new revision with the definitions of an earlier one",
		Long: `Show what going back to a revision would change, ask, and make a new revision that is equal to it. The definition files
stay as they are, and the next apply of them undoes it.`,
		Example: "  provender rollback 3\n  provender rollback 3 --yes",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := revisionNumber(args[0])
			if err != nil {
				return err
			}
			return a.withRegistry(c.Context(), func(ctx context.Context, c *client.Client) error {
				return a.rollback(ctx, c, number, f)
			})
		},
	}
	f.register(c)
	return c
}

// undone is what a rollback leaves to do.
const undone = "The definition files are as they were: the next apply of them undoes this. Revert the change there as well."

func (a *app) rollback(ctx context.Context, c *client.Client, number int64, f applyFlags) error {
	raw, err := c.PlanRollback(ctx, number)
	if err != nil {
		return err
	}
	made, err := plan.Unmarshal(raw)
	if err != nil {
		return err
	}
	r := &applyReport{Plan: newPlanReport(made, nil), RollbackOf: number, Note: undone}
	return a.applyPlan(ctx, c, r, "rollback "+strconv.FormatInt(number, 10), f)
}

// revisionNumber reads the number of a revision.
func revisionNumber(arg string) (int64, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n < 1 {
		return 0, usagef("%q is no number of a revision: provender history lists them", arg)
	}
	return n, nil
}

func (a *app) historyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show REV",
		Short:   "Show one revision and the plan that made it",
		Example: "  provender history show 3\n  provender history show 3 -o json",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := revisionNumber(args[0])
			if err != nil {
				return err
			}
			return a.withRegistry(c.Context(), func(ctx context.Context, c *client.Client) error {
				rev, raw, err := c.Revision(ctx, number)
				if err != nil {
					return err
				}
				return a.show(newRevisionReport(rev, raw))
			})
		},
	}
}

type revisionReport struct {
	Version  formatVersion `json:"version"`
	Revision revision      `json:"revision"`
	Plan     *planReport   `json:"plan,omitempty"` // not there where the plan was not recorded, or by another version
}

func newRevisionReport(rev client.Revision, raw []byte) *revisionReport {
	r := &revisionReport{Revision: newRevision(rev)}
	if made, err := plan.Unmarshal(raw); err == nil {
		r.Plan = newPlanReport(made, nil)
	}
	return r
}

func (r *revisionReport) text(p *printer) {
	rev := r.Revision
	line := func(name, value string) { p.printf("%-14s %s\n", name, value) }
	line("revision", p.bold(count(rev.Number)))
	line("applied", instant(rev.Applied))
	line("by", rev.By)
	line("commit", orDash(rev.Commit))
	line("provender", orDash(rev.Tool))
	line("summary", rev.Summary)
	line("digest", rev.Digest)
	p.printf("\n")
	if r.Plan == nil {
		p.printf("Its plan is not there: another version of Provender made it.\n")
		return
	}
	r.Plan.text(p)
}
