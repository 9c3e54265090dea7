package onlinetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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
	c := &Certificates{Dir: t.TempDir(), CA: "ca.pem", Cert: "cert.pem", Key: "key.pem", pool: x509.NewCertPool()}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server of a test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis.test"},
	}
	rootKey, leafKey := newKey(t), newKey(t)
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, &rootKey.PublicKey, rootKey)
	must(t, err)
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, rootKey)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		c.CA: {Type: "CERTIFICATE", Bytes: root}, c.Cert: {Type: "CERTIFICATE", Bytes: signed}, c.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		must(t, os.WriteFile(filepath.Join(c.Dir, name), pem.EncodeToMemory(block), 0o600))
	}
	c.pair = tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: leafKey}
	parsed, err := x509.ParseCertificate(root)
	must(t, err)
	c.pool.AddCert(parsed)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
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
