package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

// tlsCheck is how long files of certificates are taken for unchanged.
const tlsCheck = time.Second

// tlsFiles are certificates on disk. New connections see within tlsCheck that they were replaced. What is broken is
// logged once, and the former ones stay. Safe for concurrent use.
type tlsFiles struct {
	cert, key, clientCA string // clientCA is "" for none
	logger              *slog.Logger

	mu      sync.Mutex
	checked time.Time
	seen    []os.FileInfo // of the files that were read last, whole or broken
	config  *tls.Config
}

// openTLS reads certificates, whose paths are relative to dir; nil where there are to be none.
func openTLS(dir string, c definition.TLS, logger *slog.Logger) (*tlsFiles, error) {
	if c.Cert == "" {
		return nil, nil
	}
	abs := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, filepath.FromSlash(path))
	}
	f := &tlsFiles{cert: abs(c.Cert), key: abs(c.Key), clientCA: abs(c.ClientCA), logger: logger}
	if _, err := f.refresh(time.Now()); err != nil {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: err.Error(), Err: err, Suggestion: "mend server.tls of provender.yaml, or the files that it names",
		}
	}
	return f, nil
}

// server returns the configuration of a server, which asks for the files' for each connection.
func (f *tlsFiles) server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil },
	}
}

// current returns the newest configuration that can be used, and logs that a newer one can't.
func (f *tlsFiles) current() *tls.Config {
	c, err := f.refresh(time.Now())
	if err != nil {
		f.logger.Error("new TLS files can't be used, the former ones stay", "error", err)
	}
	return c
}

// expires is when the certificate that is served ends, zero where none is.
func (f *tlsFiles) expires() time.Time {
	if f == nil {
		return time.Time{}
	}
	return f.current().Certificates[0].Leaf.NotAfter
}

// refresh returns the files' configuration, and once an error where new files can't be used.
func (f *tlsFiles) refresh(now time.Time) (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.checked.IsZero() && now.Sub(f.checked) < tlsCheck {
		return f.config, nil
	}
	f.checked = now
	infos, err := f.stat()
	switch {
	case err != nil && f.seen != nil && len(f.seen) == 0, err == nil && f.seen != nil && same(f.seen, infos):
		return f.config, nil // nothing has happened, or what has was told
	case err != nil:
		f.seen = []os.FileInfo{}
		return f.config, err
	}
	f.seen = infos // from before they are read: what is written meanwhile is seen the next time
	c, err := f.read()
	if err == nil {
		f.config = c
	}
	return f.config, err
}

// stat looks at the files.
func (f *tlsFiles) stat() ([]os.FileInfo, error) {
	var infos []os.FileInfo
	for _, path := range []string{f.cert, f.key, f.clientCA} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read TLS files: %w", err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func same(a, b []os.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// read makes the configuration of what the files hold.
func (f *tlsFiles) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate %s and key %s: %w", f.cert, f.key, err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair},
	}
	if f.clientCA == "" {
		return c, nil
	}
	raw, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("read TLS authorities of clients: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read TLS authorities of clients: %s holds no certificate in PEM", f.clientCA)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven // a token will do as well
	c.SessionTicketsDisabled = true            // a session would outlive the authority that it was begun under
	return c, nil
}

// transport is how gRPC's connections begin: with TLS, if any, except those of the project's owner.
type transport struct {
	credentials.TransportCredentials
	tls bool
}

func newTransport(files *tlsFiles) transport {
	if files == nil {
		return transport{insecure.NewCredentials(), false}
	}
	return transport{credentials.NewTLS(files.server()), true}
}

// ServerHandshake implements credentials.TransportCredentials. Its AuthInfo is an *auth.Connection.
func (t transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if network := conn.LocalAddr().Network(); network == "unix" || network == "bufconn" {
		return conn, &auth.Connection{Owner: true}, nil
	}
	conn, info, err := t.TransportCredentials.ServerHandshake(conn)
	if err != nil || !t.tls {
		return conn, &auth.Connection{}, err
	}
	shown, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("TLS has told %T of a connection", info), conn.Close())
	}
	return conn, auth.Verified(shown.State.VerifiedChains), nil
}

// ClientHandshake implements credentials.TransportCredentials; these are a server's.
func (t transport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are the credentials of a server")
}

// Clone implements credentials.TransportCredentials.
func (t transport) Clone() credentials.TransportCredentials {
	return transport{t.TransportCredentials.Clone(), t.tls}
}
