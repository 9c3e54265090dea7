// Package metrics is what a server tells Prometheus: how the views stand, runs, lookups, its stores, and itself. Labels
// are names of views, states and codes; nothing that a metric says comes from an entity, a row or a configuration.
package metrics

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/tracing"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/materialize/schedule"
	"github.com/provender-dev/provender/online"
)

// Config is what there is to tell. All calls but those of Operations answer at once, from memory.
type Config struct {
	Operations Operations
	Store      func() error     // why the online store does not answer, nil where it does
	Registry   func() error     // why the registry does not
	Refreshed  func() time.Time // when the registry answered last
	Revision   func() int64     // that lookups are answered by
	Damaged    func() int64     // damaged rows met by lookups
	// Admission tells which lookups were admitted, and which refused.
	Admission func() admission.Stats
	// Definitions tells of the source of definitions, false where there is none.
	Definitions func() (gitops.Status, bool)
	// Scheduler tells of the schedules of this server, false where none run.
	Scheduler func() (schedule.Stats, bool)
	Trips     *Trips             // to the online store; nil: not counted
	Pool      func() online.Pool // nil where the online store has none
	// Evicts tells whether the online store may drop rows, known false where it does not tell.
	Evicts func() (evicts, known bool)
	// Certificate is when the certificate that is served ends, zero where none is.
	Certificate func() time.Time
	Spans       func() (tracing.Stats, bool) // false where calls are not traced; nil: the same
	Logger      *slog.Logger
}

// Metrics are those of one server.
type Metrics struct {
	config   Config
	registry *prometheus.Registry
	traffic  *prometheus.Registry // those of Traffic, which are among them
	requests requestCounters
	lookups  lookupCounters
	views    viewCollector
	runs     runCounters
	news     chan struct{}
}

// New returns the metrics of a server; those of views and runs begin with Run.
func New(c Config) *Metrics {
	if c.Trips == nil {
		c.Trips = NewTrips()
	}
	m := &Metrics{
		config: c, registry: prometheus.NewRegistry(), traffic: prometheus.NewRegistry(), requests: newRequestCounters(), lookups: newLookupCounters(), runs: newRunCounters(),
		news: make(chan struct{}, 1),
	}
	admitted := admissionCollector(c.Admission)
	m.traffic.MustRegister(&m.lookups, admitted)
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&m.views, &m.requests, &m.lookups, &m.runs, definitionsCollector(c.Definitions), schedulerCollector(c.Scheduler),
		sample{evictionDesc, c.eviction}, sample{certificateDesc, c.certificate},
		c.Trips, poolCollector(c.Pool), spanCollector(c.Spans), admitted,
		constant("provender_build_info", "1; the labels tell the build.", buildLabels()),
		answers("online_store", "online store", c.Store),
		answers("registry", "registry", c.Registry),
		gauge("provender_registry_answered_timestamp_seconds",
			"When the registry answered last. Where that is long ago, lookups are answered by definitions and generations of then.",
			func() float64 { return seconds(c.Refreshed()) }),
		gauge("provender_revision", "Of the definitions that lookups are answered by.", func() float64 { return float64(c.Revision()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "provender_lookup_damaged_rows_total",
			Help: "Stored rows that lookups could not decode, whose cells were ERROR. Not 0: provender verify --repair.",
		}, func() float64 { return float64(c.Damaged()) }),
	)
	return m
}

// Handler answers scrapes, from memory.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(m.config.Logger.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func answers(name, title string, failure func() error) prometheus.Collector {
	return gauge("provender_"+name+"_up", "Whether the "+title+" answered when it was asked last, at most seconds ago.", func() float64 {
		return truth(failure() == nil)
	})
}

func constant(name, help string, labels prometheus.Labels) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return 1 })
}

func buildLabels() prometheus.Labels {
	b := version.Get()
	return prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": "go" + b.Go}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is an instant as Prometheus has them, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
