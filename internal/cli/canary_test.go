package cli_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// canaries are secrets that nothing may print, by where they were put.
type canaries map[string]string

// search looks for every canary, and for what is left of it in the usual disguises.
func (c canaries) search(t *testing.T, where, text string) {
	t.Helper()
	for what, secret := range c {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret)} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows the secret of %s:\n%s", where, what, text)
			}
		}
	}
}

// A secret stands in every place that takes one, and no command, log, error, metric, answer or file of ours shows it,
// whether the stores answer or not.
func TestCanary(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	provender(t, "init", dir)
	secrets := canaries{
		"online": "canary-redis-8d1f", "webhook": "canary-hook-77ab", "registry": postgres.Password, "root": "canary-s3-key-91c0",
		"unknown token": "pvd_canary" + strings.Repeat("x", 37),
	}
	redis := onlinetest.StartRedisServer(t, "--requirepass", secrets["online"])
	store := startGate(t, strings.TrimPrefix(redis.URL, "redis://"))
	store.open.Store(true)
	authority := pki.New(t)
	authority.Write(t, dir, "server", pki.Leaf{Name: "server"})
	pki.Put(t, filepath.Join(dir, "ca.crt"), authority.PEM)
	key, err := os.ReadFile(filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets["server.tls.key"] = strings.Split(string(key), "\n")[1]
	pki.Put(t, filepath.Join(dir, "password"), []byte(secrets["online"]+"\n"))
	pki.Put(t, filepath.Join(dir, "provender.yaml"), []byte(`version: 1
project: shop
roots: {lake: ./data, far: "s3://bucket/x?endpoint=http://127.0.0.1:1"}
registry: ${REGISTRY}
online: redis://:${file:password}@`+store.Addr().String()+`
server: {tls: {cert: server.crt, key: server.key}, auth: true, audit: .provender/audit.jsonl}
materialize: {webhook: "http://127.0.0.1:1/${HOOK}", retries: 0}
environments:
  lost: {registry: "postgres://provender:${HOOK}@127.0.0.1:1/none", online: "redis://:${HOOK}@127.0.0.1:1"}
  wrong: {online: "redis://:${HOOK}@`+store.Addr().String()+`"}
  bad: {online: "${HOOK}://x", registry: "${HOOK}", roots: {lake: "${HOOK}://x"}, materialize: {webhook: "${HOOK}"}}
`))
	env := []string{
		"REGISTRY=" + postgres.Database(t), "HOOK=" + secrets["webhook"], "PROVENDER_TLS_CA=" + filepath.Join(dir, "ca.crt"),
		"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=" + secrets["root"],
	}
	for _, pair := range env[:2] {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value) // for the server
	}
	run := func(more []string, args ...string) (int, string) {
		t.Helper()
		code, stdout, stderr := command(t, append(slices.Clone(env), more...), append(args, "-C", dir)...)
		secrets.search(t, fmt.Sprintf("%q", args), stdout+stderr)
		return code, stdout
	}
	must := func(args ...string) string {
		t.Helper()
		code, out := run(nil, args...)
		if code != 0 {
			t.Fatalf("%q: exit code %d", args, code)
		}
		return out
	}
	must("apply", "--yes")
	must("materialize")
	token := strings.TrimSpace(must("token", "create", "boss", "--role", "admin"))
	secrets["token"] = token

	s := &service{scheme: "https://", web: secured(&tls.Config{RootCAs: authority.Pool()})}
	s.start(t, dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--set", "online=redis://:"+secrets["online"]+"@"+store.Addr().String())
	out := filepath.Join(t.TempDir(), "t.parquet")
	commands := [][]string{
		{"validate"},
		{"plan"},
		{"apply", "--yes"},
		{"list", "views"},
		{"show", "view", "customer_orders"},
		{"history"},
		{"materialize"},
		{"materialize", "--full"},
		{"runs"},
		{"runs", "show", "1"},
		{"runs", "cancel", "1"},
		{"runs", "retry", "1"},
		{"pause"},
		{"resume"},
		{"status"},
		{"verify"},
		{"prune"},
		{"doctor"},
		{"token", "list", "--all"},
		{"token", "revoke", "none"},
		{"get", "--service", "churn_model_v1", "--entity", "customer_id=1"},
		{"explain", "customer_orders:orders_30d", "--entity", "customer_id=1"},
		{
			"export", "--service", "churn_model_v1", "--spine", filepath.Join(dir, "data/labels.parquet"), "--time", "labelled_at",
			"--out", out,
		},
		{"export", "--service", "churn_model_v1", "--spine", "s3://bucket/x?endpoint=http://127.0.0.1:1", "--time", "t", "--out", out},
		{"version"},
		{"schema"},
		{"config"},
		{"serve"},
	}
	everywhere := func() {
		t.Helper()
		for _, c := range commands {
			if c[0] == "serve" {
				run(nil, append(slices.Clone(c), "--env", "bad")...) // another would serve
				continue
			}
			run(nil, c...)
			run([]string{"PROVENDER_TOKEN=" + token}, append(slices.Clone(c), "-o", "json", "--server", s.grpc)...)
		}
		for _, e := range []string{"lost", "wrong", "bad"} {
			for _, c := range []string{"validate", "plan", "materialize", "status", "doctor"} {
				run(nil, c, "-o", "json", "--env", e)
			}
		}
		run([]string{"PROVENDER_TOKEN=" + secrets["unknown token"]}, "status", "--server", s.grpc)
		run([]string{"PROVENDER_TOKEN=" + secrets["unknown token"]}, "status", "--server", "none.invalid:1")
		for _, path := range []string{"/metrics", "/livez", "/readyz", "/status", "/v1/status", "/v1/runs", "/v1/definitions", "/v1/services", "/openapi.json"} {
			for _, credential := range []string{"", token, secrets["unknown token"]} {
				_, body := s.request(t, path, credential)
				secrets.search(t, path, body)
			}
		}
		for _, path := range []string{"/status", "/metrics", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
			resp, err := http.Get("http://" + s.admin + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			secrets.search(t, "admin "+path, string(body))
		}
		c, err := client.Dial(t.Context(), s.grpc, client.WithTLS(&tls.Config{RootCAs: authority.Pool()}), client.WithToken(token))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.GetFeatures(t.Context(), client.Request{Service: "churn_model_v1", Keys: []client.Key{client.Int64s("customer_id", 1)}})
		secrets.search(t, "GetFeatures", fmt.Sprintf("%v %+v", err, err))
	}
	everywhere()
	store.open.Store(false)
	commands = [][]string{{"materialize"}, {"status"}, {"doctor"}, {"get", "--service", "churn_model_v1", "--entity", "customer_id=1"}}
	everywhere()
	s.stop(t)
	secrets.search(t, "the server's log", s.log.String())
	err = filepath.WalkDir(filepath.Join(dir, ".provender"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		secrets.search(t, path, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
