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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// ExportLimits bound the exports of a server's callers.
type ExportLimits struct {
	AtOnce       int   // zero or negative: 1
	SpineBytes   int64 // of a spine that is sent
	MessageBytes int64 // of a message, which gRPC is told, too
}

const (
	// exportWait is how long an export waits for others to end.
	exportWait = 30 * time.Second
	// flightIdle is how long a client may send nothing of a spine, or take nothing of an answer.
	flightIdle = 5 * time.Minute
)

const flightService = "arrow.flight.protocol.FlightService"

// flightServiceDesc has Arrow Flight's methods, of which DoExchange alone does something.
var flightServiceDesc = func() grpc.ServiceDesc {
	desc := grpc.ServiceDesc{ServiceName: flightService, HandlerType: (*exchanger)(nil), Metadata: "Flight.proto"}
	desc.Streams = append(desc.Streams, grpc.StreamDesc{
		StreamName: "DoExchange", Handler: handleExchange, ClientStreams: true, ServerStreams: true,
	})
	for _, name := range []string{
		"Handshake", "ListFlights", "GetFlightInfo", "PollFlightInfo", "GetSchema", "DoGet", "DoPut", "DoAction", "ListActions",
	} {
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: name, Handler: handleNothing, ClientStreams: true, ServerStreams: true,
		})
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
		stream: stream, limit: s.limits.MessageBytes,
		patience: s.idle, idle: time.AfterFunc(s.idle, sync.OnceFunc(func() { close(idle) })),
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
	first, err := f.receive()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	command, err := first.command()
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
	for m := first; ; {
		if len(m.header) > 0 || len(m.body) > 0 {
			if err := spine.Append(m.header, m.body); err != nil {
				return err
			}
		}
		if m, err = f.receive(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
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
	timeout := time.NewTimer(s.wait)
	defer timeout.Stop()
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
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

// flightError names what is at fault as commands do, which have no flags.
func flightError(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) || !strings.Contains(p.Suggestion, "--") {
		return err
	}
	told := *p
	told.Suggestion = commandWords.Replace(p.Suggestion)
	return &told
}

var commandWords = strings.NewReplacer("--time-unit", "time_unit", "--time-at", "time_at", "--timezone", "timezone")

// arrowTrailer returns what lets Arrow's library in C++, and pyarrow with it, hand the details of a status on to its user.
// It does so only where the trailer has a status of Arrow's own.
func arrowTrailer(err error) metadata.MD {
	s := status.Convert(err)
	if len(s.Proto().GetDetails()) == 0 {
		return nil
	}
	const invalid = "4"
	return metadata.Pairs("x-arrow-status", invalid, "x-arrow-status-message-bin", s.Message())
}

// spineOptions says how the spine's time column is read.
func spineOptions(c *pb.ExportCommand) (offline.SpineOptions, error) {
	o := offline.SpineOptions{Time: c.Time, Unit: c.TimeUnit, At: registry.DayEnd(c.TimeAt)}
	wrong := func(field, message, fix string) (offline.SpineOptions, error) {
		return o, &problem.Error{Code: problem.Invalid, Message: message, Field: field, Suggestion: fix}
	}
	if c.Time == "" {
		return wrong("time", "no time column", "name the spine's column of the times that its rows are asked for")
	}
	if units := []string{"", "s", "ms", "us", "ns"}; !slices.Contains(units, c.TimeUnit) {
		return wrong("time_unit", fmt.Sprintf("unknown unit %q", c.TimeUnit), "want s, ms, us or ns")
	}
	if ends := []registry.DayEnd{"", registry.AtStart, registry.AtEnd}; !slices.Contains(ends, o.At) {
		return wrong("time_at", fmt.Sprintf("unknown end of a day %q", c.TimeAt), "want start or end")
	}
	if c.Timezone != "" {
		location, err := time.LoadLocation(c.Timezone)
		if err != nil || c.Timezone == "Local" {
			return wrong("timezone", fmt.Sprintf("there is no zone %q", c.Timezone), "write one as in Europe/Berlin")
		}
		o.Location = location
	}
	return o, nil
}

func doneMessage(revision int64, r *offline.ExportReport) *pb.ExportMessage {
	done := &pb.ExportDone{Revision: revision, Rows: r.Rows, Manifest: r.Manifest}
	for _, c := range r.Features {
		done.Columns = append(done.Columns, &pb.ExportedColumn{
			Name: c.Name, Present: c.Present, Null: c.Null, Expired: c.Expired, NotFound: c.NotFound,
		})
	}
	for _, read := range r.Reads {
		m := &pb.ExportedRead{
			Name: read.Name, Present: read.Present, Expired: read.Expired, NotFound: read.NotFound, Ties: read.Stats.Ties,
		}
		if read.Present > 0 {
			m.NewestAge, m.OldestAge = &read.Newest, &read.Oldest
		}
		done.Reads = append(done.Reads, m)
	}
	for _, w := range r.Warnings {
		done.Warnings = append(done.Warnings, &pb.ExportWarning{Code: w.Code, Read: w.Read, Text: w.Text, Fix: commandWords.Replace(w.Fix)})
	}
	return &pb.ExportMessage{Done: done}
}
