package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"text/tabwriter"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/ratio"
)

// What overload is made of.
const (
	overloaded    = 4  // times the peak
	openCallers   = 16 // connections
	besideRate    = 100
	besideCallers = 16
	bulkEntities  = 10_000
)

// open is the rounds of one target under calls that do not wait for each other.
type open struct {
	Title    string         `json:"title"`
	Workload string         `json:"workload"`
	Peak     []float64      `json:"peak"` // calls per second of a closed loop, just before
	Runs     []loop.Goodput `json:"rounds"`
}

// beside is the rounds of calls for one entity, paced, alone and beside others for very many.
type beside struct {
	Title string             `json:"title"`
	Alone []loop.Measurement `json:"alone"`
	Flood []loop.Measurement `json:"beside"`
	Bulk  []loop.Measurement `json:"bulk"` // those for very many
}

// own are the targets that are servers of ours, by GetFeatures.
func (b *bench) own() (own []*target) {
	for _, t := range b.targets {
		if t.name == targetOwn || t.name == targetOther {
			own = append(own, t)
		}
	}
	return own
}

// measureOpen finds the peak of each workload, then asks for four times as much with a deadline.
func (b *bench) measureOpen(ctx context.Context, r *report) error {
	for _, w := range b.workloads {
		for _, t := range b.own() {
			r.Open = append(r.Open, &open{Title: t.Title, Workload: w.Name})
		}
	}
	for round := range b.rounds {
		i := 0
		for _, w := range b.workloads {
			for _, t := range b.own() {
				if err := b.openRound(ctx, round, t, w, r.Open[i]); err != nil {
					return err
				}
				i++
			}
		}
	}
	return nil
}

func (b *bench) openRound(ctx context.Context, round int, t *target, w lookups.Workload, o *open) error {
	bodies, err := t.bodies(b.data, w)
	if err != nil {
		return err
	}
	peak, err := loop.Loop{Target: t.Target, Bodies: bodies, Callers: openCallers, Warm: b.warm, Measure: b.measure}.Run(ctx)
	if err != nil {
		return err
	}
	g, err := loop.Open{
		Target: t.Target, Bodies: bodies, Connections: openCallers, Rate: overloaded * peak.Rate, Deadline: b.deadline,
		Warm: b.warm, Measure: b.measure,
	}.Run(ctx)
	if err != nil {
		return err
	}
	o.Peak, o.Runs = append(o.Peak, peak.Rate), append(o.Runs, g)
	b.say("round %d of %d: %s, open: %-26s peak %6.0f/s, offered %6.0f/s, in time %6.0f/s, refused %6.0f/s, p99 %6.0f µs",
		round+1, b.rounds, w.Name, t.Title, peak.Rate, g.Offered, g.Good, g.Refused, g.P99)
	return nil
}

// measureBeside measures calls for one entity alone and beside a flood of calls for very many.
func (b *bench) measureBeside(ctx context.Context, r *report) error {
	large := make([][]byte, 8)
	for i := range large {
		rnd := rand.New(rand.NewPCG(b.data.Seed, uint64(i)))
		entities := make([]int64, bulkEntities)
		for j := range entities {
			entities[j] = rnd.Int64N(int64(b.data.Entities))
		}
		var err error
		if large[i], err = (lookups.Workload{Views: lookups.ViewCount}).Encode(entities); err != nil {
			return err
		}
	}
	for range b.own() {
		r.Beside = append(r.Beside, &beside{})
	}
	for round := range b.rounds {
		for i, t := range b.own() {
			r.Beside[i].Title = t.Title
			if err := b.besideRound(ctx, round, t, large, r.Beside[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) besideRound(ctx context.Context, round int, t *target, large [][]byte, into *beside) error {
	bodies, err := t.bodies(b.data, lookups.Workloads()[0])
	if err != nil {
		return err
	}
	small := loop.Loop{
		Target: t.Target, Bodies: bodies, Callers: besideCallers, Pace: besideRate, Warm: b.warm, Measure: b.measure, Tolerant: true,
	}
	alone, err := small.Run(ctx)
	if err != nil {
		return err
	}
	flood := loop.Loop{Target: t.Target, Bodies: large, Callers: besideCallers, Warm: b.warm, Measure: b.measure, Tolerant: true}
	type outcome struct {
		loop.Measurement
		err error
	}
	flooded := make(chan outcome, 1)
	go func() {
		m, err := flood.Run(ctx)
		flooded <- outcome{m, err}
	}()
	m, err := small.Run(ctx)
	bulk := <-flooded
	if err == nil {
		err = bulk.err
	}
	if err != nil {
		return err
	}
	into.Alone, into.Flood, into.Bulk = append(into.Alone, alone), append(into.Flood, m), append(into.Bulk, bulk.Measurement)
	b.say("round %d of %d: %s: one entity, alone p50 %6.0f p99 %6.0f µs; beside %5.1f/s of %d entities p50 %6.0f p99 %6.0f µs",
		round+1, b.rounds, t.Title, alone.P50, alone.P99, bulk.Rate, bulkEntities, m.P50, m.P99)
	return nil
}

// judgeOpen makes the bars of open loops.
func (r *report) judgeOpen() {
	for _, o := range r.Open {
		r.bar(ratio.Bar{
			Title: fmt.Sprintf("in time at %d times the peak ÷ peak: %s, %s", overloaded, o.Workload, o.Title),
			Got:   ratio.Of(eachOf(o.Runs, func(g loop.Goodput) float64 { return g.Good }), o.Peak),
		})
	}
}

// overloadText prints what became of calls past the peak.
func (r *report) overloadText(w io.Writer) error {
	if len(r.Open) > 0 {
		fmt.Fprintf(w, "\nopen loop, %d times the peak, deadline %g s\n\n", overloaded, r.Deadline)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "target\tworkload\tpeak per s\toffered\tin time\trefused\tp50 µs\tp99 µs\tserver's peak MiB\tothers' CPUs\t")
		for _, o := range r.Open {
			of := func(field func(loop.Goodput) float64) float64 { return ratio.Median(eachOf(o.Runs, field)) }
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t\n", o.Title, o.Workload, ratio.Median(o.Peak),
				of(func(g loop.Goodput) float64 { return g.Offered }), of(func(g loop.Goodput) float64 { return g.Good }),
				of(func(g loop.Goodput) float64 { return g.Refused }), of(func(g loop.Goodput) float64 { return g.P50 }),
				of(func(g loop.Goodput) float64 { return g.P99 }), of(func(g loop.Goodput) float64 { return g.Resident }),
				of(func(g loop.Goodput) float64 { return g.Others }))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Beside) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\none entity, %d per s, alone and beside %d callers of %d entities\n\n", besideRate, besideCallers, bulkEntities)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "target\talone: p50 µs\tp99 µs\tbeside: p50 µs\tp99 µs\tlarge calls per s\tp50 ms\t")
	for _, x := range r.Beside {
		p50, p99 := func(m loop.Measurement) float64 { return m.P50 }, func(m loop.Measurement) float64 { return m.P99 }
		of := func(runs []loop.Measurement, field func(loop.Measurement) float64) float64 {
			return ratio.Median(eachOf(runs, field))
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t\n", x.Title, of(x.Alone, p50), of(x.Alone, p99), of(x.Flood, p50), of(x.Flood, p99),
			of(x.Bulk, rateOf), of(x.Bulk, p50)/1000)
	}
	return t.Flush()
}

func eachOf[T any](runs []T, of func(T) float64) []float64 {
	values := make([]float64, len(runs))
	for i, m := range runs {
		values[i] = of(m)
	}
	return values
}
