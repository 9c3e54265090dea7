package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/internal/admission"
)

// admissionCollector tells of the lookups of now, of those that were refused and of how long others waited.
type admissionCollector func() admission.Stats

var (
	admissionRequests = prometheus.NewDesc("provender_admission_requests",
		"Lookups now, by whether they are worked on or wait for their turn. Waiting for long: more callers than this server can answer.",
		[]string{"state"}, nil)
	admissionShed = prometheus.NewDesc("provender_admission_shed_total",
		"Lookups that were not worked on, by reason. Growing: callers get RESOURCE_EXHAUSTED; add servers or raise limits.requests.",
		[]string{"reason"}, nil)
	admissionWait = prometheus.NewDesc("provender_admission_wait_seconds",
		"How long lookups waited for their turn, 0 for those that did not.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c admissionCollector) Describe(out chan<- *prometheus.Desc) {
	out <- admissionRequests
	out <- admissionShed
	out <- admissionWait
}

// Collect implements prometheus.Collector.
func (c admissionCollector) Collect(out chan<- prometheus.Metric) {
	s := c()
	out <- prometheus.MustNewConstMetric(admissionRequests, prometheus.GaugeValue, float64(s.Working), "working")
	out <- prometheus.MustNewConstMetric(admissionRequests, prometheus.GaugeValue, float64(s.Waiting), "waiting")
	for _, r := range admission.Reasons() {
		out <- prometheus.MustNewConstMetric(admissionShed, prometheus.CounterValue, float64(s.Refused[r]), r.String())
	}
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, bound := range admission.WaitBounds() {
		n += s.Waits[i]
		buckets[bound.Seconds()] = n
	}
	out <- prometheus.MustNewConstHistogram(admissionWait, s.Admitted, s.Waited.Seconds(), buckets)
}
