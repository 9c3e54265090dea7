package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/registry"
)

type exportFlags struct {
	selection
	spine, time, out       string
	unit, timezone, timeAt string
}

func (a *app) exportCommand() *cobra.Command {
	f := &exportFlags{}
	c := &cobra.Command{
		Use:   "export",
		Short: "Write a training set: features joined onto labels, point in time",
		Long: `Join features onto the rows of a Parquet file, each as it was known at the row's time. The output has the rows of the
input, in their order, all of its columns first; a manifest beside it says what it was made from. Needs no online store.`,
		Example: `  provender export --service delay_model_v1 --spine data/flights.parquet --time departs --out training.parquet
  provender export --features airport_hourly:mean_delay_1h --spine s.parquet --time at --time-unit ms --out t.parquet`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			opts, err := f.spineOptions()
			if err != nil {
				return err
			}
			return a.withProject(func(p *server.Project) error {
				r, err := a.export(c.Context(), p, f.selection, f.spine, f.out, opts)
				if err != nil {
					return err
				}
				return a.show(r)
			})
		},
	}
	f.selection.flags(c)
	c.Flags().StringVar(&f.spine, "spine", "", "Parquet file of the rows to enrich")
	c.Flags().StringVar(&f.time, "time", "", "its time column")
	c.Flags().StringVar(&f.out, "out", "", "Parquet file to write")
	c.Flags().StringVar(&f.unit, "time-unit", "", "unit of an integer time column: s, ms, us or ns")
	c.Flags().StringVar(&f.timezone, "timezone", "UTC", "zone of times without one")
	c.Flags().StringVar(&f.timeAt, "time-at", "", "end of the day that a DATE time column means: start or end")
	for _, name := range []string{"spine", "time", "out"} {
		_ = c.MarkFlagRequired(name) // the flag is there
	}
	return c
}

func (f *exportFlags) spineOptions() (offline.SpineOptions, error) {
	opts := offline.SpineOptions{Time: f.time, Unit: f.unit, At: registry.DayEnd(f.timeAt)}
	switch f.unit {
	case "", "s", "ms", "us", "ns":
	default:
		return opts, usagef("--time-unit is %q: want s, ms, us or ns", f.unit)
	}
	switch opts.At {
	case "", registry.AtStart, registry.AtEnd:
	default:
		return opts, usagef("--time-at is %q: want start or end", f.timeAt)
	}
	location, err := time.LoadLocation(f.timezone)
	if err != nil || f.timezone == "Local" {
		return opts, usagef("--timezone: there is no zone %q; write one as in Europe/Berlin", f.timezone)
	}
	opts.Location = location
	if f.out == "-" {
		return opts, usagef("--out is -: want the path of a Parquet file to write")
	}
	return opts, nil
}

func (a *app) export(
	ctx context.Context, p *server.Project, s selection, spine, out string, opts offline.SpineOptions,
) (*exportReport, error) {
	snapshot, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	svc, err := s.of(snapshot)
	if err != nil {
		return nil, err
	}
	bar := a.progress()
	defer bar.close()
	done, err := offline.Export(ctx, offline.ExportRequest{
		Service: svc, Snapshot: snapshot, Source: p.Files, Spine: spine, SpineOptions: opts, Out: out, Tool: version(),
		Progress: func(s offline.Progress) { bar.update(step{View: s.Stage, Done: s.Done, Size: s.Size}) },
	})
	if err != nil {
		return nil, err
	}
	return newExportReport(out, snapshot.Revision, done), nil
}

type exportReport struct {
	Version  formatVersion    `json:"version"`
	Out      string           `json:"out"`
	Manifest string           `json:"manifest"`
	Revision int64            `json:"revision"`
	Rows     int64            `json:"rows"`
	Seconds  float64          `json:"seconds"`
	Features []exportedColumn `json:"features"`
}

type exportedColumn struct {
	Name     string `json:"name"`
	Present  int64  `json:"present"`
	Null     int64  `json:"null"`
	Expired  int64  `json:"expired"`
	NotFound int64  `json:"not_found"`
}

func newExportReport(out string, revision int64, done *offline.ExportReport) *exportReport {
	r := &exportReport{
		Out: out, Manifest: done.Manifest, Revision: revision, Rows: done.Rows, Seconds: done.Took.Seconds(),
		Features: make([]exportedColumn, len(done.Features)),
	}
	for i, f := range done.Features {
		r.Features[i] = exportedColumn(f)
	}
	return r
}

func (r *exportReport) text(p *printer) {
	rows := make([][]string, len(r.Features))
	for i, f := range r.Features {
		rows[i] = []string{f.Name, count(f.Present), count(f.Null), count(f.Expired), count(f.NotFound)}
	}
	p.table([]string{"FEATURE", "PRESENT#", "NULL#", "EXPIRED#", "NOT_FOUND#"}, rows)
	p.printf("Wrote %s into %s in %.1fs, revision %d. Manifest: %s\n",
		plural(r.Rows, "row", "rows"), r.Out, r.Seconds, r.Revision, r.Manifest)
}
