package calls

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// TestIDs: a caller's id is kept where it can stand in a header and a log, and every call has one.
func TestIDs(t *testing.T) {
	m := (*Watcher)(nil).HTTP(http.MethodGet, "/v1/x")
	for _, given := range []string{"", "a-1_B.c:d/e+f=@~", "two words", "line\nline", `"`, "é", strings.Repeat("x", maxID), strings.Repeat("x", maxID+1)} {
		r, w := httptest.NewRequest(http.MethodGet, "/v1/x", nil), httptest.NewRecorder()
		r.Header.Set(Header, given)
		_, r = m.BeginHTTP(w, r)
		told := w.Header().Get(Header)
		if kept := told == given; !sane(told) || ID(r.Context()) != told || kept != sane(given) {
			t.Errorf("%q became %q, in the call %q", given, told, ID(r.Context()))
		}
	}
}

// TestSlow: slow calls are told one by one, and when there are too many, how many more there were.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(LogHandler(slog.NewTextHandler(&log, nil)))
		m := New(Options{Slow: time.Second, Logger: logger}).HTTP(http.MethodGet, "/v1/x")
		call := func(took time.Duration) {
			c, r := m.BeginHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/x", nil))
			time.Sleep(took)
			c.EndHTTP(r, codes.Unavailable)
		}
		call(999 * time.Millisecond)
		if log.Len() > 0 {
			t.Errorf("a quick call is told: %s", &log)
		}
		done := make(chan struct{})
		for range slowLines + 5 {
			go func() { call(time.Second); done <- struct{}{} }()
		}
		for range slowLines + 5 {
			<-done
		}
		time.Sleep(slowWindow)
		synctest.Wait()
		text := log.String()
		if strings.Count(text, `msg="slow request" method=http.x code=UNAVAILABLE took=1s`) != slowLines ||
			strings.Count(text, "request_id=") != slowLines || !strings.Contains(text, "not_told=5 within=10s slowest=1s") {
			t.Error(text)
		}
	})
}
