package rpc

import (
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"

	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/arrowipc"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

const (
	// messageBytes bounds what a message holds, so that clients take it that have gRPC's limit of 4 MiB. A single row may
	// take more, and so may a dictionary.
	messageBytes = 3 << 20
	// firstRows are sent first, to see how many fit. No message has more than mostRows, however narrow they are.
	firstRows, mostRows = 1 << 10, 1 << 17
)

// flightStream is the messages of one call. It implements offline.Batches.
type flightStream struct {
	stream grpc.ServerStream
	// idle runs while the client is waited for.
	idle     *time.Timer
	patience time.Duration

	mu     sync.Mutex // of sending
	told   offline.Progress
	toldAt time.Time
	writer *ipc.Writer // nil before the schema is known
	step   int64       // rows to send at once
	some   int64       // rows that are being sent
	size   int         // bytes that they take
	body   []byte      // memory for them
}

// receive fills m with the next message. One that is too large, gRPC itself refuses, in its own words.
func (f *flightStream) receive(m *flight.FlightData) error {
	f.idle.Reset(f.patience)
	defer f.idle.Stop()
	return f.stream.RecvMsg(m)
}

// send sends a message. How long that takes is the client's to say.
func (f *flightStream) send(m *flight.FlightData) error {
	f.idle.Reset(f.patience)
	defer f.idle.Stop()
	err := f.stream.SendMsg(m)
	if ended := f.stream.Context().Err(); err != nil && ended != nil {
		return ended // which is no fault of the export's
	}
	return err
}

// progress tells how far the export is, as long as no rows are sent.
func (f *flightStream) progress(p offline.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.writer != nil || p.Stage == f.told.Stage && now.Sub(f.toldAt) < progressEvery {
		return
	}
	f.told, f.toldAt = p, now
	m := &pb.ExportMessage{Progress: &pb.ExportProgress{Stage: p.Stage, Done: p.Done, Size: p.Size, Part: p.Part}}
	_ = f.send(&flight.FlightData{AppMetadata: appendMessage(nil, m.ProtoReflect())}) // a client that is gone has ended the export
}

// Begin implements offline.Batches.
func (f *flightStream) Begin(schema *arrow.Schema) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writer, f.step = ipc.NewWriterWithPayloadWriter(payloads{f}, ipc.WithSchema(schema)), firstRows
	return nil
}

// Write implements offline.Batches.
func (f *flightStream) Write(rows arrow.RecordBatch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at, n := int64(0), rows.NumRows(); at < n; {
		f.some = min(n-at, f.step)
		batch := rows.NewSlice(at, at+f.some)
		err := f.writer.Write(batch)
		batch.Release()
		if err != nil {
			return err
		}
		if f.fits() {
			at += f.some
		}
		f.step = max(1, min(mostRows, f.some*messageBytes/int64(max(1, f.size))*15/16))
	}
	return nil
}

// fits reports whether the rows that are being sent go with one message.
func (f *flightStream) fits() bool { return f.size <= messageBytes || f.some == 1 }

// finish sends the last message, behind the rows; before it the schema, where there were none.
func (f *flightStream) finish(done *pb.ExportMessage) error {
	if err := f.writer.Close(); err != nil {
		return err
	}
	return f.send(&flight.FlightData{AppMetadata: appendMessage(nil, done.ProtoReflect())})
}

// payloads sends what ipc.Writer makes of batches.
type payloads struct{ *flightStream }

// Start implements ipc.PayloadWriter.
func (p payloads) Start() error { return nil }

// WritePayload implements ipc.PayloadWriter. Rows that do not fit are left out: ipc.Writer takes none after an error.
func (p payloads) WritePayload(payload ipc.Payload) error {
	meta := payload.Meta()
	defer meta.Release()
	body := appender(p.body[:0])
	if err := payload.SerializeBody(&body); err != nil {
		return err
	}
	p.body = body
	if arrowipc.IsRecordBatch(meta.Bytes()) {
		if p.size = len(body); !p.fits() {
			return nil
		}
	}
	return p.send(&flight.FlightData{DataHeader: meta.Bytes(), DataBody: body})
}

// Close implements ipc.PayloadWriter.
func (p payloads) Close() error { return nil }

// appender appends what is written.
type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}
