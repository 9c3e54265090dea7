package client

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// TestInsist: a call is made again only where the connection was lost, a few times, and not after ctx has ended.
func TestInsist(t *testing.T) {
	gone := errorOf(status.Error(codes.Unavailable, "connection refused"))
	answered, err := status.New(codes.Unavailable, "the store is away").WithDetails(&errdetails.ErrorInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		errs  []error // of the calls, the last of all others
		until time.Duration
		calls int
		took  time.Duration
	}{
		"done":           {errs: []error{nil}, calls: 1},
		"gone":           {errs: []error{gone}, calls: 5, took: 7500 * time.Millisecond},
		"back again":     {errs: []error{gone, gone, nil}, calls: 3, took: 1500 * time.Millisecond},
		"lost, then bad": {errs: []error{gone, errorOf(status.Error(codes.FailedPrecondition, "failed"))}, calls: 2, took: 500 * time.Millisecond},
		"its own answer": {errs: []error{errorOf(answered.Err())}, calls: 1},
		"canceled":       {errs: []error{errorOf(context.Canceled)}, calls: 1},
		"malformed":      {errs: []error{malformed("x")}, calls: 1},
		// The pause would outlast the deadline: no use in waiting for it.
		"before ctx ends": {errs: []error{gone}, until: time.Second, calls: 2, took: 500 * time.Millisecond},
		"ctx ended first": {errs: []error{gone}, until: time.Nanosecond, calls: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(test.until, time.Hour))
			defer cancel()
			begun, calls := time.Now(), 0
			runs, err := new(Client).insist(ctx, func() ([]Run, error) {
				calls++
				if calls == 1 {
					return []Run{{ID: 7}}, test.errs[0]
				}
				return nil, test.errs[min(calls, len(test.errs))-1]
			})
			last := test.errs[min(calls, len(test.errs))-1]
			if took := time.Since(begun); calls != test.calls || !about(took, test.took) || !errors.Is(err, last) || len(runs) != 1 {
				t.Errorf("%s: %d calls in %v, %v, %v", name, calls, took, runs, err)
			}
		})
	}
}

// about reports whether pauses took what they should, and up to a quarter more.
func about(took, want time.Duration) bool { return took >= want && took <= want+want/4 }

// failing is a connection whose calls fail with one error after the other, the last of all others.
type failing struct {
	grpc.ClientConnInterface
	errs  []error
	calls int
}

func (f *failing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	f.calls++
	return f.errs[min(f.calls, len(f.errs))-1]
}

// TestReads: a call that changes nothing is made again while the server is unavailable, as it advises and as ctx allows;
// other calls and other errors are the caller's at once.
func TestReads(t *testing.T) {
	gone := status.Error(codes.Unavailable, "connection refused")
	advised := func(delay time.Duration) error {
		s, err := status.New(codes.Unavailable, "the store is away").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	const lookup, apply = pb.OnlineService_GetFeatures_FullMethodName, pb.RegistryService_ApplyPlan_FullMethodName
	for name, test := range map[string]struct {
		method string
		errs   []error
		until  time.Duration
		calls  int
		took   time.Duration
	}{
		"done":             {method: lookup, errs: []error{nil}, calls: 1},
		"gone":             {method: lookup, errs: []error{gone}, calls: 5, took: 1500 * time.Millisecond},
		"back again":       {method: lookup, errs: []error{gone, gone, nil}, calls: 3, took: 300 * time.Millisecond},
		"then wrong":       {method: lookup, errs: []error{gone, status.Error(codes.InvalidArgument, "")}, calls: 2, took: 100 * time.Millisecond},
		"advised":          {method: lookup, errs: []error{advised(time.Second), nil}, calls: 2, took: time.Second},
		"advised less":     {method: lookup, errs: []error{advised(time.Millisecond), nil}, calls: 2, took: 100 * time.Millisecond},
		"advised too long": {method: lookup, errs: []error{advised(time.Minute)}, calls: 1},
		"a deadline":       {method: lookup, errs: []error{advised(time.Second)}, until: 900 * time.Millisecond, calls: 1},
		"a late deadline":  {method: lookup, errs: []error{gone}, until: 1200 * time.Millisecond, calls: 4, took: 700 * time.Millisecond},
		"changes":          {method: apply, errs: []error{gone}, calls: 1},
		"exhausted":        {method: lookup, errs: []error{status.Error(codes.ResourceExhausted, "")}, calls: 1},
		"deadline passed":  {method: lookup, errs: []error{status.Error(codes.DeadlineExceeded, "")}, calls: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(test.until, time.Hour))
			defer cancel()
			conn := &failing{errs: test.errs}
			begun := time.Now()
			err := repeating{conn}.Invoke(ctx, test.method, nil, nil)
			if took := time.Since(begun); conn.calls != test.calls || !about(took, test.took) || !errors.Is(err, test.errs[min(conn.calls, len(test.errs))-1]) {
				t.Errorf("%s: %d calls in %v, %v", name, conn.calls, took, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		conn, begun := &failing{errs: []error{gone}}, time.Now()
		if err := (repeating{conn}).Invoke(ctx, lookup, nil, nil); !errors.Is(err, gone) || time.Since(begun) != 50*time.Millisecond {
			t.Errorf("canceled: %v after %v", err, time.Since(begun))
		}
	})
}

// TestEveryCall: each call of the API is known to change something or not.
func TestEveryCall(t *testing.T) {
	changes := []string{
		"OperationsService.PauseSchedules", "OperationsService.ResumeSchedules", "OperationsService.CancelRun",
		"RegistryService.ApplyPlan", "AdminService.CreateToken", "AdminService.RevokeToken",
	}
	var unknown []string
	known := 0
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_provender_v1_online_proto, pb.File_provender_v1_offline_proto, pb.File_provender_v1_operations_proto,
		pb.File_provender_v1_registry_proto, pb.File_provender_v1_admin_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for k := range service.Methods().Len() {
				m := service.Methods().Get(k)
				name := string(service.Name()) + "." + string(m.Name())
				isRead := reads["/"+string(service.FullName())+"/"+string(m.Name())]
				if isRead {
					known++
				}
				if m.IsStreamingClient() || m.IsStreamingServer() {
					continue // not made again, or by its request id
				}
				if isRead == slices.Contains(changes, name) {
					unknown = append(unknown, name)
				}
			}
		}
	}
	if len(unknown) > 0 || known != len(reads) {
		t.Errorf("not known to be a read or a change: %q; %d of %d reads", unknown, known, len(reads))
	}
}

// TestPagesOnce: every page is asked for once, and a list that goes round ends.
func TestPagesOnce(t *testing.T) {
	var asked []string
	next := map[string]string{"": "a", "a": "b"}
	err := pages(func(token string) (string, error) { asked = append(asked, token); return next[token], nil })
	if err != nil || len(asked) != 3 {
		t.Errorf("asked for %q, %v", asked, err)
	}
	next["b"] = "b"
	if err := pages(func(token string) (string, error) { return next[token], nil }); err == nil {
		t.Error("a page that leads to itself")
	}
	if err := pages(func(string) (string, error) { return "a", context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
