package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/provender-dev/provender/internal/rpc/calls"
)

// Local is where a project is answered for on this machine.
type Local struct {
	Socket  string // its path
	Started bool   // this process answers; false: another, which was there before
}

// ServeLocal answers on the project's own socket alone until ctx ends, then gives calls under way a moment to finish. No
// schedule runs, and definitions are taken from nowhere. ready is called once, when lookups are answered. Where another
// process answers for the project, ready is told so, and ServeLocal returns.
func ServeLocal(ctx context.Context, p *Project, logger *slog.Logger, ready func(Local) error) (err error) {
	if _, err := p.Registry(ctx); err != nil {
		return err
	}
	logger = slog.New(calls.LogHandler(logger.Handler()))
	var n *node
	var l net.Listener
	var other string
	err = whileHeld(ctx, func() error {
		var held bool
		if other, held = p.heldAt(ctx); held {
			return nil
		}
		opened, err := openNode(ctx, p, time.Time{}, &door{}, nil, logger)
		if err != nil {
			return err
		}
		if l, err = p.listen(); err != nil {
			return errors.Join(err, opened.close())
		}
		n = opened
		return nil
	})
	switch {
	case err != nil:
		return err
	case n == nil:
		return ready(Local{Socket: other})
	}
	defer func() { err = errors.Join(err, n.close()) }()

	v := newVitals()
	healthpb.RegisterHealthServer(n.grpc, v.health)
	reflection.Register(n.grpc)
	n.follow.presence = newPresence(n.state, p.storeName())
	n.follow.look(ctx)
	n.follow.observe = v.publish
	v.node.Store(n)
	v.publish()
	ctx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { n.follow.run(ctx) })
	defer func() {
		stop()
		following.Wait()
		n.leave(ctx)
	}()
	n.serve(l)
	if err := ready(Local{Socket: l.Addr().String(), Started: true}); err != nil {
		return err
	}
	<-ctx.Done()
	v.stop()
	grace, cancel := context.WithTimeout(context.Background(), othersGrace)
	defer cancel()
	n.drain(grace)
	return nil
}
