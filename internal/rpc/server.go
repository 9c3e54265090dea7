package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/rpc/wire"
	feastserver "github.com/provender-dev/provender/proto/feast/server"
	feastpb "github.com/provender-dev/provender/proto/feast/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

const (
	// streamWorkers, per CPU, take calls: a goroutine made for one call grows its stack anew in each.
	streamWorkers = 32
	// window is what a client may send ahead, per call and per connection. A fixed one saves the pings by which gRPC
	// would measure it.
	window = 1 << 20
	// A connection on which nothing comes for so long is asked for a sign of life, and ended where none comes: a client that
	// stands still would keep its calls and their answers.
	silence    = time.Minute
	signOfLife = 20 * time.Second
)

// ServerOptions returns what a server of these services needs: errors become statuses, panics become INTERNAL and are
// logged. logger gets what callers are not shown; watcher, which may be nil, is that of the Services.
func ServerOptions(logger *slog.Logger, watcher *calls.Watcher) []grpc.ServerOption {
	g := guard{logger}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec()),
		grpc.NumStreamWorkers(uint32(streamWorkers * runtime.GOMAXPROCS(0))),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: signOfLife}),
		grpc.ChainUnaryInterceptor(g.unary),
		grpc.ChainStreamInterceptor(watcher.Streams(), g.stream),
	}
}

// RefuseEarly returns what refuses lookups, but those of streams, when only their heads have come.
func RefuseEarly(logger *slog.Logger, watcher *calls.Watcher, admitted *admission.Controller) grpc.ServerOption {
	g := guard{logger}
	count := map[string]func(context.Context, error){}
	for _, method := range []string{
		pb.OnlineService_GetFeatures_FullMethodName,
		feastpb.ServingService_GetOnlineFeatures_FullMethodName, feastserver.GrpcFeatureServer_GetOnlineFeatures_FullMethodName,
	} {
		count[method] = watcher.Refused(method)
	}
	return grpc.InTapHandle(func(ctx context.Context, info *tap.Info) (context.Context, error) {
		refused, ok := count[info.FullMethodName]
		if !ok {
			return ctx, nil
		}
		err := admitted.RefuseEarly(ctx)
		if err == nil {
			return ctx, nil
		}
		err = g.convert(ctx, info.FullMethodName, err)
		refused(ctx, err)
		return ctx, err
	})
}

// guard stands between handlers and gRPC.
type guard struct{ logger *slog.Logger }

func (g guard) unary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (resp any, err error) {
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, &panicError{v, debug.Stack()}
		}
		err = g.convert(ctx, info.FullMethod, err)
	}()
	return handler(ctx, req)
}

func (g guard) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	err = caught(func() error { return handler(srv, stream) })
	err = g.convert(stream.Context(), info.FullMethod, err)
	if strings.HasPrefix(info.FullMethod, "/"+flightService+"/") {
		stream.SetTrailer(arrowTrailer(err))
	}
	return err
}

func (g guard) convert(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	s := statusOf(err, func(reference string, err error) { logHidden(ctx, g.logger, reference, method, err) })
	return withRequest(ctx, s).Err()
}

// logHidden logs an error that callers are shown a reference of.
func logHidden(ctx context.Context, logger *slog.Logger, reference, method string, err error) {
	attrs := []any{"reference", reference, "method", method, "error", err.Error()}
	if p, ok := err.(*panicError); ok { //nolint:errorlint // made above, never wrapped
		attrs = append(attrs, "stack", string(p.stack))
	}
	logger.ErrorContext(ctx, "internal error", attrs...)
}

// caught runs f. A panic is its error.
func caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// panicError is a recovered panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }
