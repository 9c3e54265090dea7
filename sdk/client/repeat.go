package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// How often a call is made again, and how long it waits before: about so long, and twice as long each time.
const (
	repeats     = 4
	readAfter   = 100 * time.Millisecond // calls that change nothing
	repeatAfter = 500 * time.Millisecond // calls that carry a request id
	// maxAdvice is the longest pause that a server's advice makes; with a longer one the error is the caller's.
	maxAdvice = 5 * time.Second
)

// reads are the calls that change nothing. They are made again while the server, or a store of its, is unavailable.
var reads = map[string]bool{
	pb.OnlineService_GetFeatures_FullMethodName:            true,
	pb.OfflineService_GetHistoricalFeatures_FullMethodName: true,
	pb.OfflineService_Explain_FullMethodName:               true,
	pb.OperationsService_GetStatus_FullMethodName:          true,
	pb.OperationsService_ListRuns_FullMethodName:           true,
	pb.OperationsService_GetRun_FullMethodName:             true,
	pb.OperationsService_PlanMaterialize_FullMethodName:    true,
	pb.RegistryService_ListDefinitions_FullMethodName:      true,
	pb.RegistryService_GetDefinition_FullMethodName:        true,
	pb.RegistryService_ListRevisions_FullMethodName:        true,
	pb.RegistryService_GetRevision_FullMethodName:          true,
	pb.RegistryService_PlanDefinitions_FullMethodName:      true,
	pb.RegistryService_PlanRollback_FullMethodName:         true,
	pb.AdminService_ListTokens_FullMethodName:              true,
}

// repeating is a connection that makes reads again.
type repeating struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (r repeating) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	for pause, n := readAfter, 0; ; pause, n = 2*pause, n+1 {
		err := r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
		if err == nil || n == repeats || !reads[method] || status.Code(err) != codes.Unavailable {
			return err
		}
		advised := advice(status.Convert(err))
		if advised > maxAdvice || !rest(ctx, max(pause, advised)) {
			return err
		}
	}
}

// advice is how long a server says to wait, 0 for none.
func advice(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// rest waits for a pause and up to a quarter more, so that not all clients come back at once. It returns false where ctx
// ends before: at once where its deadline says so.
func rest(ctx context.Context, pause time.Duration) bool {
	pause += rand.N(pause/4 + 1)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// insist makes a call that carries a request id, and makes it again where the connection is lost before its end. It returns
// the runs of the last call that had any, and the error of the last.
func (c *Client) insist(ctx context.Context, call func() ([]Run, error)) (runs []Run, err error) {
	for pause, n := repeatAfter, 0; ; pause, n = 2*pause, n+1 {
		got, err := call()
		if len(got) > 0 {
			runs = got
		}
		if c.once || n == repeats || !lost(err) || !rest(ctx, pause) {
			return runs, err
		}
	}
}

// lost reports that a call ended without the server's own answer: that has details.
func lost(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.err == nil {
		return false
	}
	s := status.Convert(e.err)
	return s.Code() == codes.Unavailable && len(s.Details()) == 0
}
