package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/source"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// lake is the flights that ship, served over Flight.
type lake struct {
	History
	project  flights.Project
	files    *source.Files
	snapshot *registry.Snapshot
	memory   int64

	flight *flightServer
	server *grpc.Server
	client flight.Client
}

func (l *lake) Snapshot(context.Context) (*registry.Snapshot, error) { return l.snapshot, nil }

func (l *lake) Export(ctx context.Context, req offline.ExportRequest) (*offline.ExportReport, error) {
	req.Source, req.Tool, req.Memory = l.files, "test", l.memory
	return offline.Export(ctx, req)
}

// newLake serves until stop, after which nothing of it runs and no file is left open.
func newLake(t *testing.T, limits ExportLimits, edit func(*flightServer), options ...grpc.DialOption) (l *lake, stop func()) {
	t.Helper()
	running := goleak.IgnoreCurrent()
	l = &lake{}
	var err error
	if l.project, err = flights.Unpack(filepath.Join(t.TempDir(), "flights"), flights.End); err != nil {
		t.Fatal(err)
	}
	defs, _, err := definition.Load(l.project.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.snapshot, err = registry.Compile(1, defs); err != nil {
		t.Fatal(err)
	}
	l.files = source.New(l.project.Dir, map[string]string{"lake": "data"})
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)

	l.flight = newFlightServer(l, limits)
	if edit != nil {
		edit(l.flight)
	}
	l.server = grpc.NewServer(append(ServerOptions(slog.New(slog.DiscardHandler), nil), grpc.MaxRecvMsgSize(messageLimit))...)
	l.server.RegisterService(&flightServiceDesc, l.flight)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(listener) }()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if l.client, err = flight.NewClientWithMiddleware("passthrough:///"+listener.Addr().String(), nil, nil, options...); err != nil {
		t.Fatal(err)
	}
	return l, func() {
		t.Helper()
		_ = l.client.Close()
		l.server.GracefulStop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		testenv.NoLeaks(t, running)
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range open {
			if name, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(name, temporary) {
				t.Errorf("%s is still open", name)
			}
		}
	}
}

// messageLimit is that of messages that come.
const messageLimit = 8 << 20

var roomy = ExportLimits{AtOnce: 2, SpineBytes: 1 << 30}

const delays = `{"service": "delay_model_v1", "time": "departs"}`

// batches returns the flights, times times over, in batches.
func (l *lake) batches(t *testing.T, times int) []arrow.RecordBatch {
	t.Helper()
	var out bytes.Buffer
	_, err := offline.Export(t.Context(), offline.ExportRequest{
		Service: l.snapshot.Services[l.project.Service], Snapshot: l.snapshot, Source: l.files, Spine: l.project.Spine,
		SpineOptions: offline.SpineOptions{Time: l.project.Time}, Out: "-", Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var all []arrow.RecordBatch
	for r.Next() {
		batch := r.RecordBatch()
		schema := arrow.NewSchema(r.Schema().Fields()[:5], nil) // the spine's own columns
		all = append(all, array.NewRecordBatch(schema, batch.Columns()[:5], batch.NumRows()))
	}
	return slices.Repeat(all, times)
}

// exchanged is what a call has brought.
type exchanged struct {
	schema   *arrow.Schema
	rows     []arrow.RecordBatch
	messages []*pb.ExportMessage
	largest  int
}

// begin begins a call.
func (l *lake) begin(t *testing.T, ctx context.Context, command string) flight.FlightService_DoExchangeClient { //nolint:revive // t first, as elsewhere
	t.Helper()
	stream, err := l.client.DoExchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&flight.FlightData{
		FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte(command)},
	}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// sendSpine sends a spine to its end. A server that refuses it meanwhile tells why in its answer.
func sendSpine(t *testing.T, stream flight.FlightService_DoExchangeClient, schema *arrow.Schema, spine []arrow.RecordBatch) {
	t.Helper()
	w := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	for _, batch := range spine {
		if err := w.Write(batch); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return
		}
	}
	if err := w.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// watched notes messages as they come.
type watched struct {
	flight.FlightService_DoExchangeClient
	got *exchanged
}

func (w watched) Recv() (*flight.FlightData, error) {
	for {
		m, err := w.FlightService_DoExchangeClient.Recv()
		if err != nil {
			return m, err
		}
		w.got.largest = max(w.got.largest, len(m.DataBody))
		if len(m.AppMetadata) > 0 {
			var message pb.ExportMessage
			if err := protojson.Unmarshal(m.AppMetadata, &message); err != nil {
				return nil, err
			}
			w.got.messages = append(w.got.messages, &message)
		}
		if len(m.DataHeader) > 0 {
			return m, nil
		}
	}
}

// answered reads a call's answer.
func answered(stream flight.FlightService_DoExchangeClient) (*exchanged, error) {
	got := &exchanged{}
	r, err := flight.NewRecordReader(watched{stream, got})
	if err != nil {
		return got, err
	}
	defer r.Release()
	got.schema = r.Schema()
	for r.Next() {
		batch := r.RecordBatch()
		batch.Retain()
		got.rows = append(got.rows, batch)
	}
	return got, r.Err()
}

func (l *lake) exchange(t *testing.T, command string, schema *arrow.Schema, spine []arrow.RecordBatch) (*exchanged, error) {
	t.Helper()
	stream := l.begin(t, t.Context(), command)
	sendSpine(t, stream, schema, spine)
	return answered(stream)
}

// asFile is the training set that an export of the same spine writes.
func (l *lake) asFile(t *testing.T, schema *arrow.Schema, spine []arrow.RecordBatch) (*offline.ExportReport, arrow.Table) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spine.ipc")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := ipc.NewWriter(f, ipc.WithSchema(schema))
	for _, batch := range spine {
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	report, err := offline.Export(t.Context(), offline.ExportRequest{
		Service: l.snapshot.Services[l.project.Service], Snapshot: l.snapshot, Source: l.files, Spine: path,
		SpineOptions: offline.SpineOptions{Time: l.project.Time}, Out: "-", Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var rows []arrow.RecordBatch
	for r.Next() {
		batch := r.RecordBatch()
		batch.Retain()
		rows = append(rows, batch)
	}
	return report, array.NewTableFromRecords(r.Schema(), rows)
}

// What comes over Flight is what an export writes, in messages that a client takes that has gRPC's own limit; the last
// message is the report.
func TestFlight(t *testing.T) {
	l, stop := newLake(t, roomy, nil)
	defer stop()
	for _, times := range []int{0, 1, 12} {
		spine := l.batches(t, max(times, 1))
		schema := spine[0].Schema()
		spine = spine[:len(spine)*min(times, 1)]
		report, want := l.asFile(t, schema, spine)
		if l.memory = 0; times == 1 {
			l.memory = 1
		}
		for _, progress := range []bool{false, true} {
			got, err := l.exchange(t, fmt.Sprintf(`{"service": "delay_model_v1", "time": "departs", "progress": %t}`, progress), schema, spine)
			if err != nil {
				t.Fatal(err)
			}
			if rows := array.NewTableFromRecords(got.schema, got.rows); !got.schema.Equal(want.Schema()) || !array.TableEqual(rows, want) {
				t.Errorf("%d rows of %s, want %d of %s", rows.NumRows(), got.schema, want.NumRows(), want.Schema())
			}
			if got.largest > messageBytes || times > 1 && len(got.rows) < 12 {
				t.Errorf("%d batches, the largest of %d bytes", len(got.rows), got.largest)
			}
			last := len(got.messages) - 1
			if told := last > 0; told != progress {
				t.Errorf("%d messages, progress %t", len(got.messages), progress)
			}
			for i, m := range got.messages[:last] {
				if m.Progress == nil || m.Progress.Stage == "" || i > 0 && m.Progress.Part < got.messages[i-1].Progress.Part {
					t.Errorf("message %d: %v", i, m)
				}
			}
			report.Manifest = got.messages[last].GetDone().GetManifest()
			if diff := cmp.Diff(protojson.Format(doneMessage(1, report)), protojson.Format(got.messages[last])); diff != "" {
				t.Error(diff)
			}
			if !json.Valid([]byte(report.Manifest)) || !strings.Contains(report.Manifest, fmt.Sprintf(`"rows":%d`, report.Rows)) {
				t.Errorf("manifest %s", report.Manifest)
			}
		}
	}
}

// wide is a spine with one wide row among narrow ones.
func wide(t *testing.T, bytes int) (*arrow.Schema, []arrow.RecordBatch) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String},
		{Name: "destination", Type: arrow.BinaryTypes.String},
		{Name: "departs", Type: arrow.FixedWidthTypes.Timestamp_us},
		{Name: "note", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 5000 {
		b.Field(0).(*array.StringBuilder).Append("JFK")
		b.Field(1).(*array.StringBuilder).Append("SFO")
		b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(flights.End.UnixMicro() - int64(i)))
		note := strings.Repeat("n", i%7)
		if i == 3000 {
			note = strings.Repeat("w", bytes)
		}
		b.Field(3).(*array.StringBuilder).Append(note)
	}
	return schema, []arrow.RecordBatch{b.NewRecordBatch()}
}

// A row that is larger than a message goes alone.
func TestFlightWideRow(t *testing.T) {
	l, stop := newLake(t, roomy, nil, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	defer stop()
	schema, spine := wide(t, 7<<20)
	got, err := l.exchange(t, delays, schema, spine)
	if err != nil {
		t.Fatal(err)
	}
	_, want := l.asFile(t, schema, spine)
	if !array.TableEqual(array.NewTableFromRecords(got.schema, got.rows), want) {
		t.Error("other rows")
	}
	if !slices.ContainsFunc(got.rows, func(b arrow.RecordBatch) bool {
		return b.NumRows() == 1 && b.Column(3).(*array.String).ValueLen(0) == 7<<20
	}) {
		t.Errorf("no batch of one row among %d", len(got.rows))
	}
}

// Errors have the class and the field of the command, and speak of the spine.
func TestFlightErrors(t *testing.T) {
	l, stop := newLake(t, ExportLimits{AtOnce: 1, SpineBytes: 2 << 20}, nil)
	defer stop()
	spine := l.batches(t, 1)
	schema := spine[0].Schema()
	half := []arrow.RecordBatch{spine[0].NewSlice(0, 5000)}
	dates := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "destination", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32},
		{Name: "at", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	wideSchema, wideSpine := wide(t, messageLimit)
	for _, c := range []struct {
		command    string
		schema     *arrow.Schema
		spine      []arrow.RecordBatch
		code       codes.Code
		field      string
		suggestion string
		want       string
	}{
		{`{"service": "delay_modell_v1", "time": "departs"}`, schema, half, codes.NotFound, "", "", "delay_modell_v1"},
		{`{"service": "delay_model_v1", "features": ["a:b"], "time": "departs"}`, schema, half, codes.InvalidArgument, "features", "", "give one"},
		{`{"time": "departs"}`, schema, half, codes.InvalidArgument, "service", "", "no service and no features"},
		{`{"service": "delay_model_v1"}`, schema, half, codes.InvalidArgument, "time", "name the spine's column", "no time column"},
		{`{"service": "delay_model_v1", "tiem": "x"}`, schema, half, codes.InvalidArgument, "tiem", `did you mean "time"?`, "unknown field"},
		{`{"service": 7}`, schema, half, codes.InvalidArgument, "descriptor", "its fields are service", "not JSON as it should be"},
		{`delay_model_v1`, schema, half, codes.InvalidArgument, "descriptor", "its fields are service", "not JSON as it should be"},
		{`{"service": "delay_model_v1", "time": "depart"}`, schema, half, codes.InvalidArgument, "time", `did you mean "departs"?`, "the spine has no time column"},
		{`{"service": "delay_model_v1", "time": "departs", "time_unit": "h"}`, schema, half, codes.InvalidArgument, "time_unit", "want s, ms, us or ns", "unit"},
		{`{"service": "delay_model_v1", "time": "departs", "time_at": "noon"}`, schema, half, codes.InvalidArgument, "time_at", "want start or end", "noon"},
		{`{"service": "delay_model_v1", "time": "departs", "timezone": "Mars"}`, schema, half, codes.InvalidArgument, "timezone", "Europe/Berlin", "Mars"},
		{`{"service": "delay_model_v1", "time": "day"}`, dates, nil, codes.InvalidArgument, "time", "say time_at start or time_at end", "the spine: time column day is a DATE"},
		{`{"service": "delay_model_v1", "time": "at"}`, dates, nil, codes.InvalidArgument, "time", "say its unit: time_unit s, ms, us or ns", "the spine: time column at is an integer"},
		{delays, schema, slices.Repeat(half, 40), codes.ResourceExhausted, "spine", "in several parts", "the spine is larger than 2,097,152 bytes (limits.spine_bytes)"},
	} {
		_, err := l.exchange(t, c.command, c.schema, c.spine)
		s := status.Convert(err)
		if s.Code() != c.code || !strings.Contains(s.Message(), c.want) {
			t.Errorf("%s: %v", c.command, err)
		}
		info, bad := details(s)
		if info == nil || info.Metadata["field"] != c.field || !strings.Contains(info.Metadata["suggestion"], c.suggestion) || bad != (c.field != "") {
			t.Errorf("%s: details %v", c.command, info)
		}
	}
	if _, err := l.exchange(t, delays, wideSchema, wideSpine); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Error(err)
	}
	// Calls that are no exports.
	for _, m := range []*flight.FlightData{
		nil, {}, {FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{"x"}}}, {DataBody: []byte("x")},
	} {
		stream, err := l.client.DoExchange(t.Context())
		if err == nil && m != nil {
			err = stream.Send(m)
		}
		if err == nil {
			err = stream.CloseSend()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "no descriptor with a command") {
			t.Errorf("%v: %v", m, err)
		}
	}
	stream := l.begin(t, t.Context(), delays)
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "no spine was sent") {
		t.Error(err)
	}
}

func details(s *status.Status) (info *errdetails.ErrorInfo, badRequest bool) {
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.BadRequest:
			badRequest = true
		}
	}
	return info, badRequest
}

// The methods that are not there say what is.
func TestFlightUnimplemented(t *testing.T) {
	l, stop := newLake(t, roomy, nil)
	defer stop()
	info, err := l.client.GetFlightInfo(t.Context(), &flight.FlightDescriptor{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "no GetFlightInfo of Arrow Flight (training sets come by DoExchange") {
		t.Error(info, err)
	}
	get, err := l.client.DoGet(t.Context(), &flight.Ticket{})
	if err == nil {
		_, err = get.Recv()
	}
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "no DoGet of Arrow Flight") {
		t.Error(err)
	}
	if _, err := l.client.AuthenticateBasicToken(t.Context(), "a", "b"); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "Bearer") {
		t.Error(err)
	}
}

// Whatever bytes a client sends as a spine, it gets an answer or an error that is its own.
func TestFlightHostile(t *testing.T) {
	l, stop := newLake(t, roomy, nil)
	defer stop()
	rnd, rounds := testenv.Rand(t), 200
	if testenv.Long() {
		rounds *= 20
	}
	spine := l.batches(t, 1)
	spine[0] = spine[0].NewSlice(0, 50)
	var sound []*flight.FlightData
	if err := flight.NewRecordWriter(recorder{&sound}, ipc.WithSchema(spine[0].Schema())).Write(spine[0]); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		stream := l.begin(t, t.Context(), delays)
		for _, m := range sound {
			m := &flight.FlightData{DataHeader: bytes.Clone(m.DataHeader), DataBody: bytes.Clone(m.DataBody), AppMetadata: []byte("x")}
			for range rnd.IntN(3) {
				switch rnd.IntN(5) {
				case 0:
					m.DataHeader[rnd.IntN(len(m.DataHeader))] ^= 1 << rnd.IntN(8)
				case 1:
					if len(m.DataBody) > 0 {
						m.DataBody[rnd.IntN(len(m.DataBody))] ^= 1 << rnd.IntN(8)
					}
				case 2:
					m.DataBody = m.DataBody[:rnd.IntN(len(m.DataBody)+1)]
				case 3:
					m.DataHeader = m.DataHeader[:1+rnd.IntN(len(m.DataHeader))]
				case 4:
					m.DataBody = append(m.DataBody, m.DataHeader...)
				}
			}
			for range rnd.IntN(3) {
				if err := stream.Send(m); err != nil {
					break
				}
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		if code := status.Code(err); !errors.Is(err, io.EOF) && code != codes.InvalidArgument && code != codes.ResourceExhausted {
			t.Error(err)
		}
	}
	if got, err := l.exchange(t, delays, spine[0].Schema(), spine[:1]); err != nil || got.rows[0].NumRows() != 50 {
		t.Errorf("after it: %v", err)
	}
}

// recorder keeps what it is sent.
type recorder struct{ all *[]*flight.FlightData }

func (r recorder) Send(m *flight.FlightData) error {
	*r.all = append(*r.all, &flight.FlightData{DataHeader: bytes.Clone(m.DataHeader), DataBody: bytes.Clone(m.DataBody)})
	return nil
}

// A call that is cancelled, while its spine comes, is joined or its answer is read, stops at once and leaves nothing.
func TestFlightCanceled(t *testing.T) {
	l, stop := newLake(t, roomy, nil)
	defer stop()
	spine := l.batches(t, 12)
	schema := spine[0].Schema()
	for _, when := range []string{"sending", "joining", "reading"} {
		ctx, cancel := context.WithCancel(t.Context())
		stream := l.begin(t, ctx, `{"service": "delay_model_v1", "time": "departs", "progress": true}`)
		switch when {
		case "sending":
			w := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
			if err := w.Write(spine[0]); err != nil {
				t.Fatal(err)
			}
		case "joining":
			sendSpine(t, stream, schema, spine)
			if m, err := stream.Recv(); err != nil || !bytes.Contains(m.AppMetadata, []byte("progress")) {
				t.Fatal(m, err)
			}
		case "reading":
			sendSpine(t, stream, schema, spine)
			r, err := flight.NewRecordReader(watched{stream, &exchanged{}})
			if err != nil || !r.Next() {
				t.Fatal(err)
			}
			r.Release()
		}
		cancel()
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Canceled {
			t.Errorf("%s: %v", when, err)
		}
	}
	for range roomy.AtOnce { // all turns are free again
		leave, err := l.flight.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
}

// A client that neither sends nor reads is left, and its spine with it.
func TestFlightIdle(t *testing.T) {
	l, stop := newLake(t, roomy, func(s *flightServer) { s.idle = 300 * time.Millisecond })
	defer stop()
	spine := l.batches(t, 12)
	schema := spine[0].Schema()
	sending := l.begin(t, t.Context(), delays)
	if err := flight.NewRecordWriter(sending, ipc.WithSchema(schema)).Write(spine[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := sending.Recv(); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "neither sent nor taken anything for 300ms") {
		t.Error(err)
	}
	reading := l.begin(t, t.Context(), delays)
	sendSpine(t, reading, schema, spine)
	for range roomy.AtOnce { // its turn ends although nothing is read
		leave, err := l.flight.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	if _, err := answered(reading); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

// Exports beyond the limit wait for their turn, and are refused where it does not come.
func TestFlightTurns(t *testing.T) {
	limits := roomy
	limits.AtOnce = 1
	l, stop := newLake(t, limits, func(s *flightServer) { s.wait = time.Millisecond })
	defer stop()
	spine := l.batches(t, 1)
	schema := spine[0].Schema()
	first := l.begin(t, t.Context(), delays)
	w := flight.NewRecordWriter(first, ipc.WithSchema(schema))
	if err := w.Write(spine[0]); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		got, err := answered(first)
		if err == nil && len(got.rows) == 0 {
			err = errors.New("no rows")
		}
		ended <- err
	}()
	for len(l.flight.turns) == 0 {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
			runtime.Gosched()
		}
	}
	_, err := l.exchange(t, delays, schema, spine)
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "1 exports are under way, as many as this server does at once (limits.exports)") {
		t.Error(err)
	}
	if !slices.ContainsFunc(s.Details(), func(d any) bool { r, ok := d.(*errdetails.RetryInfo); return ok && r.RetryDelay.AsDuration() > 0 }) {
		t.Errorf("no advice to try again: %v", s.Details())
	}
	l.flight.wait = time.Minute
	second := make(chan error, 1)
	go func() {
		_, err := l.exchange(t, delays, schema, spine)
		second <- err
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// Many at once get what each has asked for.
func TestFlightAtOnce(t *testing.T) {
	l, stop := newLake(t, roomy, nil)
	defer stop()
	spine := l.batches(t, 1)
	schema := spine[0].Schema()
	l.memory = 1
	errs := make(chan error)
	const callers = 6
	for i := range callers {
		go func() {
			rows := int64(1000 * (i + 1))
			got, err := l.exchange(t, delays, schema, []arrow.RecordBatch{spine[0].NewSlice(0, rows)})
			n := int64(0)
			for _, batch := range got.rows {
				n += batch.NumRows()
			}
			if err == nil && (n != rows || got.messages[0].GetDone().GetRows() != rows) {
				err = fmt.Errorf("%d rows, want %d", n, rows)
			}
			errs <- err
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
