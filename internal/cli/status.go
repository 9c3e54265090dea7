package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status [VIEW…]",
		Short:   "Tell per view how fresh the online values are",
		Example: "  provender status\n  provender status airport_hourly -o json",
		RunE: func(c *cobra.Command, views []string) error {
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				status, err := api.Status(ctx, views)
				if err != nil {
					return err
				}
				return a.show(newStatusReport(status))
			})
		},
	}
}

type viewStatus struct {
	View         string     `json:"view"`
	State        string     `json:"state"`
	Generation   uint64     `json:"generation,omitempty"`
	Written      int64      `json:"written"`
	T            *time.Time `json:"t,omitempty"`
	NewestEvent  *time.Time `json:"newest_event,omitempty"`
	LagSeconds   *float64   `json:"lag_seconds,omitempty"`
	Held         int64      `json:"held"`
	PendingFiles int64      `json:"pending_files"`
	NextRun      *time.Time `json:"next_run,omitempty"`
	LastRun      *runReport `json:"last_run,omitempty"`
	Error        string     `json:"error,omitempty"`

	lag time.Duration
}

type statusReport struct {
	Version formatVersion `json:"version"`
	Views   []viewStatus  `json:"views"`
}

func newStatusReport(status []client.ViewStatus) *statusReport {
	r := &statusReport{Views: make([]viewStatus, len(status))}
	for i, s := range status {
		v := viewStatus{
			View: s.View, State: s.State, Generation: s.Generation, Written: s.Written, T: timePointer(s.T),
			NewestEvent: timePointer(s.NewestEvent), Held: s.Held, PendingFiles: s.PendingFiles,
			NextRun: timePointer(s.NextRun), Error: s.Error, lag: s.Lag,
		}
		if v.NewestEvent != nil {
			seconds := s.Lag.Seconds()
			v.LagSeconds = &seconds
		}
		if s.LastRun != nil {
			run := newRunReport(*s.LastRun)
			v.LastRun = &run
		}
		r.Views[i] = v
	}
	return r
}

func (r *statusReport) text(p *printer) {
	if len(r.Views) == 0 {
		p.printf("No feature views.\n")
		return
	}
	rows := make([][]string, len(r.Views))
	for i, v := range r.Views {
		lag, last := "-", "-"
		if v.NewestEvent != nil {
			lag = since(v.lag)
		}
		if v.LastRun != nil {
			last = v.LastRun.State + " " + pointed(v.LastRun.Started)
		}
		rows[i] = []string{
			v.View, p.state(v.State), count(v.Written), pointed(v.T), pointed(v.NewestEvent), lag, count(v.PendingFiles),
			last, pointed(v.NextRun),
		}
	}
	p.table([]string{"VIEW", "STATE", "WRITTEN#", "UP TO", "NEWEST EVENT", "LAG#", "FILES TO READ#", "LAST RUN", "NEXT RUN"}, rows)
	for _, v := range r.Views {
		if v.Error != "" {
			p.printf("%s: %s\n", v.View, v.Error)
		}
		if v.Held > 0 {
			p.printf("%s: %s dated later than the last run, held for one that covers them\n", v.View, plural(v.Held, "row", "rows"))
		}
	}
}
