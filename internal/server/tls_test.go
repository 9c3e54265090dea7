package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/metrics"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/registry/definition"
)

// Certificates that are replaced serve new connections; those that can't be used are told once and change nothing.
func TestTLSReload(t *testing.T) {
	dir := t.TempDir()
	ca := pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{Name: "one"})
	var log bytes.Buffer
	files, err := openTLS(dir, definition.TLS{Cert: "server.crt", Key: filepath.Join(dir, "server.key")}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	later := func() {
		now = now.Add(tlsCheck)
	}
	served := func() string {
		t.Helper()
		if _, err := files.refresh(now); err != nil {
			files.logger.Error("new TLS files can't be used, the former ones stay", "error", err)
		}
		return shake(t, files.config, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}).PeerCertificates[0].Subject.CommonName
	}
	want := func(name string, told int) {
		t.Helper()
		if got, lines := served(), strings.Count(log.String(), "\n"); got != name || lines != told {
			t.Errorf("%s is served and %d lines logged, want %s and %d\n%s", got, lines, name, told, &log)
		}
	}
	want("one", 0)
	ca.Write(t, dir, "server", pki.Leaf{Name: "two"})
	want("one", 0) // it was just looked at
	later()
	want("two", 0)
	_, otherKey := ca.Issue(t, pki.Leaf{Name: "other"})
	for i, broken := range [][]byte{otherKey, []byte("no PEM"), nil} {
		pki.Put(t, filepath.Join(dir, "server.key"), broken)
		later()
		want("two", i+1)
		later()
		want("two", i+1) // once
	}
	if err := os.Remove(filepath.Join(dir, "server.crt")); err != nil {
		t.Fatal(err)
	}
	later()
	want("two", 4)
	later()
	want("two", 4)
	ca.Write(t, dir, "server", pki.Leaf{Name: "three"})
	later()
	want("three", 4)
	if strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("logged a key:\n%s", &log)
	}
}

func TestTLSBroken(t *testing.T) {
	dir := t.TempDir()
	pki.New(t).Write(t, dir, "server", pki.Leaf{})
	pki.Put(t, filepath.Join(dir, "ca.crt"), []byte("no certificate"))
	for _, c := range []definition.TLS{
		{Cert: "none.crt", Key: "server.key"},
		{Cert: "server.crt", Key: "none.key"},
		{Cert: "server.key", Key: "server.crt"},
		{Cert: "server.crt", Key: "server.key", ClientCA: "ca.crt"},
		{Cert: "server.crt", Key: "server.key", ClientCA: "none.crt"},
	} {
		var p *problem.Error
		if _, err := openTLS(dir, c, slog.Default()); !errors.As(err, &p) || p.Code != problem.Invalid || p.Suggestion == "" {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if files, err := openTLS(dir, definition.TLS{}, slog.Default()); files != nil || err != nil {
		t.Errorf("%v, %v without TLS", files, err)
	}
}

// The metric follows the file.
func TestTLSExpiry(t *testing.T) {
	dir, ca := t.TempDir(), pki.New(t)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	ca.Write(t, dir, "server", pki.Leaf{End: end})
	files, err := openTLS(dir, definition.TLS{Cert: "server.crt", Key: "server.key"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	told := func() float64 {
		t.Helper()
		w := httptest.NewRecorder()
		metrics.New(metrics.Config{
			Store: noFailure, Registry: noFailure, Refreshed: time.Now, Revision: zero, Damaged: zero, Certificate: files.expires,
			Admission: func() admission.Stats { return admission.Stats{} }, Logger: slog.New(slog.DiscardHandler),
		}).Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		_, rest, found := strings.Cut(w.Body.String(), "\nprovender_certificate_expiry_timestamp_seconds ")
		if !found {
			return 0
		}
		text, _, _ := strings.Cut(rest, "\n")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := told(); got != float64(end.Unix()) {
		t.Errorf("%v, want %d", got, end.Unix())
	}
	end = end.Add(time.Hour)
	ca.Write(t, dir, "server", pki.Leaf{End: end})
	files.checked = time.Time{} // as if some time had passed
	if got := told(); got != float64(end.Unix()) {
		t.Errorf("%v, want %d", got, end.Unix())
	}
	files = nil
	if got := told(); got != 0 {
		t.Errorf("without TLS: %v", got)
	}
}

func noFailure() error { return nil }

func zero() int64 { return 0 }

// Old versions of TLS are refused; a client's certificate is verified, and may be missing.
func TestTLSClients(t *testing.T) {
	dir := t.TempDir()
	ca, clients := pki.New(t), pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{})
	pki.Put(t, filepath.Join(dir, "ca.crt"), clients.PEM)
	files, err := openTLS(dir, definition.TLS{Cert: "server.crt", Key: "server.key", ClientCA: "ca.crt"}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"no certificate", &tls.Config{}, true},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"known", &tls.Config{Certificates: []tls.Certificate{clients.Pair(t, pki.Leaf{Name: "job"})}}, true},
		{"unknown authority", &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, pki.Leaf{Name: "job"})}}, false},
		{"expired", &tls.Config{Certificates: []tls.Certificate{clients.Pair(t, pki.Leaf{Name: "job", End: time.Now().Add(-time.Minute)})}}, false},
	} {
		c.config.RootCAs, c.config.ServerName = ca.Pool(), "localhost"
		// A client chooses no certificate that the server does not ask for: send it whatever it asks.
		if certs := c.config.Certificates; certs != nil {
			c.config.Certificates = nil
			c.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
		}
		server, _, err := handshake(files.server(), c.config)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && (len(server.VerifiedChains) > 0) != (c.name == "known") {
			t.Errorf("%s: chains %v", c.name, server.VerifiedChains)
		}
		if c.ok && c.name != "TLS 1.2" && server.Version != tls.VersionTLS13 {
			t.Errorf("%s: version %x", c.name, server.Version)
		}
	}
}

// shake returns what a client sees.
func shake(t *testing.T, server, client *tls.Config) tls.ConnectionState {
	t.Helper()
	_, seen, err := handshake(server, client)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// handshake returns what server and client see of each other; the error is the server's, else the client's.
func handshake(server, client *tls.Config) (at, seen tls.ConnectionState, err error) {
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan error, 1)
	s := tls.Server(far, server)
	go func() {
		done <- s.Handshake()
		_ = far.Close()
	}()
	c := tls.Client(near, client)
	clientErr := c.Handshake()
	if clientErr == nil {
		_, _ = c.Read(make([]byte, 1)) // an alert after the handshake, or its end
	} else {
		_ = near.Close()
	}
	if err := <-done; err != nil {
		return at, seen, err
	}
	return s.ConnectionState(), c.ConnectionState(), clientErr
}
