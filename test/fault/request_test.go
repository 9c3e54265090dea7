package fault

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

// TestServerKilledInCall: a client whose server is killed asks the next one, and is told of the run that it has begun, by its
// end, be it good or bad. None is run twice.
func TestServerKilledInCall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ point, state string }{
		{failpoint.RunAfterWrite, "failed"},
		{failpoint.RunAfterCommit, "succeeded"},
	} {
		t.Run(test.state, func(t *testing.T) {
			w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
			doomed, next := w.serve(test.point+"=kill"), w.serve("")
			c, err := client.Dial(t.Context(), doomed.addr, client.WithGRPC(grpc.WithContextDialer(
				func(ctx context.Context, _ string) (net.Conn, error) {
					addr := doomed.addr
					if doomed.Ended() {
						addr = next.addr
					}
					return new(net.Dialer).DialContext(ctx, "tcp", addr)
				})))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			told, err := c.Materialize(t.Context(), client.MaterializeRequest{}, nil)
			if !doomed.Ended() {
				t.Fatalf("the server lives; runs %+v, %v", told, err)
			}
			var failed *client.Error
			if ok := test.state == "succeeded"; ok != (err == nil) || !ok && (!errors.As(err, &failed) || failed.Code != client.CodePrecondition) {
				t.Errorf("told %v", err)
			}
			runs, err := next.client.Runs(t.Context(), nil, 0)
			if err != nil || len(runs) != 1 || len(told) != 1 || told[0].ID != runs[0].ID || told[0].State != test.state || told[0].RequestID == "" {
				t.Errorf("there are %+v, %v\ntold of %+v", runs, err, told)
			}
			w.Must("materialize")
			w.equal()
		})
	}
}
