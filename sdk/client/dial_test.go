package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/provender-dev/provender/sdk/client"
)

// A server that goes away just as it is reached is refused or found, never waited for.
func TestDialServerGoesAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			defer l.Close()
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			// The empty SETTINGS frame that makes a connection ready.
			_, _ = conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
		}()
		c, err := client.Dial(ctx, l.Addr().String())
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("waited for a server that was gone")
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		<-gone
	}
}
