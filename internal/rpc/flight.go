package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	flightpb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline"
)

// ExportLimits bound the exports of a server's callers.
type ExportLimits struct {
	AtOnce     int   // zero or negative: 1
	SpineBytes int64 // of a spine that is sent
}

const (
	// exportWait is how long an export waits for others to end.
	exportWait = 30 * time.Second
	// flightIdle is how long a client may send nothing of a spine, or take nothing of an answer.
	flightIdle = 5 * time.Minute
)

const flightService = "arrow.flight.protocol.FlightService"

// flightServiceDesc is the generated description of Arrow Flight, of whose methods DoExchange alone does something.
var flightServiceDesc = func() grpc.ServiceDesc {
	desc := flightpb.FlightService_ServiceDesc
	desc.HandlerType = (*exchanger)(nil)
	desc.Streams = slices.Clone(desc.Streams)
	for _, m := range desc.Methods { // calls of one message are streams, too
		desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: m.MethodName, ClientStreams: true, ServerStreams: true})
	}
	desc.Methods = nil
	for i := range desc.Streams {
		desc.Streams[i].Handler = handleNothing
		if desc.Streams[i].StreamName == "DoExchange" {
			desc.Streams[i].Handler = handleExchange
		}
	}
	return desc
}()

type exchanger interface {
	exchange(stream grpc.ServerStream) error
}

func handleExchange(srv any, stream grpc.ServerStream) error { return srv.(exchanger).exchange(stream) }

func handleNothing(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	name := method[strings.LastIndexByte(method, '/')+1:]
	fix := "training sets come by DoExchange, whose descriptor is a command: docs/how-to/flight.md"
	if name == "Handshake" {
		fix = "send the token in the header authorization: Bearer TOKEN"
	}
	return status.Error(codes.Unimplemented, "this server has no "+name+" of Arrow Flight ("+fix+")")
}

// flightServer makes training sets of spines that come by Arrow Flight.
type flightServer struct {
	history    History
	limits     ExportLimits
	turns      chan struct{} // holds one for each export under way
	wait, idle time.Duration
}

func newFlightServer(h History, limits ExportLimits) *flightServer {
	return &flightServer{
		history: h, limits: limits, turns: make(chan struct{}, max(1, limits.AtOnce)), wait: exportWait, idle: flightIdle,
	}
}

// exchange runs one export and watches the client meanwhile: where that is idle for too long, the call ends, and with it
// what is blocked in the stream.
func (s *flightServer) exchange(stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	idle := make(chan struct{})
	f := &flightStream{
		stream: stream, patience: s.idle, idle: time.AfterFunc(s.idle, sync.OnceFunc(func() { close(idle) })),
	}
	done := make(chan error, 1)
	go func() { done <- caught(func() error { return s.export(ctx, f) }) }()
	select {
	case err := <-done:
		return err
	case <-idle:
		return &problem.Error{
			Code: problem.Canceled, Message: fmt.Sprintf("the client has neither sent nor taken anything for %s", s.idle),
			Suggestion: "end the spine (done_writing in pyarrow) before the answer is read, and read it to its end",
			Err:        context.DeadlineExceeded,
		}
	}
}

func (s *flightServer) export(ctx context.Context, f *flightStream) error {
	var m flight.FlightData
	if err := f.receive(&m); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	command, err := exportCommand(m.GetFlightDescriptor())
	if err != nil {
		return err
	}
	options, err := spineOptions(command)
	if err != nil {
		return err
	}
	snapshot, err := s.history.Snapshot(ctx)
	if err != nil {
		return err
	}
	service, err := selected(snapshot, command.Service, command.Features)
	if err != nil {
		return err
	}
	leave, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	spine, err := offline.NewSentSpine(s.limits.SpineBytes)
	if err != nil {
		return err
	}
	defer spine.Close()
	for err == nil {
		if len(m.DataHeader) > 0 || len(m.DataBody) > 0 {
			if err := spine.Append(m.DataHeader, m.DataBody); err != nil {
				return err
			}
		}
		err = f.receive(&m)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	req := offline.ExportRequest{
		Service: service, Snapshot: snapshot, Sent: spine, SpineOptions: options, Batches: f,
	}
	if command.Progress {
		req.Progress = f.progress
	}
	report, err := s.history.Export(ctx, req)
	if err != nil {
		return flightError(err)
	}
	return f.finish(doneMessage(snapshot.Revision, report))
}

// turn waits for an export's turn. leave ends it.
func (s *flightServer) turn(ctx context.Context) (leave func(), err error) {
	leave = func() { <-s.turns }
	select {
	case s.turns <- struct{}{}: // one that is free is had, however short the wait is
		return leave, nil
	default:
	}
	timeout := time.NewTimer(s.wait)
	defer timeout.Stop()
	select {
	case s.turns <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		return nil, &problem.Error{
			Code:       problem.Exhausted,
			Message:    fmt.Sprintf("%d exports are under way, as many as this server does at once (limits.exports)", cap(s.turns)),
			Suggestion: "try again later", RetryAfter: s.wait,
		}
	}
}
