package server

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/sdk/client"
)

const (
	// holderPatience is how long a command waits for a store that is held by a process that does not listen: one that
	// is just starting or ending.
	holderPatience = 10 * time.Second
	holderPoll     = 50 * time.Millisecond
	// maxAttempts bounds how often a command starts over. Every process that goes away has done its own work.
	maxAttempts = 10
	// othersGrace is how long a command that is done stays for calls of other commands. They repeat what is cut off.
	othersGrace = 3 * time.Second

	bufferBytes = 1 << 20
)

// Remote calls fn with a client of the server at addr, host:port.
func Remote(ctx context.Context, addr string, opts []client.Option, fn func(context.Context, *client.Client) error) error {
	c, err := client.Dial(ctx, addr, opts...)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, c), c.Close())
}

// Do calls fn with a client of the process that listens for the project: a server, or a command that holds its embedded
// store; else of this one. fn is called again if the other process goes away under it.
func (p *Project) Do(ctx context.Context, logger *slog.Logger, fn func(context.Context, *client.Client) error) error {
	for attempt := 1; ; attempt++ {
		c, err := p.connect(ctx, logger)
		if err != nil {
			return err
		}
		err = errors.Join(fn(ctx, c.client), c.close())
		if !c.foreign || !goneAway(err) || ctx.Err() != nil || attempt == maxAttempts {
			return err
		}
		logger.Debug("the process that held the online store went away; starting over", "error", err)
	}
}

// Ask calls fn with a client of the process that listens for the project, and never opens a store.
func (p *Project) Ask(ctx context.Context, fn func(context.Context, *client.Client) error) error {
	if !p.held(ctx) {
		err := problem.New(problem.Unavailable, "no server of project %s runs here", p.Config.Project)
		err.Suggestion = "start one with `provender serve`, or name another with --server"
		return err
	}
	c, err := dialVia(ctx, p.socket().dial)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, c), c.Close())
}

// DoRegistry calls fn with a client of this process that reads, plans and applies definitions, and answers from history. No
// online store is opened.
func (p *Project) DoRegistry(ctx context.Context, logger *slog.Logger, fn func(context.Context, *client.Client) error) error {
	reg, err := p.Registry(ctx)
	if err != nil {
		return err
	}
	changes, err := p.Control(ctx)
	if err != nil {
		return err
	}
	s := grpc.NewServer(append(rpc.ServerOptions(logger, nil), grpc.MaxRecvMsgSize(math.MaxInt32), grpc.WaitForHandlers(true))...)
	rpc.Register(s, rpc.Services{Revisions: reg, Control: changes, History: &history{project: p, snapshot: p.Snapshot}})
	l := bufconn.Listen(bufferBytes)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := dialVia(ctx, l.DialContext)
	if err == nil {
		err = errors.Join(fn(ctx, c), c.Close())
	}
	s.Stop()
	return errors.Join(err, <-served)
}

// goneAway reports whether a call failed because the process that answered went away. A server that is there, but can't
// answer, says when to try again.
func goneAway(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Code == client.CodeUnavailable && failed.RetryAfter == 0
}

// held reports whether another process listens for the project.
func (p *Project) held(ctx context.Context) bool {
	_, held := p.heldAt(ctx)
	return held
}

// heldAt returns the path of the socket at which another process listens for the project, false where none does.
func (p *Project) heldAt(ctx context.Context) (path string, held bool) {
	s := p.socket()
	conn, err := s.dial(ctx)
	if err != nil {
		return "", false
	}
	path = conn.RemoteAddr().String()
	_ = conn.Close()
	return path, true
}

// connection is a client and what goes when it is closed.
type connection struct {
	client  *client.Client
	foreign bool // another process answers
	close   func() error
}

func (p *Project) connect(ctx context.Context, logger *slog.Logger) (connection, error) {
	var conn connection
	err := whileHeld(ctx, func() error {
		if p.held(ctx) {
			c, err := dialVia(ctx, p.socket().dial)
			conn = connection{client: c, foreign: true, close: c.Close}
			return err
		}
		if _, err := p.Registry(ctx); err != nil {
			return lasting{err}
		}
		n, err := openNode(ctx, p, time.Time{}, &door{}, nil, logger)
		if err != nil {
			return err
		}
		if p.isEmbedded() {
			if l, err := p.socket().listen(); err != nil {
				logger.Warn("other commands can't use the online store while this one does", "error", err)
			} else {
				n.serve(l)
			}
		}
		conn, err = n.connect(ctx)
		return err
	})
	return conn, err
}

// lasting is a failure that does not end with the process that holds the store.
type lasting struct{ error }

// Unwrap returns the failure.
func (l lasting) Unwrap() error { return l.error }

// whileHeld repeats open while it fails because another process holds the store, for a while: a command that ends, or
// starts, does not listen but holds the store for a moment.
func whileHeld(ctx context.Context, open func() error) error {
	deadline := time.NewTimer(holderPatience)
	defer deadline.Stop()
	again := time.NewTicker(holderPoll)
	defer again.Stop()
	for {
		err := open()
		if errors.As(err, new(lasting)) || problem.CodeOf(err) != problem.Unavailable && !goneAway(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-deadline.C:
			return err
		case <-again.C:
		}
	}
}

// connect starts the node and returns a client of it within this process. Closing it closes the node.
func (n *node) connect(ctx context.Context) (connection, error) {
	_ = n.follow.check(ctx) // for lookups that come at once; a store that does not answer will be told by the call
	n.start()
	l := bufconn.Listen(bufferBytes)
	n.serve(l)
	c, err := dialVia(ctx, l.DialContext)
	if err != nil {
		return connection{}, errors.Join(err, n.close())
	}
	return connection{client: c, close: func() error {
		err := c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), othersGrace)
		defer cancel()
		n.drain(ctx)
		return errors.Join(err, n.close())
	}}, nil
}

// dialVia returns a client whose connections dial makes. Do starts over where one is lost.
func dialVia(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*client.Client, error) {
	return client.Dial(ctx, "localhost", client.WithoutRepeats(), client.WithGRPC(
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
	))
}
