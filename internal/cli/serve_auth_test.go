package cli_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/pki"
)

// request is a GET with a token, "" for none.
func (s *service) request(t *testing.T, path, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.scheme+s.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}

// Who calls is known by a token or a certificate, and may do what its roles allow; changes and refusals are recorded.
func TestServeAuth(t *testing.T) {
	dir := shop(t)
	provender(t, "materialize", "-C", dir)
	ca, clients := pki.New(t), pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{})
	clients.Write(t, dir, "batch", pki.Leaf{Name: "batch"})
	clients.Write(t, dir, "stranger", pki.Leaf{Name: "stranger"})
	pki.Put(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	pki.Put(t, filepath.Join(dir, "clients.crt"), clients.PEM)
	configure(t, dir, "tls: {cert: server.crt, key: server.key, client_ca: clients.crt}, auth: true, "+
		"certificates: {batch: [write, read-offline]}, audit: audit.jsonl")
	s := &service{scheme: "https://", web: secured(&tls.Config{RootCAs: ca.Pool()})}
	s.start(t, dir, "--grpc", "0.0.0.0:0", "--http", "127.0.0.1:0")
	addr := "grpcs://localhost" + s.grpc[strings.LastIndex(s.grpc, ":"):]
	bundle := "PROVENDER_TLS_CA=" + filepath.Join(dir, "ca.crt")

	model := strings.TrimSpace(provender(t, "token", "create", "model", "--role", "read-online", "--expires", "1h", "-C", dir))
	admin := strings.TrimSpace(provender(t, "token", "create", "boss", "--role", "admin", "-C", dir))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(model+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := func(name string) []string {
		return []string{"PROVENDER_TLS_CERT=" + filepath.Join(dir, name+".crt"), "PROVENDER_TLS_KEY=" + filepath.Join(dir, name+".key")}
	}
	lookup := []string{"get", "--service", "churn_model_v1", "--entity", "customer_id=1"}
	for _, c := range []struct {
		env  []string
		args []string
		code int
		want string
	}{
		{[]string{"PROVENDER_TOKEN=" + model}, lookup, 0, "PRESENT"},
		{[]string{"PROVENDER_TOKEN_FILE=" + file}, lookup, 0, "PRESENT"},
		{[]string{"PROVENDER_TOKEN=" + model}, []string{"materialize"}, 1, "it takes the role write"},
		{[]string{"PROVENDER_TOKEN=" + model}, []string{"token", "list"}, 1, "it takes the role admin"},
		{nil, lookup, 1, "PROVENDER_TOKEN"},
		{[]string{"PROVENDER_TOKEN=" + model[:46] + "-"}, lookup, 1, "the token is not valid"},
		{[]string{"PROVENDER_TOKEN=no token"}, lookup, 1, "characters that no token has"},
		{[]string{"PROVENDER_TOKEN=" + model, "PROVENDER_TOKEN_FILE=" + file}, lookup, 1, "both set"},
		{[]string{"PROVENDER_TOKEN_FILE=none"}, lookup, 1, "PROVENDER_TOKEN_FILE"},
		{cert("batch"), []string{"materialize"}, 0, "succeeded"},
		{cert("batch"), lookup, 1, "batch may not call"},
		{cert("stranger"), lookup, 1, "stranger may not call"},
		{append(cert("batch"), "PROVENDER_TOKEN="+model), lookup, 0, "PRESENT"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "create", "late", "--role", "read-offline"}, 0, "pvd_"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "create", "late", "--role", "apply"}, 1, "there is a token late already"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "create", "x", "--role", "reader"}, 1, "there is no role"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "list"}, 0, "boss"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "revoke", "model"}, 0, "Revoked: model"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "revoke", "model"}, 1, "there is no token"},
		{[]string{"PROVENDER_TOKEN=" + admin}, []string{"token", "list", "--all"}, 0, "model"},
	} {
		code, stdout, stderr := command(t, append(slices.Clone(c.env), bundle), append(c.args, "--server", addr)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%q %q: exit code %d, want %q\n%s%s", c.env, c.args, code, c.want, stdout, stderr)
		}
	}
	if err := testenv.Await("the token revoked", func() bool {
		code, _, stderr := command(t, []string{bundle, "PROVENDER_TOKEN=" + model}, append(lookup, "--server", addr)...)
		return code == 1 && strings.Contains(stderr, "not valid")
	}); err != nil {
		t.Error(err)
	}
	provender(t, append(lookup, "-C", dir)...) // the folder's owner needs no token

	for path, want := range map[string][3]int{ // without a token, a lookup's, an administrator's
		"/livez": {200, 200, 200}, "/readyz": {200, 200, 200}, "/openapi.json": {200, 200, 200},
		"/metrics": {401, 403, 200}, "/status": {401, 403, 200}, "/v1/status": {401, 403, 200}, "/v1/services": {401, 200, 200},
	} {
		reader := strings.TrimSpace(provender(t, "token", "create", "r"+strings.NewReplacer("/", "_", ".", "_").Replace(path), "--role", "read-online", "-C", dir))
		for i, token := range []string{"", reader, admin} {
			if got, body := s.request(t, path, token); got != want[i] {
				t.Errorf("%s: %d, want %d\n%s", path, got, want[i], body)
			}
		}
	}
	s.stop(t)

	raw, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var record struct{ Time, Msg, From, Call, Outcome string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Time == "" || record.From == "" || record.Call == "" || record.Outcome == "" {
			t.Errorf("%v in %s", err, line)
		}
	}
	for _, want := range []string{
		`"msg":"change","who":"batch"`, `"call":"/provender.v1.OperationsService/Materialize","request":{"request_id":"`,
		`"request":{"name":"late","roles":["read-offline"]},"outcome":"OK"`,
		`"request":{"name":"model"},"outcome":"OK"`, `"msg":"refused","who":"model"`, `"who":"stranger"`,
		`"who":"","from":"127.0.0.1:`, `"call":"GET /metrics","outcome":"Unauthenticated"`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in the audit log:\n%s", want, raw)
		}
	}
	for _, secret := range []string{model, admin} {
		if strings.Contains(string(raw), secret) || strings.Contains(s.log.String(), secret) {
			t.Error("a token is in the logs")
		}
	}
}

// Where others could come in, a server begins only if it knows who they are and nobody reads along, or was told not to care.
func TestServeBeyondLoopback(t *testing.T) {
	dir := shop(t)
	ca := pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{})
	const encrypted, known = "tls: {cert: server.crt, key: server.key}", "auth: true"
	for _, c := range []struct{ config, grpc, http, want string }{
		{"", "0.0.0.0:0", "127.0.0.1:0", "need not prove who they are, and connections are not encrypted"},
		{"", "127.0.0.1:0", ":0", "need not prove who they are, and connections are not encrypted"},
		{"", "127.0.0.1:0", "[::]:0", "connections are not encrypted"},
		{encrypted, "0.0.0.0:0", "127.0.0.1:0", "callers need not prove who they are"},
		{known, "0.0.0.0:0", "127.0.0.1:0", "tokens among what they carry"},
	} {
		configure(t, dir, c.config)
		code, _, stderr := command(t, nil, "serve", "-C", dir, "--grpc", c.grpc, "--http", c.http)
		if code != 1 || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "--insecure") {
			t.Errorf("%+v: exit code %d\n%s", c, code, stderr)
		}
	}
	for _, c := range []struct {
		config string
		args   []string
	}{
		{"", []string{"--insecure"}},
		{"insecure: true", nil},
		{known, []string{"--insecure"}},
	} {
		configure(t, dir, c.config)
		s := &service{scheme: "http://", web: http.DefaultClient}
		s.start(t, dir, append(c.args, "--grpc", "0.0.0.0:0", "--http", "0.0.0.0:0")...)
		s.stop(t)
	}
}
