package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// onlineServiceDesc is the generated description with handlers that take and return messages which are decoded and
// encoded by hand.
var onlineServiceDesc = func() grpc.ServiceDesc {
	desc := pb.OnlineService_ServiceDesc
	desc.HandlerType = (*lookupHandler)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "GetFeatures", Handler: handleGetFeatures}}
	desc.Streams = []grpc.StreamDesc{{
		StreamName: "StreamFeatures", Handler: handleStreamFeatures, ClientStreams: true, ServerStreams: true,
	}}
	return desc
}()

type lookupHandler interface {
	getFeatures(ctx context.Context, in *featuresRequest) (*wire.Reply, error)
	streamFeatures(stream grpc.ServerStream) error
}

// requests are decoded into memory that is used again.
var requests = sync.Pool{New: func() any { return new(featuresRequest) }}

// release keeps r for another call.
func (r *featuresRequest) release() {
	r.received.Free() // where the call ended before it was decoded
	if r.poolable() {
		requests.Put(r)
	}
}

func handleGetFeatures(
	srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor, //nolint:revive // gRPC's order
) (any, error) {
	in := requests.Get().(*featuresRequest)
	defer in.release()
	// What stands between gRPC and a handler sees an empty request: it is decoded when the call is admitted.
	call := func(ctx context.Context, req any) (any, error) {
		in := req.(*featuresRequest)
		if err := decode(&in.received); err != nil {
			return nil, err
		}
		return srv.(lookupHandler).getFeatures(ctx, in)
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: pb.OnlineService_GetFeatures_FullMethodName}
	return interceptor(ctx, in, info, call)
}

// keysField is the field of GetFeaturesRequest, messageField that of StreamFeaturesRequest, which wraps one.
const (
	keysField    = 3
	messageField = 1
)

type onlineService struct {
	lookups   Lookups
	admission *admission.Controller
}

// getFeatures answers a request that was received.
func (s *onlineService) getFeatures(ctx context.Context, in *featuresRequest) (*wire.Reply, error) {
	turn, err := s.admission.Enter(ctx, admission.Call{Keys: in.received.Sizes(0, keysField), Bytes: in.received.Size()})
	if err != nil {
		return nil, err
	}
	defer turn.Release()
	if err := in.received.Decode(in); err != nil {
		return nil, err
	}
	answer, err := s.answer(ctx, in)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	return wire.Encode(features{answer})
}

// answer answers a request that is decoded.
func (s *onlineService) answer(ctx context.Context, in *featuresRequest) (*serving.Answer, error) {
	req, err := in.lookup()
	if err != nil {
		return nil, err
	}
	return s.lookups.Lookup(ctx, req)
}
