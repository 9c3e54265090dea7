package tracing

import (
	"log/slog"
	"testing"

	"github.com/provender-dev/provender/internal/testenv/otlp"
)

func start(t *testing.T, env map[string]string) *Tracing {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value) // the exporter looks there by itself
	}
	traces, err := New(t.Context(), func(name string) string { return env[name] }, "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

// TestSent: what ended before Close is with the collector, and counted, over either protocol.
func TestSent(t *testing.T) {
	c := otlp.Start(t)
	for protocol, endpoint := range map[string]string{"grpc": c.GRPC, "http/protobuf": c.HTTP} {
		before := len(c.Spans())
		traces := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
		for range 3 {
			_, span := traces.Tracer().Start(t.Context(), "call")
			span.End()
		}
		traces.Close()
		spans := c.Spans()[before:]
		if s, ok := traces.Stats(); !ok || s != (Stats{Sent: 3}) || len(spans) != 3 {
			t.Fatalf("%s: %+v, the collector has %+v", protocol, s, spans)
		}
		if about := spans[0].Resource; about["service.name"] != "provender" || about["service.version"] != "v1" {
			t.Errorf("%s: sent by %v", protocol, about)
		}
	}
}

// TestNobody: without a collector named there is nothing; with one that is not there, spans beyond the queue are dropped.
func TestNobody(t *testing.T) {
	if traces := start(t, nil); traces != nil || traces.Tracer() != nil {
		t.Error("traced without a collector")
	}
	traces := start(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_EXPORT_TIMEOUT": "50",
	})
	const spans = 1000
	for range spans {
		_, span := traces.Tracer().Start(t.Context(), "call")
		span.End()
	}
	traces.Close()
	if s, _ := traces.Stats(); s.Sent != 0 || s.Failed+s.Dropped != spans || s.Dropped == 0 {
		t.Errorf("%+v", s)
	}
}
