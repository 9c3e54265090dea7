package calls

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/clock"
)

// Registrar returns next, the services that it registers watched, but for their streams. Handlers are wrapped rather than
// intercepted, for interceptors do not see what can't be decoded.
func (w *Watcher) Registrar(next grpc.ServiceRegistrar) grpc.ServiceRegistrar {
	return registrar{w, next}
}

type registrar struct {
	watcher *Watcher
	next    grpc.ServiceRegistrar
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	watched := *desc
	watched.Methods = nil
	for _, m := range desc.Methods {
		m.Handler = r.watcher.grpc(desc.ServiceName, m.MethodName).unary(m.Handler)
		watched.Methods = append(watched.Methods, m)
	}
	for _, s := range desc.Streams {
		if r.watcher != nil {
			r.watcher.stream("/" + desc.ServiceName + "/" + s.StreamName) // is told of before its first call
		}
	}
	r.next.RegisterService(&watched, impl)
}

// prefixes are what comes before the names of methods that are not of our own services.
var prefixes = map[string]string{
	"feast.serving.ServingService": "feast.", "GrpcFeatureServer": "feast.", "arrow.flight.protocol.FlightService": "flight.",
}

func (w *Watcher) grpc(service, name string) *Method {
	m := w.method(prefixes[service]+name, tracedGRPC(service, name))
	m.lookup = name == "GetFeatures" || name == "GetOnlineFeatures"
	return m
}

// full returns a method by its name in gRPC, "/package.Service/Method".
func (w *Watcher) full(fullMethod string) *Method {
	service, name, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return w.grpc(service, name)
}

// Refused returns what counts the calls of a method that are refused before there is a handler.
func (w *Watcher) Refused(fullMethod string) func(ctx context.Context, err error) {
	m := w.full(fullMethod)
	return func(ctx context.Context, err error) {
		m.beginGRPC(ctx).endGRPC(err, func(metadata.MD) {})
	}
}

func (m *Method) unary(next grpc.MethodHandler) grpc.MethodHandler {
	return func(
		srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor, // gRPC's order
	) (any, error) {
		c := m.beginGRPC(ctx)
		reply, err := next(srv, c, decode, interceptor)
		if err == nil && (c.id.given != "" || !m.lookup) {
			_ = grpc.SetHeader(c, c.header()) // the connection may be gone
		}
		c.endGRPC(err, func(md metadata.MD) { _ = grpc.SetTrailer(c, md) })
		return reply, err
	}
}

// Streams returns what watches streams. It comes before other interceptors, so that it sees what they refuse and what callers
// are told, and lets gRPC's own, health and reflection, pass.
func (w *Watcher) Streams() grpc.StreamServerInterceptor {
	if w == nil {
		w = New(Options{})
	}
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if strings.HasPrefix(info.FullMethod, "/grpc.") {
			return next(srv, stream)
		}
		c := w.stream(info.FullMethod).beginGRPC(stream.Context())
		err := next(srv, &watchedStream{ServerStream: stream, call: c})
		c.endGRPC(err, stream.SetTrailer)
		return err
	}
}

// stream returns the method of a stream.
func (w *Watcher) stream(fullMethod string) *Method {
	if m, ok := w.streams.Load(fullMethod); ok {
		return m.(*Method)
	}
	m := w.full(fullMethod)
	each := *m
	m.long, m.each = true, &each
	kept, _ := w.streams.LoadOrStore(fullMethod, m)
	return kept.(*Method)
}

// watchedStream is the stream of a call.
type watchedStream struct {
	grpc.ServerStream
	call *Call
	told bool // the id
}

// Context implements grpc.ServerStream.
func (s *watchedStream) Context() context.Context { return s.call }

// SendMsg implements grpc.ServerStream. The id goes ahead of the first message, not sooner: to a client, headers mean that
// a call must not be repeated.
func (s *watchedStream) SendMsg(m any) error {
	if !s.told {
		s.told = true
		_ = s.SetHeader(s.call.header()) // a handler may have sent its own
	}
	return s.ServerStream.SendMsg(m)
}

func (m *Method) beginGRPC(ctx context.Context) *Call {
	given := ""
	if values := metadata.ValueFromIncomingContext(ctx, Header); len(values) == 1 {
		given = values[0]
	}
	c := m.begin(ctx, given)
	if m.watcher.Tracer != nil {
		c.beginSpan(carrier{ctx})
	}
	return c
}

// endGRPC ends a call. The id of one that failed goes into the trailer: with headers, it could not be repeated.
func (c *Call) endGRPC(err error, setTrailer func(metadata.MD)) {
	code := status.Code(err)
	if err != nil {
		setTrailer(c.header())
	}
	if c.parted.Load() {
		if c.span != nil {
			c.endSpan(code)
		}
		return
	}
	c.end(code, peerOf)
}

func (c *Call) header() metadata.MD { return metadata.MD{Header: {c.id.String()}} }

// Message begins what one message of a stream asks for. It is counted as a call of its own, and the stream is not.
func Message(ctx context.Context) (_ context.Context, end func(code codes.Code)) {
	stream := From(ctx)
	if stream == nil {
		return ctx, func(codes.Code) {}
	}
	stream.parted.Store(true)
	c := &Call{Context: ctx, method: stream.method.each, began: clock.Now(), id: stream.id}
	if stream.span != nil {
		c.beginPart()
	}
	return c, func(code codes.Code) { c.end(code, peerOf) }
}

// peerOf returns the address of a call's caller.
func peerOf(c *Call) string {
	if p, ok := peer.FromContext(c); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}

// carrier has a caller's metadata for who reads the context of a trace from it.
type carrier struct{ ctx context.Context } //nolint:containedctx // metadata is in there

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	return strings.Join(metadata.ValueFromIncomingContext(c.ctx, key), ",")
}

// Set implements propagation.TextMapCarrier; nothing is sent by it.
func (carrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (carrier) Keys() []string { return nil }
