package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// metrics returns what a scrape gets.
func (s *service) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %d, %v", resp.StatusCode, err)
	}
	return string(text)
}

var ourMetric = regexp.MustCompile(`\bprovender_[a-z0-9_]+`)

// TestServeMetrics: a server tells how its views, runs and lookups go, what it tells is documented, and the alerts ask for
// nothing else.
func TestServeMetrics(t *testing.T) {
	dir := shop(t)
	view := filepath.Join(dir, "definitions", "customers.yaml")
	raw, err := os.ReadFile(view)
	if err != nil {
		t.Fatal(err)
	}
	scheduled := strings.Replace(string(raw), "kind: FeatureView\n", "kind: FeatureView\nschedule: \"0 0 1 1 *\"\n", 1)
	if err := os.WriteFile(view, []byte(scheduled), 0o644); err != nil {
		t.Fatal(err)
	}
	provender(t, "apply", "--yes", "-C", dir)
	s := startServe(t, dir, "--definitions", ".")
	provender(t, "materialize", "-C", dir)
	for body, want := range map[string]int{
		`{"service":"churn_model_v1","keys":{"customer_id":[1,2,7654321]}}`: http.StatusOK,
		`{"service":"churn_model_v9","keys":{"customer_id":[1]}}`:           http.StatusNotFound,
		`{"service":"churn_model_v1","keys":{}}`:                            http.StatusBadRequest,
	} {
		if code, text := s.lookup(t, body); code != want {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	var text string
	wants := []string{
		`provender_view_state{state="ok",view="customer_orders"} 1`,
		`provender_view_source_readable{view="customer_orders"} 1`,
		`provender_view_pending_files{view="customer_orders"} 0`,
		`provender_view_failures{view="customer_orders"} 0`,
		`provender_view_paused{view="customer_orders"} 0`,
		`provender_runs_total{state="succeeded",view="customer_orders"} 1`,
		`provender_run_duration_seconds_count{state="succeeded"} 1`,
		`provender_run_rows_total{kind="rejected",view="customer_orders"} 0`,
		`provender_runs{state="running"} 0`,
		`provender_lookups_total{code="OK"} 1`,
		`provender_lookups_total{code="NOT_FOUND"} 1`,
		`provender_lookups_total{code="INVALID_ARGUMENT"} 1`,
		`provender_lookups_total{code="INTERNAL"} 0`,
		`provender_lookup_entities_total 3`,
		`provender_lookup_damaged_rows_total 0`,
		`provender_online_store_up 1`,
		`provender_registry_up 1`,
		`provender_revision 2`,
		`provender_definitions_state{state="applied"} 1`,
		`provender_definitions_state{state="failed"} 0`,
		`provender_definitions_failures 0`,
	}
	missing := func() []string {
		return slices.DeleteFunc(slices.Clone(wants), func(w string) bool { return strings.Contains(text, w+"\n") })
	}
	if err := until("all metrics", func() bool {
		text = s.metrics(t)
		return len(missing()) == 0
	}); err != nil {
		t.Fatalf("%v: no %q in\n%s", err, missing(), text)
	}
	if strings.Contains(text, "7654321") || strings.Contains(text, "customer_id") {
		t.Errorf("keys are told:\n%s", text)
	}
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (provender_[a-z0-9_]+) `).FindAllStringSubmatch(text, -1) {
		told = append(told, m[1])
	}
	checkMetricsPage(t, told)
	checkAlerts(t, told)
	s.stop(t)
}

func page(t *testing.T, name ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "docs"}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkMetricsPage compares the page about metrics with those told.
func checkMetricsPage(t *testing.T, told []string) {
	t.Helper()
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(provender_[a-z0-9_]+)`").FindAllStringSubmatch(page(t, "reference", "metrics.md"), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(told)
	slices.Sort(documented)
	if !slices.Equal(told, documented) {
		t.Errorf("a server tells\n%q\nmetrics.md has\n%q", told, documented)
	}
}

// checkAlerts reads the alert rules: each asks for what is told, and has its section for who is on call.
func checkAlerts(t *testing.T, told []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Load(raw, &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	operate := page(t, "how-to", "operate.md")
	rules := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules++
			for _, name := range ourMetric.FindAllString(r.Expr, -1) {
				if !slices.Contains(told, name) && !slices.Contains(told, strings.TrimSuffix(name, "_bucket")) {
					t.Errorf("%s asks for %s, which no server tells", r.Alert, name)
				}
			}
			anchor := "docs/how-to/operate.md#" + strings.ToLower(r.Alert)
			if r.Annotations["runbook"] != anchor || !strings.Contains(operate, "\n### "+r.Alert+"\n") {
				t.Errorf("%s: runbook %q, or no such section", r.Alert, r.Annotations["runbook"])
			}
			if r.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: annotations %v, labels %v", r.Alert, r.Annotations, r.Labels)
			}
		}
	}
	if sections := strings.Count(operate, "\n### Provender"); rules == 0 || sections != rules {
		t.Errorf("%d alerts, %d sections about one", rules, sections)
	}
}
