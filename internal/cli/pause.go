package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [VIEW…]",
		Short: "Let schedules rest",
		Long: `Let the schedules of feature views rest, in every server, until they are resumed; materialize goes on working. Without
names: every view that has a schedule.`,
		Example: "  provender pause airport_hourly\n  provender pause",
		RunE: func(c *cobra.Command, views []string) error {
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				paused, err := api.Pause(ctx, views)
				if err != nil {
					return err
				}
				return a.show(newSchedulesReport(paused, true))
			})
		},
	}
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume [VIEW…]",
		Short: "Let schedules go on",
		Long: `Let the schedules of feature views go on that rest. What they missed meanwhile is made up by one run. Without names:
every view whose schedule rests.`,
		Example: "  provender resume airport_hourly\n  provender resume",
		RunE: func(c *cobra.Command, views []string) error {
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				resumed, err := api.Resume(ctx, views)
				if err != nil {
					return err
				}
				return a.show(newSchedulesReport(resumed, false))
			})
		},
	}
}

type schedulesReport struct {
	Version formatVersion `json:"version"`
	Paused  bool          `json:"paused"`
	Views   []string      `json:"views"`
}

func newSchedulesReport(views []string, paused bool) *schedulesReport {
	return &schedulesReport{Paused: paused, Views: append([]string{}, views...)}
}

func (r *schedulesReport) text(p *printer) {
	switch names := strings.Join(r.Views, ", "); {
	case names == "" && r.Paused:
		p.printf("No view has a schedule.\n")
	case names == "":
		p.printf("No schedule rests.\n")
	case r.Paused:
		p.printf("Paused: %s. To let them go on: provender resume.\n", names)
	default:
		p.printf("Resumed: %s.\n", names)
	}
}
