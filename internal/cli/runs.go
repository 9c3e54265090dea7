package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) runsCommand() *cobra.Command {
	var limit int
	var views []string
	c := &cobra.Command{
		Use:     "runs",
		Short:   "List runs, newest first",
		Example: "  provender runs --view airport_hourly\n  provender runs show 12",
		Args:    unknownCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				runs, err := api.Runs(ctx, views, limit)
				if err != nil {
					return err
				}
				return a.show(newRunsReport(runs))
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many; 0: all")
	c.Flags().StringArrayVar(&views, "view", nil, "runs of this view; may be repeated")
	c.AddCommand(&cobra.Command{
		Use:     "show ID",
		Short:   "Show one run",
		Example: "  provender runs show 12",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("%q is not the number of a run; see provender runs", args[0])
			}
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				runs, err := api.Runs(ctx, nil, 0)
				if err != nil {
					return err
				}
				for _, r := range runs {
					if r.ID == id {
						return a.show(&oneRunReport{Run: newRunReport(r)})
					}
				}
				return problem.New(problem.NotFound, "there is no run %d; see provender runs", id)
			})
		},
	})
	return c
}

type oneRunReport struct {
	Version formatVersion `json:"version"`
	Run     runReport     `json:"run"`
}

func (o *oneRunReport) text(p *printer) {
	r := &o.Run
	how := "incremental"
	if r.Full {
		how = "full: " + r.Reason
	}
	for _, line := range [][2]string{
		{"run", strconv.FormatInt(r.ID, 10)},
		{"view", r.View},
		{"state", p.state(r.State)},
		{"up to", pointed(r.T)},
		{"how", how},
		{"generation", strconv.FormatUint(r.Generation, 10)},
		{"revision", strconv.FormatInt(r.Revision, 10)},
		{"started", pointed(r.Started)},
		{"finished", pointed(r.Finished)},
		{"took", took(r.took)},
		{"by", r.By + ", " + r.Trigger},
		{"files read", count(r.Files)},
		{"rows read", count(r.RowsRead)},
		{"rows written", count(r.Written)},
		{"rows not newer", count(r.Older)},
	} {
		p.printf("%-15s %s\n", line[0], line[1])
	}
	for _, note := range r.notes() {
		p.printf("%-15s %s\n", "note", note)
	}
}
