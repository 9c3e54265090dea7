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
	repair bool
	now    instantFlag
}

func (a *app) verifyCommand() *cobra.Command {
	f := verifyFlags{now: instantFlag{clock: a.Now}}
	c := &cobra.Command{
		Use:   "verify [VIEW…]",
		Short: "Compare what is served with what history says, cell by cell",
		Long: `Compare the online store with the history that it was filled from, cell by cell, as of the last run and at one read time.
Exits 3 where they differ: a value is wrong, missing, or there without a row in history. What files that no run has read yet
would change is behind, which is no error. Without names: every view that is online.

--repair rewrites rows that are wrong or missing and removes those that history does not have, of every entity unless --sample is
given, and compares again. Of a view whose files have changed since they were read nothing is repaired: materialize it.`,
		Example: "  provender verify\n  provender verify airport_hourly --full\n  provender verify airport_hourly --repair\n" +
			"  provender verify --now 2001-06-30T18:00:00Z",
		RunE: func(c *cobra.Command, views []string) error {
			if f.sample < 0 {
				return usagef("--sample is %d: want a number of entities", f.sample)
			}
			f.full = f.full || f.repair && f.sample == 0
			return a.verify(c.Context(), views, f)
		},
	}
	c.Flags().IntVar(&f.sample, "sample", 0, "entities per view (default 1000)")
	c.Flags().BoolVar(&f.full, "full", false, "every entity, and every stored row")
	c.Flags().BoolVar(&f.repair, "repair", false, "rewrite what is wrong or missing, remove what is extra, compare again")
	c.Flags().Var(&f.now, "now", "fixed read time, for rehearsals on old data")
	c.MarkFlagsMutuallyExclusive("sample", "full")
	c.MarkFlagsMutuallyExclusive("repair", "now")
	return c
}

func (a *app) verify(ctx context.Context, views []string, f verifyFlags) error {
	req := client.VerifyRequest{Views: views, Sample: f.sample, Full: f.full, Repair: f.repair, Now: f.now.time}
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
	Behind      int64        `json:"behind"`
	Wrong       int64        `json:"wrong"`
	Missing     int64        `json:"missing"`
	Extra       int64        `json:"extra"`
	Repaired    int64        `json:"repaired"`
	Note        string       `json:"note,omitempty"`
	Differences []difference `json:"differences"`
}

type difference struct {
	Entity  string `json:"entity"`
	Feature string `json:"feature"`
	Online  string `json:"online"`
	Offline string `json:"offline"`
	Class   string `json:"class"`
}

func newVerifyReport(found []client.VerifyReport, fixed bool) *verifyReport {
	r := &verifyReport{Equal: true, FixedReadTime: fixed, Views: make([]verifiedView, len(found))}
	for i, v := range found {
		r.Equal = r.Equal && v.Wrong == 0 && v.Missing == 0 && v.Extra == 0
		view := verifiedView{
			View: v.View, T: timePointer(v.T), ReadTime: timePointer(v.ReadTime), Entities: v.Entities, Cells: v.Cells,
			Equal: v.Equal, Behind: v.Behind, Wrong: v.Wrong, Missing: v.Missing, Extra: v.Extra, Repaired: v.Repaired,
			Note: v.Note, Differences: make([]difference, len(v.Diffs)),
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
			v.View, pointedSeconds(v.T), pointedSeconds(v.ReadTime), count(v.Entities), count(v.Cells), count(v.Equal),
			count(v.Behind), count(v.Wrong), count(v.Missing), count(v.Extra),
		}
	}
	p.table([]string{
		"VIEW", "UP TO", "READ TIME", "ENTITIES#", "CELLS#", "EQUAL#", "BEHIND#", "WRONG#", "MISSING#", "EXTRA#",
	}, rows)
	if r.FixedReadTime {
		p.printf("The read time was fixed by --now.\n")
	}
	behind := int64(0)
	for _, v := range r.Views {
		behind += v.Behind
		if v.Repaired > 0 {
			p.printf("%s: %s\n", v.View, p.warn("repaired "+plural(v.Repaired, "entity", "entities")))
		}
		if v.Note != "" {
			p.printf("%s: %s\n", v.View, v.Note)
		}
		for _, d := range v.Differences {
			p.printf("%s, %s, %s: %s: online %s, offline %s\n", v.View, d.Entity, d.Feature, d.Class, p.bad(d.Online), d.Offline)
		}
	}
	switch {
	case !r.Equal:
		p.printf("%s\n", p.bad("Online and offline differ."))
	case behind > 0:
		p.printf("%s\n", p.good("Online and offline are equal up to the last runs."))
		p.printf("%s behind what files have by now: the next run brings them.\n", plural(behind, "cell is", "cells are"))
	default:
		p.printf("%s\n", p.good("Online and offline are equal."))
	}
}
