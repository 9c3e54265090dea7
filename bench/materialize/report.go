package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/provender-dev/provender/bench/internal/ratio"
)

// report prints a table per part, then the bars.
func (b *bench) report(w io.Writer) error {
	for i, p := range b.parts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n\n", p.title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "engine\twall s, median\tmin\tCPU s, median\tpeak MiB, greatest\trows per s, median\t")
		for _, e := range p.engines {
			wall := e.each(func(d did) float64 { return d.Wall.Seconds() })
			peak, rate := "-", "-"
			if most := slices.Max(e.each(did.mebibytes)); most > 0 {
				peak = fmt.Sprintf("%.0f", most)
			}
			if e.runs[0].rows > 0 {
				rate = fmt.Sprintf("%.0f", ratio.Median(e.each(func(d did) float64 { return float64(d.rows) / d.Wall.Seconds() })))
			}
			fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%s\t%s\t\n", e.title, ratio.Median(wall), slices.Min(wall),
				ratio.Median(e.each(func(d did) float64 { return d.CPU.Seconds() })), peak, rate)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if err := ratio.Print(w, b.bars); err != nil {
		return err
	}
	for _, note := range b.notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
	return nil
}

func (d did) mebibytes() float64 { return float64(d.Peak) / (1 << 20) }
