package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/materialize/schedule"
)

var (
	schedulerCalls = prometheus.NewDesc("provender_scheduler_calls",
		"What the schedules of this server have called: running; waiting for materialize.concurrency.", []string{"state"}, nil)
	schedulerTicks = prometheus.NewDesc("provender_scheduler_ticks_total", "Ticks of schedules that this server has seen.", nil, nil)
	schedulerLast  = prometheus.NewDesc("provender_scheduler_last_tick_timestamp_seconds", "The last of them; 0: none yet.", nil, nil)
)

// schedulerCollector tells of the scheduler of this server; nothing where none runs, or the collector is nil.
type schedulerCollector func() (schedule.Stats, bool)

// Describe implements prometheus.Collector.
func (c schedulerCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{schedulerCalls, schedulerTicks, schedulerLast} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c schedulerCollector) Collect(out chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	s, ok := c()
	if !ok {
		return
	}
	out <- prometheus.MustNewConstMetric(schedulerCalls, prometheus.GaugeValue, float64(s.Running), "running")
	out <- prometheus.MustNewConstMetric(schedulerCalls, prometheus.GaugeValue, float64(s.Waiting), "waiting")
	out <- prometheus.MustNewConstMetric(schedulerTicks, prometheus.CounterValue, float64(s.Ticks))
	out <- prometheus.MustNewConstMetric(schedulerLast, prometheus.GaugeValue, seconds(s.Last))
}
