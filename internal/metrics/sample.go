package metrics

import "github.com/prometheus/client_golang/prometheus"

var (
	evictionDesc = prometheus.NewDesc("provender_store_eviction",
		"1: the online store may drop rows to make room, and lookups do not find those. Set its maxmemory-policy to noeviction.", nil, nil)
	certificateDesc = prometheus.NewDesc("provender_certificate_expiry_timestamp_seconds",
		"When the certificate ends that is served. Connections fail from then on.", nil, nil)
)

func (c *Config) eviction() (value float64, known bool) {
	if c.Evicts == nil {
		return 0, false
	}
	evicts, known := c.Evicts()
	return truth(evicts), known
}

func (c *Config) certificate() (value float64, known bool) {
	if c.Certificate == nil {
		return 0, false
	}
	end := c.Certificate()
	return seconds(end), !end.IsZero()
}

// sample is a gauge that is there only while its value is known.
type sample struct {
	desc  *prometheus.Desc
	value func() (value float64, known bool)
}

// Describe implements prometheus.Collector.
func (s sample) Describe(out chan<- *prometheus.Desc) { out <- s.desc }

// Collect implements prometheus.Collector.
func (s sample) Collect(out chan<- prometheus.Metric) {
	if value, known := s.value(); known {
		out <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, value)
	}
}
