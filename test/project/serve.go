package project

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
)

// Server is a project's own server, in a process. A second one of the same folder takes over its address file.
type Server struct {
	*Process
	GRPC, HTTP string // host:port
	t          testing.TB
}

// Serve starts a server on free ports, with failpoints armed, and waits until it is ready.
func (p *Project) Serve(failpoints string, args ...string) *Server {
	p.t.Helper()
	return p.ServeAt("127.0.0.1:0", "127.0.0.1:0", failpoints, args...)
}

// ServeAt is Serve at addresses.
func (p *Project) ServeAt(grpc, web, failpoints string, args ...string) *Server {
	p.t.Helper()
	s := p.Begin(grpc, web, failpoints, args...)
	testenv.Until(p.t, "the server is ready", s.Ready)
	return s
}

// Begin is ServeAt that waits until the server listens, ready or not.
func (p *Project) Begin(grpc, web, failpoints string, args ...string) *Server {
	p.t.Helper()
	s := &Server{Process: p.Start(failpoints, append([]string{"serve", "--grpc", grpc, "--http", web}, args...)...), t: p.t}
	testenv.Until(p.t, "the server listens", func() bool {
		if s.Ended() {
			p.t.Fatalf("the server ended: %+v", s.Wait())
		}
		var at struct {
			GRPC, HTTP string
			PID        int
		}
		raw, err := os.ReadFile(filepath.Join(p.Dir, ".provender", "serve.json"))
		if err != nil || json.Unmarshal(raw, &at) != nil || at.PID != s.PID() {
			return false
		}
		s.GRPC, s.HTTP = at.GRPC, at.HTTP
		return s.status("/livez") == http.StatusOK
	})
	return s
}

// Ready reports whether the server says that it is.
func (s *Server) Ready() bool { return s.status("/readyz") == http.StatusOK }

// Alive reports whether the server says that it lives.
func (s *Server) Alive() bool { return s.status("/livez") == http.StatusOK }

// status is that of an answer, 0 for none.
func (s *Server) status(path string) int {
	resp, err := http.Get("http://" + s.HTTP + path)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Metric is what the server tells Prometheus under a name that has no labels.
func (s *Server) Metric(name string) float64 {
	s.t.Helper()
	resp, err := http.Get("http://" + s.HTTP + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return value
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}
