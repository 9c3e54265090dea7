package client_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/sdk/client"
)

// TestReconnects: a lookup outlives a server that goes and comes back; without repeats it fails, as what changes something does.
func TestReconnects(t *testing.T) {
	p, _ := start(t)
	p.put("world", "", noon, "21.5")
	at := testenv.FreeAddress(t)
	serve := func() (stop func()) {
		listener, err := net.Listen("tcp", at)
		must(t, err)
		server := grpc.NewServer(rpc.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
		rpc.Register(server, rpc.Services{Lookups: p.server})
		done := make(chan error, 1)
		go func() { done <- server.Serve(listener) }()
		return func() {
			server.Stop()
			must(t, <-done)
		}
	}
	stop := serve()
	attempts := 0
	var back func()
	c, err := client.Dial(t.Context(), at, client.WithGRPC(grpc.WithUnaryInterceptor(func(
		ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		err := invoke(ctx, method, req, reply, conn, opts...)
		if attempts++; attempts == 2 { // the first was before the server went
			back = serve()
		}
		return err
	})))
	must(t, err)
	defer func() { must(t, c.Close()) }()
	once, err := client.Dial(t.Context(), at, client.WithoutRepeats())
	must(t, err)
	defer func() { must(t, once.Close()) }()
	req := client.Request{Features: []string{"world:temperature"}}
	_, err = c.GetFeatures(t.Context(), req)
	must(t, err)
	stop()
	if _, err := once.GetFeatures(t.Context(), req); asError(t, err).Code != client.CodeUnavailable {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := c.GetFeatures(ctx, req)
	must(t, err)
	check(t, r, "temperature", "21.5 PRESENT")
	if attempts < 3 {
		t.Errorf("%d attempts", attempts)
	}
	back()
}
