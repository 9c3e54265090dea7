// Package tracing sends spans to an OTLP collector, as the standard OTEL_ variables say. Nothing of it runs unless they name
// one, and a collector that is slow or gone costs spans, never a call.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/provender-dev/provender/internal/problem"
)

const scope = "github.com/provender-dev/provender"

const (
	closeWithin = 5 * time.Second
	mostSpans   = 1 << 16 // wait, whatever is asked for
)

// Stats counts spans since New.
type Stats struct {
	Sent    int64 // the collector has them
	Failed  int64 // were sent, and not taken
	Dropped int64 // came while the queue was full
}

// Tracing makes spans and sends them. A nil one makes none.
type Tracing struct {
	provider *sdk.TracerProvider
	queue    *queue
}

// New returns what the environment asks for, nil where it names no collector. version is that of this program.
func New(ctx context.Context, getenv func(string) string, version string, logger *slog.Logger) (*Tracing, error) {
	if !wanted(getenv) {
		return nil, nil
	}
	exporter, err := exporter(ctx, getenv)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "provender"), attribute.String("service.version", version)),
		resource.WithFromEnv(), // which wins
	)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("tracing", "error", err) }))
	q := newQueue(exporter, settingsOf(getenv), logger)
	return &Tracing{sdk.NewTracerProvider(sdk.WithSpanProcessor(q), sdk.WithResource(about)), q}, nil
}

// wanted reports whether the environment names a collector.
func wanted(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// exporter speaks the protocol that the environment names. Endpoint, headers, TLS and compression it finds there by itself.
func exporter(ctx context.Context, getenv func(string) string) (sdk.SpanExporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	}
	return nil, &problem.Error{
		Code: problem.Invalid, Message: fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q", protocol),
		Suggestion: "grpc and http/protobuf are spoken here",
	}
}

// Tracer makes spans; nil where none are wanted.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope)
}

// Stats returns the counters, false where there are none.
func (t *Tracing) Stats() (Stats, bool) {
	if t == nil {
		return Stats{}, false
	}
	q := t.queue
	return Stats{Sent: q.sent.Load(), Failed: q.failed.Load(), Dropped: q.dropped.Load()}, true
}

// Close sends what waits, within a few seconds.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what was not sent is counted
}

// settings are the bounds of what waits for the collector.
type settings struct {
	queue, batch int // spans
	every        time.Duration
	within       time.Duration // a batch is sent
}

func settingsOf(getenv func(string) string) settings {
	number := func(name string, byDefault int) int {
		if n, err := strconv.Atoi(getenv(name)); err == nil && n > 0 {
			return n
		}
		return byDefault
	}
	ms := func(name string, byDefault time.Duration) time.Duration {
		return time.Duration(number(name, int(byDefault.Milliseconds()))) * time.Millisecond
	}
	s := settings{
		queue: number("OTEL_BSP_MAX_QUEUE_SIZE", 2048), batch: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
		every: ms("OTEL_BSP_SCHEDULE_DELAY", 5*time.Second), within: ms("OTEL_BSP_EXPORT_TIMEOUT", 30*time.Second),
	}
	s.queue = min(s.queue, mostSpans)
	s.batch = min(s.batch, s.queue)
	return s
}

// queue is a span processor that never waits: what comes while it is full is dropped, and counted, which the SDK's own
// does not tell.
type queue struct {
	settings
	exporter sdk.SpanExporter
	logger   *slog.Logger
	spans    chan sdk.ReadOnlySpan
	closed   atomic.Bool
	quit     chan struct{}      // closed by Shutdown
	cut      context.CancelFunc // ends a batch under way
	done     chan struct{}
	failing  bool // the last batch did; of run alone

	sent, failed, dropped atomic.Int64
}

func newQueue(exporter sdk.SpanExporter, s settings, logger *slog.Logger) *queue {
	ctx, cut := context.WithCancel(context.Background())
	q := &queue{
		settings: s, exporter: exporter, logger: logger, spans: make(chan sdk.ReadOnlySpan, s.queue),
		quit: make(chan struct{}), cut: cut, done: make(chan struct{}),
	}
	go q.run(ctx)
	return q
}

// OnStart implements sdk.SpanProcessor.
func (*queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (q *queue) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case q.spans <- s:
	default:
		q.dropped.Add(1)
	}
}

// ForceFlush implements sdk.SpanProcessor. Spans go in their own time.
func (*queue) ForceFlush(context.Context) error { return nil }

// Shutdown implements sdk.SpanProcessor: what waits is sent, until ctx ends.
func (q *queue) Shutdown(ctx context.Context) error {
	if q.closed.Swap(true) {
		return nil
	}
	close(q.quit)
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	q.cut()
	<-q.done
	return q.exporter.Shutdown(ctx)
}

// run sends batches until Shutdown.
func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	tick := time.NewTicker(q.every)
	defer tick.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, q.batch)
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) == q.batch {
				batch = q.send(ctx, batch)
			}
		case <-tick.C:
			batch = q.send(ctx, batch)
		case <-q.quit:
			for n := len(q.spans); n > 0 && ctx.Err() == nil; n-- {
				if batch = append(batch, <-q.spans); len(batch) == q.batch {
					batch = q.send(ctx, batch)
				}
			}
			q.send(ctx, batch)
			return
		}
	}
}

// send sends a batch, and returns its memory.
func (q *queue) send(ctx context.Context, batch []sdk.ReadOnlySpan) []sdk.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	ctx, cancel := context.WithTimeout(ctx, q.within)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, batch)
	switch n := int64(len(batch)); {
	case err == nil:
		q.sent.Add(n)
		if q.failing {
			q.logger.Info("the collector of traces takes spans again")
		}
	default:
		q.failed.Add(n)
		if !q.failing {
			q.logger.Warn("the collector of traces does not take spans", "error", err)
		}
	}
	q.failing = err != nil
	clear(batch)
	return batch[:0]
}
