package client_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/sdk/client"
)

// exampleServer serves departures of two airports until stop is called.
func exampleServer() (addr string, stop func()) {
	dir, err := os.MkdirTemp("", "provender")
	must(nil, err)
	p := newProject(nil, dir)
	p.put("airport_hourly", `"JFK"`, noon.Add(-time.Hour), "31", "12.5", "null")
	p.put("airport_hourly", `"SFO"`, noon.Add(-8*time.Hour), "24", "3", "null")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(nil, err)
	server := grpc.NewServer(rpc.ServerOptions(slog.New(slog.NewTextHandler(io.Discard, nil)))...)
	rpc.Register(server, rpc.Services{Lookups: p.server})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	return listener.Addr().String(), func() {
		server.GracefulStop()
		must(nil, <-done)
		must(nil, p.store.Close())
		must(nil, os.RemoveAll(dir))
	}
}

func Example() {
	addr, stop := exampleServer()
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	r, err := c.GetFeatures(ctx, client.Request{
		Features: []string{"airport_hourly:departures", "airport_hourly:mean_delay"},
		Keys:     []client.Key{client.Strings("airport", "JFK", "SFO", "XYZ")},
	})
	if err != nil {
		panic(err)
	}
	for i := range r.Rows {
		for j := range r.Columns {
			column := &r.Columns[j]
			fmt.Println(i, column.Name, column.Value(i), column.Status(i))
		}
	}
	// Output:
	// 0 departures 31 PRESENT
	// 0 mean_delay 12.5 PRESENT
	// 1 departures 7 EXPIRED
	// 1 mean_delay <nil> EXPIRED
	// 2 departures 7 NOT_FOUND
	// 2 mean_delay <nil> NOT_FOUND
}
