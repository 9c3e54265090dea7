package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [VIEW…]",
		Short: "Tell per view how fresh the online values are",
		Long: `Tell per view its state, up to when it is complete, and how far its newest event is behind now (LAG) and behind the newest in the
source (BEHIND). Times in the table are cut to seconds; -o json has them in full, and more.`,
		Example: "  provender status\n  provender status airport_hourly -o json",
		RunE: func(c *cobra.Command, views []string) error {
			return a.withClient(c.Context(), func(ctx context.Context, api *client.Client) error {
				status, err := api.ServerStatus(ctx, views)
				if err != nil {
					return err
				}
				return a.show(newStatusReport(status, a.Now()))
			})
		},
	}
}

type viewStatus struct {
	View                string     `json:"view"`
	State               string     `json:"state"`
	Generation          uint64     `json:"generation,omitempty"`
	Written             int64      `json:"written"`
	T                   *time.Time `json:"t,omitempty"`
	NewestEvent         *time.Time `json:"newest_event,omitempty"`
	LagSeconds          *float64   `json:"lag_seconds,omitempty"`
	NewestInSource      *time.Time `json:"newest_in_source,omitempty"`
	BehindSourceSeconds *float64   `json:"behind_source_seconds,omitempty"`
	Held                int64      `json:"held"`
	PendingFiles        int64      `json:"pending_files"`
	Failures            int64      `json:"failures"`
	Diverged            *time.Time `json:"diverged,omitempty"`
	Paused              *time.Time `json:"paused,omitempty"`
	PausedBy            string     `json:"paused_by,omitempty"`
	NextRun             *time.Time `json:"next_run,omitempty"`
	LastRun             *runReport `json:"last_run,omitempty"`
	Error               string     `json:"error,omitempty"`

	lag, behind time.Duration
}

type statusReport struct {
	Version     formatVersion      `json:"version"`
	Views       []viewStatus       `json:"views"`
	Definitions *definitionsStatus `json:"definitions,omitempty"`

	now time.Time
}

func newStatusReport(status *client.ServerStatus, now time.Time) *statusReport {
	r := &statusReport{Views: make([]viewStatus, len(status.Views)), Definitions: newDefinitionsStatus(status.Definitions), now: now}
	for i, s := range status.Views {
		v := viewStatus{
			View: s.View, State: s.State, Generation: s.Generation, Written: s.Written, T: timePointer(s.T),
			NewestEvent: timePointer(s.NewestEvent), NewestInSource: timePointer(s.NewestInSource), Held: s.Held,
			PendingFiles: s.PendingFiles, Failures: s.Failures, Diverged: timePointer(s.Diverged), Paused: timePointer(s.Paused),
			PausedBy: s.PausedBy, NextRun: timePointer(s.NextRun), Error: s.Error, lag: s.Lag,
		}
		if v.NewestEvent != nil {
			v.LagSeconds = new(s.Lag.Seconds())
		}
		if v.NewestEvent != nil && v.NewestInSource != nil {
			v.behind = max(0, s.NewestInSource.Sub(s.NewestEvent))
			v.BehindSourceSeconds = new(v.behind.Seconds())
		}
		if s.LastRun != nil {
			v.LastRun = new(newRunReport(*s.LastRun))
		}
		r.Views[i] = v
	}
	return r
}

func (r *statusReport) text(p *printer) {
	if r.Definitions != nil {
		r.Definitions.text(p)
	}
	if len(r.Views) == 0 {
		p.printf("No feature views.\n")
		return
	}
	rows := make([][]string, len(r.Views))
	for i, v := range r.Views {
		lag, behind := "-", "-"
		if v.LagSeconds != nil {
			lag = since(v.lag)
		}
		if v.BehindSourceSeconds != nil {
			behind = since(v.behind)
		}
		rows[i] = []string{
			v.View, p.state(v.State), pointedSeconds(v.T), pointedSeconds(v.NewestEvent), lag, behind, count(v.PendingFiles),
			r.last(v.LastRun), r.next(&v),
		}
	}
	p.table([]string{"VIEW", "STATE", "UP TO", "NEWEST EVENT", "LAG#", "BEHIND#", "TO READ#", "LAST RUN", "NEXT RUN"}, rows)
	for _, v := range r.Views {
		v.notes(p)
	}
}

// last tells of the last run, and how long ago it began.
func (r *statusReport) last(run *runReport) string {
	switch {
	case run == nil:
		return "-"
	case run.Started == nil:
		return run.State
	}
	return run.State + " " + since(max(0, r.now.Sub(*run.Started)).Truncate(time.Second)) + " ago"
}

// next tells in how long the next run is due.
func (r *statusReport) next(v *viewStatus) string {
	switch {
	case v.Paused != nil:
		return "paused"
	case v.NextRun == nil:
		return "-"
	}
	return "in " + since(max(0, v.NextRun.Sub(r.now)).Truncate(time.Second))
}

// notes tells what a row of the table has no room for, and what to do.
func (v *viewStatus) notes(p *printer) {
	note := func(format string, args ...any) { p.printf("%s: %s\n", v.View, fmt.Sprintf(format, args...)) }
	if v.Error != "" {
		note("%s", v.Error)
	}
	switch v.State {
	case "failed":
		if v.Failures > 1 {
			note("%s failed in a row", plural(v.Failures, "run", "runs"))
		}
		note("`provender runs show %d` tells more of the last run; the next one does all of it again", v.LastRun.ID)
	case "never":
		note("nothing was materialized yet: `provender materialize %s`", v.View)
	case "lost":
		note("the online store has lost the rows: the next run, or `provender materialize %s`, writes them again", v.View)
	case "stale":
		note("the definition has changed: the next run, or `provender materialize %s`, fills a new generation", v.View)
	}
	if v.Diverged != nil {
		note("rows of files that changed or went may be online since %s: `provender materialize --full %s`", pointedSeconds(v.Diverged), v.View)
	}
	if v.Held > 0 {
		note("%s dated later than the last run, held for one that covers them", plural(v.Held, "row", "rows"))
	}
	if v.Paused != nil {
		note("the schedule rests since %s, by %s: `provender resume %s`", pointedSeconds(v.Paused), v.PausedBy, v.View)
	}
}
