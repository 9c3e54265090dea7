package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

type verifyFlags struct {
	sample int
	full   bool
	now    instantFlag
}

func (a *app) verifyCommand() *cobra.Command {
	f := verifyFlags{now: instantFlag{clock: a.Now}}
	c := &cobra.Command{
		Use:   "verify [VIEW…]",
		Short: "Compare what is served with what history says, cell by cell",
		Long: `Compare the online store with the history that it was filled from, cell by cell, at one read time. Exits 3 where they
differ. Without names: every view that is online.`,
		Example: "  provender verify\n  provender verify airport_hourly --full\n  provender verify --now 2001-06-30T18:00:00Z",
		RunE: func(c *cobra.Command, views []string) error {
			if f.sample < 0 {
				return usagef("--sample is %d: want a number of entities", f.sample)
			}
			return a.verify(c.Context(), views, f)
		},
	}
	c.Flags().IntVar(&f.sample, "sample", 0, "entities per view (default 1000)")
	c.Flags().BoolVar(&f.full, "full", false, "every entity, and every stored row")
	c.Flags().Var(&f.now, "now", "fixed read time, for rehearsals on old data")
	c.MarkFlagsMutuallyExclusive("sample", "full")
	return c
}

func (a *app) verify(ctx context.Context, views []string, f verifyFlags) error {
	req := client.VerifyRequest{Views: views, Sample: f.sample, Full: f.full, Now: f.now.time}
	var found []client.VerifyReport
	err := a.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		p := a.progress()
		defer p.close()
		var err error
		found, err = c.Verify(ctx, req, func(s client.Progress) { p.update(step(s)) })
		return err
	})
	if err != nil && len(found) == 0 {
		return err
	}
	r := newVerifyReport(found, !f.now.time.IsZero())
	if showErr := a.show(r); showErr != nil {
		return showErr
	}
	if err == nil && !r.Equal {
		return exitError{code: exitProblems}
	}
	return err
}

type verifyReport struct {
	Version       formatVersion  `json:"version"`
	Equal         bool           `json:"equal"`
	FixedReadTime bool           `json:"fixed_read_time"`
	Views         []verifiedView `json:"views"`
}

type verifiedView struct {
	View        string       `json:"view"`
	T           *time.Time   `json:"t,omitempty"`
	ReadTime    *time.Time   `json:"read_time,omitempty"`
	Entities    int64        `json:"entities"`
	Cells       int64        `json:"cells"`
	Equal       int64        `json:"equal"`
	Wrong       int64        `json:"wrong"`
	Missing     int64        `json:"missing"`
	Extra       int64        `json:"extra"`
	Note        string       `json:"note,omitempty"`
	Differences []difference `json:"differences"`
}

type difference struct {
	Entity  string `json:"entity"`
	Feature string `json:"feature"`
	Online  string `json:"online"`
	Offline string `json:"offline"`
}

func newVerifyReport(found []client.VerifyReport, fixed bool) *verifyReport {
	r := &verifyReport{Equal: true, FixedReadTime: fixed, Views: make([]verifiedView, len(found))}
	for i, v := range found {
		r.Equal = r.Equal && v.Wrong == 0 && v.Missing == 0 && v.Extra == 0
		view := verifiedView{
			View: v.View, T: timePointer(v.T), ReadTime: timePointer(v.ReadTime), Entities: v.Entities, Cells: v.Cells,
			Equal: v.Equal, Wrong: v.Wrong, Missing: v.Missing, Extra: v.Extra, Note: v.Note,
			Differences: make([]difference, len(v.Diffs)),
		}
		for k, d := range v.Diffs {
			view.Differences[k] = difference(d)
		}
		r.Views[i] = view
	}
	return r
}

func (r *verifyReport) text(p *printer) {
	rows := make([][]string, len(r.Views))
	for i, v := range r.Views {
		rows[i] = []string{
			v.View, pointed(v.T), pointed(v.ReadTime), count(v.Entities), count(v.Cells), count(v.Equal), count(v.Wrong),
			count(v.Missing), count(v.Extra),
		}
	}
	p.table([]string{"VIEW", "UP TO", "READ TIME", "ENTITIES#", "CELLS#", "EQUAL#", "WRONG#", "MISSING#", "EXTRA#"}, rows)
	if r.FixedReadTime {
		p.printf("The read time was fixed by --now.\n")
	}
	for _, v := range r.Views {
		if v.Note != "" {
			p.printf("%s: %s\n", v.View, v.Note)
		}
		for _, d := range v.Differences {
			p.printf("%s, %s, %s: online %s, offline %s\n", v.View, d.Entity, d.Feature, p.bad(d.Online), d.Offline)
		}
	}
	if r.Equal {
		p.printf("%s\n", p.good("Online and offline are equal."))
	} else {
		p.printf("%s\n", p.bad("Online and offline differ."))
	}
}
