package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/materialize"
)

// startWebhook runs a webhook for a URL until the test ends; stop ends it sooner. log is what it has logged by then.
func startWebhook(t *testing.T, address string) (w *webhook, log *bytes.Buffer, stop func()) {
	t.Helper()
	log = new(bytes.Buffer)
	w = newWebhook(address, "shop", "prod", slog.New(slog.NewTextHandler(log, nil)))
	w.pause = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return w, log, stop
}

var (
	failedAt  = time.Date(2026, 5, 1, 12, 0, 1, 0, time.UTC)
	failedRun = materialize.Run{
		ID: 12, View: "orders", Attempt: 4, Error: "source s: no files", Finished: failedAt, T: failedAt.Add(-time.Second),
	}
	recoveredRun = materialize.Run{ID: 13, View: "orders", Attempt: 1, Finished: failedAt.Add(time.Minute)}
)

// Messages come in order, also to a server that fails at first, and have the documented form.
func TestWebhook(t *testing.T) {
	var tries atomic.Int64
	bodies := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" ||
			user != "me" || password != "hunter2" || r.URL.RequestURI() != "/hooks/hunter3?key=hunter4" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		switch tries.Add(1) {
		case 1:
			http.Error(w, "hunter5", http.StatusBadGateway)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			bodies <- string(body)
		}
	}))
	defer server.Close()
	w, log, stop := startWebhook(t, strings.Replace(server.URL, "//", "//me:hunter2@", 1)+"/hooks/hunter3?key=hunter4")
	w.send(eventFailed, &failedRun)
	w.send(eventRecovered, &recoveredRun)
	for _, want := range []map[string]any{
		{
			"version": 1., "event": "failed", "project": "shop", "environment": "prod", "view": "orders", "run": 12.,
			"attempt": 4., "error": "source s: no files", "t": "2026-05-01T12:00:00Z", "at": "2026-05-01T12:00:01Z",
		},
		{
			"version": 1., "event": "recovered", "project": "shop", "environment": "prod", "view": "orders", "run": 13.,
			"attempt": 1., "at": "2026-05-01T12:01:01Z",
		},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(<-bodies), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	stop()
	if told := log.String(); strings.Contains(told, "hunter") || strings.Count(told, "sent again") != 2 || !strings.Contains(told, "host=127.0.0.1") {
		t.Errorf("logged\n%s", told)
	}
}

// What can't be sent is dropped after three tries, and told by its host alone.
func TestWebhookFails(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	mux := http.NewServeMux()
	mux.Handle("/hunter2", http.RedirectHandler("/taken", http.StatusFound))
	mux.HandleFunc("/taken", func(http.ResponseWriter, *http.Request) {})
	redirects := httptest.NewServer(mux)
	defer redirects.Close()
	for name, address := range map[string]string{
		"gone": gone.URL + "/hunter2", "redirects": redirects.URL + "/hunter2", "no host": "http://hunter2@/hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			w, log, stop := startWebhook(t, address)
			stop() // the test delivers
			m := &message{Event: eventFailed}
			err := w.deliver(t.Context(), m)
			if err == nil || strings.Contains(err.Error(), "hunter") {
				t.Errorf("error %v", err)
			}
			if told := log.String(); strings.Contains(told, "hunter") || strings.Count(told, "sent again") != webhookTries-1 {
				t.Errorf("logged\n%s", told)
			}
		})
	}
}

// A server that does not answer holds nobody up; what is too much is dropped, and the end of the process is not late.
func TestWebhookHangs(t *testing.T) {
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	}))
	defer server.Close()
	defer close(answer)
	w, log, stop := startWebhook(t, server.URL)
	w.send(eventFailed, &failedRun)
	<-asked
	for range webhookQueue + 3 {
		w.send(eventFailed, &failedRun)
	}
	stop()
	if n := strings.Count(log.String(), "is dropped"); n != 3 {
		t.Errorf("%d messages were dropped\n%s", n, log)
	}
}
