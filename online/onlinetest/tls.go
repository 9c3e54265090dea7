package onlinetest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/testenv/pki"
)

// Certificates are an authority of a test's own, and what it signed for a server on this machine: files in PEM.
type Certificates struct {
	Dir           string
	CA, Cert, Key string // names in Dir

	pool *x509.CertPool
	pair tls.Certificate
}

// NewCertificates makes certificates. The server's is for 127.0.0.1 and the name redis.test.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	c := &Certificates{Dir: t.TempDir(), CA: "ca.pem", Cert: "cert.pem", Key: "key.pem"}
	authority := pki.New(t)
	cert, key := authority.Issue(t, pki.Leaf{Name: "server of a test", DNS: "redis.test"})
	for name, content := range map[string][]byte{c.CA: authority.PEM, c.Cert: cert, c.Key: key} {
		must(t, os.WriteFile(filepath.Join(c.Dir, name), content, 0o600))
	}
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	c.pool, c.pair = authority.Pool(), pair
	return c
}

// StartRedisTLS starts a server that speaks TLS alone, and wants certificates of its clients too.
func StartRedisTLS(t testing.TB, c *Certificates) *Redis {
	t.Helper()
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	r := startRedis(t, Redis{
		args: []string{"--tls-cert-file", in(c.Cert), "--tls-key-file", in(c.Key), "--tls-ca-cert-file", in(c.CA), "--tls-auth-clients", "yes"},
		dial: redis.Options{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.pool, Certificates: []tls.Certificate{c.pair}}},
	})
	r.URL = "rediss://" + r.Addr
	return r
}
