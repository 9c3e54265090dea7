// Package client talks to a Provender server: it looks features up, materializes, verifies, and reads and changes
// definitions. Its types are its own; a Client is safe for concurrent use.
//
// A lookup answers by columns, which are read without a copy (Values), or row by row as structs (Rows, Decoder). Training sets are
// made by the package training below this one.
//
// Calls end with their context, and its deadline is the server's, too. Every error of a call is an *Error. Calls that change nothing
// are made again, up to four times, while the server answers UNAVAILABLE: after 0.1 s and twice as long each time, or when the server
// says; never past the context's deadline. Materialize and RetryRun are made again where the connection is lost, and run nothing
// twice. Other calls, and streams of lookups, are not made again. WithoutRepeats leaves all of that to the caller.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/provender-dev/provender/internal/version"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// maxAnswer bounds what a client receives in one message; servers bound what they send by their own limits.
const maxAnswer = 1 << 30

// Client calls one server.
type Client struct {
	conn       grpc.ClientConnInterface
	operations pb.OperationsServiceClient
	registry   pb.RegistryServiceClient
	admin      pb.AdminServiceClient
	offline    pb.OfflineServiceClient
	closer     io.Closer // nil where the connection is the caller's
	once       bool      // calls are not made again
}

// How a connection that was lost is made again: sooner than by gRPC's own settings, under which a server that is back can
// stay unnoticed for two minutes.
var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second}

// connectTime is the least that an attempt to connect may take.
const connectTime = 20 * time.Second

// Option changes how Dial connects.
type Option func(*options)

type options struct {
	grpc      []grpc.DialOption
	tls       *tls.Config // nil: none
	token     string
	plaintext bool
	once      bool
}

// WithoutRepeats leaves it to the caller to make calls again.
func WithoutRepeats() Option {
	return func(o *options) { o.once = true }
}

// WithGRPC adds options of the gRPC connection. Interceptors see answers to lookups as types of this package.
func WithGRPC(opts ...grpc.DialOption) Option {
	return func(o *options) { o.grpc = append(o.grpc, opts...) }
}

// Dial connects to a server at "host:port" or "unix:path", until ctx ends; at "grpcs://host:port" with TLS, as WithTLS
// does. The error is an *Error with CodeUnavailable where nobody answers there. Later losses of the connection are mended
// by themselves.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if host, ok := strings.CutPrefix(addr, secureScheme); ok {
		addr = host
		if o.tls == nil {
			o.tls = &tls.Config{}
		}
	}
	d := dialer{addr: addr, silence: "no Provender server answers there without TLS (with TLS: " + secureScheme + addr + ")"}
	if o.tls != nil {
		d.silence = "the server ends the connection: it may not know this client's certificate"
	}
	conn, err := grpc.NewClient("passthrough:///"+authority(addr), append([]grpc.DialOption{
		grpc.WithTransportCredentials(d.credentials(o.tls)),
		grpc.WithContextDialer(d.dial),
		grpc.WithUserAgent(version.Agent("provender-go")),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTime}),
	}, o.calls(addr)...)...)
	if err != nil {
		return nil, &Error{Code: CodeInvalid, Message: "connect to " + addr + ": " + err.Error(), err: err}
	}
	if err := d.wait(ctx, conn); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	c := on(conn, o.once)
	c.closer = conn
	return c, nil
}

// New returns a client on a connection that the caller keeps and closes, a *grpc.ClientConn or what passes calls and their
// options on to one. Of opts WithoutRepeats plays a part.
func New(conn grpc.ClientConnInterface, opts ...Option) *Client {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return on(conn, o.once)
}

func on(conn grpc.ClientConnInterface, once bool) *Client {
	if !once {
		conn = repeating{conn}
	}
	return &Client{
		once:       once,
		conn:       conn,
		operations: pb.NewOperationsServiceClient(conn),
		registry:   pb.NewRegistryServiceClient(conn),
		admin:      pb.NewAdminServiceClient(conn),
		offline:    pb.NewOfflineServiceClient(conn),
	}
}

// Conn returns the connection, with the repeats of its reads, for what this package does not call. ErrorOf makes its errors
// those of this package.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Close closes the connection that Dial made.
func (c *Client) Close() error {
	if c.closer == nil {
		return nil
	}
	return c.closer.Close()
}

// authority is the server's name for TLS and in requests.
func authority(addr string) string {
	if strings.HasPrefix(addr, "unix:") {
		return "localhost"
	}
	return addr
}

// dialer connects to one address and remembers why it could not.
type dialer struct {
	addr    string
	silence string // what it means that a server ends connections
	mu      sync.Mutex
	last    error // of connecting, or of TLS
}

func (d *dialer) failed(err error) {
	d.mu.Lock()
	d.last = err
	d.mu.Unlock()
}

func (d *dialer) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

func (d *dialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	network, addr := "tcp", d.addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", strings.TrimPrefix(path, "//")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	d.failed(err)
	return conn, err
}

// idleWait is how long an idle connection may stay so before it is told again to connect: one that was made and lost at
// once is idle as it was before, and that is no change to wait for.
const idleWait = 50 * time.Millisecond

// wait returns when the connection is ready, was refused, or ctx ended.
func (d *dialer) wait(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			err := d.why()
			if err == nil {
				err = errors.New(d.silence)
			}
			return &Error{Code: CodeUnavailable, Message: "connect to " + d.addr + ": " + err.Error(), err: err}
		case connectivity.Idle:
			conn.Connect()
			soon, cancel := context.WithTimeout(ctx, idleWait)
			conn.WaitForStateChange(soon, state)
			cancel()
		default:
			conn.WaitForStateChange(ctx, state)
		}
		if ctx.Err() != nil {
			return &Error{Code: codeOfContext(ctx.Err()), Message: "connect to " + d.addr + ": " + ctx.Err().Error(), err: ctx.Err()}
		}
	}
}

// callOptions are those of every call.
func callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.MaxCallRecvMsgSize(maxAnswer)}
}
