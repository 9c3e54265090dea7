package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/materialize"
)

// viewMetric is one fact of every view; of a view that has none, there is no sample.
type viewMetric struct {
	desc  *prometheus.Desc
	value func(*materialize.ViewStatus) (float64, bool)
}

// viewMetrics are the facts of `provender status`.
var viewMetrics = []viewMetric{
	viewTime("complete_timestamp_seconds", "T: up to when the view is complete online.",
		func(v *materialize.ViewStatus) time.Time { return v.T }),
	viewTime("newest_event_timestamp_seconds", "The newest event time online.",
		func(v *materialize.ViewStatus) time.Time { return v.NewestEvent }),
	viewTime("source_newest_event_timestamp_seconds",
		"The newest event time in the source that a run could bring online, by the files' statistics; none where they do not tell.",
		func(v *materialize.ViewStatus) time.Time { return v.NewestInSource }),
	viewTime("next_run_timestamp_seconds", "When the schedule runs the view next; none without a schedule.",
		func(v *materialize.ViewStatus) time.Time { return v.NextRun }),
	viewFlag("paused", "Whether the schedule rests.", func(v *materialize.ViewStatus) bool { return !v.Paused.IsZero() }),
	viewFlag("diverged", "Whether rows of changed or deleted files may be online (rewrites: replace).",
		func(v *materialize.ViewStatus) bool { return !v.Diverged.IsZero() }),
	viewTime("last_run_timestamp_seconds", "When the last run began.", func(v *materialize.ViewStatus) time.Time {
		if v.LastRun == nil {
			return time.Time{}
		}
		return v.LastRun.Started
	}),
	viewNumber("last_run_duration_seconds", "How long the last run took that is over.", func(v *materialize.ViewStatus) (float64, bool) {
		if v.LastRun == nil || v.LastRun.Finished.IsZero() {
			return 0, false
		}
		return v.LastRun.Finished.Sub(v.LastRun.Started).Seconds(), true
	}),
	viewCount("pending_files", "Files that no run has read as they are.", func(v *materialize.ViewStatus) int64 { return v.PendingFiles }),
	viewCount("held_rows", "Rows dated later than T, held for a run that covers them.", func(v *materialize.ViewStatus) int64 { return v.Held }),
	viewCount("failures", "Runs that failed since the last that succeeded.", func(v *materialize.ViewStatus) int64 { return v.Failures }),
	viewCount("written_rows", "Rows stored by the runs of the generation that serves, updates of an entity included.",
		func(v *materialize.ViewStatus) int64 { return v.Written }),
	viewNumber("source_readable", "0 where the files can't be listed, or one of those that no run has read can't be opened.",
		func(v *materialize.ViewStatus) (float64, bool) {
			known := v.State != materialize.ViewUnknown && v.State != materialize.ViewFailed && v.State != materialize.ViewOffline
			return truth(v.Error == ""), known
		}),
}

var (
	viewState = prometheus.NewDesc("provender_view_state", "1 for the state that the view is in.", []string{"view", "state"}, nil)
	viewsAt   = prometheus.NewDesc("provender_views_observed_timestamp_seconds",
		"When what provender_view_… tells was found out. Long ago: the registry does not answer.", nil, nil)
	viewsFailed = prometheus.NewDesc("provender_views_observe_failures_total", "How often that failed.", nil, nil)
)

func viewNumber(name, help string, value func(*materialize.ViewStatus) (float64, bool)) viewMetric {
	return viewMetric{prometheus.NewDesc("provender_view_"+name, help, []string{"view"}, nil), value}
}

func viewCount(name, help string, value func(*materialize.ViewStatus) int64) viewMetric {
	return viewNumber(name, help, func(v *materialize.ViewStatus) (float64, bool) {
		return float64(value(v)), v.State != materialize.ViewOffline
	})
}

func viewFlag(name, help string, value func(*materialize.ViewStatus) bool) viewMetric {
	return viewNumber(name, help, func(v *materialize.ViewStatus) (float64, bool) {
		return truth(value(v)), v.State != materialize.ViewOffline
	})
}

func viewTime(name, help string, value func(*materialize.ViewStatus) time.Time) viewMetric {
	return viewNumber(name, help, func(v *materialize.ViewStatus) (float64, bool) {
		t := value(v)
		return seconds(t), !t.IsZero()
	})
}

// viewCollector tells what was last found out of the views. Safe for concurrent use.
type viewCollector struct {
	mu       sync.Mutex
	views    []materialize.ViewStatus
	at       time.Time // zero: never
	failures float64
}

func (c *viewCollector) set(views []materialize.ViewStatus, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views, c.at = views, at
}

func (c *viewCollector) failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
}

// Describe implements prometheus.Collector.
func (c *viewCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{viewState, viewsAt, viewsFailed} {
		out <- d
	}
	for _, m := range viewMetrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *viewCollector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	views, at, failures := c.views, c.at, c.failures
	c.mu.Unlock()
	out <- prometheus.MustNewConstMetric(viewsFailed, prometheus.CounterValue, failures)
	out <- prometheus.MustNewConstMetric(viewsAt, prometheus.GaugeValue, seconds(at))
	for i := range views {
		v := &views[i]
		out <- prometheus.MustNewConstMetric(viewState, prometheus.GaugeValue, 1, v.View, v.State)
		for _, m := range viewMetrics {
			if value, ok := m.value(v); ok {
				out <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, value, v.View)
			}
		}
	}
}
