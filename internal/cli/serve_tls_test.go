package cli_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/sdk/client"
)

// configure replaces the key server of a new project.
func configure(t *testing.T, dir, keys string) {
	t.Helper()
	path := filepath.Join(dir, "provender.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "server:") })
	if i < 0 {
		t.Fatalf("no key server in\n%s", raw)
	}
	lines[i] = "server: {" + keys + "}"
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a command with further variables, and returns its exit code and what it printed.
func command(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	c := exec.Command("provender", args...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = &out, &talk
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), talk.String()
}

// secured returns a server's client whose transport is HTTP/2 where the server has it.
func secured(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

// A server with TLS answers on both ports with it, without it not at all, and takes up a new certificate.
func TestServeTLS(t *testing.T) {
	dir := shop(t)
	ca := pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{Name: "one"})
	pki.Put(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	configure(t, dir, "tls: {cert: server.crt, key: server.key}")
	s := &service{scheme: "https://", web: secured(&tls.Config{RootCAs: ca.Pool()})}
	s.start(t, dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")

	response, err := s.web.Get(s.scheme + s.http + "/v1/services")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 || response.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%s over %s and TLS %x", response.Status, response.Proto, response.TLS.Version)
	}

	c, err := client.Dial(t.Context(), s.grpc, client.WithTLS(&tls.Config{RootCAs: ca.Pool()}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context(), nil); err != nil {
		t.Error(err)
	}

	bundle := "PROVENDER_TLS_CA=" + filepath.Join(dir, "ca.crt")
	for _, c := range []struct {
		env  []string
		args []string
		code int
		want string
	}{
		{[]string{bundle}, []string{"--server", s.grpc}, 0, ""},
		{[]string{bundle}, []string{"--server", "grpcs://" + s.grpc}, 0, ""},
		{[]string{bundle}, []string{"--server", "https://" + s.grpc + "/"}, 0, ""},
		{nil, []string{"--server", s.grpc, "--tls-ca", filepath.Join(dir, "ca.crt")}, 0, ""},
		{nil, []string{"-C", dir}, 0, ""}, // through the project's folder
		{nil, []string{"--server", s.grpc}, 1, "with TLS: grpcs://" + s.grpc},
		{nil, []string{"--server", "grpcs://" + s.grpc}, 1, "certificate signed by unknown authority"},
		{nil, []string{"--server", s.grpc, "--tls-ca", filepath.Join(dir, "server.key")}, 1, "holds no certificate"},
		{nil, []string{"--server", s.grpc, "--tls-ca", "none"}, 1, "--tls-ca"},
		{[]string{bundle, "PROVENDER_TLS_KEY=x"}, []string{"--server", s.grpc}, 1, "go together"},
	} {
		code, stdout, stderr := command(t, c.env, append([]string{"status"}, c.args...)...)
		if code != c.code || code == 0 && !strings.Contains(stdout, "customer_orders") || !strings.Contains(stderr, c.want) {
			t.Errorf("%q %q: exit code %d\n%s%s", c.env, c.args, code, stdout, stderr)
		}
	}

	ca.Write(t, dir, "server", pki.Leaf{Name: "two"})
	if err := testenv.Await("the new certificate", func() bool {
		conn, err := tls.Dial("tcp", s.grpc, &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName == "two"
	}); err != nil {
		t.Error(err)
	}
	if _, err := c.Status(t.Context(), nil); err != nil {
		t.Error("a connection that was there: ", err)
	}
	s.stop(t)

	pki.Put(t, filepath.Join(dir, "server.key"), []byte("broken"))
	if code, _, stderr := command(t, nil, "serve", "-C", dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"); code != 1 ||
		!strings.Contains(stderr, "server.tls") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
