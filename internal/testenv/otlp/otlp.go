// Package otlp is a collector of traces for tests, which keeps what it was sent.
package otlp

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Span is one that was sent.
type Span struct {
	Name, Trace, ID, Parent string // ids in hex, Parent "" for none
	Attributes              map[string]string
	Resource                map[string]string
}

// Collector takes spans. Safe for concurrent use.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	GRPC, HTTP string // endpoints, as OTEL_EXPORTER_OTLP_ENDPOINT names them
	mu         sync.Mutex
	spans      []Span
	text       strings.Builder
}

// Start starts a collector that ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, server := &Collector{GRPC: "http://" + l.Addr().String()}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	web := httptest.NewServer(http.HandlerFunc(c.post))
	t.Cleanup(web.Close)
	c.HTTP = web.URL
	return c
}

// Export implements the collector's service.
func (c *Collector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.WriteString(prototext.Format(req))
	for _, resource := range req.ResourceSpans {
		about := attributes(resource.Resource.GetAttributes())
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, Span{
					Name: s.Name, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Attributes: attributes(s.Attributes), Resource: about,
				})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// attributes are texts as they are, and others as protobuf writes them.
func attributes(pairs []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range pairs {
		if text, ok := kv.Value.Value.(*common.AnyValue_StringValue); ok {
			m[kv.Key] = text.StringValue
			continue
		}
		m[kv.Key] = fmt.Sprint(kv.Value)
	}
	return m
}

// post is Export over HTTP.
func (c *Collector) post(w http.ResponseWriter, r *http.Request) {
	var req collector.ExportTraceServiceRequest
	raw, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &req) != nil {
		http.Error(w, "not what a collector takes", http.StatusBadRequest)
		return
	}
	answer, _ := c.Export(r.Context(), &req)
	raw, _ = proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(raw)
}

// Spans returns what was sent so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Text returns all that was sent so far, to be searched.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}
