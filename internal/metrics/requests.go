package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestCounters count the calls of the API.
type requestCounters struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newRequestCounters() requestCounters {
	return requestCounters{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_requests_total",
			Help: "Calls of the API that are over, those that were refused or shed too, by the code of their answer; each request of a stream of lookups is one.",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "provender_request_duration_seconds",
			Help:    "From when a call had come to its answer; what the network takes is not in it.",
			Buckets: latencyBuckets,
		}, []string{"method"}),
	}
}

// latencyBuckets suit answers from memory as well as those of a store that hangs.
var latencyBuckets = []float64{
	.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// Method returns what counts the calls of one method of the API by the code of their answer. codes are the names of
// codes; the first is that of success, and is there before the first call.
func (m *Metrics) Method(name string, codes []string) func(code uint32, took time.Duration) {
	c := &m.requests
	ok := c.total.WithLabelValues(name, codes[0])
	duration := sync.OnceValue(func() prometheus.Observer { return c.duration.WithLabelValues(name) })
	return func(code uint32, took time.Duration) {
		duration().Observe(took.Seconds())
		switch {
		case code == 0:
			ok.Inc()
		case int(code) < len(codes):
			c.total.WithLabelValues(name, codes[code]).Inc()
		}
	}
}

// Describe implements prometheus.Collector.
func (c *requestCounters) Describe(out chan<- *prometheus.Desc) {
	c.total.Describe(out)
	c.duration.Describe(out)
}

// Collect implements prometheus.Collector.
func (c *requestCounters) Collect(out chan<- prometheus.Metric) {
	c.total.Collect(out)
	c.duration.Collect(out)
}
