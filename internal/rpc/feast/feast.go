// Package feast answers the clients of Feast's feature servers: its gRPC services and its POST /get-online-features.
// Messages are read and written by hand, a column at a time, for Feast has a message per value; the generated code is the
// oracle of the tests.
package feast

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/online/serving"
	serverpb "github.com/provender-dev/provender/proto/feast/server"
	pb "github.com/provender-dev/provender/proto/feast/serving"
)

// Lookups answers requests; *serving.Server does.
type Lookups interface {
	Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error)
}

// version is what GetFeastServingInfo answers: of Feast, whose clients read it, the one that this package follows.
const version = "0.67.0"

// Register adds both of Feast's services to a server with wire.Codec.
func Register(server grpc.ServiceRegistrar, lookups Lookups, admitted *admission.Controller) {
	s := &service{lookups, admitted}
	server.RegisterService(&servingDesc, s)
	server.RegisterService(&serverDesc, s)
}

// The generated descriptions, with handlers that decode and encode by hand.
var (
	servingDesc = describe(pb.ServingService_ServiceDesc)
	serverDesc  = describe(serverpb.GrpcFeatureServer_ServiceDesc)
)

func describe(desc grpc.ServiceDesc) grpc.ServiceDesc {
	desc.HandlerType = (*handler)(nil)
	methods := desc.Methods
	desc.Methods = make([]grpc.MethodDesc, 0, len(methods))
	for _, m := range methods {
		switch m.MethodName {
		case "GetOnlineFeatures":
			m.Handler = handleGetOnlineFeatures("/" + desc.ServiceName + "/" + m.MethodName)
		case "GetFeastServingInfo":
			m.Handler = handleGetFeastServingInfo
		}
		desc.Methods = append(desc.Methods, m)
	}
	return desc
}

type handler interface {
	getOnlineFeatures(ctx context.Context, req *request) (*wire.Reply, error)
}

func handleGetOnlineFeatures(method string) grpc.MethodHandler {
	return func(
		srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor,
	) (any, error) {
		in := requests.Get().(*request)
		defer in.release()
		// What stands between gRPC and a handler sees an empty request: it is decoded when the call is admitted.
		call := func(ctx context.Context, req any) (any, error) {
			in := req.(*request)
			if err := decode(&in.received); err != nil {
				return nil, err
			}
			return srv.(handler).getOnlineFeatures(ctx, in)
		}
		if interceptor == nil {
			return call(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, call)
	}
}

func handleGetFeastServingInfo(
	srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor, //nolint:revive // gRPC's order
) (any, error) {
	in := new(pb.GetFeastServingInfoRequest)
	if err := decode(in); err != nil {
		return nil, err
	}
	call := func(context.Context, any) (any, error) {
		return &pb.GetFeastServingInfoResponse{Version: version}, nil
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{
		Server: srv, FullMethod: pb.ServingService_GetFeastServingInfo_FullMethodName,
	}, call)
}

type service struct {
	lookups   Lookups
	admission *admission.Controller
}

// getOnlineFeatures answers a request that was received.
func (s *service) getOnlineFeatures(ctx context.Context, req *request) (*wire.Reply, error) {
	turn, err := s.admission.Enter(ctx, admission.Call{
		Keys: req.received.Sizes(0, fieldEntities), Bytes: req.received.Size(),
	})
	if err != nil {
		return nil, err
	}
	defer turn.Release()
	if err := req.received.Decode(req); err != nil {
		return nil, err
	}
	answer, err := lookUp(ctx, s.lookups, req)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	e := encoders.Get().(*encoder)
	defer e.release()
	return wire.EncodeFunc(func(dst []byte) []byte { return e.appendResponse(dst, req, answer) }), nil
}

// lookUp answers a decoded request.
func lookUp(ctx context.Context, lookups Lookups, req *request) (*serving.Answer, error) {
	if req.err != nil {
		return nil, req.err
	}
	answer, err := lookups.Lookup(ctx, &req.lookup)
	if err != nil {
		return nil, inFeastsWords(err)
	}
	return answer, nil
}

// inFeastsWords names the field at fault as Feast's request has it.
func inFeastsWords(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) {
		return err
	}
	renamed := *p
	switch rest, isKey := strings.CutPrefix(p.Field, "keys"); {
	case isKey:
		renamed.Field = "entities" + rest
	case p.Field == "service":
		renamed.Field = "feature_service"
	default:
		return err
	}
	return &renamed
}

// Handler returns what answers POST /get-online-features as Feast's Python server does, or returns the error to answer,
// having written nothing. Bodies of more than maxBody bytes are refused.
func Handler(lookups Lookups, admitted *admission.Controller, maxBody int64) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		req := requests.Get().(*request)
		defer req.release()
		req.readBody(w, r, maxBody)
		body, err := answerBody(r.Context(), lookups, admitted, req)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body.body) // the client may have gone
		body.release()
		return nil
	}
}

// answerBody answers a body that was read. The client may take its time to read what is in the encoder.
func answerBody(ctx context.Context, lookups Lookups, admitted *admission.Controller, req *request) (*encoder, error) {
	if req.err != nil {
		return nil, req.err
	}
	turn, err := admitted.Enter(ctx, admission.Call{Keys: admission.KeysOfJSON(req.raw, "entities"), Bytes: len(req.raw)})
	if err != nil {
		return nil, err
	}
	defer turn.Release()
	req.err = req.decodeJSON()
	answer, err := lookUp(ctx, lookups, req)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	e := encoders.Get().(*encoder)
	e.body = e.appendJSON(e.body[:0], req, answer)
	return e, nil
}
