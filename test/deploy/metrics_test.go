package deploy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
)

const runbooks = "https://github.com/provender-dev/provender/blob/main/docs/how-to/operate.md"

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	decode(t, read(t, "deploy", "prometheus", "alerts.yaml"), &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestAlerts: each is right, is fired by a test of its own, and tells who is on call what to do.
func TestAlerts(t *testing.T) {
	dir := filepath.Join(root, "deploy", "prometheus")
	tests, err := filepath.Glob(filepath.Join(dir, "*.test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, "promtool", "check", "rules", "--lint-fatal", filepath.Join(dir, "alerts.yaml"))
	do(t, "promtool", append([]string{"test", "rules"}, tests...)...)
	fired := ""
	for _, name := range tests {
		fired += read(t, "deploy", "prometheus", filepath.Base(name))
	}
	operate := read(t, "docs", "how-to", "operate.md")
	rules := alerts(t)
	for _, r := range rules {
		if !strings.Contains(fired, `{alertname="`+r.Alert+`", `) {
			t.Errorf("no test fires %s", r.Alert)
		}
		if r.Annotations["runbook_url"] != runbooks+"#"+strings.ToLower(r.Alert) || !strings.Contains(operate, "\n### "+r.Alert+"\n") {
			t.Errorf("%s: runbook %q, or no such section", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: annotations %v, labels %v", r.Alert, r.Annotations, r.Labels)
		}
	}
	if sections := strings.Count(operate, "\n### Provender"); len(rules) == 0 || sections != len(rules) {
		t.Errorf("%d alerts, %d sections about one", len(rules), sections)
	}
}

type panel struct {
	Type, Title, Description string
	FieldConfig              struct{ Defaults struct{ Unit string } }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr string }
}

func dashboards(t *testing.T) (all []panel) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	uids := map[string]bool{}
	for _, file := range files {
		var d struct {
			UID, Title string
			Panels     []panel
		}
		if err := json.Unmarshal([]byte(read(t, "deploy", "grafana", filepath.Base(file))), &d); err != nil {
			t.Fatal(err)
		}
		if d.UID == "" || d.Title == "" || uids[d.UID] || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, %d panels", file, d.UID, d.Title, len(d.Panels))
		}
		uids[d.UID] = true
		for i, p := range d.Panels {
			if p.Type != "row" && (p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0) {
				t.Errorf("%s: panel %q has no description, no unit, or nothing to show", file, p.Title)
			}
			for _, o := range d.Panels[:i] {
				a, b := p.GridPos, o.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: panels %q and %q lie over each other", file, o.Title, p.Title)
				}
			}
		}
		all = append(all, d.Panels...)
	}
	return all
}

// monitored is a Prometheus that scrapes a server, and what it is asked by.
type monitored struct {
	*testing.T
	address string
}

// query returns the values that an expression has now, with their labels.
func (m *monitored) query(expr string) (found []map[string]string) {
	m.Helper()
	resp, err := http.PostForm("http://"+m.address+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		m.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		m.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	for _, r := range answer.Data.Result {
		found = append(found, r.Metric)
	}
	return found
}

// monitor runs a server with every part that tells metrics: Redis, definitions from a folder, a schedule, runs, lookups that
// succeed and fail; and a Prometheus with the configuration of compose that scrapes it.
func monitor(t *testing.T) *monitored {
	t.Helper()
	c := newContainer(t, "")
	c.once("init", "shop")
	c.dir = filepath.Join(c.dir, "shop")
	view := filepath.Join(c.dir, "definitions", "customers.yaml")
	raw, err := os.ReadFile(view)
	if err != nil {
		t.Fatal(err)
	}
	write(t, view, strings.Replace(string(raw), "kind: FeatureView\n", "kind: FeatureView\nschedule: \"0 0 1 1 *\"\n", 1))
	c.env["PROVENDER_ONLINE"] = onlinetest.StartRedisServer(t).URL
	c.env["GOMEMLIMIT"] = "1GiB"
	c.args = []string{"serve", "--definitions", "definitions"}
	web, _ := c.start()
	applied(t, c)
	c.once("materialize")

	address, dir := testenv.FreeAddress(t), t.TempDir()
	config := read(t, "deploy", "compose", "prometheus.yml")
	for from, to := range map[string]string{
		"provender:6566": strings.TrimPrefix(web, "http://"), "scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s",
	} {
		if !strings.Contains(config, from) {
			t.Fatalf("prometheus.yml has no %s", from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	write(t, filepath.Join(dir, "prometheus.yml"), config)
	write(t, filepath.Join(dir, "alerts.yaml"), read(t, "deploy", "prometheus", "alerts.yaml"))
	do(t, "promtool", "check", "config", filepath.Join(dir, "prometheus.yml"))
	run := exec.CommandContext(t.Context(), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=error")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
	testenv.Until(t, "Prometheus is ready", func() bool {
		code, _ := get("http://" + address + "/-/ready")
		return code == http.StatusOK
	})
	m := &monitored{T: t, address: address}
	// Rates need two scrapes, between which something has happened.
	testenv.Until(t, "lookups and round trips have rates", func() bool {
		lookup(t, web, `{"service": "churn_model_v1", "keys": {"customer_id": [1, 2]}}`)
		lookup(t, web, `{"service": "churn_model_v9", "keys": {"customer_id": [1]}}`)
		return len(m.query(`sum(rate(provender_store_requests_total[1m])) > 0 and sum(rate(provender_lookups_total{code="NOT_FOUND"}[1m])) > 0`)) > 0 &&
			len(m.query(`time() - provender_views_observed_timestamp_seconds < 60`)) > 0
	})
	return m
}

var (
	selector = regexp.MustCompile(`\b((?:provender|process|go)_[a-z0-9_]+|up)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`\b([a-z]+)(?:=~|!~|!=|=)"[^"]*"`)
	grouping = regexp.MustCompile(`\bby \(([a-z, ]*)\)`)
)

// TestEveryExpression: what alerts and dashboards ask for, a server tells: every series with its labels. Panels show something.
func TestEveryExpression(t *testing.T) {
	m := monitor(t)
	check := func(where, expr string) {
		t.Helper()
		var labels []map[string]string
		for _, s := range selector.FindAllString(expr, -1) {
			// A state or code need not be there now; what it is said by must be.
			if strings.HasPrefix(s, "provender_certificate_") {
				continue // this server shows none: internal/server tests that of one that does
			}
			found := m.query(matcher.ReplaceAllString(s, `$1=~".+"`))
			if len(found) == 0 {
				t.Errorf("%s asks for %s, which no server tells", where, s)
			}
			labels = append(labels, found...)
		}
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				label = strings.TrimSpace(label)
				if !slices.ContainsFunc(labels, func(l map[string]string) bool { return l[label] != "" }) {
					t.Errorf("%s groups by %s, which nothing in it has", where, label)
				}
			}
		}
	}
	for _, r := range alerts(t) {
		check(r.Alert, r.Expr)
	}
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m")
	shown := 0
	for _, p := range dashboards(t) {
		for _, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: a variable that is not known in %s", p.Title, target.Expr)
			}
			check(fmt.Sprintf("panel %q", p.Title), expr)
			if len(m.query(expr)) == 0 {
				t.Errorf("panel %q shows nothing: %s", p.Title, expr)
			}
			shown++
		}
	}
	t.Logf("%d expressions of panels", shown)
}
