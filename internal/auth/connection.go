package auth

import (
	"crypto/x509"
	"net"
	"time"
)

// Connection is what a connection proves of its far end; the zero value proves nothing. It is gRPC's AuthInfo.
type Connection struct {
	// Owner: it came through the project's folder, or from this process. Whoever can do that owns the project.
	Owner bool
	// Certificate is the names in the client's certificate, which was verified; nil without one.
	Certificate []string
	Expires     time.Time // of the certificate
}

// AuthType implements credentials.AuthInfo.
func (*Connection) AuthType() string { return "provender" }

// Verified returns what a connection proves whose client has shown chains of certificates, none or verified ones.
func Verified(chains [][]*x509.Certificate) *Connection {
	if len(chains) == 0 {
		return &Connection{}
	}
	leaf := chains[0][0]
	c := &Connection{Expires: leaf.NotAfter}
	for _, uri := range leaf.URIs {
		c.Certificate = append(c.Certificate, uri.String())
	}
	if leaf.Subject.CommonName != "" {
		c.Certificate = append(c.Certificate, leaf.Subject.CommonName)
	}
	return c
}

// Loopback reports whether an address is this machine's own: nothing from beyond it arrives there, nothing sent there
// leaves it.
func Loopback(addr net.Addr) bool {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	default:
		return addr.Network() == "unix" || addr.Network() == "bufconn"
	}
}
