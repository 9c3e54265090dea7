package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/ratio"
)

// report is what a run found. Its fields are the JSON, its text the tables.
type report struct {
	Entities int         `json:"entities"`
	Rounds   int         `json:"rounds"`
	Seconds  float64     `json:"seconds"`
	Listpack int         `json:"hash_max_listpack_value"`
	Results  []*result   `json:"results"`
	Deadline float64     `json:"deadline"` // seconds, of calls at several times the peak
	Open     []*open     `json:"open,omitempty"`
	Beside   []*beside   `json:"beside,omitempty"`
	Memory   []layout    `json:"memory,omitempty"`
	Bars     []ratio.Bar `json:"bars"`
	Notes    []string    `json:"notes,omitempty"`
}

// result is the rounds of one target under one workload.
type result struct {
	Target   string             `json:"target"`
	Title    string             `json:"title"`
	Workload string             `json:"workload"`
	Callers  int                `json:"callers"`
	Overload bool               `json:"overload,omitempty"`
	Runs     []loop.Measurement `json:"rounds"`
}

func (r *report) find(target, workload string, callers int) *result {
	for _, x := range r.Results {
		if x.Target == target && x.Workload == workload && x.Callers == callers {
			return x
		}
	}
	return nil
}

// callers returns the greatest number of callers short of overload: the bars are for it.
func (r *report) callers() (n int) {
	for _, x := range r.Results {
		if !x.Overload {
			n = max(n, x.Callers)
		}
	}
	return n
}

// judge makes the bars of what was measured.
func (r *report) judge() {
	n := r.callers()
	for _, b := range []struct {
		title          string
		over, workload string
		under          string
		want           float64
	}{
		{"Provender ÷ bare", targetOwn, "W1", targetFloor, 0.95},
		{"Provender ÷ bare", targetOwn, "W2", targetFloor, 0.95},
		{"Provender ÷ bare", targetOwn, "W3", targetFloor, 1},
		{"Feast's call ÷ bare", targetFeast, "W1", targetFloor, 0.92},
		{"Feast's call ÷ bare", targetFeast, "W2", targetFloor, 0.79},
		{"Feast's call ÷ bare", targetFeast, "W3", targetFloor, 0.76},
		{"Feast's call ÷ Feast", targetFeast, "W1", targetPeer, 2},
		{"Feast's call ÷ Feast", targetFeast, "W2", targetPeer, 3.5},
		{"Feast's call ÷ Feast", targetFeast, "W3", targetPeer, 10},
		{"one stream ÷ calls", targetBulk, "W3", targetOwn, 0.8},
		{"embedded ÷ Redis", targetEmbedded, "W3", targetOwn, 1.5},
		{"with more views ÷ without", targetViews, "W1", targetOwn, 0.98},
	} {
		over, under := r.find(b.over, b.workload, n), r.find(b.under, b.workload, n)
		if over != nil && under != nil {
			made := ratio.Bar{
				Title: fmt.Sprintf("%s: %s, %d callers", b.title, b.workload, n), Want: b.want,
				Got: ratios(over, under, rateOf),
			}
			if b.under != targetPeer {
				made.CPU = ratios(under, over, serversOf)
			}
			r.bar(made)
		}
	}
	r.judgeOverload()
	r.judgeOpen()
	if len(r.Memory) == 3 {
		feast := r.Memory[2].Bytes
		for i, want := range []float64{0.75, 1} {
			r.bar(ratio.Bar{
				Title: "bytes ÷ Feast's: " + r.Memory[i].Title, Want: want, AtMost: true,
				Got: []float64{r.Memory[i].Bytes / feast},
			})
		}
	}
}

// judgeOverload compares each round's rate under overload with the round's greatest.
func (r *report) judgeOverload() {
	i := slices.IndexFunc(r.Results, func(x *result) bool { return x.Overload && x.Target == targetOwn })
	if i < 0 {
		return
	}
	over := r.Results[i]
	got := over.each(rateOf)
	peak := slices.Clone(got)
	for _, x := range r.Results {
		if x.Target == targetOwn && x.Workload == over.Workload {
			for round, m := range x.Runs {
				peak[round] = max(peak[round], m.Rate)
			}
		}
	}
	for round := range got {
		got[round] /= peak[round]
	}
	r.bar(ratio.Bar{Title: fmt.Sprintf("past saturation ÷ peak: %s, %d callers", over.Workload, over.Callers), Want: 0.9, Got: got})
}

func (r *report) bar(b ratio.Bar) { r.Bars = append(r.Bars, b.Judged()) }

func (r *report) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// text prints a table per workload and number of callers, memory, then the bars.
func (r *report) text(w io.Writer) error {
	fmt.Fprintf(w, "%d entities, %d rounds of %g s, hash-max-listpack-value %d\n", r.Entities, r.Rounds, r.Seconds, r.Listpack)
	for i, x := range r.Results {
		if i == 0 || x.Workload != r.Results[i-1].Workload || x.Callers != r.Results[i-1].Callers {
			if err := r.table(w, x.Workload, x.Callers); err != nil {
				return err
			}
		}
	}
	if err := r.overloadText(w); err != nil {
		return err
	}
	if len(r.Memory) > 0 {
		fmt.Fprint(w, "\nmemory in Redis\n\n")
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "layout\thash-max-listpack-value\tbytes per entity\t")
		for _, l := range r.Memory {
			fmt.Fprintf(t, "%s\t%d\t%.0f\t\n", l.Title, l.Listpack, l.Bytes)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return r.verdicts(w)
}

func (r *report) table(w io.Writer, workload string, callers int) error {
	fmt.Fprintf(w, "\n%s, callers: %d\n\n", workload, callers)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "target\tper s, median\tleast\tp50 µs\tp99 µs\tCPU ms per 1,000: server\tRedis\tgenerator\tothers' CPUs\tanswer bytes\trate ÷ bare\tCPU ÷ bare\t")
	floor := r.find(targetFloor, workload, callers)
	for _, x := range r.Results {
		if x.Workload != workload || x.Callers != callers {
			continue
		}
		of := func(field func(m loop.Measurement) float64) float64 { return ratio.Median(x.each(field)) }
		rate, cpu := "-", "-"
		if floor != nil && x != floor {
			rate = ratio.Spread(ratios(x, floor, rateOf))
			if x.Target != targetPeer {
				cpu = ratio.Spread(ratios(x, floor, serversOf))
			}
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%s\t%s\t\n", x.Title,
			of(rateOf),
			slices.Min(x.each(rateOf)),
			of(func(m loop.Measurement) float64 { return m.P50 }),
			of(func(m loop.Measurement) float64 { return m.P99 }),
			of(func(m loop.Measurement) float64 { return m.Server }),
			of(func(m loop.Measurement) float64 { return m.Redis }),
			of(func(m loop.Measurement) float64 { return m.Generator }),
			of(func(m loop.Measurement) float64 { return m.Others }),
			x.Runs[0].Bytes, rate, cpu)
		if failed := x.failed(); failed > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s, %s, %d callers: %d calls failed.", x.Title, workload, callers, failed))
		}
	}
	return t.Flush()
}

func (r *report) verdicts(w io.Writer) error {
	if err := ratio.Print(w, r.Bars); err != nil {
		return err
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
	return nil
}

func rateOf(m loop.Measurement) float64 { return m.Rate }

// serversOf is the CPU of everybody but the generator.
func serversOf(m loop.Measurement) float64 { return m.Server + m.Redis }

func (x *result) failed() (n int) {
	for _, m := range x.Runs {
		n += m.Failed
	}
	return n
}

func (x *result) each(of func(loop.Measurement) float64) []float64 {
	return eachOf(x.Runs, of)
}

// ratios are taken round by round, of runs that are close in time.
func ratios(over, under *result, of func(loop.Measurement) float64) []float64 {
	return ratio.Of(over.each(of), under.each(of))
}
