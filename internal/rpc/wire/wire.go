// Package wire is gRPC's protobuf codec with a door for messages of the hot path, which are encoded and decoded by hand.
package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // Codec wraps it
	"google.golang.org/grpc/mem"
)

// Message encodes itself as protobuf.
type Message interface {
	// Size returns the number of bytes that Append appends.
	Size() int
	// Append appends the encoded message.
	Append(dst []byte) []byte
}

// Request decodes itself from protobuf. b is valid during the call only.
type Request interface {
	Decode(b []byte) error
}

// Reply is an answer that is encoded already: by its handler, so that a panic is the handler's, and the memory that the
// answer was made of is free before it is sent.
type Reply struct{ buffers mem.BufferSlice }

// Encode encodes a message into memory that gRPC gives back to its pool once it is sent.
func Encode(m Message) (*Reply, error) {
	size := m.Size()
	var b []byte
	var reply Reply
	if mem.IsBelowBufferPoolingThreshold(size) {
		b = m.Append(make([]byte, 0, size))
		reply.buffers = mem.BufferSlice{mem.SliceBuffer(b)}
	} else {
		pool := mem.DefaultBufferPool()
		buffer := pool.Get(size)
		b = m.Append((*buffer)[:0])
		*buffer = b
		reply.buffers = mem.BufferSlice{mem.NewBuffer(buffer, pool)}
	}
	if len(b) != size {
		return nil, fmt.Errorf("encode %T: %d bytes in place of %d: please report this", m, len(b), size)
	}
	return &reply, nil
}

// Codec returns gRPC's codec for protobuf, which takes *Reply and Request, too.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*Reply); ok {
		return r.buffers, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(Request)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return r.Decode(b.ReadOnlyData())
}
