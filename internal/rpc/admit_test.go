package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/serving"
	feastserver "github.com/provender-dev/provender/proto/feast/server"
	feastpb "github.com/provender-dev/provender/proto/feast/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// held is lookups that take until they are let go.
type held struct {
	giving
	begun chan struct{}
	let   chan struct{}
}

func newHeld(t *testing.T) *held {
	return &held{
		giving: giving{randomAnswer(testenv.Rand(t), 1)}, begun: make(chan struct{}, 100), let: make(chan struct{}),
	}
}

func (h *held) Lookup(ctx context.Context, _ *serving.Request) (*serving.Answer, error) {
	h.begun <- struct{}{}
	select {
	case <-h.let:
		return h.Answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestOverload: every way to look features up is refused where the server has its fill, before the request is decoded, with
// advice; and is answered when there is room again. Other calls are not counted.
func TestOverload(t *testing.T) {
	lookups := newHeld(t)
	s := Services{Lookups: lookups, Admission: admission.New(admission.Options{Requests: 1})}
	conn, server := connectGRPC(t, s), serveHTTP(t, s, HTTPOptions{})
	client := pb.NewOnlineServiceClient(conn)
	request := &pb.GetFeaturesRequest{Service: "s"}
	first := make(chan error, 1)
	go func() {
		_, err := client.GetFeatures(t.Context(), request)
		first <- err
	}()
	<-lookups.begun

	stream := func() error {
		stream, err := client.StreamFeatures(t.Context())
		if err == nil {
			err = stream.Send(&pb.StreamFeaturesRequest{Request: request})
		}
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	garbage := func(method string) func() error {
		return func() error {
			return conn.Invoke(t.Context(), method, &wireText{"\xff\xff"}, &wireText{}, grpc.ForceCodecV2(textCodec{}))
		}
	}
	calls := map[string]func() error{
		"GetFeatures": func() error {
			_, err := client.GetFeatures(t.Context(), request)
			return err
		},
		"StreamFeatures": stream,
		"Feast's": func() error {
			_, err := feastpb.NewServingServiceClient(conn).GetOnlineFeatures(t.Context(), &feastpb.GetOnlineFeaturesRequest{})
			return err
		},
		"Feast's other one": func() error {
			_, err := feastserver.NewGrpcFeatureServerClient(conn).GetOnlineFeatures(t.Context(), &feastpb.GetOnlineFeaturesRequest{})
			return err
		},
	}
	refused := func(name string, err error) {
		t.Helper()
		st := status.Convert(err)
		var advice time.Duration
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				advice = info.RetryDelay.AsDuration()
			}
		}
		if st.Code() != codes.ResourceExhausted || advice < 100*time.Millisecond || !strings.Contains(st.Message(), "limits.requests") {
			t.Errorf("%s: %v, advice %s", name, err, advice)
		}
	}
	for name, call := range calls {
		refused(name, call())
	}
	refused("not a message", garbage(pb.OnlineService_GetFeatures_FullMethodName)())
	refused("not a message of Feast's", garbage(feastpb.ServingService_GetOnlineFeatures_FullMethodName)())
	for _, path := range []string{"/v1/features:get", "/get-online-features"} {
		resp, body := send(t, server, "POST "+path+"\nContent-Type: application/json\n\n{not JSON")
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || seconds > 2 || !strings.Contains(string(body), "limits.requests") {
			t.Errorf("%s: %d, Retry-After %q: %s", path, resp.StatusCode, resp.Header.Get("Retry-After"), body)
		}
	}
	if _, err := feastpb.NewServingServiceClient(conn).GetFeastServingInfo(t.Context(), &feastpb.GetFeastServingInfoRequest{}); err != nil {
		t.Error(err)
	}

	close(lookups.let)
	if err := <-first; err != nil {
		t.Error(err)
	}
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := garbage(pb.OnlineService_GetFeatures_FullMethodName)(); status.Code(err) != codes.Internal {
		t.Errorf("not a message: %v", err)
	}
	for _, path := range []string{"/v1/features:get", "/get-online-features"} {
		if resp, body := send(t, server, "POST "+path+"\nContent-Type: application/json\n\n{}"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d: %s", path, resp.StatusCode, body)
		}
	}
	if st := s.Admission.Stats(); st.Working != 0 || st.Waiting != 0 {
		t.Errorf("left: %+v", st)
	}
}

// TestRefusedEarly: of a lookup that would be late nothing but the head is waited for; it is refused with advice, and counted.
// Other calls are not refused so.
func TestRefusedEarly(t *testing.T) {
	lookups := newHeld(t)
	meter := &counted{}
	s := Services{
		Lookups: lookups, Admission: admission.New(admission.Options{Processors: 1}), Calls: calls.New(calls.Options{Meter: meter}),
	}
	conn := connectGRPC(t, s)
	var running sync.WaitGroup
	for s.Admission.Stats().Waiting == 0 {
		running.Go(func() {
			if _, err := pb.NewOnlineServiceClient(conn).GetFeatures(t.Context(), &pb.GetFeaturesRequest{Service: "s"}); err != nil {
				t.Error(err)
			}
		})
		select {
		case <-lookups.begun:
		case <-time.After(10 * time.Millisecond): // it waits, or is still on its way
		}
	}
	head := func(method string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		if err == nil {
			err = stream.RecvMsg(&pb.GetFeaturesResponse{})
		}
		return err
	}
	var late int32
	for _, method := range []string{
		pb.OnlineService_GetFeatures_FullMethodName,
		feastpb.ServingService_GetOnlineFeatures_FullMethodName, feastserver.GrpcFeatureServer_GetOnlineFeatures_FullMethodName,
	} {
		err := head(method)
		for tries := 50; status.Code(err) == codes.DeadlineExceeded && tries > 0; tries-- { // it may be too early to tell
			late++
			err = head(method)
		}
		details := status.Convert(err).Details()
		if !slices.ContainsFunc(details, func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok }) ||
			status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "limits.requests") {
			t.Errorf("%s: %v, %v", method, err, details)
		}
	}
	if err := head(pb.OnlineService_StreamFeatures_FullMethodName); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	if n := meter.exhausted.Load(); n < 3 || n > 3+late { // of those who were late, some may have been refused all the same
		t.Errorf("%d refusals were counted, and %d heads were late", n, late)
	}
	close(lookups.let)
	running.Wait()
	if err := head(pb.OnlineService_GetFeatures_FullMethodName); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("when all is well: %v", err)
	}
}

// TestNoTurn: a stream that has nothing to ask and one whose answers are not read have no turn, nor has a call whose client
// has not ended it, nor an answer over HTTP that is not read.
func TestNoTurn(t *testing.T) {
	a := randomAnswer(testenv.Rand(t), 20_000)
	s := Services{Lookups: &giving{a}, Admission: admission.New(admission.Options{})}
	conn, server := connectGRPC(t, s), serveHTTP(t, s, HTTPOptions{})
	client := pb.NewOnlineServiceClient(conn)
	request := &pb.StreamFeaturesRequest{Request: &pb.GetFeaturesRequest{Service: "s"}}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silent, err := client.StreamFeatures(ctx, grpc.MaxCallRecvMsgSize(1<<30))
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.Send(request); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Recv(); err != nil {
		t.Fatal(err)
	}
	deaf, err := client.StreamFeatures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * streamLookups {
		if err := deaf.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	open, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, pb.OnlineService_GetFeatures_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := open.SendMsg(request.Request); err != nil { // and no end
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/features:get", strings.NewReader(`{"service":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}

	var st admission.Stats
	err = testenv.Await("the deaf stream's answers are made, all for which there is room, and the turns are back", func() bool {
		st = s.Admission.Stats()
		return st.Admitted >= 1+streamLookups+1 && st.Working == 0
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, st)
	}
}

// TestSizes: the bytes of keys are told from those of other fields, and without going through the message.
func TestSizes(t *testing.T) {
	m := &pb.GetFeaturesRequest{Service: "s", Features: []string{strings.Repeat("f", 10_000)}, EventTimes: true, Keys: []*pb.KeyColumn{
		{Name: "a", Int64S: make([]int64, 1000)}, {Name: "b", Strings: []string{strings.Repeat("x", 500)}},
	}}
	want := proto.Size(m.Keys[0]) + proto.Size(m.Keys[1])
	for _, tt := range []struct {
		inner protowire.Number
		m     proto.Message
	}{{0, m}, {messageField, &pb.StreamFeaturesRequest{Request: m}}} {
		raw, err := proto.Marshal(tt.m)
		if err != nil {
			t.Fatal(err)
		}
		for _, split := range []int{len(raw), len(raw) - 1, 16 << 10, 10, 1} {
			split = min(split, len(raw))
			data := mem.BufferSlice{mem.SliceBuffer(raw[:split])}
			if split < len(raw) {
				data = append(data, mem.SliceBuffer(raw[split:]))
			}
			var r wire.Received
			if err := wire.Codec().Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			got := r.Sizes(tt.inner, keysField)
			if r.Size() != len(raw) || got < want || got > len(raw) || split == len(raw) && got != want {
				t.Errorf("%T cut at %d: %d of %d bytes, want %d", tt.m, split, got, r.Size(), want)
			}
			r.Free()
		}
		for n := range raw {
			var r wire.Received
			if err := wire.Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw[:n])}, &r); err != nil {
				t.Fatal(err)
			}
			if got := r.Sizes(tt.inner, keysField); got < 0 || got > n {
				t.Fatalf("%T of %d bytes: %d", tt.m, n, got)
			}
		}
	}
}

// wireText is a message of given bytes.
type wireText struct{ text string }

type textCodec struct{}

func (textCodec) Name() string { return "proto" }

func (textCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*wireText)
	if !ok {
		return nil, errors.New("no wireText")
	}
	return mem.BufferSlice{mem.SliceBuffer(m.text)}, nil
}

func (textCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

// counted is a meter that counts calls that were refused for want of room.
type counted struct{ exhausted atomic.Int32 }

func (c *counted) Method(string, []string) func(uint32, time.Duration) {
	return func(code uint32, _ time.Duration) {
		if codes.Code(code) == codes.ResourceExhausted {
			c.exhausted.Add(1)
		}
	}
}
