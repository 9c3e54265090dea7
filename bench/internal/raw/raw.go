// Package raw is a gRPC codec that passes bytes through: what a message says is the business of who made it.
package raw

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Message is the bytes of one message.
type Message struct {
	Body []byte
	// Discard leaves Body as it is when a message is received: only Size is set.
	Discard bool
	Size    int
}

// Codec reads and writes *Message. On the wire it goes by the name of the ordinary codec.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2. The message's bytes must not change until they are sent.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return nil, fmt.Errorf("send %T: want *raw.Message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.Body)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return fmt.Errorf("receive %T: want *raw.Message", v)
	}
	m.Size = data.Len()
	if !m.Discard {
		m.Body = data.Materialize()
	}
	return nil
}
