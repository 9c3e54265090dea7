package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// secureScheme begins the address of a server with TLS.
const secureScheme = "grpcs://"

// WithTLS encrypts the connection: by config's authorities, the system's where it has none, and with its certificates,
// where a server asks for the client's.
func WithTLS(config *tls.Config) Option {
	return func(o *options) { o.tls = config }
}

// WithToken sends a token with every call. Calls fail rather than send it where the connection is not encrypted and leaves
// this machine.
func WithToken(token string) Option {
	return func(o *options) { o.token = token }
}

// WithPlaintextToken lets a token go over connections that are not encrypted: for networks that are by themselves.
func WithPlaintextToken() Option {
	return func(o *options) { o.plaintext = true }
}

// calls returns the options of a connection's calls.
func (o *options) calls(addr string) []grpc.DialOption {
	if o.token == "" {
		return o.grpc
	}
	return append([]grpc.DialOption{grpc.WithPerRPCCredentials(bearer{
		header: map[string]string{"authorization": "Bearer " + o.token},
		plain:  o.plaintext || onThisMachine(addr), addr: addr,
	})}, o.grpc...)
}

// bearer is a token of every call.
type bearer struct {
	header map[string]string // read alone
	plain  bool              // may go unencrypted
	addr   string
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if !b.plain {
		info, _ := credentials.RequestInfoFromContext(ctx)
		if err := credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity); err != nil {
			return nil, unencrypted(b.addr)
		}
	}
	return b.header, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: GetRequestMetadata knows better.
func (b bearer) RequireTransportSecurity() bool { return false }

// onThisMachine reports whether what is sent to addr stays on this machine.
func onThisMachine(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// credentials are those of a connection, nil config for one without TLS.
func (d *dialer) credentials(config *tls.Config) credentials.TransportCredentials {
	if config == nil {
		return insecure.NewCredentials()
	}
	return secured{credentials.NewTLS(config), d}
}

// secured is TLS whose failures the dialer tells.
type secured struct {
	credentials.TransportCredentials
	dialer *dialer
}

// ClientHandshake implements credentials.TransportCredentials.
func (s secured) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := s.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		s.dialer.failed(err)
	}
	return secure, info, err
}

// Clone implements credentials.TransportCredentials.
func (s secured) Clone() credentials.TransportCredentials {
	return secured{s.TransportCredentials.Clone(), s.dialer}
}
