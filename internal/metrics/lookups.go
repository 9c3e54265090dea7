package metrics

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online/serving"
)

// Lookups answers lookups; *serving.Server does.
type Lookups interface {
	Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error)
	KeyKinds(ctx context.Context, req *serving.Request) ([]columnar.Kind, error)
}

// lookupCodes are the codes of lookups as callers of gRPC see them, by problem.Code; then those that have no class there.
var lookupCodes = [...]string{
	problem.Internal: "INTERNAL", problem.Invalid: "INVALID_ARGUMENT", problem.NotFound: "NOT_FOUND", problem.Conflict: "ABORTED",
	problem.Precondition: "FAILED_PRECONDITION", problem.Unavailable: "UNAVAILABLE", problem.Exhausted: "RESOURCE_EXHAUSTED",
	problem.Canceled: "CANCELLED", codeOK: "OK", codeDeadline: "DEADLINE_EXCEEDED",
}

const (
	codeOK = iota + problem.Canceled + 1
	codeDeadline
)

// lookupCounters are resolved once: a lookup looks for no label.
type lookupCounters struct {
	requests *prometheus.CounterVec
	byCode   [len(lookupCodes)]prometheus.Counter
	duration prometheus.Histogram
	entities prometheus.Counter
	cells    *prometheus.CounterVec
	byStatus [columnar.Statuses]prometheus.Counter // none for StatusInvalid
}

func newLookupCounters() lookupCounters {
	c := lookupCounters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_lookups_total",
			Help: "Lookups answered, by the code of the answer, over gRPC, HTTP and Feast's API together; each request of a stream is one.",
		}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "provender_lookup_duration_seconds",
			Help: "From the decoded request to the columns of the answer, the online store's time included.",
			Buckets: []float64{
				.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5,
			},
		}),
		entities: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "provender_lookup_entities_total", Help: "Rows of the answers.",
		}),
		cells: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_cells_total", Help: "Cells of the answers, one for each row and feature, by status.",
		}, []string{"status"}),
	}
	for i, code := range lookupCodes {
		c.byCode[i] = c.requests.WithLabelValues(code)
	}
	for s := columnar.Present; int(s) < columnar.Statuses; s++ {
		c.byStatus[s] = c.cells.WithLabelValues(s.String())
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *lookupCounters) Describe(out chan<- *prometheus.Desc) {
	c.requests.Describe(out)
	c.duration.Describe(out)
	c.entities.Describe(out)
	c.cells.Describe(out)
}

// Collect implements prometheus.Collector.
func (c *lookupCounters) Collect(out chan<- prometheus.Metric) {
	c.requests.Collect(out)
	c.duration.Collect(out)
	c.entities.Collect(out)
	c.cells.Collect(out)
}

// Count returns next, its lookups counted.
func (m *Metrics) Count(next Lookups) Lookups { return &counted{next, &m.lookups} }

type counted struct {
	Lookups
	counters *lookupCounters
}

// Lookup implements Lookups.
func (c *counted) Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error) {
	a, err := c.Lookups.Lookup(ctx, req)
	c.counters.duration.Observe(req.Took.Ended.Sub(req.Took.Began).Seconds())
	if err != nil {
		c.counters.byCode[codeOf(err)].Inc()
		return nil, err
	}
	c.counters.byCode[codeOK].Inc()
	c.counters.entities.Add(float64(a.Rows))
	for s, n := range a.Cells {
		if n > 0 {
			c.counters.byStatus[s].Add(float64(n))
		}
	}
	return a, nil
}

// KeyKinds implements Lookups. A request that it refuses is no lookup any more.
func (c *counted) KeyKinds(ctx context.Context, req *serving.Request) ([]columnar.Kind, error) {
	kinds, err := c.Lookups.KeyKinds(ctx, req)
	if err != nil {
		c.counters.byCode[codeOf(err)].Inc()
	}
	return kinds, err
}

func codeOf(err error) problem.Code {
	if errors.Is(err, context.DeadlineExceeded) {
		return codeDeadline
	}
	if errors.Is(err, context.Canceled) {
		return problem.Canceled
	}
	if code := problem.CodeOf(err); code <= problem.Canceled {
		return code
	}
	return problem.Internal
}
