// Package wire is gRPC's protobuf codec with a door for messages of the hot path, which are encoded and decoded by hand.
package wire

import (
	"fmt"
	"sync"

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

// Encode encodes a message into memory that is used again once gRPC has sent it.
func Encode(m Message) (*Reply, error) {
	size := m.Size()
	buffer := buffers.Get(size)
	b := m.Append((*buffer)[:0])
	if len(b) != size {
		return nil, fmt.Errorf("encode %T: %d bytes in place of %d: please report this", m, len(b), size)
	}
	return &Reply{mem.BufferSlice{mem.NewBuffer(buffer, buffers)}}, nil
}

// EncodeFunc is Encode for a message whose size is as much work as the message.
func EncodeFunc(appendTo func(dst []byte) []byte) *Reply {
	buffer := buffers.Get(0)
	*buffer = appendTo(*buffer)
	return &Reply{mem.BufferSlice{mem.NewBuffer(buffer, buffers)}}
}

// Buffers from minPooled to maxPooled are kept: gRPC gives none back that is 1 KiB or less.
const (
	minPooled = 2 << 10
	maxPooled = 1 << 20
)

// buffers lends memory for replies. Unlike gRPC's own pool it does not clear what it lends.
var buffers mem.BufferPool = new(pool)

type pool struct{ free sync.Pool }

// Get returns a buffer of a length, with any content.
func (p *pool) Get(length int) *[]byte {
	if b, ok := p.free.Get().(*[]byte); ok && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, max(length, minPooled))
	return &b
}

// Put takes a buffer back.
func (p *pool) Put(b *[]byte) {
	if cap(*b) <= maxPooled {
		p.free.Put(b)
	}
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
	switch v := v.(type) {
	case *Received:
		data.Ref()
		v.data = data
		return nil
	case Request:
		return decode(data, v)
	}
	return c.CodecV2.Unmarshal(data, v)
}

func decode(data mem.BufferSlice, r Request) error {
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return r.Decode(b.ReadOnlyData())
}
