package cli_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// metrics returns what a scrape gets.
func (s *service) metrics(t *testing.T) string {
	t.Helper()
	resp, err := s.web.Get(s.scheme + s.http + "/metrics")
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

// TestServeMetrics: a server tells how its views, runs and lookups go, and what it tells is documented. That alerts and
// dashboards ask for nothing else is test/deploy's.
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
		`provender_requests_total{code="OK",method="http.features:get"} 1`,
		`provender_requests_total{code="NOT_FOUND",method="http.features:get"} 1`,
		`provender_requests_total{code="INVALID_ARGUMENT",method="http.features:get"} 1`,
		`provender_request_duration_seconds_count{method="http.features:get"} 3`,
		`provender_store_requests_total{outcome="ok"} 1`,
		`provender_store_requests_total{outcome="timeout"} 0`,
		`provender_store_request_duration_seconds_count 1`,
		`provender_scheduler_calls{state="running"} 0`,
		`provender_scheduler_last_tick_timestamp_seconds 0`,
	}
	missing := func() []string {
		return slices.DeleteFunc(slices.Clone(wants), func(w string) bool { return strings.Contains(text, w+"\n") })
	}
	if err := testenv.Await("all metrics", func() bool {
		text = s.metrics(t)
		return len(missing()) == 0
	}); err != nil {
		t.Fatalf("%v: no %q in\n%s", err, missing(), text)
	}
	if strings.Contains(text, "7654321") || strings.Contains(text, "customer_id") {
		t.Errorf("keys are told:\n%s", text)
	}
	s.stop(t)
	told := append(names(text), names(metricsOnRedis(t))...)
	slices.Sort(told)
	told = slices.Compact(told)
	checkMetricsPage(t, told)
}

// names returns the names of our metrics in what a scrape gets.
func names(text string) (told []string) {
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (provender_[a-z0-9_]+) `).FindAllStringSubmatch(text, -1) {
		told = append(told, m[1])
	}
	return told
}

// shopOnRedis makes a project whose online store is a Redis of its own, and applies its definitions.
func shopOnRedis(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	provender(t, "init", dir)
	config := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	raw = regexp.MustCompile(`(?m)^online: .*`).ReplaceAll(raw, []byte("online: "+onlinetest.StartRedisServer(t).URL))
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	provender(t, "apply", "--yes", "-C", dir)
	return dir
}

// metricsOnRedis returns what a server with Redis and TLS tells, called over gRPC by a key that must not be told.
func metricsOnRedis(t *testing.T) string {
	t.Helper()
	dir := shopOnRedis(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") // nobody is there, which harms no call
	ca := pki.New(t)
	ends := time.Now().Add(time.Hour).Truncate(time.Second)
	ca.Write(t, dir, "server", pki.Leaf{Name: "server", End: ends})
	configure(t, dir, "tls: {cert: server.crt, key: server.key}")
	trust := &tls.Config{RootCAs: ca.Pool()}
	s := &service{scheme: "https://", web: secured(trust)}
	s.start(t, dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	provender(t, "materialize", "-C", dir)
	c, err := client.Dial(t.Context(), s.grpc, client.WithTLS(trust))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, service := range []string{"churn_model_v1", "churn_model_v9"} {
		_, _ = c.GetFeatures(t.Context(), client.Request{Service: service, Keys: []client.Key{client.Int64s("customer_id", 1, 7654321)}})
	}
	text := s.metrics(t)
	for _, want := range []string{
		`provender_requests_total{code="OK",method="GetFeatures"} 1`, `provender_requests_total{code="NOT_FOUND",method="GetFeatures"} 1`,
		`provender_request_duration_seconds_count{method="GetFeatures"} 2`, `provender_store_requests_total{outcome="ok"} 2`,
		`provender_cells_total{status="PRESENT"} 3`, `provender_cells_total{status="NOT_FOUND"} 3`, `provender_store_pool_timeouts_total 0`,
		fmt.Sprintf("provender_certificate_expiry_timestamp_seconds %v", float64(ends.Unix())),
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || strings.Contains(text, "7654321") || strings.Contains(text, "customer_id") || strings.Contains(text, s.grpc) {
		t.Errorf("a server with Redis tells\n%s", text)
	}
	s.stop(t)
	return text
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
