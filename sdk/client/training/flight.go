package training

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // codec wraps it
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/offline/arrowipc"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/sdk/client"
)

// Messages are Arrow Flight's, written and read here: Arrow's own package for them registers Flight.proto, which panics at start
// where another version of it is linked.

const (
	// messageBytes is about the most that a message of the spine holds, a single row apart.
	messageBytes = 1 << 20
	// maxMessage bounds what is received in one message; servers bound what they send.
	maxMessage = 1 << 30
)

// The fields of FlightData and of FlightDescriptor.
const (
	dataDescriptor = 1
	dataHeader     = 2
	dataMetadata   = 3
	dataBody       = 1000

	descriptorType    = 1
	descriptorCommand = 2
	typeCommand       = 2
)

// flightData is a FlightData.
type flightData struct {
	command  []byte // of its descriptor, when it is sent
	header   []byte // the metadata of a message of Arrow IPC
	metadata []byte // of the application, when it is received
	body     []byte
}

// codec is gRPC's for protobuf, which takes *flightData alone.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2. The bytes of the body are not copied.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*flightData)
	if !ok {
		return nil, fmt.Errorf("send %T", v)
	}
	var b []byte
	if m.command != nil {
		descriptor := protowire.AppendVarint(protowire.AppendTag(nil, descriptorType, protowire.VarintType), typeCommand)
		descriptor = protowire.AppendBytes(protowire.AppendTag(descriptor, descriptorCommand, protowire.BytesType), m.command)
		b = protowire.AppendBytes(protowire.AppendTag(b, dataDescriptor, protowire.BytesType), descriptor)
	}
	b = protowire.AppendBytes(protowire.AppendTag(b, dataHeader, protowire.BytesType), m.header)
	b = protowire.AppendTag(b, dataBody, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(m.body)))
	return mem.BufferSlice{mem.SliceBuffer(b), mem.SliceBuffer(m.body)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*flightData)
	if !ok {
		return fmt.Errorf("receive %T", v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return m.decode(b.ReadOnlyData())
}

// decode copies what it takes of b: a body that begins at a multiple of 8 bytes, as Arrow's numbers do.
func (m *flightData) decode(b []byte) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return protowire.ParseError(n)
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b)
			switch field {
			case dataHeader:
				m.header = slices.Clone(value)
			case dataMetadata:
				m.metadata = slices.Clone(value)
			case dataBody:
				m.body = slices.Clone(value)
			}
		}
		b = b[n:]
	}
	return nil
}

// stream is the messages of one call. It implements ipc.MessageReader.
type stream struct {
	call     grpc.ClientStream
	cancel   context.CancelFunc
	progress func(Progress)
	report   *Report // of the last message
	check    arrowipc.Checker
	message  *ipc.Message
	failed   error // why nothing more is received, an *client.Error

	command []byte // to be sent with the first message
	sending error
}

// sendSpine sends a command and a spine.
func (s *stream) sendSpine(command []byte, spine array.RecordReader) error {
	s.command = command
	sender := arrowipc.NewSender(spine.Schema(), messageBytes, s.send)
	var err error
	for err == nil && spine.Next() {
		err = sender.Write(spine.RecordBatch())
	}
	if closed := sender.Close(); err == nil { // which sends the schema of a spine without rows
		err = closed
	}
	switch {
	case spine.Err() != nil:
		return &client.Error{Code: client.CodeInvalid, Message: "read the spine: " + spine.Err().Error(), Field: "spine"}
	case errors.Is(s.sending, io.EOF): // the server has ended the call, and says why
		_, err := s.Message()
		return s.why(err)
	case s.sending != nil:
		return client.ErrorOf(s.sending)
	case err != nil:
		return &client.Error{Code: client.CodeInvalid, Message: "send the spine: " + err.Error(), Field: "spine"}
	}
	return client.ErrorOf(s.call.CloseSend())
}

// send sends a message of Arrow IPC. gRPC keeps it for longer than the call.
func (s *stream) send(metadata, body []byte) error {
	s.sending = s.call.SendMsg(&flightData{command: s.command, header: slices.Clone(metadata), body: slices.Clone(body)})
	s.command = nil
	return s.sending
}

// allocator is Go's memory without what no server sends at once: Arrow's library allocates what compressed bodies say.
type allocator struct{ memory.GoAllocator }

// Allocate implements memory.Allocator.
func (a *allocator) Allocate(size int) []byte {
	if size > maxMessage {
		panic(fmt.Sprint("a column of ", size, " bytes"))
	}
	return a.GoAllocator.Allocate(size)
}

// Message implements ipc.MessageReader: it returns the next message of Arrow IPC, and takes in the others.
func (s *stream) Message() (*ipc.Message, error) {
	s.forget()
	if s.failed != nil {
		return nil, s.failed
	}
	for {
		var m flightData
		if err := s.call.RecvMsg(&m); err != nil {
			if !errors.Is(err, io.EOF) {
				err = client.ErrorOf(err)
				s.failed = err
			}
			return nil, err
		}
		if len(m.metadata) > 0 {
			if err := s.told(m.metadata); err != nil {
				s.failed = err
				return nil, err
			}
		}
		if len(m.header) > 0 {
			if size, err := s.check.Message(m.header); err != nil || size != int64(len(m.body)) {
				s.failed = malformed(fmt.Sprint("a message of Arrow whose body has ", len(m.body), " bytes"))
				return nil, s.failed
			}
			s.message = ipc.NewMessage(memory.NewBufferBytes(m.header), memory.NewBufferBytes(m.body))
			return s.message, nil
		}
	}
}

// told takes in what the server says beside rows.
func (s *stream) told(metadata []byte) error {
	m := &pb.ExportMessage{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(metadata, m); err != nil {
		return malformed(err.Error())
	}
	if p := m.Progress; p != nil && s.progress != nil {
		s.progress(Progress{Stage: p.Stage, Done: p.Done, Size: p.Size, Part: p.Part})
	}
	if m.Done != nil {
		s.report = reportOf(m.Done)
	}
	return nil
}

// why returns the error of the call where that is behind an error of Arrow's, which says less.
func (s *stream) why(err error) error {
	var own *client.Error
	switch {
	case s.failed != nil:
		return s.failed
	case err == nil, errors.As(err, &own):
		return err
	}
	return malformed(err.Error())
}

// malformed is the error of an answer that contradicts itself.
func malformed(what string) error {
	return &client.Error{Code: client.CodeInternal, Message: "malformed answer: " + what + "; is the server of another version?"}
}

func (s *stream) forget() {
	if s.message != nil {
		s.message.Release()
		s.message = nil
	}
}

// Retain implements ipc.MessageReader: the set has the one reader.
func (s *stream) Retain() {}

// Release implements ipc.MessageReader.
func (s *stream) Release() { s.forget() }
