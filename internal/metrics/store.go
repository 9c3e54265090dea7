package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/online"
)

// Trips counts the round trips of lookups to the online store. A store is given Watch when it is opened.
type Trips struct {
	total     *prometheus.CounterVec
	byOutcome []prometheus.Counter
	duration  prometheus.Histogram
}

// NewTrips returns counters, for Config.
func NewTrips() *Trips {
	t := &Trips{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_store_requests_total",
			Help: "Round trips of lookups to the online store, which lookups that come at once share, by outcome: ok, refused, timeout, error, canceled.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "provender_store_request_duration_seconds",
			Help:    "How long a round trip took, without the wait for a connection.",
			Buckets: latencyBuckets,
		}),
	}
	for _, o := range online.Outcomes {
		t.byOutcome = append(t.byOutcome, t.total.WithLabelValues(o.String()))
	}
	return t
}

// Watch counts a round trip; it is an online.Watch.
func (t *Trips) Watch(outcome online.Outcome, took time.Duration) {
	t.byOutcome[outcome].Inc()
	t.duration.Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (t *Trips) Describe(out chan<- *prometheus.Desc) {
	t.total.Describe(out)
	t.duration.Describe(out)
}

// Collect implements prometheus.Collector.
func (t *Trips) Collect(out chan<- prometheus.Metric) {
	t.total.Collect(out)
	t.duration.Collect(out)
}

var (
	poolConnections = prometheus.NewDesc("provender_store_connections", "Connections to the online store, idle and used.", []string{"state"}, nil)
	poolWaits       = prometheus.NewDesc("provender_store_pool_waits_total",
		"Calls of the online store that waited for a connection. Under load that is usual: lookups that wait share a round trip.", nil, nil)
	poolTimeouts = prometheus.NewDesc("provender_store_pool_timeouts_total",
		"Those of them that waited for pool_timeout in vain. Not 0: the store is slower than it is asked.", nil, nil)
)

// poolCollector tells of a store's connections; nothing where the store has none, or the collector is nil.
type poolCollector func() online.Pool

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{poolConnections, poolWaits, poolTimeouts} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(out chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	p := c()
	out <- prometheus.MustNewConstMetric(poolConnections, prometheus.GaugeValue, float64(p.Idle), "idle")
	out <- prometheus.MustNewConstMetric(poolConnections, prometheus.GaugeValue, float64(p.Used), "used")
	out <- prometheus.MustNewConstMetric(poolWaits, prometheus.CounterValue, float64(p.Waits))
	out <- prometheus.MustNewConstMetric(poolTimeouts, prometheus.CounterValue, float64(p.Timeouts))
}
