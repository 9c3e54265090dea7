// Package ratio compares what took part in one run: absolute figures do not carry over to another machine, ratios do.
package ratio

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Bar is a ratio and what it is meant to be.
type Bar struct {
	Title  string    `json:"title"`
	Want   float64   `json:"want"`              // 0: nothing is wanted
	AtMost bool      `json:"at_most,omitempty"` // else at least
	Got    []float64 `json:"got"`               // per round
	Holds  bool      `json:"holds"`             // of the median
	// CPU is the same ratio of work per CPU second: what else runs disturbs it less. May be nil.
	CPU []float64 `json:"cpu,omitempty"`
}

// Judged returns the bar with Holds set.
func (b Bar) Judged() Bar {
	b.Holds = Median(b.Got) >= b.Want
	if b.AtMost && b.Want > 0 {
		b.Holds = Median(b.Got) <= b.Want
	}
	return b
}

// Of divides round by round: of runs that are close in time.
func Of(over, under []float64) []float64 {
	values := slices.Clone(over)
	for i, x := range under {
		values[i] /= x
	}
	return values
}

// Spread writes the median with least and greatest.
func Spread(values []float64) string {
	if len(values) == 1 {
		return fmt.Sprintf("%.2f", values[0])
	}
	return fmt.Sprintf("%.2f (%.2f – %.2f)", Median(values), slices.Min(values), slices.Max(values))
}

// Median returns the middle of values, or of the two in the middle.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Print prints bars as a table, nothing where there are none.
func Print(w io.Writer, bars []Bar) error {
	if len(bars) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nratios: median of rounds (least – greatest)\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ratio\tgot\twanted\t\tby CPU")
	for _, b := range bars {
		want, verdict, cpu := fmt.Sprintf("≥ %.2f", b.Want), "holds", "-"
		switch {
		case b.Want == 0:
			want, verdict = "-", ""
		case b.AtMost:
			want = fmt.Sprintf("≤ %.2f", b.Want)
		}
		if !b.Holds {
			verdict = "missed"
		}
		if b.CPU != nil {
			cpu = Spread(b.CPU)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", b.Title, Spread(b.Got), want, verdict, cpu)
	}
	return t.Flush()
}
