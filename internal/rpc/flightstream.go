package rpc

import (
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"

	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/arrowipc"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

const (
	// messageBytes bounds what a message holds, so that clients take it that have gRPC's limit of 4 MiB. A single row may
	// take more, and so may a dictionary.
	messageBytes = 3 << 20
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
	sender *arrowipc.Sender // nil before the schema is known
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
	if f.sender != nil || p.Stage == f.told.Stage && now.Sub(f.toldAt) < progressEvery {
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
	f.sender = arrowipc.NewSender(schema, messageBytes, func(metadata, body []byte) error {
		return f.send(&flight.FlightData{DataHeader: metadata, DataBody: body})
	})
	return nil
}

// Write implements offline.Batches.
func (f *flightStream) Write(rows arrow.RecordBatch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sender.Write(rows)
}

// finish sends the last message, behind the rows; before it the schema, where there were none.
func (f *flightStream) finish(done *pb.ExportMessage) error {
	if err := f.sender.Close(); err != nil {
		return err
	}
	return f.send(&flight.FlightData{AppMetadata: appendMessage(nil, done.ProtoReflect())})
}
