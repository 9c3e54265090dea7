package client

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // codec wraps it
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// answer is a GetFeaturesResponse, decoded straight into a Response: its columns lie in a few pieces of memory, one per kind
// of value. The fields' numbers are those of online.proto and vector.proto; tests compare it with generated code.
type answer struct {
	response *Response
	wrapped  bool  // the message has the response as its field 1, as those of streams and of history do
	err      error // what is wrong with the message, an *Error
}

// answerOptions are those of calls that are answered by an answer.
var answerOptions = slices.Clip(append(callOptions(), grpc.StaticMethod(), grpc.ForceCodecV2(codec{encoding.GetCodecV2("proto")})))

// codec is gRPC's for protobuf, which takes *answer, too.
type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	a.response, a.err = decode(b.ReadOnlyData(), a.wrapped)
	return nil // gRPC would hide what kind of error it is
}

// decode returns the response of a message, which it doesn't keep.
func decode(b []byte, wrapped bool) (*Response, error) {
	d := decoder{counting: true}
	r := &Response{ReadTime: microsTime(0)}
	if !d.message(b, r, wrapped) {
		return nil, malformed("no message of the API")
	}
	if wrapped && !d.wrapped {
		return nil, malformed("the response is missing")
	}
	d.allocate(r)
	d.message(b, r, wrapped) // as it did before
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// decoder goes over a message twice: to count what it needs, then to fill it in.
type decoder struct {
	counting bool
	wrapped  bool // the message has a response
	columns  int
	views    int
	bools    arena[bool]
	int32s   arena[int32]
	int64s   arena[int64]
	float32s arena[float32]
	float64s arena[float64]
	offsets  arena[uint32]
	statuses arena[Status]
	times    arena[time.Time]
	bytes    arena[byte]
	letters  int // bytes of strings
	text     strings.Builder
}

// arena is the memory of all slices of one type.
type arena[T any] struct {
	need int
	free []T
}

func (a *arena[T]) allocate() {
	if a.need > 0 {
		a.free = make([]T, a.need)
	}
}

// room returns dst with n values more, and these, which are to be set; while counting it only counts.
func room[T any](d *decoder, a *arena[T], dst []T, n int) (all, fresh []T) {
	switch {
	case d.counting:
		a.need += n
		return nil, nil
	case n == 0:
		return dst, nil
	case dst == nil:
		dst, a.free = a.free[:0:n], a.free[n:]
	default: // a list that comes in pieces
		dst = slices.Grow(dst, n)
	}
	all = dst[:len(dst)+n]
	return all, all[len(dst):]
}

// allocate makes the memory that was counted.
func (d *decoder) allocate(r *Response) {
	d.counting = false
	d.bools.allocate()
	d.int32s.allocate()
	d.int64s.allocate()
	d.float32s.allocate()
	d.float64s.allocate()
	d.offsets.allocate()
	d.statuses.allocate()
	d.times.allocate()
	d.bytes.allocate()
	d.text.Grow(d.letters)
	r.Columns, r.Views = make([]Column, 0, d.columns), make([]View, 0, d.views)
}

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	x      uint64 // of numbers
	data   []byte // what the field holds; of a number its own bytes, so that it reads as a packed one
}

// next returns the first field of b and what follows it, false where there is none.
func next(b []byte) (f field, rest []byte, ok bool) {
	var n int
	if f.number, f.kind, n = protowire.ConsumeTag(b); n < 0 {
		return f, nil, false
	}
	b = b[n:]
	switch f.kind {
	case protowire.BytesType:
		f.data, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.x, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.x, n = protowire.ConsumeFixed64(b)
	default:
		n = protowire.ConsumeFieldValue(f.number, f.kind, b)
	}
	if n < 0 {
		return f, nil, false
	}
	if f.kind != protowire.BytesType {
		f.data = b[:n]
	}
	return f, b[n:], true
}

// packed returns the numbers of a repeated field, each of width bytes; none where the field is of another kind.
func (f *field) packed(kind protowire.Type, width int) (data []byte, ok bool) {
	if f.kind != protowire.BytesType && f.kind != kind {
		return nil, true
	}
	return f.data, len(f.data)%width == 0
}

// The methods below take in a message, or a part of one, and report whether it is one. As protobuf has it, fields of other
// numbers or kinds are passed over; one that comes again adds to a list or a message, and replaces a value.

func (d *decoder) message(b []byte, r *Response, wrapped bool) bool {
	if !wrapped {
		return d.answer(b, r)
	}
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		if f.number == 1 && f.kind == protowire.BytesType {
			d.wrapped = true
			if !d.answer(f.data, r) {
				return false
			}
		}
	}
	return true
}

func (d *decoder) answer(b []byte, r *Response) bool {
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		switch {
		case f.number == 1 && f.kind == protowire.Fixed64Type:
			r.ReadTime = microsTime(int64(f.x))
		case f.number == 2 && f.kind == protowire.VarintType:
			r.Fixed = f.x != 0
		case f.number == 3 && f.kind == protowire.VarintType:
			r.Revision = int64(f.x)
		case f.number == 4 && f.kind == protowire.VarintType:
			r.Rows = int(uint32(f.x))
		case f.number == 5 && f.kind == protowire.BytesType:
			if !d.column(f.data, r) {
				return false
			}
		case f.number == 6 && f.kind == protowire.BytesType:
			if !d.view(f.data, r) {
				return false
			}
		}
	}
	return true
}

func (d *decoder) column(b []byte, r *Response) bool {
	var counted Column
	c := &counted
	if d.counting {
		d.columns++
	} else {
		r.Columns = r.Columns[:len(r.Columns)+1]
		c = &r.Columns[len(r.Columns)-1]
	}
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		switch {
		case f.number == 1 && f.kind == protowire.BytesType:
			c.Name, ok = d.name(f.data)
		case f.number == 2 && f.kind == protowire.BytesType:
			ok = d.vector(f.data, &c.Values, false)
		case f.number == 3 && f.kind == protowire.BytesType:
			var fresh []Status
			c.statuses, fresh = room(d, &d.statuses, nil, len(f.data))
			for i, s := range f.data[:len(fresh)] {
				fresh[i] = Status(s)
			}
		case f.number == 4 && f.kind == protowire.VarintType:
			c.View = int(uint32(f.x))
		}
		if !ok {
			return false
		}
	}
	d.keep(&c.Values)
	return true
}

func (d *decoder) view(b []byte, r *Response) bool {
	var counted View
	v := &counted
	if d.counting {
		d.views++
	} else {
		r.Views = r.Views[:len(r.Views)+1]
		v = &r.Views[len(r.Views)-1]
		v.T = microsTime(0)
	}
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		switch {
		case f.number == 1 && f.kind == protowire.BytesType:
			v.Name, ok = d.name(f.data)
		case f.number == 2 && f.kind == protowire.VarintType:
			v.Generation = f.x
		case f.number == 3 && f.kind == protowire.Fixed64Type:
			v.T = microsTime(int64(f.x))
		case f.number == 4:
			var data []byte
			var fresh []time.Time
			data, ok = f.packed(protowire.Fixed64Type, 8)
			v.EventTimes, fresh = room(d, &d.times, v.EventTimes, len(data)/8)
			for i := range fresh {
				fresh[i] = eventTime(int64(binary.LittleEndian.Uint64(data[8*i:])))
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// vector takes in a Vector, the elements of one where element is true. Its bytes are those of the message until keep.
func (d *decoder) vector(b []byte, v *Values, element bool) bool {
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		switch {
		case f.number > 4 && f.number < 11:
			ok = d.numbers(f, v)
		case f.number == 1 && f.kind == protowire.VarintType:
			v.typ.Kind = kindOf(int32(f.x))
		case f.number == 2 && f.kind == protowire.VarintType:
			v.typ.List = f.x != 0
		case f.number == 3 && f.kind == protowire.VarintType:
			v.n = int(uint32(f.x))
		case f.number == 4 && f.kind == protowire.BytesType:
			v.validity = f.data
		case f.number == 11 && f.kind == protowire.BytesType:
			v.data = f.data
		case f.number == 12 && f.kind == protowire.BytesType:
			if v.elements == nil {
				v.elements = new(Values)
			}
			ok = !element && d.vector(f.data, v.elements, true)
		}
		if !ok {
			return false
		}
	}
	return true
}

// numbers takes in a repeated field of a Vector.
func (d *decoder) numbers(f field, v *Values) bool {
	var data []byte
	var ok bool
	switch f.number {
	case 5:
		data, ok = f.packed(protowire.VarintType, 1)
		return ok && d.booleans(data, v)
	case 6, 8, 10:
		data, ok = f.packed(protowire.Fixed32Type, 4)
	default:
		data, ok = f.packed(protowire.Fixed64Type, 8)
	}
	switch f.number {
	case 6:
		var fresh []int32
		v.int32s, fresh = room(d, &d.int32s, v.int32s, len(data)/4)
		for i := range fresh {
			fresh[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case 7:
		var fresh []int64
		v.int64s, fresh = room(d, &d.int64s, v.int64s, len(data)/8)
		for i := range fresh {
			fresh[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
	case 8:
		var fresh []float32
		v.float32s, fresh = room(d, &d.float32s, v.float32s, len(data)/4)
		for i := range fresh {
			fresh[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case 9:
		var fresh []float64
		v.float64s, fresh = room(d, &d.float64s, v.float64s, len(data)/8)
		for i := range fresh {
			fresh[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		}
	case 10:
		var fresh []uint32
		v.offsets, fresh = room(d, &d.offsets, v.offsets, len(data)/4)
		for i := range fresh {
			fresh[i] = binary.LittleEndian.Uint32(data[4*i:])
		}
	}
	return ok
}

// booleans takes in packed varints, of a byte each but for odd writers.
func (d *decoder) booleans(data []byte, v *Values) bool {
	n := 0
	for rest := data; len(rest) > 0; n++ {
		_, size := protowire.ConsumeVarint(rest)
		if size < 0 {
			return false
		}
		rest = rest[size:]
	}
	var fresh []bool
	v.bools, fresh = room(d, &d.bools, v.bools, n)
	for i := range fresh {
		x, size := protowire.ConsumeVarint(data)
		fresh[i], data = x != 0, data[size:]
	}
	return true
}

// name copies a name.
func (d *decoder) name(b []byte) (string, bool) {
	if d.counting {
		d.letters += len(b)
		return "", utf8.Valid(b)
	}
	return d.string(b), true
}

// string copies b into the memory of all strings.
func (d *decoder) string(b []byte) string {
	from := d.text.Len()
	d.text.Write(b)
	return d.text.String()[from:]
}

// keep copies what a column still has of the message.
func (d *decoder) keep(v *Values) {
	if v.elements != nil {
		d.keep(v.elements)
	}
	isText := v.typ == Type{Kind: String}
	switch {
	case d.counting && isText:
		d.letters += len(v.data)
	case isText:
		v.text, v.data = d.string(v.data), nil
	default:
		v.data = d.copy(v.data)
	}
	v.validity = d.copy(v.validity)
}

func (d *decoder) copy(b []byte) []byte {
	kept, fresh := room(d, &d.bytes, nil, len(b))
	copy(fresh, b)
	return kept
}
