package gitops

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/store"
)

const (
	orders = `kind: FeatureView
name: orders
entities: [customer]
source: {parquet: "orders/*.parquet", event_time: at}
features:
  - {name: total, type: float64}
  - {name: items, type: int64}
`
	customer = "kind: Entity\nname: customer\njoin_keys: [{name: id, type: int64}]\n"
	service  = "kind: FeatureService\nname: model\nfeatures: [{view: orders}]\n"
)

// repository is a bare repository, and a work tree that commits are pushed from.
type repository struct {
	t          *testing.T
	bare, work string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	dir := t.TempDir()
	r := &repository{t, filepath.Join(dir, "bare.git"), filepath.Join(dir, "work")}
	r.git(dir, "init", "-q", "--bare", "-b", "main", r.bare)
	r.git(dir, "init", "-q", "-b", "main", r.work)
	r.git(r.work, "remote", "add", "origin", r.bare)
	return r
}

// git runs a command that no setting of the machine changes.
func (r *repository) git(dir string, args ...string) string {
	r.t.Helper()
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// put writes a file of the work tree; no content removes it.
func (r *repository) put(name, content string) {
	r.t.Helper()
	write(r.t, filepath.Join(r.work, name), content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if content == "" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// push commits the work tree and returns the commit.
func (r *repository) push() string {
	r.t.Helper()
	r.git(r.work, "add", "-A")
	r.git(r.work, "commit", "-q", "--allow-empty", "-m", "change")
	r.git(r.work, "push", "-q", "-f", "origin", "HEAD:main")
	return r.git(r.work, "rev-parse", "HEAD")
}

// serve serves the repository over HTTP, to who knows a password; calls counts requests for packs.
func (r *repository) serve(filter bool) (url string, packs func() int) {
	r.t.Helper()
	r.git(r.bare, "config", "uploadpack.allowFilter", map[bool]string{true: "true", false: "false"}[filter])
	backend := &cgi.Handler{
		Path:   filepath.Join(r.git(r.bare, "--exec-path"), "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"},
		Stderr: io.Discard,
	}
	var mu sync.Mutex
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user != "reader" || password != "canary" {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if req.Method == http.MethodPost {
			mu.Lock()
			count++
			mu.Unlock()
		}
		backend.ServeHTTP(w, req)
	}))
	r.t.Cleanup(server.Close)
	return strings.Replace(server.URL, "://", "://reader:canary@", 1) + "/bare.git", func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// world is a registry and what is applied to it.
type world struct {
	t       *testing.T
	control *control.Service
	dir     string
	log     *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	reg, err := store.Open(t.Context(), "sqlite://registry.db", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	return &world{t: t, dir: dir, log: new(bytes.Buffer), control: control.New(control.Config{
		Registry: reg, Project: &definition.Config{}, Files: source.New(dir, nil), Limits: parquet.Limits{}, Now: time.Now, Tool: "test",
	})}
}

// reconciler returns one as a server that has just started has it.
func (w *world) reconciler(from string, allowBreaking bool) *Reconciler {
	w.t.Helper()
	o, err := definition.ParseOrigin(from)
	if err != nil {
		w.t.Fatal(err)
	}
	return New(Config{
		Control: w.control, Origin: o, Dir: w.dir, Interval: time.Minute, AllowBreaking: allowBreaking,
		Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	})
}

// current is the newest revision.
func (w *world) current() registry.Revision {
	w.t.Helper()
	rev, _, err := w.control.Registry.Current(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return rev
}

// rollBack makes the registry what a revision was, by hand.
func (w *world) rollBack(number int64) {
	w.t.Helper()
	p, err := w.control.PlanRollback(w.t.Context(), number)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.control.Apply(w.t.Context(), p, control.ApplyOptions{AllowBreaking: true, By: "alice@here"}); err != nil {
		w.t.Fatal(err)
	}
}

// expect has one round, and says what must have come of it.
func (w *world) expect(r *Reconciler, state State, revision int64, reasons ...string) {
	w.t.Helper()
	_ = r.round(w.t.Context())
	s := r.Status()
	rev := w.current()
	text := s.Message + "\n" + strings.Join(s.Details, "\n")
	if s.State != state || rev.Number != revision {
		w.t.Fatalf("%s at revision %d, want %s at %d: %s", s.State, rev.Number, state, revision, text)
	}
	for _, reason := range reasons {
		if !strings.Contains(text, reason) {
			w.t.Errorf("%s: no %q in %s", s.State, reason, text)
		}
	}
	if (state == Failed) != (s.Failures > 0) {
		w.t.Errorf("%s with %d failures", s.State, s.Failures)
	}
}
