package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/sdk/client"
)

type materializeFlags struct {
	to          instantFlag
	full        bool
	allowFuture bool
	dryRun      bool
}

func (a *app) materializeCommand() *cobra.Command {
	f := materializeFlags{to: instantFlag{clock: a.Now}}
	c := &cobra.Command{
		Use:   "materialize [VIEW…]",
		Short: "Bring the newest values into the online store",
		Long: `Read what is new in the history of feature views and write the newest row of every entity into the online store. A run
covers everything up to an instant; repeating it is harmless. Without names: every view that is online.`,
		Example: `  provender materialize
  provender materialize airport_hourly --to 2001-06-30T18:00:00Z
  provender materialize airport_hourly --full
  provender materialize --dry-run`,
		RunE: func(c *cobra.Command, views []string) error {
			if f.dryRun {
				return a.planMaterialize(c.Context(), views, f)
			}
			return a.materialize(c.Context(), views, f)
		},
	}
	c.Flags().Var(&f.to, "to", "instant that the values shall be complete up to (default: a second ago)")
	c.Flags().BoolVar(&f.full, "full", false, "fill a new generation from all files, and swap it in when it is complete")
	c.Flags().BoolVar(&f.allowFuture, "allow-future", false, "accept a --to in the future")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "tell which files would be read, and why; change nothing")
	return c
}

func (f *materializeFlags) request(views []string) client.MaterializeRequest {
	return client.MaterializeRequest{Views: views, To: f.to.time, Full: f.full, AllowFuture: f.allowFuture}
}

func (a *app) materialize(ctx context.Context, views []string, f materializeFlags) error {
	return a.runViews(ctx, func(ctx context.Context, c *client.Client, progress func(client.Progress)) ([]client.Run, error) {
		return c.Materialize(ctx, f.request(views), progress)
	})
}

// runViews shows the progress and the records of runs.
func (a *app) runViews(
	ctx context.Context, begin func(context.Context, *client.Client, func(client.Progress)) ([]client.Run, error),
) error {
	var runs []client.Run
	err := a.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		p := a.progress()
		defer p.close()
		var err error
		runs, err = begin(ctx, c, func(s client.Progress) { p.update(step(s)) })
		return err
	})
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		stopped := problem.New(problem.Canceled, "materialize: %w", err)
		stopped.Suggestion = "what is complete is recorded, the rest is not: provender runs; to do the rest: provender materialize"
		return stopped
	}
	// What ran is told even where a view failed.
	if len(runs) > 0 || err == nil {
		if err := a.show(newRunsReport(runs)); err != nil {
			return err
		}
	}
	return err
}

type runReport struct {
	ID         int64      `json:"id"`
	View       string     `json:"view"`
	State      string     `json:"state"`
	T          *time.Time `json:"t,omitempty"`
	Full       bool       `json:"full"`
	Reason     string     `json:"reason,omitempty"`
	Trigger    string     `json:"trigger"`
	By         string     `json:"by"`
	Revision   int64      `json:"revision"`
	Generation uint64     `json:"generation"`
	Started    *time.Time `json:"started,omitempty"`
	Finished   *time.Time `json:"finished,omitempty"`
	Files      int64      `json:"files"`
	RowsRead   int64      `json:"rows_read"`
	Written    int64      `json:"written"`
	Older      int64      `json:"older"`
	Held       int64      `json:"held"`
	NullKeys   int64      `json:"null_keys"`
	Ties       int64      `json:"ties"`
	Error      string     `json:"error,omitempty"`

	AskedTo      *time.Time     `json:"asked_to,omitempty"`
	AskedFull    bool           `json:"asked_full"`
	Attempt      int64          `json:"attempt"`
	RetryOf      int64          `json:"retry_of,omitempty"`
	Queued       *time.Time     `json:"queued,omitempty"`
	BytesRead    int64          `json:"bytes_read"`
	BytesWritten int64          `json:"bytes_written"`
	Rejects      []rejectReport `json:"rejects"`
	Phases       []phaseReport  `json:"phases"`
	CancelAsked  *time.Time     `json:"cancel_asked,omitempty"`
	CancelBy     string         `json:"cancel_by,omitempty"`
	RequestID    string         `json:"request_id,omitempty"`

	took time.Duration
}

type rejectReport struct {
	Reason  string   `json:"reason"`
	Rows    int64    `json:"rows"`
	Samples []string `json:"samples"`
}

type phaseReport struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

func newRunReport(r client.Run) runReport {
	out := runReport{
		ID: r.ID, View: r.View, State: r.State, T: timePointer(r.T), Full: r.Full, Reason: r.Reason, Trigger: r.Trigger,
		By: r.By, Revision: r.Revision, Generation: r.Generation, Started: timePointer(r.Started),
		Finished: timePointer(r.Finished), Files: r.Files, RowsRead: r.RowsRead, Written: r.Written, Older: r.Older,
		Held: r.Held, NullKeys: r.NullKeys, Ties: r.Ties, Error: r.Error,
		AskedTo: timePointer(r.AskedTo), AskedFull: r.AskedFull, Attempt: r.Attempt, RetryOf: r.RetryOf,
		Queued: timePointer(r.Queued), BytesRead: r.BytesRead, BytesWritten: r.BytesWritten,
		Rejects: make([]rejectReport, len(r.Rejects)), Phases: make([]phaseReport, len(r.Phases)),
		CancelAsked: timePointer(r.CancelAsked), CancelBy: r.CancelBy, RequestID: r.RequestID,
	}
	for i, x := range r.Rejects {
		out.Rejects[i] = rejectReport{Reason: x.Reason, Rows: x.Rows, Samples: slices.Concat([]string{}, x.Samples)}
	}
	for i, p := range r.Phases {
		out.Phases[i] = phaseReport{Name: p.Name, Seconds: p.Took.Seconds()}
	}
	if !r.Finished.IsZero() {
		out.took = r.Finished.Sub(r.Started)
	}
	return out
}

type runsReport struct {
	Version formatVersion `json:"version"`
	Runs    []runReport   `json:"runs"`
}

func newRunsReport(runs []client.Run) *runsReport {
	r := &runsReport{Runs: make([]runReport, len(runs))}
	for i, run := range runs {
		r.Runs[i] = newRunReport(run)
	}
	return r
}

func (r *runsReport) text(p *printer) {
	if len(r.Runs) == 0 {
		p.printf("No runs.\n")
		return
	}
	rows := make([][]string, len(r.Runs))
	for i, run := range r.Runs {
		rows[i] = []string{
			fmt.Sprint(run.ID), run.View, p.state(run.State), pointed(run.T), count(run.Files), count(run.RowsRead),
			count(run.Written), count(run.Held), took(run.took), how(run.Full, run.Reason),
		}
	}
	p.table([]string{"RUN#", "VIEW", "STATE", "UP TO", "FILES#", "READ#", "WRITTEN#", "HELD#", "TOOK#", "HOW"}, rows)
	for _, run := range r.Runs {
		for _, note := range run.notes() {
			p.printf("run %d, %s: %s\n", run.ID, run.View, note)
		}
	}
}

// how tells what a run filled, and why.
func how(full bool, reason string) string {
	text := "incremental"
	if full {
		text = "full"
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}

// nullKey is the reason of rejects that the record counts by itself as well.
const nullKey = "null key"

// notes tells what a reader of the numbers should not overlook.
func (r *runReport) notes() []string {
	var notes []string
	if r.Error != "" {
		notes = append(notes, r.Error)
	}
	if r.NullKeys > 0 {
		notes = append(notes, plural(r.NullKeys, "row", "rows")+" with a null key left out")
	}
	for _, x := range r.Rejects {
		if x.Reason != nullKey {
			notes = append(notes, plural(x.Rows, "row", "rows")+" left out: "+x.Reason)
		}
	}
	if r.Held > 0 {
		notes = append(notes, plural(r.Held, "row", "rows")+" dated later than the run, held for one that covers them")
	}
	if r.Ties > 0 {
		notes = append(notes, plural(r.Ties, "tie", "ties")+" in event and created time, settled by the rows' values")
	}
	return notes
}

// state colours the state of a run or a view.
func (p *printer) state(s string) string {
	switch s {
	case "ok", "succeeded":
		return p.good(s)
	case "failed", "lost", "unknown":
		return p.bad(s)
	case "never", "stale", "diverged", "cancelled":
		return p.warn(s)
	default:
		return s
	}
}

func pointed(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return instant(*t)
}

// list joins names for a sentence, "-" for none.
func list(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ", ")
}
