package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/provender-dev/provender/internal/metrics"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/registry"
)

const (
	statusPath = "/status"
	// pageRuns is how many runs are looked through for those under way, pageEnded how many of the others are shown.
	pageRuns, pageEnded = 100, 20
	// refreshEvery is how often a browser asks again, in seconds.
	refreshEvery = 10
)

//go:embed statuspage.html
var statusHTML string

//go:embed statuspage.css
var statusCSS string

// statusPage tells people how the server is, on one page. It waits for nothing: what does not answer in time is told as it
// was known last. Safe for concurrent use.
type statusPage struct {
	project  *Project
	vitals   *vitals
	readTime time.Time // fixed; zero: the clock's
	logger   *slog.Logger
	html     *template.Template
	policy   string // which contents a browser may show

	asker     *asker
	views     question[[]materialize.ViewStatus]
	runs      question[[]materialize.Run]
	revisions question[[]registry.Revision]
	traffic   trafficRing
}

func newStatusPage(p *Project, v *vitals, readTime time.Time, logger *slog.Logger) *statusPage {
	digest := sha256.Sum256([]byte(statusCSS))
	return &statusPage{
		project: p, vitals: v, readTime: readTime, logger: logger, asker: newAsker(),
		html: template.Must(template.New("status").Funcs(template.FuncMap{
			"css": func() template.CSS { return template.CSS(statusCSS) }, //nolint:gosec // it is ours
		}).Parse(statusHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// close ends what the page waits for.
func (p *statusPage) close() { p.asker.close() }

// handler answers those whom gate lets pass: with causes, where only those who run the server can ask; with links to profiles
// at the admin address.
func (p *statusPage) handler(gate *rpc.Gate, causes, profiles bool) http.Handler {
	show := gate.Handler("GET "+statusPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := p.look(r.Context(), causes)
		v.Profiles, v.Still = profiles, r.URL.Query().Get("refresh") == "off"
		var page bytes.Buffer
		if err := p.html.Execute(&page, v); err != nil {
			rpc.WriteError(w, r, p.logger, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", p.policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(page.Bytes())
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		show.ServeHTTP(w, r)
	})
}

// look finds out how the server is, in no more than askPatience.
func (p *statusPage) look(ctx context.Context, causes bool) *statusView {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	v := p.about(causes)
	n := p.vitals.node.Load()
	if n == nil {
		return v
	}
	var asking sync.WaitGroup
	var views reply[[]materialize.ViewStatus]
	var runs reply[[]materialize.Run]
	var revisions reply[[]registry.Revision]
	asking.Go(func() {
		views = p.views.ask(ctx, p.asker, func(ctx context.Context) ([]materialize.ViewStatus, error) { return n.ops.Status(ctx, nil) })
	})
	asking.Go(func() {
		runs = p.runs.ask(ctx, p.asker, func(ctx context.Context) ([]materialize.Run, error) { return n.ops.Runs(ctx, nil, pageRuns) })
	})
	asking.Go(func() {
		revisions = p.revisions.ask(ctx, p.asker, func(ctx context.Context) ([]registry.Revision, error) {
			return n.follow.registry.History(ctx, recentRevisions)
		})
	})
	asking.Wait()
	v.tellStores(ctx, n)
	v.tellRevision(n, revisions)
	v.tellViews(n, views)
	v.tellRuns(runs, views.value)
	v.tellSchedules(n)
	v.tellDefinitions(n)
	v.tellTraffic(n, &p.traffic)
	slices.SortStableFunc(v.Troubles, func(a, b trouble) int { return cmp.Compare(a.Class, b.Class) }) // bad comes before warn
	return v
}

// recentRevisions is how far back that of lookups is looked for: a server that lives follows within seconds.
const recentRevisions = 10

// trafficRing keeps what lookups had come to, for a minute or so. Safe for concurrent use.
type trafficRing struct {
	mu   sync.Mutex
	kept []metrics.Traffic // oldest first
	full bool              // older ones are gone
}

const (
	trafficEvery = 10 * time.Second
	trafficKept  = 7
)

// run keeps samples until ctx ends.
func (t *trafficRing) run(ctx context.Context, m *metrics.Metrics) {
	tick := time.NewTicker(trafficEvery)
	defer tick.Stop()
	for {
		if now, err := m.Traffic(); err == nil {
			t.keep(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (t *trafficRing) keep(now metrics.Traffic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == trafficKept {
		t.kept, t.full = append(t.kept[:0], t.kept[1:]...), true
	}
	t.kept = append(t.kept, now)
}

// since returns what has come since the oldest sample, when that was, and whether it is the first since the server began to
// answer: then nothing is left out.
func (t *trafficRing) since(now metrics.Traffic) (d metrics.Traffic, from time.Time, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return now.Since(now), now.At, true
	}
	return now.Since(t.kept[0]), t.kept[0].At, !t.full
}
