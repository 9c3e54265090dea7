package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
)

// Pauses between attempts to open what a server needs.
const (
	firstOpenPause = 250 * time.Millisecond
	maxOpenPause   = 10 * time.Second
)

// errStarting is what callers are told while there is no node.
var errStarting = &problem.Error{Code: problem.Unavailable, Message: "the server is starting", RetryAfter: time.Second}

// open opens the node. It waits for a registry that does not answer, however long; what does not pass by itself is an error.
func (s *server) open(ctx context.Context) error {
	for pause := firstOpenPause; ; pause = min(2*pause, maxOpenPause) {
		err := s.tryOpen(ctx)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		s.vitals.failure.Store(&lack{"the registry does not answer", err})
		s.logger.Warn("can't start yet: the registry does not answer", "error", err, "again_in", pause,
			"grpc", s.addresses.GRPC, "http", s.addresses.HTTP, "admin", s.addresses.Admin)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// passes reports whether a failure is one of the moment: whoever made it says when to try again.
func passes(err error) bool {
	var p *problem.Error
	return errors.As(err, &p) && p.Code == problem.Unavailable && p.RetryAfter > 0
}

func (s *server) tryOpen(ctx context.Context) (err error) {
	if _, err := s.project.Registry(ctx); err != nil {
		return err
	}
	if err := s.door.openTokens(ctx, s.project, s.logger); err != nil {
		return err
	}
	var n *node
	err = whileHeld(ctx, func() error {
		if s.project.isEmbedded() && s.project.held(ctx) {
			return s.project.heldByOther()
		}
		n, err = openNode(ctx, s.project, s.opts.Now, s.door, s.traces, s.logger)
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	reconciler, err := s.reconciler(ctx, n)
	if err != nil {
		return err
	}
	n.definitions.Store(reconciler)
	if s.socket, err = s.project.listen(); err != nil && !errors.Is(err, errClaimed) {
		return err
	}
	n.follow.presence = newPresence(n.state, s.project.storeName())
	n.follow.look(ctx) // so that readiness is known from the first answer on
	s.node = n
	return nil
}

// waitingServer answers over gRPC while there is no node.
func (s *server) waitingServer() *grpc.Server {
	options := append(rpc.ServerOptions(s.logger, nil), grpc.Creds(newTransport(s.door.tls)),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return errStarting }))
	waiting := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(waiting, s.vitals.health)
	return waiting
}

// lentListener is a TCP listener that a server has until another takes it.
type lentListener struct {
	net.Listener
	mu    sync.Mutex
	taken bool
}

// lend returns a listener whose end leaves the address open.
func (l *lentListener) lend() net.Listener { return &loan{l.Listener, l} }

// take ends the loan and returns the listener itself.
func (l *lentListener) take() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	setDeadline(l.Listener, time.Time{})
	return l.Listener
}

type loan struct {
	net.Listener
	lender *lentListener
}

// Close implements net.Listener: it wakes who accepts.
func (l *loan) Close() error {
	l.lender.mu.Lock()
	defer l.lender.mu.Unlock()
	if !l.lender.taken {
		setDeadline(l.Listener, time.Unix(1, 0))
	}
	return nil
}

func setDeadline(l net.Listener, at time.Time) {
	if tcp, ok := l.(*net.TCPListener); ok {
		_ = tcp.SetDeadline(at) // fails where it is closed
	}
}
