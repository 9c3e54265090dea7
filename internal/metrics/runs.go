package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

const (
	observeEvery  = 15 * time.Second
	observePause  = time.Second // least, where there is news
	observeWithin = 10 * time.Second
	// firstRuns is how many runs are asked for at first.
	firstRuns = 64
)

// Operations tells of views and runs; *materialize.Service does.
type Operations interface {
	Status(ctx context.Context, views []string) ([]materialize.ViewStatus, error)
	Runs(ctx context.Context, views []string, limit int) ([]materialize.Run, error)
}

// Run finds out how the views stand, and which runs have ended, every 15 s and soon after News, until ctx ends. What can't
// be found out in time stays as it was.
func (m *Metrics) Run(ctx context.Context) {
	for {
		if err := m.Observe(ctx); err != nil && ctx.Err() == nil {
			m.views.failed()
			m.config.Logger.Warn("metrics of views are out of date", "error", err)
		}
		if !wait(ctx, observePause, nil) || !wait(ctx, observeEvery-observePause, m.news) {
			return
		}
	}
}

// wait waits for some time, or until there is news, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration, news <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-news:
	}
	return true
}

// News tells that a view may stand otherwise than it did.
func (m *Metrics) News() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// Observe finds it out once.
func (m *Metrics) Observe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, observeWithin)
	defer cancel()
	if err := m.runs.observe(ctx, m.config.Operations); err != nil {
		return err
	}
	views, err := m.config.Operations.Status(ctx, nil)
	if err != nil {
		return err
	}
	m.views.set(views, time.Now())
	return nil
}

// runCounters count the runs that ended while the server was up, whichever process they ran in.
type runCounters struct {
	ended    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	rows     *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	now      *prometheus.GaugeVec

	start time.Time // runs that ended before are not counted

	// Of the last look, by one goroutine.
	newest int64              // the greatest id seen, 0 before the first look
	open   map[int64]struct{} // ids up to newest of runs that had not ended
}

func newRunCounters() runCounters {
	return runCounters{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_runs_total", Help: "Runs that ended, by how, in any process of the registry and store, since this server started.",
		}, []string{"view", "state"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "provender_run_duration_seconds", Help: "How long runs took that ended.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}, []string{"state"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_run_rows_total",
			Help: "Rows of runs that ended: read; written; older (not newer than what was there); held (dated later than T); rejected.",
		}, []string{"view", "kind"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provender_run_bytes_total", Help: "Bytes of runs that ended: of the files read; of keys and rows written.",
		}, []string{"view", "kind"}),
		now: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "provender_runs", Help: "Runs that are queued or running now.",
		}, []string{"state"}),
		open: map[int64]struct{}{}, start: time.Now(),
	}
}

// observe counts the runs that ended since the last look.
func (c *runCounters) observe(ctx context.Context, operations Operations) error {
	runs, err := c.since(ctx, operations)
	if err != nil {
		return err
	}
	open := map[int64]struct{}{}
	now := map[materialize.RunState]int{}
	newest := c.newest
	for i := range runs {
		r := &runs[i]
		newest = max(newest, r.ID)
		if !r.State.Ended() {
			open[r.ID] = struct{}{}
			now[r.State]++
			continue
		}
		if _, was := c.open[r.ID]; was || r.ID > c.newest && !r.Finished.Before(c.start) {
			c.count(r)
		}
	}
	c.newest, c.open = newest, open
	for _, s := range []materialize.RunState{state.RunQueued, materialize.RunRunning} {
		c.now.WithLabelValues(string(s)).Set(float64(now[s]))
	}
	return nil
}

// since returns at least the runs after those seen and those that had not ended.
func (c *runCounters) since(ctx context.Context, operations Operations) ([]materialize.Run, error) {
	from := c.newest
	for id := range c.open {
		from = min(from, id-1)
	}
	for limit := firstRuns; ; limit *= 4 {
		runs, err := operations.Runs(ctx, nil, limit)
		if err != nil || len(runs) < limit || c.newest == 0 || runs[len(runs)-1].ID <= from+1 {
			return runs, err
		}
	}
}

func (c *runCounters) count(r *materialize.Run) {
	c.ended.WithLabelValues(r.View, string(r.State)).Inc()
	if !r.Started.IsZero() && !r.Finished.IsZero() {
		c.duration.WithLabelValues(string(r.State)).Observe(r.Finished.Sub(r.Started).Seconds())
	}
	rejected := int64(0)
	for _, reject := range r.Rejects {
		rejected += reject.Rows
	}
	for kind, n := range map[string]int64{
		"read": r.RowsRead, "written": r.Written, "older": r.Older, "held": r.Held, "rejected": max(rejected, r.NullKeys),
	} {
		c.rows.WithLabelValues(r.View, kind).Add(float64(n))
	}
	c.bytes.WithLabelValues(r.View, "read").Add(float64(r.BytesRead))
	c.bytes.WithLabelValues(r.View, "written").Add(float64(r.BytesWritten))
}

func (c *runCounters) all() []prometheus.Collector {
	return []prometheus.Collector{c.ended, c.duration, c.rows, c.bytes, c.now}
}

// Describe implements prometheus.Collector.
func (c *runCounters) Describe(out chan<- *prometheus.Desc) {
	for _, v := range c.all() {
		v.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (c *runCounters) Collect(out chan<- prometheus.Metric) {
	for _, v := range c.all() {
		v.Collect(out)
	}
}
