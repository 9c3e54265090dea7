package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/internal/tracing"
)

var spansTotal = prometheus.NewDesc("provender_trace_spans_total",
	"Spans of traces: sent; failed, which the collector did not take; dropped, because it takes them too slowly.", []string{"outcome"}, nil)

// spanCollector tells of traces; nothing where there are none, or the collector is nil.
type spanCollector func() (tracing.Stats, bool)

// Describe implements prometheus.Collector.
func (c spanCollector) Describe(out chan<- *prometheus.Desc) { out <- spansTotal }

// Collect implements prometheus.Collector.
func (c spanCollector) Collect(out chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	s, ok := c()
	if !ok {
		return
	}
	for outcome, n := range map[string]int64{"sent": s.Sent, "failed": s.Failed, "dropped": s.Dropped} {
		out <- prometheus.MustNewConstMetric(spansTotal, prometheus.CounterValue, float64(n), outcome)
	}
}
