package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// report prints a row per engine, then how Provender compares: ratios are taken round by round, of runs that follow one
// another, and their median is shown with the least and the greatest.
func report(w io.Writer, s *settings, engines []*engine) {
	fmt.Fprintf(w, "%s, %s: %d rounds, %d threads\n\n", filepath.Base(s.data), s.spine, s.rounds, s.threads)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "engine\twall s, median\tmin\tCPU s, median\tpeak MiB, greatest\toutput MiB\tdiffering cells\t")
	for i, e := range engines {
		differing := "-"
		if i > 0 {
			differing = fmt.Sprint(e.cells)
		}
		wall := e.each(func(m measurement) float64 { return m.Wall.Seconds() })
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.1f\t%s\t\n", e.title, median(wall), slices.Min(wall),
			median(e.each(func(m measurement) float64 { return m.CPU.Seconds() })),
			slices.Max(e.each(func(m measurement) float64 { return float64(m.Peak) / (1 << 20) })),
			float64(e.rounds[0].size)/(1<<20), differing)
	}
	_ = t.Flush() // as with the writes before it, nothing can be done
	if len(engines) == 1 {
		return
	}
	fmt.Fprint(w, "\npeer ÷ Provender: median of rounds (least – greatest)\n\n")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "peer\twall\tCPU\tpeak memory\toutput\t")
	for _, peer := range engines[1:] {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", peer.title,
			ratio(peer, engines[0], func(m measurement) float64 { return m.Wall.Seconds() }),
			ratio(peer, engines[0], func(m measurement) float64 { return m.CPU.Seconds() }),
			ratio(peer, engines[0], func(m measurement) float64 { return float64(m.Peak) }),
			ratio(peer, engines[0], func(m measurement) float64 { return float64(m.size) }))
	}
	_ = t.Flush() // see above
}

func (e *engine) each(of func(measurement) float64) []float64 {
	values := make([]float64, len(e.rounds))
	for i, m := range e.rounds {
		values[i] = of(m)
	}
	return values
}

func ratio(peer, ours *engine, of func(measurement) float64) string {
	ratios := peer.each(of)
	for i, x := range ours.each(of) {
		ratios[i] /= x
	}
	return fmt.Sprintf("%.2f (%.2f – %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
