package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec below wraps it
	"google.golang.org/grpc/mem"
)

// ServerOptions returns what a server of these services needs: errors become statuses, panics become INTERNAL and are
// logged, and answers give their memory back once they are encoded. logger gets what callers are not shown.
func ServerOptions(logger *slog.Logger) []grpc.ServerOption {
	g := guard{logger}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(releasing{encoding.GetCodecV2("proto")}),
		grpc.ChainUnaryInterceptor(g.unary),
		grpc.ChainStreamInterceptor(g.stream),
	}
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
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
		err = g.convert(stream.Context(), info.FullMethod, err)
	}()
	return handler(srv, stream)
}

func (g guard) convert(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	return statusOf(err, func(reference string, err error) {
		attrs := []any{"reference", reference, "method", method, "error", err.Error()}
		if p, ok := err.(*panicError); ok { //nolint:errorlint // made above, never wrapped
			attrs = append(attrs, "stack", string(p.stack))
		}
		g.logger.ErrorContext(ctx, "internal error", attrs...)
	}).Err()
}

// panicError is a recovered panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// releasing is gRPC's codec for messages, which also encodes replies and releases them after, and leaves to messages what
// they can do themselves.
type releasing struct{ encoding.CodecV2 }

type selfMarshaler interface{ Marshal() (mem.BufferSlice, error) }

type selfUnmarshaler interface{ Decode(b []byte) error }

func (c releasing) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(selfUnmarshaler); ok {
		b := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer b.Free()
		return m.Decode(b.ReadOnlyData())
	}
	return c.CodecV2.Unmarshal(data, v)
}

func (c releasing) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(selfMarshaler); ok {
		return m.Marshal()
	}
	if r, ok := v.(*reply); ok {
		defer r.release()
		v = &r.message
	}
	return c.CodecV2.Marshal(v)
}
