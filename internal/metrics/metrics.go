// Package metrics is what a server tells Prometheus: how the views stand, runs, lookups, its stores, and itself. Labels
// are names of views, states and codes; nothing that a metric says comes from an entity, a row or a configuration.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/provender-dev/provender/control/gitops"
)

// Config is what there is to tell. All calls but those of Operations answer at once, from memory.
type Config struct {
	Operations Operations
	Store      func() error     // why the online store does not answer, nil where it does
	Registry   func() error     // why the registry does not
	Refreshed  func() time.Time // when the registry answered last
	Revision   func() int64     // that lookups are answered by
	Damaged    func() int64     // damaged rows met by lookups
	// Definitions tells of the source of definitions, false where there is none.
	Definitions func() (gitops.Status, bool)
	Logger      *slog.Logger
}

// Metrics are those of one server.
type Metrics struct {
	config   Config
	registry *prometheus.Registry
	lookups  lookupCounters
	views    viewCollector
	runs     runCounters
	news     chan struct{}
}

// New returns the metrics of a server; those of views and runs begin with Run.
func New(c Config) *Metrics {
	m := &Metrics{
		config: c, registry: prometheus.NewRegistry(), lookups: newLookupCounters(), runs: newRunCounters(), news: make(chan struct{}, 1),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&m.views, &m.lookups, &m.runs, definitionsCollector(c.Definitions),
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
	labels := prometheus.Labels{"version": "unknown", "goversion": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = info.Main.Version, info.GoVersion
	}
	return labels
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
