package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// report is what a run found. Its fields are the JSON, its text the tables.
type report struct {
	Entities int       `json:"entities"`
	Rounds   int       `json:"rounds"`
	Seconds  float64   `json:"seconds"`
	Listpack int       `json:"hash_max_listpack_value"`
	Results  []*result `json:"results"`
	Memory   []layout  `json:"memory,omitempty"`
	Bars     []bar     `json:"bars"`
	Notes    []string  `json:"notes,omitempty"`
}

// result is the rounds of one target under one workload.
type result struct {
	Target   string        `json:"target"`
	Title    string        `json:"title"`
	Workload string        `json:"workload"`
	Callers  int           `json:"callers"`
	Overload bool          `json:"overload,omitempty"`
	Runs     []measurement `json:"rounds"`
}

// bar is a ratio and what it is meant to be.
type bar struct {
	Title  string    `json:"title"`
	Want   float64   `json:"want"`
	AtMost bool      `json:"at_most,omitempty"` // else at least
	Got    []float64 `json:"got"`               // per round
	Holds  bool      `json:"holds"`             // of the median
	// CPU is the same ratio of requests per CPU second, of server and Redis: what else runs disturbs it less.
	CPU []float64 `json:"cpu,omitempty"`
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
			ratio := bar{
				Title: fmt.Sprintf("%s: %s, %d callers", b.title, b.workload, n), Want: b.want,
				Got: ratios(over, under, measurement.rate),
			}
			if b.under != targetPeer {
				ratio.CPU = ratios(under, over, measurement.servers)
			}
			r.bar(ratio)
		}
	}
	r.judgeOverload()
	if len(r.Memory) == 3 {
		feast := r.Memory[2].Bytes
		for i, want := range []float64{0.75, 1} {
			r.bar(bar{
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
	got := over.each(measurement.rate)
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
	r.bar(bar{Title: fmt.Sprintf("past saturation ÷ peak: %s, %d callers", over.Workload, over.Callers), Want: 0.9, Got: got})
}

func (r *report) bar(b bar) {
	b.Holds = median(b.Got) >= b.Want
	if b.AtMost {
		b.Holds = median(b.Got) <= b.Want
	}
	r.Bars = append(r.Bars, b)
}

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
		of := func(field func(m measurement) float64) float64 { return median(x.each(field)) }
		rate, cpu := "-", "-"
		if floor != nil && x != floor {
			rate = spread(ratios(x, floor, measurement.rate))
			if x.Target != targetPeer {
				cpu = spread(ratios(x, floor, measurement.servers))
			}
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%s\t%s\t\n", x.Title,
			of(measurement.rate),
			slices.Min(x.each(measurement.rate)),
			of(func(m measurement) float64 { return m.P50 }),
			of(func(m measurement) float64 { return m.P99 }),
			of(func(m measurement) float64 { return m.Server }),
			of(func(m measurement) float64 { return m.Redis }),
			of(func(m measurement) float64 { return m.Generator }),
			of(func(m measurement) float64 { return m.Others }),
			x.Runs[0].Bytes, rate, cpu)
		if failed := x.failed(); failed > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s, %s, %d callers: %d calls failed.", x.Title, workload, callers, failed))
		}
	}
	return t.Flush()
}

func (r *report) verdicts(w io.Writer) error {
	if len(r.Bars) > 0 {
		fmt.Fprint(w, "\nratios: median of rounds (least – greatest)\n\n")
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ratio\tgot\twanted\t\tby CPU")
		for _, b := range r.Bars {
			sign, verdict, cpu := "≥", "holds", "-"
			if b.AtMost {
				sign = "≤"
			}
			if !b.Holds {
				verdict = "missed"
			}
			if b.CPU != nil {
				cpu = spread(b.CPU)
			}
			fmt.Fprintf(t, "%s\t%s\t%s %.2f\t%s\t%s\n", b.Title, spread(b.Got), sign, b.Want, verdict, cpu)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
	return nil
}

func (m measurement) rate() float64 { return m.Rate }

// servers is the CPU of everybody but the generator.
func (m measurement) servers() float64 { return m.Server + m.Redis }

func (x *result) failed() (n int) {
	for _, m := range x.Runs {
		n += m.Failed
	}
	return n
}

func (x *result) each(of func(measurement) float64) []float64 {
	values := make([]float64, len(x.Runs))
	for i, m := range x.Runs {
		values[i] = of(m)
	}
	return values
}

// ratios are taken round by round, of runs that are close in time.
func ratios(over, under *result, of func(measurement) float64) []float64 {
	values := over.each(of)
	for i, x := range under.each(of) {
		values[i] /= x
	}
	return values
}

func spread(values []float64) string {
	if len(values) == 1 {
		return fmt.Sprintf("%.2f", values[0])
	}
	return fmt.Sprintf("%.2f (%.2f – %.2f)", median(values), slices.Min(values), slices.Max(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
