package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

// runStates are the states of runs, as --state takes them.
var runStates = []string{"queued", "running", "succeeded", "failed", "cancelled"}

type runsFlags struct {
	limit  int
	views  []string
	states []string
}

func (f *runsFlags) check() error {
	for _, s := range f.states {
		if !slices.Contains(runStates, s) {
			return usagef("--state is %q: want %s", s, strings.Join(runStates, ", "))
		}
	}
	return nil
}

func (a *app) runsCommand() *cobra.Command {
	var f runsFlags
	c := &cobra.Command{
		Use:     "runs",
		Short:   "List runs, newest first",
		Example: "  provender runs --view airport_hourly\n  provender runs --state failed\n  provender runs show 12",
		Args:    unknownCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.runs(c.Context(), f)
		},
	}
	c.Flags().IntVar(&f.limit, "limit", 20, "at most so many; 0: all")
	c.Flags().StringArrayVar(&f.views, "view", nil, "runs of this view; may be repeated")
	c.Flags().StringArrayVar(&f.states, "state", nil, "runs in this state ("+strings.Join(runStates, ", ")+"); may be repeated")
	c.AddCommand(
		a.runCommand("show", "Show one run", "", a.showRun),
		a.runCommand("cancel", "End a run that is queued or running",
			"One that is queued ends at once, one that is running within seconds. What it has read is not recorded.", a.cancelRun),
		a.runCommand("retry", "Run again what a run was asked for that failed or was cancelled",
			"The same view, instant and --full, as a new run with the next attempt's number.", a.retryRun),
	)
	return c
}

// runCommand is a command on one run.
func (a *app) runCommand(name, short, long string, do func(context.Context, int64) error) *cobra.Command {
	return &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Long:    long,
		Example: "  provender runs " + name + " 12",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("%q is not the number of a run; see provender runs", args[0])
			}
			return do(c.Context(), id)
		},
	}
}

func (a *app) runs(ctx context.Context, f runsFlags) error {
	return a.withClient(ctx, func(ctx context.Context, api *client.Client) error {
		limit := f.limit
		if len(f.states) > 0 {
			limit = 0 // of those in the state
		}
		runs, err := api.Runs(ctx, f.views, limit)
		if err != nil {
			return err
		}
		if len(f.states) > 0 {
			runs = slices.DeleteFunc(runs, func(r client.Run) bool { return !slices.Contains(f.states, r.State) })
			if f.limit > 0 {
				runs = runs[:min(len(runs), f.limit)]
			}
		}
		return a.show(newRunsReport(runs))
	})
}

func (a *app) showRun(ctx context.Context, id int64) error {
	return a.withClient(ctx, func(ctx context.Context, api *client.Client) error {
		run, err := api.Run(ctx, id)
		if err != nil {
			return err
		}
		return a.show(&oneRunReport{Run: newRunReport(run)})
	})
}

func (a *app) cancelRun(ctx context.Context, id int64) error {
	return a.withClient(ctx, func(ctx context.Context, api *client.Client) error {
		run, err := api.CancelRun(ctx, id)
		if err != nil {
			return err
		}
		return a.show(&cancelReport{oneRunReport{Run: newRunReport(run)}})
	})
}

func (a *app) retryRun(ctx context.Context, id int64) error {
	return a.runViews(ctx, func(ctx context.Context, c *client.Client, progress func(client.Progress)) ([]client.Run, error) {
		return c.RetryRun(ctx, id, progress)
	})
}

type cancelReport struct{ oneRunReport }

func (r *cancelReport) text(p *printer) {
	if r.Run.State == "running" {
		p.printf("Run %d of %s ends within seconds; see provender runs show %d.\n", r.Run.ID, r.Run.View, r.Run.ID)
		return
	}
	p.printf("Run %d of %s is %s.\n", r.Run.ID, r.Run.View, p.state(r.Run.State))
}

type oneRunReport struct {
	Version formatVersion `json:"version"`
	Run     runReport     `json:"run"`
}

func (o *oneRunReport) text(p *printer) {
	r := &o.Run
	lines := [][2]string{
		{"run", strconv.FormatInt(r.ID, 10)},
		{"view", r.View},
		{"state", p.state(r.State)},
		{"up to", pointed(r.T)},
		{"how", how(r.Full, r.Reason)},
		{"generation", strconv.FormatUint(r.Generation, 10)},
		{"revision", strconv.FormatInt(r.Revision, 10)},
		{"queued", pointed(r.Queued)},
		{"started", pointed(r.Started)},
		{"finished", pointed(r.Finished)},
		{"took", took(r.took)},
		{"by", r.By + ", " + r.Trigger},
	}
	if r.RetryOf != 0 {
		lines = append(lines, [2]string{"attempt", fmt.Sprintf("%d, of run %d", r.Attempt, r.RetryOf)})
	}
	if r.CancelBy != "" {
		lines = append(lines, [2]string{"cancelled by", r.CancelBy + ", " + pointed(r.CancelAsked)})
	}
	lines = append(lines, [][2]string{
		{"files read", count(r.Files)},
		{"bytes read", count(r.BytesRead)},
		{"rows read", count(r.RowsRead)},
		{"rows written", count(r.Written)},
		{"bytes written", count(r.BytesWritten)},
		{"rows not newer", count(r.Older)},
	}...)
	for _, ph := range r.Phases {
		lines = append(lines, [2]string{"  " + ph.Name, took(time.Duration(ph.Seconds * float64(time.Second)))})
	}
	for _, line := range lines {
		p.printf("%-15s %s\n", line[0], line[1])
	}
	for _, note := range r.notes() {
		p.printf("%-15s %s\n", "note", note)
	}
	for _, x := range r.Rejects {
		for _, sample := range x.Samples {
			p.printf("%-15s %s: %s\n", "rejected", x.Reason, sample)
		}
	}
}
