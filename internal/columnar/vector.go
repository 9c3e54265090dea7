package columnar

import (
	"bytes"
	"math"
)

// Vector is a column of values of one type. Exactly the slice of its kind is in use; a null has the zero value there.
// Not safe for concurrent writes; reads may be concurrent.
type Vector struct {
	Type  Type
	Valid Bitmap // nil: no nulls

	Bools    []bool
	Int32s   []int32
	Int64s   []int64 // int64, and timestamp in microseconds UTC
	Float32s []float32
	Float64s []float64

	// Offsets has Len()+1 entries for string, bytes and list: value i is [Offsets[i], Offsets[i+1]) of Data or Elem.
	Offsets []uint32
	Data    []byte
	Elem    *Vector

	n     int
	spare Bitmap // memory for Valid, kept by Reset
}

// NewVector returns an empty vector with room for capacity values.
func NewVector(t Type, capacity int) *Vector {
	v := &Vector{Type: t}
	if t.List {
		v.Offsets = append(make([]uint32, 0, capacity+1), 0)
		v.Elem = NewVector(t.Elem(), capacity)
		return v
	}
	switch t.Kind {
	case Bool:
		v.Bools = make([]bool, 0, capacity)
	case Int32:
		v.Int32s = make([]int32, 0, capacity)
	case Int64, Timestamp:
		v.Int64s = make([]int64, 0, capacity)
	case Float32:
		v.Float32s = make([]float32, 0, capacity)
	case Float64:
		v.Float64s = make([]float64, 0, capacity)
	case String, Bytes:
		v.Offsets = append(make([]uint32, 0, capacity+1), 0)
	}
	return v
}

// Len returns the number of values, nulls included.
func (v *Vector) Len() int { return v.n }

// SetLen tells the vector that its slices were filled directly and now hold n values. The caller has kept Valid and
// Offsets in step.
func (v *Vector) SetLen(n int) { v.n = n }

// Reset empties the vector and keeps its memory.
func (v *Vector) Reset() {
	v.n = 0
	if v.Valid != nil {
		v.Valid, v.spare = nil, v.Valid[:0]
	}
	v.Bools, v.Int32s, v.Int64s = v.Bools[:0], v.Int32s[:0], v.Int64s[:0]
	v.Float32s, v.Float64s, v.Data = v.Float32s[:0], v.Float64s[:0], v.Data[:0]
	if v.Offsets != nil {
		v.Offsets = v.Offsets[:1]
	}
	if v.Elem != nil {
		v.Elem.Reset()
	}
}

// IsNull reports whether value i is null.
func (v *Vector) IsNull(i int) bool { return v.Valid != nil && !v.Valid.Get(i) }

// NullCount returns the number of nulls.
func (v *Vector) NullCount() int {
	if v.Valid == nil {
		return 0
	}
	return v.n - v.Valid.Count(v.n)
}

// grown records one appended value and its validity.
func (v *Vector) grown(valid bool) {
	if v.Valid == nil && valid {
		v.n++
		return
	}
	v.grownNullable(valid)
}

func (v *Vector) grownNullable(valid bool) {
	if v.Valid != nil {
		v.Valid = v.Valid.Append(v.n, valid)
	} else if !valid {
		v.Valid = v.spare.ones(v.n).Append(v.n, false)
	}
	v.n++
}

// AppendNull appends a null.
func (v *Vector) AppendNull() {
	v.appendZero()
	v.grown(false)
}

func (v *Vector) appendZero() {
	if v.Offsets != nil {
		v.Offsets = append(v.Offsets, v.Offsets[v.n])
		return
	}
	switch v.Type.Kind {
	case Bool:
		v.Bools = append(v.Bools, false)
	case Int32:
		v.Int32s = append(v.Int32s, 0)
	case Int64, Timestamp:
		v.Int64s = append(v.Int64s, 0)
	case Float32:
		v.Float32s = append(v.Float32s, 0)
	case Float64:
		v.Float64s = append(v.Float64s, 0)
	}
}

// AppendBool appends to a bool vector.
func (v *Vector) AppendBool(x bool) { v.Bools = append(v.Bools, x); v.grown(true) }

// AppendInt32 appends to an int32 vector.
func (v *Vector) AppendInt32(x int32) { v.Int32s = append(v.Int32s, x); v.grown(true) }

// AppendInt64 appends to an int64 or timestamp vector.
func (v *Vector) AppendInt64(x int64) { v.Int64s = append(v.Int64s, x); v.grown(true) }

// AppendFloat32 appends to a float32 vector.
func (v *Vector) AppendFloat32(x float32) { v.Float32s = append(v.Float32s, x); v.grown(true) }

// AppendFloat64 appends to a float64 vector.
func (v *Vector) AppendFloat64(x float64) { v.Float64s = append(v.Float64s, x); v.grown(true) }

// AppendBytes appends a copy of x to a string or bytes vector. The vector's data must stay below 4 GiB; the caller
// bounds its batches.
func (v *Vector) AppendBytes(x []byte) {
	v.Data = append(v.Data, x...)
	v.Offsets = append(v.Offsets, uint32(len(v.Data)))
	v.grown(true)
}

// AppendString appends to a string or bytes vector.
func (v *Vector) AppendString(x string) {
	v.Data = append(v.Data, x...)
	v.Offsets = append(v.Offsets, uint32(len(v.Data)))
	v.grown(true)
}

// EndList closes a list whose elements were appended to v.Elem since the last list, none for an empty one.
func (v *Vector) EndList() {
	v.Offsets = append(v.Offsets, uint32(v.Elem.n))
	v.grown(true)
}

// BytesAt returns value i of a string or bytes vector; it is valid until the vector is changed.
func (v *Vector) BytesAt(i int) []byte { return v.Data[v.Offsets[i]:v.Offsets[i+1]] }

// Size returns the bytes that value i of strings, bytes or a list takes; 0 for a fixed width.
func (v *Vector) Size(i int) int {
	if v.Offsets == nil {
		return 0
	}
	lo, hi := int(v.Offsets[i]), int(v.Offsets[i+1])
	if !v.Type.List {
		return hi - lo
	}
	if v.Elem.Offsets == nil {
		return (hi - lo) * v.Elem.Type.Kind.Width()
	}
	const offset = 4 // of each element
	return (hi-lo)*offset + int(v.Elem.Offsets[hi]-v.Elem.Offsets[lo])
}

// AppendFrom appends value i of src, which has the same type.
func (v *Vector) AppendFrom(src *Vector, i int) {
	if src.IsNull(i) {
		v.AppendNull()
		return
	}
	if v.Type.List {
		for j := src.Offsets[i]; j < src.Offsets[i+1]; j++ {
			v.Elem.AppendFrom(src.Elem, int(j))
		}
		v.EndList()
		return
	}
	switch v.Type.Kind {
	case Bool:
		v.AppendBool(src.Bools[i])
	case Int32:
		v.AppendInt32(src.Int32s[i])
	case Int64, Timestamp:
		v.AppendInt64(src.Int64s[i])
	case Float32:
		v.AppendFloat32(src.Float32s[i])
	case Float64:
		v.AppendFloat64(src.Float64s[i])
	case String, Bytes:
		v.AppendBytes(src.BytesAt(i))
	}
}

// EqualAt reports whether value i of v and value j of w are the same, floats compared bit for bit (R10). The types are
// equal.
func (v *Vector) EqualAt(i int, w *Vector, j int) bool {
	if v.IsNull(i) || w.IsNull(j) {
		return v.IsNull(i) == w.IsNull(j)
	}
	if v.Type.List {
		a, b := v.Offsets[i], w.Offsets[j]
		n := v.Offsets[i+1] - a
		if w.Offsets[j+1]-b != n {
			return false
		}
		for k := range n {
			if !v.Elem.EqualAt(int(a+k), w.Elem, int(b+k)) {
				return false
			}
		}
		return true
	}
	switch v.Type.Kind {
	case Bool:
		return v.Bools[i] == w.Bools[j]
	case Int32:
		return v.Int32s[i] == w.Int32s[j]
	case Int64, Timestamp:
		return v.Int64s[i] == w.Int64s[j]
	case Float32:
		return math.Float32bits(v.Float32s[i]) == math.Float32bits(w.Float32s[j])
	case Float64:
		return math.Float64bits(v.Float64s[i]) == math.Float64bits(w.Float64s[j])
	default:
		return bytes.Equal(v.BytesAt(i), w.BytesAt(j))
	}
}
