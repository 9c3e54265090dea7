package servers

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

// starting is a server at addresses that are known before it has started.
type starting struct {
	*project.Process
	t                 *testing.T
	grpc, http, admin string
}

func (m machine) begin(t *testing.T) *starting {
	t.Helper()
	s := reserve(t)
	s.Process = m.Start("", "serve", "--set", "server.http="+s.http, "--grpc", s.grpc, "--admin", s.admin)
	return s
}

// reserve finds free addresses.
func reserve(t *testing.T) *starting {
	t.Helper()
	return &starting{t: t, grpc: testenv.FreeAddress(t), http: testenv.FreeAddress(t), admin: testenv.FreeAddress(t)}
}

// ask returns the status and the body of an answer, 0 for none.
func ask(addr, path string) (int, string) {
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// are checks what the server says of itself, everywhere.
func (s *starting) are(started, ready bool) {
	s.t.Helper()
	for path, good := range map[string]bool{"/livez": true, "/startedz": started, "/readyz": ready} {
		for _, addr := range []string{s.http, s.admin} {
			want := http.StatusOK
			if !good {
				want = http.StatusServiceUnavailable
			}
			if code, body := ask(addr, path); code != want || strings.Contains(body, postgres.Password) {
				s.t.Errorf("%s%s: %d, want %d: %s", addr, path, code, want, body)
			}
		}
	}
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	for service, good := range map[string]bool{"live": true, "started": started, "ready": ready, "": ready} {
		want := healthpb.HealthCheckResponse_SERVING
		if !good {
			want = healthpb.HealthCheckResponse_NOT_SERVING
		}
		// Those who watch over gRPC are told a moment after HTTP has it.
		testenv.Until(s.t, fmt.Sprintf("health of %q is %v", service, want), func() bool {
			answer, err := healthpb.NewHealthClient(conn).Check(s.t.Context(), &healthpb.HealthCheckRequest{Service: service})
			return err == nil && answer.Status == want
		})
	}
}

func (s *starting) until(path string, want int) {
	s.t.Helper()
	testenv.Until(s.t, fmt.Sprintf("%s is %d", path, want), func() bool {
		if s.Ended() {
			s.t.Fatalf("the server ended: %+v", s.Wait())
		}
		code, _ := ask(s.admin, path)
		return code == want
	})
}

// because waits until the server says why it is not.
func (s *starting) because(path, why string) {
	s.t.Helper()
	testenv.Until(s.t, path+": "+why, func() bool {
		_, body := ask(s.admin, path)
		return strings.Contains(body, why)
	})
}

// lookup returns the code of a lookup, over gRPC and over HTTP.
func (s *starting) lookup() (string, int) {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), s.grpc, client.WithoutRepeats())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_, err = c.GetFeatures(s.t.Context(), client.Request{Features: []string{"stats:trips"}, Keys: []client.Key{client.Int64s("driver", 1)}})
	code := ""
	if failed, ok := err.(*client.Error); ok { //nolint:errorlint // it is never wrapped
		code = failed.Code
	} else if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Post("http://"+s.http+"/v1/features:get", "application/json", strings.NewReader(`{"features": ["stats:trips"], "keys": {"driver": [1]}}`))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return code, resp.StatusCode
}

// A server whose registry is away lives, waits, and starts when it comes. Told to end meanwhile, it does.
func TestServerWaitsForItsRegistry(t *testing.T) {
	t.Parallel()
	database := postgres.Start(t)
	site := newSite(t, database.Database(t))
	m := site.machine()
	m.Must("apply", "--yes")
	m.Must("materialize")
	database.Kill(t)

	s := m.begin(t)
	s.until("/livez", http.StatusOK)
	s.are(false, false)
	if code, status := s.lookup(); code != client.CodeUnavailable || status != http.StatusServiceUnavailable {
		t.Errorf("a lookup: %s, %d", code, status)
	}
	s.because("/startedz", "the registry does not answer: open registry postgres://127.0.0.1")
	if _, why := ask(s.http, "/readyz"); why != "the registry does not answer\n" {
		t.Errorf("over HTTP: %q", why)
	}
	if code, _ := ask(s.admin, "/debug/pprof/goroutine"); code != http.StatusOK {
		t.Errorf("goroutines of a server that waits: %d", code)
	}
	other := m.begin(t)
	other.because("/readyz", "the registry does not answer: ")
	other.Signal(syscall.SIGTERM)
	if r := other.Wait(); r.Code != 0 || !strings.Contains(r.Stderr, "can't start yet") || strings.Contains(r.Stderr, postgres.Password) {
		t.Errorf("SIGTERM meanwhile: %+v", r)
	}

	database.Restart(t)
	s.until("/readyz", http.StatusOK)
	s.are(true, true)
	if code, status := s.lookup(); code != "" || status != http.StatusOK {
		t.Errorf("a lookup: %s, %d", code, status)
	}
	s.Signal(syscall.SIGTERM)
	if r := s.Wait(); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// What does not pass by itself is an error.
func TestServerDoesNotWaitInVain(t *testing.T) {
	t.Parallel()
	database := postgres.Shared(t)
	url := database.Database(t)
	m := newSite(t, url).machine()
	m.Must("apply", "--yes")
	role := "night_" + strings.ToLower(rand.Text())
	database.Role(t, role, "day")
	for name, c := range map[string]struct{ registry, want string }{
		"password": {database.URLFor(url, role, "wrong"), "refuses the login"},
		"database": {strings.Replace(url, "/test_", "/nosuch_", 1), "does not exist"},
	} {
		s := m.Start("", "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--set", "registry="+c.registry)
		if r := s.Wait(); r.Code != 1 || !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A server starts without its online store, and is started when that has answered once.
func TestServerStartsWithoutItsStore(t *testing.T) {
	t.Parallel()
	redis := onlinetest.StartRedisServer(t)
	m := machine{project.New(t, redis.URL)}
	m.Must("apply", "--yes")
	redis.Kill()
	s := m.begin(t)
	s.until("/metrics", http.StatusOK)
	s.are(false, false)
	redis.Restart(t)
	s.until("/readyz", http.StatusOK)
	s.are(true, true)
	redis.Kill()
	s.until("/readyz", http.StatusServiceUnavailable)
	s.are(true, false)
	if _, why := ask(s.admin, "/readyz"); !strings.Contains(why, redis.Addr) {
		t.Errorf("the admin address does not say why: %s", why)
	}
}

func TestAdminAddress(t *testing.T) {
	t.Parallel()
	m := machine{project.New(t, project.Embedded)}
	m.Must("apply", "--yes")

	s := m.begin(t)
	s.until("/readyz", http.StatusOK)
	for path, want := range map[string]int{
		"/metrics": 200, "/status": 200, "/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/cmdline": 404, "/debug/pprof/profile?seconds=1": 200,
		"/debug/pprof/mutex?seconds=1": 200, "/debug/pprof/block": 200, "/debug/pprof/profile?seconds=3000": 400, "/v1/status": 404,
	} {
		if code, body := ask(s.admin, path); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, body)
		}
	}
	if code, _ := ask(s.http, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("profiles over HTTP: %d", code)
	}

	// Another server of this machine: an address that was asked for must be free, the default need not.
	another := machine{project.New(t, project.Embedded)}
	another.Must("apply", "--yes")
	taken := another.Run("serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", s.admin)
	if taken.Code != 1 || !strings.Contains(taken.Stderr, "server.admin") {
		t.Errorf("an address that is taken: %+v", taken)
	}
	if open := another.Run("serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "0.0.0.0:0"); open.Code != 1 ||
		!strings.Contains(open.Stderr, "others than this machine reach it") {
		t.Errorf("an address that others reach: %+v", open)
	}
	testenv.Until(t, "the default address is taken for as long as the test runs", func() bool {
		l, err := net.Listen("tcp", "127.0.0.1:6567")
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err == nil
	})
	for _, args := range [][]string{nil, {"--admin", "off"}} {
		server := another.Serve("", args...)
		raw, err := os.ReadFile(filepath.Join(another.Dir, ".provender", "serve.json"))
		if err != nil {
			t.Fatal(err)
		}
		var at struct{ Admin string }
		if err := json.Unmarshal(raw, &at); err != nil || at.Admin != "" {
			t.Errorf("%v: %v in %s", args, err, raw)
		}
		server.Signal(syscall.SIGTERM)
		if r := server.Wait(); r.Code != 0 || strings.Contains(r.Stderr, "there is no admin address") != (args == nil) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
