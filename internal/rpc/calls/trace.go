package calls

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online/serving"
)

// traced is what a method's spans have in common.
type traced struct {
	name  string
	attrs []attribute.KeyValue
}

func tracedGRPC(service, method string) traced {
	return traced{
		name:  service + "/" + method,
		attrs: []attribute.KeyValue{attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", service+"/"+method)},
	}
}

func tracedHTTP(method, path string) traced {
	return traced{
		name:  method + " " + path,
		attrs: []attribute.KeyValue{attribute.String("http.request.method", method), attribute.String("http.route", path)},
	}
}

// beginSpan begins the span of a call, in the trace that its caller has told.
func (c *Call) beginSpan(from propagation.TextMapCarrier) {
	ctx := propagation.TraceContext{}.Extract(c.Context, from)
	c.Context, c.span = c.method.watcher.Tracer.Start(ctx, c.method.traced.name,
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(c.method.traced.attrs...))
	if c.span.IsRecording() {
		c.span.SetAttributes(attribute.String("provender.request_id", c.id.String()))
	}
}

// beginPart begins the span of a message of a stream.
func (c *Call) beginPart() {
	c.Context, c.span = c.method.watcher.Tracer.Start(c.Context, "message")
}

// endSpan ends it. The text of an error is not told: it may name a value.
func (c *Call) endSpan(code codes.Code) {
	if c.span.IsRecording() {
		c.span.SetAttributes(attribute.String("rpc.response.status_code", codeName(code)))
		if isFault(code) {
			c.span.SetStatus(otelcodes.Error, codeName(code))
		}
	}
	c.span.End()
}

// isFault reports whether a code is the server's doing: what the caller did wrong is no error of a server's span.
func isFault(code codes.Code) bool {
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss, codes.ResourceExhausted:
		return true
	}
	return false
}

// traceLookup tells of a lookup, which is over: a is nil where it failed.
func (c *Call) traceLookup(a *serving.Answer) {
	if !c.span.IsRecording() {
		return
	}
	l := &c.looked
	attrs := []attribute.KeyValue{
		attribute.String("provender.service", l.service), attribute.Int("provender.features", l.features),
		attribute.Int("provender.entities", l.entities),
	}
	if a != nil {
		views := make([]string, len(a.Views))
		for i := range a.Views {
			views[i] = a.Views[i].View
		}
		attrs = append(attrs, attribute.Int64("provender.revision", a.Revision), attribute.StringSlice("provender.views", views))
	}
	c.span.SetAttributes(attrs...)
	trip := &l.took.Store
	if trip.Waited > 0 && trip.Began != 0 {
		c.part("store wait", trip.Began-clock.Instant(trip.Waited), trip.Began)
	}
	if trip.Ended == 0 {
		return
	}
	// Lookups that shared a round trip have the same number.
	c.part("store read", trip.Began, trip.Ended,
		attribute.Int("provender.store.reads", trip.Reads), attribute.Int64("provender.store.trip", trip.ID))
	c.part("decode", trip.Ended, l.took.Ended)
}

// part tells of a part of a call that is over.
func (c *Call) part(name string, from, to clock.Instant, attrs ...attribute.KeyValue) {
	now, at := time.Now(), clock.Now()
	_, span := c.method.watcher.Tracer.Start(c.Context, name,
		trace.WithTimestamp(now.Add(-at.Sub(from))), trace.WithAttributes(attrs...))
	span.End(trace.WithTimestamp(now.Add(-at.Sub(to))))
}
