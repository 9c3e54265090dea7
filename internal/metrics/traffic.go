package metrics

import (
	"fmt"
	"math"
	"time"
)

// Traffic is what lookups came to: until an instant, or between two.
type Traffic struct {
	At      time.Time
	Lookups map[string]float64 // by code
	Cells   map[string]float64 // by status
	Shed    map[string]float64 // by reason
	Now     map[string]float64 // lookups being worked on and waiting, at that instant
	took    []bucket
}

// bucket is how many lookups took up to a number of seconds, but longer than the bucket before.
type bucket struct{ bound, n float64 }

// Traffic returns what lookups have come to until now, as a scrape would have it.
func (m *Metrics) Traffic() (Traffic, error) {
	t := Traffic{
		At: time.Now(), Lookups: map[string]float64{}, Cells: map[string]float64{}, Shed: map[string]float64{}, Now: map[string]float64{},
	}
	families, err := m.traffic.Gather()
	if err != nil {
		return t, fmt.Errorf("gather metrics of lookups: %w", err)
	}
	into := map[string]map[string]float64{
		"provender_lookups_total": t.Lookups, "provender_cells_total": t.Cells, "provender_admission_shed_total": t.Shed,
		"provender_admission_requests": t.Now,
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if values, ok := into[family.GetName()]; ok {
				values[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() // it is one of them
			}
			if family.GetName() == "provender_lookup_duration_seconds" {
				h, before := metric.GetHistogram(), uint64(0)
				for _, b := range h.GetBucket() {
					t.took = append(t.took, bucket{b.GetUpperBound(), float64(b.GetCumulativeCount() - before)})
					before = b.GetCumulativeCount()
				}
				t.took = append(t.took, bucket{math.Inf(1), float64(h.GetSampleCount() - before)})
			}
		}
	}
	return t, nil
}

// Since returns what has come after an earlier instant.
func (t Traffic) Since(before Traffic) Traffic {
	less := func(now, before map[string]float64) map[string]float64 {
		left := make(map[string]float64, len(now))
		for name, n := range now {
			left[name] = n - before[name]
		}
		return left
	}
	d := Traffic{
		At: t.At, Lookups: less(t.Lookups, before.Lookups), Cells: less(t.Cells, before.Cells), Shed: less(t.Shed, before.Shed), Now: t.Now,
		took: make([]bucket, len(t.took)),
	}
	for i, b := range t.took {
		if i < len(before.took) {
			b.n -= before.took[i].n
		}
		d.took[i] = b
	}
	return d
}

// Quantile returns how long a share of the lookups took at most, as far as buckets tell, and whether it was longer than that.
// False where there were none.
func (t Traffic) Quantile(share float64) (took time.Duration, longer, any bool) {
	total := 0.0
	for _, b := range t.took {
		total += b.n
	}
	if total <= 0 {
		return 0, false, false
	}
	rank, below, lower := share*total, 0.0, 0.0
	for _, b := range t.took {
		if b.n > 0 && below+b.n >= rank {
			if math.IsInf(b.bound, 1) {
				break
			}
			at := lower + (b.bound-lower)*(rank-below)/b.n
			return time.Duration(at * float64(time.Second)), false, true
		}
		below += b.n
		if !math.IsInf(b.bound, 1) {
			lower = b.bound
		}
	}
	return time.Duration(lower * float64(time.Second)), true, true
}
