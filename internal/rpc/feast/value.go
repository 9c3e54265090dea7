package feast

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/columnar"
)

// valueFields are the fields of Value, by kind.
var valueFields = [...]protowire.Number{
	columnar.Bool: valueBool, columnar.Int32: valueInt32, columnar.Int64: valueInt64, columnar.Float32: valueFloat,
	columnar.Float64: valueDouble, columnar.String: valueString, columnar.Bytes: valueBytes, columnar.Timestamp: valueTimestamp,
}

// sizeNull is the size of a null among the values of a FeatureVector: a Value with nothing in it.
const sizeNull = 2

// tagOf returns the tag of a scalar's field in Value.
func tagOf(k columnar.Kind, wire protowire.Type) byte { return byte(valueFields[k])<<3 | byte(wire) }

// integer returns integer i of a vector as a varint has it.
func integer(v *columnar.Vector, i int) uint64 {
	switch v.Type.Kind {
	case columnar.Bool:
		return protowire.EncodeBool(v.Bools[i])
	case columnar.Int32:
		return uint64(v.Int32s[i])
	case columnar.Timestamp:
		return uint64(floorSeconds(v.Int64s[i]))
	default:
		return uint64(v.Int64s[i])
	}
}

// valuesSize returns the size of what appendValues appends.
func valuesSize(v *columnar.Vector, status []byte) int {
	if v.Type.List {
		size := 0
		for i := range status {
			if isNull(v, status, i) {
				size += sizeNull
			} else {
				size += sizeField(sizeListField(v, i))
			}
		}
		return size
	}
	size := 0
	switch v.Type.Kind {
	case columnar.Float32, columnar.Float64:
		nulls := v.NullCount()
		return (len(status)-nulls)*(3+v.Type.Kind.Width()) + nulls*sizeNull
	case columnar.String, columnar.Bytes:
		for i := range status {
			if isNull(v, status, i) {
				size += sizeNull
			} else {
				size += sizeField(sizeField(len(v.BytesAt(i))))
			}
		}
	case columnar.Int64:
		if v.Valid == nil {
			for _, x := range v.Int64s {
				size += 3 + protowire.SizeVarint(uint64(x))
			}
			return size
		}
		fallthrough
	default:
		for i := range status {
			if isNull(v, status, i) {
				size += sizeNull
			} else {
				size += 3 + protowire.SizeVarint(integer(v, i))
			}
		}
	}
	return size
}

// appendValues appends a column as values of a FeatureVector.
func appendValues(dst []byte, v *columnar.Vector, status []byte) []byte {
	if v.Type.List {
		for i := range status {
			if isNull(v, status, i) {
				dst = appendNull(dst)
			} else {
				dst = appendList(appendHead(dst, tagValues, sizeListField(v, i)), v, i)
			}
		}
		return dst
	}
	switch v.Type.Kind {
	case columnar.Float64:
		tag := tagOf(v.Type.Kind, protowire.Fixed64Type)
		for i, x := range v.Float64s {
			if v.IsNull(i) {
				dst = appendNull(dst)
			} else {
				dst = protowire.AppendFixed64(append(dst, tagValues, 9, tag), math.Float64bits(x))
			}
		}
	case columnar.Float32:
		tag := tagOf(v.Type.Kind, protowire.Fixed32Type)
		for i, x := range v.Float32s {
			if v.IsNull(i) {
				dst = appendNull(dst)
			} else {
				dst = protowire.AppendFixed32(append(dst, tagValues, 5, tag), math.Float32bits(x))
			}
		}
	case columnar.String, columnar.Bytes:
		tag := tagOf(v.Type.Kind, protowire.BytesType)
		for i := range status {
			if isNull(v, status, i) {
				dst = appendNull(dst)
				continue
			}
			s := v.BytesAt(i)
			dst = appendHead(dst, tagValues, sizeField(len(s)))
			dst = append(appendHead(dst, tag, len(s)), s...)
		}
	case columnar.Int64:
		if v.Valid == nil {
			tag := tagOf(v.Type.Kind, protowire.VarintType)
			for _, x := range v.Int64s {
				dst = appendInteger(dst, tag, uint64(x))
			}
			return dst
		}
		fallthrough
	default:
		tag := tagOf(v.Type.Kind, protowire.VarintType)
		for i := range status {
			if isNull(v, status, i) {
				dst = appendNull(dst)
			} else {
				dst = appendInteger(dst, tag, integer(v, i))
			}
		}
	}
	return dst
}

func appendNull(dst []byte) []byte { return append(dst, tagValues, 0) }

func appendInteger(dst []byte, tag byte, x uint64) []byte {
	start := len(dst)
	dst = appendVarint(append(dst, tagValues, 0, tag), x)
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

// appendVarint is protowire.AppendVarint, small enough to be inlined.
func appendVarint(dst []byte, x uint64) []byte {
	for x >= 0x80 {
		dst = append(dst, byte(x)|0x80)
		x >>= 7
	}
	return append(dst, byte(x))
}

// sizeListField returns the size of list i as the field of a Value.
func sizeListField(v *columnar.Vector, i int) int {
	return protowire.SizeTag(valueFields[v.Type.Kind]+valueLists) + protowire.SizeBytes(sizeList(v, i))
}

// sizeList returns the size of list i as a message: packed but for strings and bytes, nothing where it is empty.
func sizeList(v *columnar.Vector, i int) int {
	from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
	switch v.Type.Kind {
	case columnar.String, columnar.Bytes:
		size := 0
		for j := from; j < to; j++ {
			size += sizeField(len(v.Elem.BytesAt(j)))
		}
		return size
	}
	if from == to {
		return 0
	}
	return sizeField(sizePacked(v.Elem, from, to))
}

// sizePacked returns the size of some values of a vector, packed.
func sizePacked(v *columnar.Vector, from, to int) int {
	switch v.Type.Kind {
	case columnar.Float32, columnar.Float64:
		return (to - from) * v.Type.Kind.Width()
	}
	size := 0
	for j := from; j < to; j++ {
		size += protowire.SizeVarint(integer(v, j))
	}
	return size
}

// appendList appends list i as the field of a Value.
func appendList(dst []byte, v *columnar.Vector, i int) []byte {
	dst = protowire.AppendTag(dst, valueFields[v.Type.Kind]+valueLists, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(sizeList(v, i)))
	from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
	if from == to {
		return dst
	}
	e := v.Elem
	switch e.Type.Kind {
	case columnar.String, columnar.Bytes:
		for j := from; j < to; j++ {
			s := e.BytesAt(j)
			dst = append(appendHead(dst, tagVal, len(s)), s...)
		}
		return dst
	}
	dst = appendHead(dst, tagVal, sizePacked(e, from, to))
	switch e.Type.Kind {
	case columnar.Float32:
		for _, x := range e.Float32s[from:to] {
			dst = protowire.AppendFixed32(dst, math.Float32bits(x))
		}
	case columnar.Float64:
		for _, x := range e.Float64s[from:to] {
			dst = protowire.AppendFixed64(dst, math.Float64bits(x))
		}
	default:
		for j := from; j < to; j++ {
			dst = protowire.AppendVarint(dst, integer(e, j))
		}
	}
	return dst
}
