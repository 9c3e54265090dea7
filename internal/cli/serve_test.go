package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// shop makes a project whose definitions are applied.
func shop(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	provender(t, "init", dir)
	provender(t, "apply", "--yes", "-C", dir)
	return dir
}

// provender runs a command in a process of its own.
func provender(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.Command("provender", args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("provender %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// service is a provender serve in a process of its own.
type service struct {
	grpc, http string
	admin      string // "": none
	process    *exec.Cmd
	log        journal
	scheme     string       // of HTTP
	web        *http.Client // that trusts it
}

// journal is what a process has logged so far.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// startServe starts a server and waits until it lives.
func startServe(t *testing.T, dir string, flags ...string) *service {
	t.Helper()
	s := &service{scheme: "http://", web: http.DefaultClient}
	s.start(t, dir, append([]string{"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}, flags...)...)
	return s
}

// start starts a server of the project and waits until it lives.
func (s *service) start(t *testing.T, dir string, args ...string) {
	t.Helper()
	s.process = exec.Command("provender", append([]string{"serve", "-C", dir}, args...)...)
	s.process.Stderr = &s.log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.process.ProcessState == nil {
			_ = s.process.Process.Kill()
			_ = s.process.Wait()
		}
	})
	if err := testenv.Await("server alive", func() bool {
		var at struct {
			GRPC, HTTP, Admin string
			PID               int
		}
		raw, err := os.ReadFile(filepath.Join(dir, ".provender", "serve.json"))
		if err != nil || json.Unmarshal(raw, &at) != nil || at.PID != s.process.Process.Pid {
			return false
		}
		s.grpc, s.http, s.admin = at.GRPC, at.HTTP, at.Admin
		return s.get("/livez") == http.StatusOK
	}); err != nil {
		t.Fatalf("%v\n%s", err, &s.log)
	}
}

// get returns the HTTP status of a path, 0 where nobody answers.
func (s *service) get(path string) int {
	response, err := s.web.Get(s.scheme + s.http + path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func (s *service) dial(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// stop sends SIGTERM and waits for a clean end.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	defer killLate(s.process)()
	if err := s.process.Wait(); err != nil {
		t.Fatalf("serve: %v\n%s", err, &s.log)
	}
}

// killLate kills a process that is waited for in vain. Call what it returns when it is waited for no more.
func killLate(process *exec.Cmd) (stop func() bool) {
	return time.AfterFunc(testenv.Patience, func() { _ = process.Process.Kill() }).Stop
}

// No call that was begun before SIGTERM fails; later ones learn that nobody is there.
func TestDrain(t *testing.T) {
	dir := shop(t)
	configure(t, dir, "drain_delay: 3s") // longer than a caller takes from its look at signalled to its call
	provender(t, "materialize", "-C", dir)
	ids := make([]int64, 10_000)
	for i := range ids {
		ids[i] = int64(i)
	}
	for range 2 {
		s := startServe(t, dir)
		c := s.dial(t)
		var signalled atomic.Bool
		var answered atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for {
					late := signalled.Load()
					_, err := c.GetFeatures(t.Context(), client.Request{
						Service: "churn_model_v1", Keys: []client.Key{client.Int64s("customer_id", ids...)},
					})
					if err == nil {
						answered.Add(1)
						continue
					}
					var failed *client.Error
					if !late || !errors.As(err, &failed) || failed.Code != client.CodeUnavailable {
						t.Errorf("after %d answers, begun after the signal: %v: %v", answered.Load(), late, err)
					}
					return
				}
			})
		}
		testenv.Until(t, "calls under way", func() bool { return answered.Load() >= 20 || t.Failed() })
		signalled.Store(true)
		s.stop(t)
		callers.Wait()
	}
}

// gate stands between a server and its store: shut, it drops every connection.
type gate struct {
	net.Listener
	open atomic.Bool
}

func startGate(t *testing.T, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if !g.open.Load() {
				_ = in.Close()
				continue
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = in.Close(), out.Close()
				}()
			}
		}
	}()
	return g
}

// A server begins without its store: it lives, is not ready, and answers Unavailable, until the store is there.
func TestStoreComesLater(t *testing.T) {
	dir := shop(t)
	redis := onlinetest.StartRedisServer(t, "--requirepass", "canary")
	store := startGate(t, strings.TrimPrefix(redis.URL, "redis://"))
	config := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "embedded://.provender/online", "redis://:canary@"+store.Addr().String()+"/0", 1)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	store.open.Store(true)
	provender(t, "materialize", "-C", dir)

	store.open.Store(false)
	s := startServe(t, dir)
	if code := s.get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", code)
	}
	c, err := client.Dial(t.Context(), s.grpc, client.WithoutRepeats())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := client.Request{Service: "churn_model_v1", Keys: []client.Key{client.Int64s("customer_id", 1)}}
	var failed *client.Error
	if _, err := c.GetFeatures(t.Context(), req); !errors.As(err, &failed) || failed.Code != client.CodeUnavailable || failed.RetryAfter == 0 {
		t.Errorf("lookup without a store: %v", err)
	}
	text = s.metrics(t)
	for _, want := range []string{"provender_online_store_up 0", "provender_registry_up 1", `provender_lookups_total{code="UNAVAILABLE"} 1`} {
		if !strings.Contains(text, want+"\n") || strings.Contains(text, "canary") {
			t.Errorf("no %s, or a password, in\n%s", want, text)
		}
	}
	store.open.Store(true)
	testenv.Until(t, "ready", func() bool { return s.get("/readyz") == http.StatusOK })
	if _, err := c.GetFeatures(t.Context(), req); err != nil {
		t.Error(err)
	}
	s.stop(t)
	if n := strings.Count(s.log.String(), "online store does not answer"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &s.log)
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Errorf("the password is told:\n%s", &s.log)
	}
}
