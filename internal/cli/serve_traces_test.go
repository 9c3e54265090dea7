package cli_test

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/otlp"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// TestServeTraces: a server that traces sends each call in the trace of its caller, with its parts; what it sends, counts and
// logs of calls, slow ones and failed ones among them, has their ids and never a key or a value.
func TestServeTraces(t *testing.T) {
	for protocol, endpoint := range map[string]func(*otlp.Collector) string{
		"grpc":          func(c *otlp.Collector) string { return c.GRPC },
		"http/protobuf": func(c *otlp.Collector) string { return c.HTTP },
	} {
		t.Run(strings.ReplaceAll(protocol, "/", " "), func(t *testing.T) {
			dir := shopOnRedis(t)
			c := otlp.Start(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(c))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("PROVENDER_SERVER_SLOW_REQUEST", "1us")
			s := startServe(t, dir)
			provender(t, "materialize", "-C", dir)
			s.call(t)
			s.stop(t) // sends what waits
			traced(t, c, s.log.String())
		})
	}
}

const (
	traceGRPC, traceHTTP, traceStream = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319d", "2af7651916cd43dd8448eb211c80319e"
	callerSpan                        = "b7ad6b7169203331"
	keyCanary                         = 7654321
)

// call makes calls in traces of their own, and checks what comes back and what is counted.
func (s *service) call(t *testing.T) {
	t.Helper()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := func(trace, id string) metadata.MD {
		return metadata.Pairs("traceparent", "00-"+trace+"-"+callerSpan+"-01", "x-request-id", id)
	}
	request := func(service string) *pb.GetFeaturesRequest {
		return &pb.GetFeaturesRequest{Service: service, Keys: []*pb.KeyColumn{{Name: "customer_id", Int64S: []int64{1, keyCanary}}}}
	}
	online := pb.NewOnlineServiceClient(conn)
	if _, err := online.GetFeatures(metadata.NewOutgoingContext(t.Context(), in(traceGRPC, "of-grpc")), request("churn_model_v1")); err != nil {
		t.Error(err)
	}
	var trailer metadata.MD
	_, err = online.GetFeatures(metadata.NewOutgoingContext(t.Context(), in(traceGRPC, "of-failed")), request("churn_model_v9"), grpc.Trailer(&trailer))
	if err == nil || !slices.Equal(trailer["x-request-id"], []string{"of-failed"}) {
		t.Errorf("a call that failed: %v, trailer %v", err, trailer)
	}

	stream, err := online.StreamFeatures(metadata.NewOutgoingContext(t.Context(), in(traceStream, "of-stream")))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&pb.StreamFeaturesRequest{Request: request("churn_model_v1")}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF { //nolint:errorlint // it is never wrapped
		t.Error(err)
	}

	verify, err := pb.NewOperationsServiceClient(conn).Verify(
		metadata.NewOutgoingContext(t.Context(), in(traceStream, "of-verify")), &pb.VerifyRequest{Views: []string{"customer_order"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Recv(); err == nil || !slices.Equal(verify.Trailer()["x-request-id"], []string{"of-verify"}) {
		t.Errorf("a stream that failed: %v, trailer %v", err, verify.Trailer())
	}

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.http+"/v1/features:get",
		strings.NewReader(`{"service":"churn_model_v1","keys":{"customer_id":[1,7654321]}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-"+traceHTTP+"-"+callerSpan+"-01")
	r.Header.Set("X-Request-Id", "of-http")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if id := response.Header.Get("x-request-id"); response.StatusCode != http.StatusOK || id != "of-http" {
		t.Errorf("HTTP: %d, id %q", response.StatusCode, id)
	}

	wants := []string{
		`provender_requests_total{code="OK",method="GetFeatures"} 1`, `provender_requests_total{code="NOT_FOUND",method="GetFeatures"} 1`,
		`provender_requests_total{code="OK",method="StreamFeatures"} 3`, `provender_requests_total{code="OK",method="http.features:get"} 1`,
		`provender_requests_total{code="OK",method="Verify"} 0`, `provender_requests_total{code="NOT_FOUND",method="Verify"} 1`,
	}
	text := ""
	if err := testenv.Await("calls are counted", func() bool { // a call is counted when its caller has the answer already
		text = s.metrics(t)
		return !slices.ContainsFunc(wants, func(w string) bool { return !strings.Contains(text, w+"\n") })
	}); err != nil {
		t.Errorf("%v: want %q in\n%s", err, wants, text)
	}
}

// traced checks what a collector was sent, and what was logged.
func traced(t *testing.T, c *otlp.Collector, log string) {
	t.Helper()
	find := func(trace, name string) (found []otlp.Span) {
		for _, s := range c.Spans() {
			if s.Name == name && (trace == "" || s.Trace == trace) {
				found = append(found, s)
			}
		}
		return found
	}
	for _, call := range []struct{ trace, name, id string }{
		{traceGRPC, "provender.v1.OnlineService/GetFeatures", "of-grpc"}, {traceHTTP, "POST /v1/features:get", "of-http"},
	} {
		i := slices.IndexFunc(find(call.trace, call.name), func(s otlp.Span) bool { return s.Attributes["provender.request_id"] == call.id })
		if i < 0 {
			t.Errorf("no span of %+v in\n%s", call, c.Text())
			continue
		}
		span := find(call.trace, call.name)[i]
		if span.Parent != callerSpan || span.Attributes["rpc.response.status_code"] != "OK" || span.Attributes["provender.service"] != "churn_model_v1" {
			t.Errorf("%+v", span)
		}
		for _, part := range []string{"store read", "decode"} {
			if of := find(call.trace, part); len(of) != 1 || of[0].Parent != span.ID {
				t.Errorf("%s has parts %q: %+v", call.name, part, of)
			}
		}
	}
	if of := find(traceStream, "message"); len(of) != 3 {
		t.Errorf("a stream of three messages has %+v", of)
	}
	for _, name := range []string{"run customer_orders", "list", "read", "write", "commit"} {
		if len(find("", name)) == 0 {
			t.Errorf("no span %q of a run", name)
		}
	}
	for _, line := range []string{"method=GetFeatures code=OK", "method=StreamFeatures code=OK", "method=http.features:get code=OK"} {
		if !regexp.MustCompile(line + `.* key_hashes=.* request_id=of-.* trace_id=[012]af7651916cd43dd8448eb211c80319`).MatchString(log) {
			t.Errorf("no slow request %q in\n%s", line, log)
		}
	}
	for where, text := range map[string]string{"a span": c.Text(), "the log": log} {
		if strings.Contains(text, "7654321") || strings.Contains(text, "customer_id") {
			t.Errorf("%s has a key:\n%s", where, text)
		}
	}
}
