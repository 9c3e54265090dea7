// Package training makes training sets: a server joins features onto the rows of a spine, each as it was known at the row's time,
// and the rows come back as Apache Arrow. It is a package of its own so that programs that only look features up carry no Arrow.
package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/sdk/client"
)

// Request says what to join onto a spine: a Service, or Features.
type Request struct {
	Service  string
	Features []string // "view:feature"
	Time     string   // the spine's time column
	TimeUnit string   // of a time column of integers: "s", "ms", "us", "ns"
	Timezone string   // of times without one; "": UTC
	TimeAt   string   // the end of the day that a DATE means: "start", "end"
	// Progress, unless nil, is called while the server joins, in the goroutine that waits.
	Progress func(Progress)
}

// Progress is how far a server is.
type Progress struct {
	Stage      string  // "airport_hourly as origin", "write"
	Done, Size int64   // rows; Size is a guess at first, 0 where it is not known
	Part       float64 // of the whole, from 0 to 1
}

// Report is what was done.
type Report struct {
	Revision int64 // of the definitions
	Rows     int64
	Columns  []Column
	Reads    []Read
	Warnings []Warning
	Manifest json.RawMessage // tells which files and definitions the set is made of, so that it can be made again
}

// Column counts the cells of one feature by status.
type Column struct {
	Name                             string
	Present, Null, Expired, NotFound int64
}

// Read tells how one read of a view answered the spine.
type Read struct {
	Name                       string // "airport_hourly as origin"
	Present, Expired, NotFound int64
	Ties                       int64         // answers that tied in event and created time
	NewestAge, OldestAge       time.Duration // of the rows found; 0 where there is none
}

// Warning is what is odd about a set.
type Warning struct {
	Code string
	Read string // that it is about, "" for the whole
	Text string
	Fix  string
}

// Set is a training set on its way. It is for one goroutine.
type Set struct {
	stream *stream
	schema *arrow.Schema
	reader *ipc.Reader // nil once closed
}

// Export sends a spine, and returns the set when its first rows are there: the spine's columns, unchanged and in their order, and
// behind them the features. Of the spine and of the set a batch at a time is in memory. An *ipc.Reader is a spine, as is what
// array.NewRecordReader makes of batches; it is read before Export returns, and stays the caller's. Errors are those of package
// client. The call is not made again where the connection is lost, as the spine is spent. The end of ctx ends it, on the
// server too; so does Close, which is due whatever becomes of the set.
func Export(ctx context.Context, c *client.Client, req Request, spine array.RecordReader) (_ *Set, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	command, err := protojson.Marshal(&pb.ExportCommand{
		Service: req.Service, Features: req.Features, Time: req.Time, TimeUnit: req.TimeUnit, Timezone: req.Timezone,
		TimeAt: req.TimeAt, Progress: req.Progress != nil,
	})
	if err != nil { // text that is not UTF-8
		return nil, &client.Error{Code: client.CodeInvalid, Message: "the request can't be sent: " + err.Error()}
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	call, err := c.Conn().NewStream(ctx, desc, "/arrow.flight.protocol.FlightService/DoExchange",
		grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return nil, client.ErrorOf(err)
	}
	s := &Set{stream: &stream{call: call, cancel: cancel, progress: req.Progress}}
	if err := s.stream.sendSpine(command, spine); err != nil {
		return nil, err
	}
	if s.reader, err = s.open(); err != nil {
		return nil, err
	}
	s.schema = s.reader.Schema()
	return s, nil
}

// open reads the schema.
func (s *Set) open() (r *ipc.Reader, err error) {
	defer s.recovered(&err)
	r, err = ipc.NewReaderFromMessageReader(s.stream, ipc.WithAllocator(new(allocator)))
	return r, s.stream.why(err)
}

// Schema returns the schema of the rows.
func (s *Set) Schema() *arrow.Schema { return s.schema }

// Batches returns the rows in the spine's order, once. A batch is valid until the next is asked for, unless it is retained. An
// error ends the sequence; so does the caller's loop, and then the rest of the set is not sent.
func (s *Set) Batches() iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for {
			batch, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				s.Close()
				yield(nil, err)
				return
			}
			if !yield(batch, nil) {
				s.Close()
				return
			}
		}
	}
}

// next returns the next batch, io.EOF after the last.
func (s *Set) next() (batch arrow.RecordBatch, err error) {
	if s.reader == nil {
		return nil, &client.Error{Code: client.CodeCanceled, Message: "the set is closed"}
	}
	defer s.recovered(&err)
	if s.reader.Next() {
		return s.reader.RecordBatch(), nil
	}
	if err := s.stream.why(s.reader.Err()); err != nil {
		return nil, err
	}
	if s.stream.report == nil {
		return nil, malformed("the set ends without a report")
	}
	return nil, io.EOF
}

// recovered makes an error of a panic: Arrow's library has them for messages that lie.
func (s *Set) recovered(err *error) {
	if p := recover(); p != nil {
		*err = malformed(fmt.Sprint(p))
	}
}

// Report returns what was done, nil before Batches has come to the end of the rows.
func (s *Set) Report() *Report { return s.stream.report }

// Close ends the call. What was retained stays.
func (s *Set) Close() {
	s.stream.cancel()
	if s.reader != nil {
		s.reader.Release()
		s.reader = nil
	}
}

func reportOf(m *pb.ExportDone) *Report {
	r := &Report{Revision: m.Revision, Rows: m.Rows, Manifest: json.RawMessage(m.Manifest)}
	for _, c := range m.Columns {
		r.Columns = append(r.Columns, Column{c.Name, c.Present, c.Null, c.Expired, c.NotFound})
	}
	for _, x := range m.Reads {
		r.Reads = append(r.Reads, Read{
			Name: x.Name, Present: x.Present, Expired: x.Expired, NotFound: x.NotFound, Ties: x.Ties,
			NewestAge: time.Duration(x.GetNewestAge()) * time.Microsecond, OldestAge: time.Duration(x.GetOldestAge()) * time.Microsecond,
		})
	}
	for _, w := range m.Warnings {
		r.Warnings = append(r.Warnings, Warning{w.Code, w.Read, w.Text, w.Fix})
	}
	return r
}
