package wire

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Received is a message that has come and is not decoded: whether it is worth the work can be decided first. Its memory is
// gRPC's until Free.
type Received struct{ data mem.BufferSlice }

// Size returns its bytes.
func (r *Received) Size() int { return r.data.Len() }

// Decode decodes it into a message, and frees it.
func (r *Received) Decode(into Request) error {
	defer r.Free()
	if err := decode(r.data, into); err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err) // in gRPC's own words
	}
	return nil
}

// Free gives its memory back, where it still has it.
func (r *Received) Free() {
	r.data.Free()
	r.data = nil
}

// Sizes returns the bytes of all fields of one number, of those that are messages or strings; where they can't be told
// without going through much of the message, or are none of that number, those of the rest of it. inner is a field
// that wraps the message, 0 for none.
func (r *Received) Sizes(inner, field protowire.Number) int {
	if len(r.data) == 0 {
		return 0
	}
	head, left := r.data[0].ReadOnlyData(), r.Size()
	sum := 0
	for left > 0 {
		number, kind, n := protowire.ConsumeTag(head)
		if n < 0 {
			return sum + left
		}
		if kind != protowire.BytesType {
			m := protowire.ConsumeFieldValue(number, kind, head[n:])
			if m < 0 {
				return sum + left
			}
			head, left = head[n+m:], left-n-m
			continue
		}
		length, m := protowire.ConsumeVarint(head[n:])
		if m < 0 || length > uint64(left-n-m) {
			return sum + left
		}
		head, left = head[n+m:], left-n-m
		if number == inner {
			inner = 0
			continue
		}
		if number == field {
			sum += int(length)
		}
		left -= int(length)
		if int(length) > len(head) {
			return sum + left
		}
		head = head[length:]
	}
	return sum
}
