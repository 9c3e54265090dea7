package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/control/gitops"
)

var (
	definitionsState = prometheus.NewDesc("provender_definitions_state",
		"1 for how the registry stands to the source of definitions, else 0.", []string{"state"}, nil)
	definitionsChecked = prometheus.NewDesc("provender_definitions_checked_timestamp_seconds",
		"When the source of definitions answered last; 0: never.", nil, nil)
	definitionsApplied = prometheus.NewDesc("provender_definitions_applied_timestamp_seconds",
		"When definitions of the source were applied last, by any server; 0: never.", nil, nil)
	definitionsFailures = prometheus.NewDesc("provender_definitions_failures",
		"Looks at the source of definitions in a row that failed.", nil, nil)
)

// definitionsCollector tells of the source of definitions; nothing where there is none, or the collector is nil.
type definitionsCollector func() (gitops.Status, bool)

// Describe implements prometheus.Collector.
func (c definitionsCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{definitionsState, definitionsChecked, definitionsApplied, definitionsFailures} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c definitionsCollector) Collect(out chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	s, ok := c()
	if !ok {
		return
	}
	for _, state := range gitops.States {
		out <- prometheus.MustNewConstMetric(definitionsState, prometheus.GaugeValue, truth(s.State == state), string(state))
	}
	out <- prometheus.MustNewConstMetric(definitionsChecked, prometheus.GaugeValue, seconds(s.Checked))
	out <- prometheus.MustNewConstMetric(definitionsApplied, prometheus.GaugeValue, seconds(s.AppliedAt))
	out <- prometheus.MustNewConstMetric(definitionsFailures, prometheus.GaugeValue, float64(s.Failures))
}
