package rpc

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
)

// features is an answer as a GetFeaturesResponse. The fields' numbers are those of online.proto and vector.proto; a test
// compares every byte's meaning with generated code.
type features struct{ *serving.Answer }

// Size implements wire.Message.
func (m features) Size() int {
	n := sizeFixed(m.ReadTime) + sizeBool(m.Fixed) + sizeVarint(uint64(m.Revision)) + sizeVarint(uint64(m.Rows))
	for i := range m.Columns {
		n += sizeBytes(m.columnSize(i))
	}
	for i := range m.Views {
		n += sizeBytes(viewSize(&m.Views[i]))
	}
	return n
}

// Append implements wire.Message.
func (m features) Append(b []byte) []byte {
	b = appendFixed(b, 1, m.ReadTime)
	b = appendBool(b, 2, m.Fixed)
	b = appendVarint(b, 3, uint64(m.Revision))
	b = appendVarint(b, 4, uint64(m.Rows))
	for i, v := range m.Columns {
		b = appendLead(b, 5, m.columnSize(i))
		b = appendText(b, 1, m.Names[i])
		b = appendLead(b, 2, vectorSize(v))
		b = appendVector(b, v)
		b = appendStatuses(b, 3, m.Status[i])
		b = appendVarint(b, 4, uint64(m.Outputs[i].Read))
	}
	for i := range m.Views {
		v := &m.Views[i]
		b = appendLead(b, 6, viewSize(v))
		b = appendText(b, 1, v.View)
		b = appendVarint(b, 2, uint64(v.Generation))
		b = appendFixed(b, 3, v.T)
		if len(v.Events) > 0 {
			b = appendInt64s(appendLead(b, 4, 8*len(v.Events)), v.Events)
		}
	}
	return b
}

func (m features) columnSize(i int) int {
	n := sizeText(m.Names[i]) + sizeBytes(vectorSize(m.Columns[i])) + sizeVarint(uint64(m.Outputs[i].Read))
	if len(m.Status[i]) > 0 {
		n += sizeBytes(len(m.Status[i]))
	}
	return n
}

func viewSize(v *serving.ViewAnswer) int {
	n := sizeText(v.View) + sizeVarint(uint64(v.Generation)) + sizeFixed(v.T)
	if len(v.Events) > 0 {
		n += sizeBytes(8 * len(v.Events))
	}
	return n
}

// vectorSize returns the size of a vector as a Vector.
func vectorSize(v *columnar.Vector) int {
	n := sizeVarint(uint64(v.Type.Kind)) + sizeBool(v.Type.List) + sizeVarint(uint64(v.Len()))
	for _, size := range [...]int{
		len(v.Valid), len(v.Bools), 4 * len(v.Int32s), 8 * len(v.Int64s), 4 * len(v.Float32s), 8 * len(v.Float64s),
		4 * len(v.Offsets), len(v.Data),
	} {
		if size > 0 {
			n += sizeBytes(size)
		}
	}
	if v.Elem != nil {
		n += sizeBytes(vectorSize(v.Elem))
	}
	return n
}

func appendVector(b []byte, v *columnar.Vector) []byte {
	b = appendVarint(b, 1, uint64(v.Type.Kind))
	b = appendBool(b, 2, v.Type.List)
	b = appendVarint(b, 3, uint64(v.Len()))
	if len(v.Valid) > 0 {
		b = append(appendLead(b, 4, len(v.Valid)), v.Valid...)
	}
	if len(v.Bools) > 0 {
		b = appendLead(b, 5, len(v.Bools))
		for _, x := range v.Bools {
			b = append(b, bit(x))
		}
	}
	if len(v.Int32s) > 0 {
		b = appendLead(b, 6, 4*len(v.Int32s))
		for _, x := range v.Int32s {
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		}
	}
	if len(v.Int64s) > 0 {
		b = appendInt64s(appendLead(b, 7, 8*len(v.Int64s)), v.Int64s)
	}
	if len(v.Float32s) > 0 {
		b = appendLead(b, 8, 4*len(v.Float32s))
		for _, x := range v.Float32s {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	if len(v.Float64s) > 0 {
		b = appendLead(b, 9, 8*len(v.Float64s))
		for _, x := range v.Float64s {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	if len(v.Offsets) > 0 {
		b = appendLead(b, 10, 4*len(v.Offsets))
		for _, x := range v.Offsets {
			b = binary.LittleEndian.AppendUint32(b, x)
		}
	}
	if len(v.Data) > 0 {
		b = append(appendLead(b, 11, len(v.Data)), v.Data...)
	}
	if v.Elem != nil {
		b = appendVector(appendLead(b, 12, vectorSize(v.Elem)), v.Elem)
	}
	return b
}

func appendInt64s(b []byte, values []int64) []byte {
	for _, x := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return b
}

func appendStatuses(b []byte, field protowire.Number, statuses []columnar.Status) []byte {
	if len(statuses) == 0 {
		return b
	}
	b = appendLead(b, field, len(statuses))
	for _, s := range statuses {
		b = append(b, byte(s))
	}
	return b
}

// Sizes and forms of single fields, whose numbers are below 16; a zero is left out, as proto3 has it.

func sizeVarint(x uint64) int {
	if x == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(x)
}

func appendVarint(b []byte, field protowire.Number, x uint64) []byte {
	if x == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), x)
}

func sizeBool(x bool) int { return 2 * int(bit(x)) }

func appendBool(b []byte, field protowire.Number, x bool) []byte {
	return appendVarint(b, field, uint64(bit(x)))
}

func bit(x bool) byte {
	if x {
		return 1
	}
	return 0
}

func sizeFixed(x int64) int {
	if x == 0 {
		return 0
	}
	return 9
}

func appendFixed(b []byte, field protowire.Number, x int64) []byte {
	if x == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(x))
}

func sizeText(s string) int {
	if s == "" {
		return 0
	}
	return sizeBytes(len(s))
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return append(appendLead(b, field, len(s)), s...)
}

// sizeBytes returns the size of a field of n bytes, with what leads it.
func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) }

// appendLead appends what comes before a field's n bytes.
func appendLead(b []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(n))
}
