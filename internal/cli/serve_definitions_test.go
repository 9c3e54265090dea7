package cli_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
)

// features is a Git repository that a server takes definitions from.
type features struct{ bare, work string }

func newFeatures(t *testing.T, definitions string) *features {
	t.Helper()
	dir := t.TempDir()
	f := &features{filepath.Join(dir, "bare.git"), filepath.Join(dir, "work")}
	git(t, dir, "init", "-q", "--bare", "-b", "main", f.bare)
	git(t, dir, "init", "-q", "-b", "main", f.work)
	if err := os.CopyFS(filepath.Join(f.work, "definitions"), os.DirFS(definitions)); err != nil {
		t.Fatal(err)
	}
	return f
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-C", dir}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits the work tree, and returns the commit.
func (f *features) push(t *testing.T) string {
	t.Helper()
	git(t, f.work, "add", "-A")
	git(t, f.work, "commit", "-q", "-m", "change")
	git(t, f.work, "push", "-q", f.bare, "HEAD:main")
	return git(t, f.work, "rev-parse", "HEAD")
}

// edit replaces a text in a definition file.
func (f *features) edit(t *testing.T, name, from, to string) {
	t.Helper()
	path := filepath.Join(f.work, "definitions", name)
	raw, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(raw, []byte(from)) {
		t.Fatalf("%s has no %q: %v", name, from, err)
	}
	if err := os.WriteFile(path, bytes.Replace(raw, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

type definitionsReport struct {
	Source, State, Message, Seen, Applied string
	Details                               []string
	Revision                              int64
}

// awaitDefinitions waits until status has a state and a commit, and returns what it says.
func awaitDefinitions(t *testing.T, s *service, state, seen string) definitionsReport {
	t.Helper()
	var got struct{ Definitions definitionsReport }
	err := testenv.Await("definitions "+state, func() bool {
		raw := provender(t, "status", "--server", s.grpc, "-o", "json")
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			t.Fatal(err)
		}
		return got.Definitions.State == state && got.Definitions.Seen == seen
	})
	if err != nil {
		t.Fatalf("%v: %+v\n%s", err, got.Definitions, &s.log)
	}
	return got.Definitions
}

// hook calls a server's webhook and returns its answer.
func (s *service) hook(t *testing.T, secret string) int {
	t.Helper()
	body := `{"ref": "refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.http+"/hooks/definitions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

const hookSecret = "canary-0123456789"

// TestServeDefinitions: a server that nothing was applied to takes all from a repository, follows it when its webhook is
// called, and tells how that goes.
func TestServeDefinitions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	provender(t, "init", dir)
	repo := newFeatures(t, filepath.Join(dir, "definitions"))
	if err := os.RemoveAll(filepath.Join(dir, "definitions")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	settings := func(more string) {
		text := string(raw) + "\ndefinitions: {from: \"git:" + repo.bare + "#main:definitions\", interval: 1h" + more + "}\n"
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	settings(", webhook_secret: \"${HOOK}\"")
	t.Setenv("HOOK", hookSecret)
	commit := repo.push(t)

	s := startServe(t, dir)
	first := awaitDefinitions(t, s, "applied", commit)
	if first.Revision != 1 || first.Applied != commit || first.Source != "git:"+repo.bare+"#main:definitions" {
		t.Errorf("%+v", first)
	}
	provender(t, "materialize", "-C", dir)
	if code, text := s.lookup(t, `{"service":"churn_model_v1","keys":{"customer_id":[1]}}`); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}

	repo.edit(t, "churn_model.yaml", "churn_model_v1", "churn_model_v2")
	commit = repo.push(t)
	if code := s.hook(t, hookSecret+"x"); code != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", code)
	}
	if code := s.hook(t, hookSecret); code != http.StatusAccepted {
		t.Errorf("the right secret: %d", code)
	}
	refused := awaitDefinitions(t, s, "refused", commit)
	if refused.Revision != 1 || !strings.Contains(strings.Join(refused.Details, "\n"), "churn_model_v1") {
		t.Errorf("%+v", refused)
	}
	text := provender(t, "status", "-C", dir)
	if !strings.Contains(text, "Definitions from git:"+repo.bare) || !strings.Contains(text, "refused") || !strings.Contains(text, commit[:19]) {
		t.Errorf("status says\n%s", text)
	}
	if metrics := s.metrics(t); !strings.Contains(metrics, `provender_definitions_state{state="refused"} 1`) {
		t.Errorf("metrics:\n%s", metrics)
	}
	s.stop(t)

	settings(", allow_breaking: true")
	s = startServe(t, dir)
	if allowed := awaitDefinitions(t, s, "applied", commit); allowed.Revision != 2 {
		t.Errorf("%+v", allowed)
	}
	if code := s.hook(t, hookSecret); code != http.StatusNotFound {
		t.Errorf("without a secret the webhook answers %d", code)
	}
	s.stop(t)

	repo.edit(t, "customers.yaml", "kind: FeatureView", "kind: FeatureView\nshedule: now")
	commit = repo.push(t)
	s = startServe(t, dir)
	invalid := awaitDefinitions(t, s, "invalid", commit)
	if invalid.Revision != 2 || !strings.Contains(strings.Join(invalid.Details, "\n"), "customers.yaml:") {
		t.Errorf("%+v", invalid)
	}
	s.stop(t)

	if err := os.Rename(repo.bare, repo.bare+".away"); err != nil {
		t.Fatal(err)
	}
	s = startServe(t, dir)
	awaitDefinitions(t, s, "failed", "")
	if code, text := s.lookup(t, `{"service":"churn_model_v2","keys":{"customer_id":[1]}}`); code != http.StatusOK {
		t.Errorf("while the repository is away: %d %s", code, text)
	}
	if err := os.Rename(repo.bare+".away", repo.bare); err != nil {
		t.Fatal(err)
	}
	awaitDefinitions(t, s, "invalid", commit)
	if strings.Contains(s.log.String(), "canary") {
		t.Errorf("the secret is logged:\n%s", &s.log)
	}
	s.stop(t)

	history := provender(t, "history", "-C", dir)
	if strings.Count(history, "gitops") != 2 || strings.Count(history, "\n") != 3 {
		t.Errorf("history:\n%s", history)
	}
}

// TestServeDefinitionsFlag: a server is told on the command line, and refuses what it can't use before it listens.
func TestServeDefinitionsFlag(t *testing.T) {
	dir := shop(t)
	s := startServe(t, dir, "--definitions", "definitions")
	if err := testenv.Await("applied", func() bool {
		return strings.Contains(provender(t, "status", "-C", dir), "Definitions from definitions: applied")
	}); err != nil {
		t.Fatalf("%v\n%s", err, &s.log)
	}
	s.stop(t)
	for from, want := range map[string]string{
		"git:ssh://me:canary@host/r":         "repositories are read over https",
		"git:https://me:${NOT_SET}@host/r":   "the environment variable NOT_SET is not set",
		"git:https://host/r#main:../outside": "outside of the repository",
	} {
		c := exec.Command("provender", "serve", "-C", dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--definitions", from)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "canary") {
			t.Errorf("%s: %v\n%s", from, err, out)
		}
	}
}
