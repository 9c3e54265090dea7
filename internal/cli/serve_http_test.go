package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/sdk/client"
)

// lookup posts a lookup over HTTP.
func (s *service) lookup(t *testing.T, body string) (int, []byte) {
	t.Helper()
	resp, err := http.Post("http://"+s.http+"/v1/features:get", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

// TestServeHTTP: HTTP answers as gRPC does, by limits of the configuration, and follows what others apply.
func TestServeHTTP(t *testing.T) {
	dir := shop(t)
	provender(t, "materialize", "-C", dir)
	config := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, "\nlimits: {request_entities: 30, request_message: 1000}\n"...)
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, dir)
	if code := s.get("/openapi.json"); code != http.StatusOK {
		t.Errorf("/openapi.json: %d", code)
	}
	if code := s.get("/v1/status"); code != http.StatusOK {
		t.Errorf("/v1/status: %d", code)
	}

	ids := make([]int64, 25)
	for i := range ids {
		ids[i] = int64(i)
	}
	numbers, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	code, text := s.lookup(t, `{"service":"churn_model_v1","keys":{"customer_id":`+string(numbers)+`},"event_times":true}`)
	var got struct {
		Revision int64
		Columns  []struct {
			Name     string
			View     int
			Values   []any
			Statuses []string
		}
		Views []struct {
			T          string
			EventTimes []*string `json:"event_times"`
		}
	}
	if err := json.Unmarshal(text, &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %v %s", code, err, text)
	}
	want, err := s.dial(t).GetFeatures(t.Context(), client.Request{
		Service: "churn_model_v1", Keys: []client.Key{client.Int64s("customer_id", ids...)}, EventTimes: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Revision != want.Revision || len(got.Columns) != len(want.Columns) || len(got.Columns) == 0 {
		t.Fatalf("%s", text)
	}
	for i, c := range want.Columns {
		g := got.Columns[i]
		if g.Name != c.Name || g.View != c.View {
			t.Errorf("column %d: %s of view %d", i, g.Name, g.View)
		}
		for k := range ids {
			var value any
			switch {
			case c.Values.IsNull(k):
			case c.Values.Type().Kind == client.Int64:
				value = float64(c.Values.Int64(k))
			case c.Values.Type().Kind == client.Float64:
				value = c.Values.Float64(k)
			default:
				value = string(c.Values.Bytes(k))
			}
			if diff := cmp.Diff(value, g.Values[k]); diff != "" || c.Status(k).String() != g.Statuses[k] {
				t.Errorf("%s of %d: %s, want %s\n%s", c.Name, k, g.Statuses[k], c.Status(k), diff)
			}
			event := got.Views[g.View].EventTimes[k]
			if w := want.Views[c.View].EventTimes[k]; w.IsZero() != (event == nil) || event != nil && *event != w.Format("2006-01-02T15:04:05.999999Z07:00") {
				t.Errorf("event time of %d: %v, want %v", k, event, w)
			}
		}
	}

	for body, setting := range map[string]string{
		`{"service":"churn_model_v1","keys":{"customer_id":[` + strings.Repeat("1,", 30) + `1]}}`: "limits.request_entities",
		`{"service":"churn_model_v1"` + strings.Repeat(" ", 1000) + `}`:                           "limits.request_message",
	} {
		if code, text := s.lookup(t, body); code != http.StatusRequestEntityTooLarge || !bytes.Contains(text, []byte(setting)) {
			t.Errorf("%d %s, want %s", code, text, setting)
		}
	}

	// A service that another process applies is there at once.
	definition := "kind: FeatureService\nname: churn_model_v9\nfeatures:\n  - view: customer_orders\n    join: {customer_id: buyer}\n"
	if err := os.WriteFile(filepath.Join(dir, "v9.yaml"), []byte(definition), 0o644); err != nil {
		t.Fatal(err)
	}
	provender(t, "apply", "--yes", "-C", dir)
	if code, text := s.lookup(t, `{"service":"churn_model_v9","keys":{"buyer":["7"]}}`); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	s.stop(t)
	if log := s.log.String(); slices.ContainsFunc([]string{"level=ERROR", "panic"}, func(x string) bool { return strings.Contains(log, x) }) {
		t.Errorf("logged:\n%s", log)
	}
}
