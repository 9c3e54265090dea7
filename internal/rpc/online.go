package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/rpc/wire"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// onlineServiceDesc is the generated description with handlers that take and return messages which are decoded and
// encoded by hand.
var onlineServiceDesc = func() grpc.ServiceDesc {
	desc := pb.OnlineService_ServiceDesc
	desc.HandlerType = (*lookupHandler)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "GetFeatures", Handler: handleGetFeatures}}
	return desc
}()

type lookupHandler interface {
	getFeatures(ctx context.Context, in *featuresRequest) (*wire.Reply, error)
}

// requests are decoded into memory that is used again.
var requests = sync.Pool{New: func() any { return new(featuresRequest) }}

func handleGetFeatures(
	srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor, //nolint:revive // gRPC's order
) (any, error) {
	in := requests.Get().(*featuresRequest)
	defer func() {
		if in.poolable() {
			requests.Put(in)
		}
	}()
	if err := decode(in); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, req any) (any, error) {
		return srv.(lookupHandler).getFeatures(ctx, req.(*featuresRequest))
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: pb.OnlineService_GetFeatures_FullMethodName}
	return interceptor(ctx, in, info, call)
}

type onlineService struct{ lookups Lookups }

func (s *onlineService) getFeatures(ctx context.Context, in *featuresRequest) (*wire.Reply, error) {
	req, err := in.lookup()
	if err != nil {
		return nil, err
	}
	answer, err := s.lookups.Lookup(ctx, req)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	return wire.Encode(features{answer})
}
