package client

import (
	"fmt"
	"time"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Kind is the kind of one value, or of one element of a list.
type Kind uint8

// The kinds.
const (
	KindInvalid Kind = iota
	Bool
	Int32
	Int64
	Float32
	Float64
	String
	Bytes
	Timestamp
)

var kindNames = [...]string{"invalid", "bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp"}

// String returns the kind's name in definition files.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Type is a kind, or a list of it.
type Type struct {
	Kind Kind
	List bool
}

// String returns the type as definition files write it: "int64", "list<int64>".
func (t Type) String() string {
	if t.List {
		return "list<" + t.Kind.String() + ">"
	}
	return t.Kind.String()
}

// Values is a sequence of values of one type, some of them null. The accessors of one value panic where the type is
// another, as an index out of range does; a null reads as the zero value.
//
// Accessors of many values copy nothing: what they return is shared with the response, is to be read only, and stays valid
// as long as somebody holds it. They return nil where the type is another.
type Values struct {
	typ      Type
	n        int
	validity []byte
	bools    []bool
	int32s   []int32
	int64s   []int64
	float32s []float32
	float64s []float64
	offsets  []uint32
	data     []byte
	text     string // of strings, in place of data
	elements *Values
}

// Type returns the values' type.
func (v *Values) Type() Type { return v.typ }

// Len returns the number of values, nulls included.
func (v *Values) Len() int { return v.n }

// IsNull reports whether value i is null.
func (v *Values) IsNull(i int) bool { return len(v.validity) > 0 && v.validity[i>>3]&(1<<(i&7)) == 0 }

// Bool returns value i of a bool column.
func (v *Values) Bool(i int) bool { return v.bools[i] }

// Int32 returns value i of an int32 column.
func (v *Values) Int32(i int) int32 { return v.int32s[i] }

// Int64 returns value i of an int64 column, or the microseconds since 1970 of a timestamp column.
func (v *Values) Int64(i int) int64 { return v.int64s[i] }

// Float32 returns value i of a float32 column.
func (v *Values) Float32(i int) float32 { return v.float32s[i] }

// Float64 returns value i of a float64 column.
func (v *Values) Float64(i int) float64 { return v.float64s[i] }

// Text returns value i of a string column, without a copy: strings.Clone keeps it alone. The bytes are as the source has
// them, UTF-8 or not.
func (v *Values) Text(i int) string { return v.text[v.offsets[i]:v.offsets[i+1]] }

// Bytes returns value i of a bytes column, shared with the response, or a copy of value i of a string column.
func (v *Values) Bytes(i int) []byte {
	if v.typ.Kind == String {
		return []byte(v.Text(i))
	}
	return v.data[v.offsets[i]:v.offsets[i+1]:v.offsets[i+1]]
}

// Time returns value i of a timestamp column.
func (v *Values) Time(i int) time.Time { return microsTime(v.int64s[i]) }

// List returns value i of a list column.
func (v *Values) List(i int) *Values { return v.elements.slice(int(v.offsets[i]), int(v.offsets[i+1])) }

// Validity returns which values are not null: bit i&7 of byte i>>3, as Apache Arrow has it. Nil: none is null.
func (v *Values) Validity() []byte { return v.validity }

// Bools returns the values of a bool column.
func (v *Values) Bools() []bool { return v.bools }

// Int32s returns the values of an int32 column.
func (v *Values) Int32s() []int32 { return v.int32s }

// Int64s returns the values of an int64 column, or the microseconds since 1970 of a timestamp column.
func (v *Values) Int64s() []int64 { return v.int64s }

// Float32s returns the values of a float32 column.
func (v *Values) Float32s() []float32 { return v.float32s }

// Float64s returns the values of a float64 column.
func (v *Values) Float64s() []float64 { return v.float64s }

// Offsets returns where the values of a string, bytes or list column lie in AllText, Data or Elements: value i from
// Offsets()[i] to Offsets()[i+1].
func (v *Values) Offsets() []uint32 { return v.offsets }

// AllText returns the values of a string column, one after the other.
func (v *Values) AllText() string { return v.text }

// Data returns the values of a bytes column, one after the other.
func (v *Values) Data() []byte { return v.data }

// Elements returns the elements of all lists of a list column, one after the other.
func (v *Values) Elements() *Values { return v.elements }

// AppendTexts appends the values of a string column to dst; their bytes are not copied.
func (v *Values) AppendTexts(dst []string) []string {
	for i := range v.n {
		dst = append(dst, v.Text(i))
	}
	return dst
}

// Value returns value i as the Go type of its kind, []any for a list, nil for a null: bool, int32, int64, float32,
// float64, string, []byte or time.Time. For printing; the accessors above do not allocate.
func (v *Values) Value(i int) any {
	if v.IsNull(i) {
		return nil
	}
	if v.typ.List {
		list := v.List(i)
		out := make([]any, list.n)
		for j := range out {
			out[j] = list.Value(j)
		}
		return out
	}
	switch v.typ.Kind {
	case Bool:
		return v.bools[i]
	case Int32:
		return v.int32s[i]
	case Int64:
		return v.int64s[i]
	case Float32:
		return v.float32s[i]
	case Float64:
		return v.float64s[i]
	case String:
		return v.Text(i)
	case Bytes:
		return v.Bytes(i)
	default:
		return v.Time(i)
	}
}

// slice returns values [from, to) of v, which is no list.
func (v *Values) slice(from, to int) *Values {
	out := &Values{typ: v.typ, n: to - from, data: v.data, text: v.text}
	if len(v.validity) > 0 {
		out.validity = make([]byte, (out.n+7)/8)
		for i := range out.n {
			if !v.IsNull(from + i) {
				out.validity[i>>3] |= 1 << (i & 7)
			}
		}
	}
	switch v.typ.Kind {
	case Bool:
		out.bools = v.bools[from:to]
	case Int32:
		out.int32s = v.int32s[from:to]
	case Int64, Timestamp:
		out.int64s = v.int64s[from:to]
	case Float32:
		out.float32s = v.float32s[from:to]
	case Float64:
		out.float64s = v.float64s[from:to]
	default:
		out.offsets = v.offsets[from : to+1]
	}
	return out
}

// valuesOf checks a message and returns its values, sharing their memory but for strings.
func valuesOf(m *pb.Vector) (*Values, error) {
	if m == nil {
		return nil, malformed("a column without values")
	}
	v := sharing(m)
	if m.Elements != nil {
		if m.Elements.Elements != nil {
			return nil, malformed("a list of lists")
		}
		v.elements = sharing(m.Elements)
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	return v, nil
}

// sharing returns the values of a message without its elements, unchecked.
func sharing(m *pb.Vector) *Values {
	v := &Values{
		typ: Type{kindOf(int32(m.Type)), m.List}, n: int(m.Length), validity: m.Validity,
		bools: m.Bools, int32s: m.Int32S, int64s: m.Int64S, float32s: m.Float32S, float64s: m.Float64S,
		offsets: m.Offsets, data: m.Data,
	}
	if v.typ == (Type{Kind: String}) {
		v.text, v.data = string(m.Data), nil
	}
	return v
}

// kindOf returns the kind of a ValueType.
func kindOf(number int32) Kind {
	if number < 0 || number > int32(Timestamp) {
		return KindInvalid
	}
	return Kind(number)
}

// check tells whether v is as its type has it, its elements too.
func (v *Values) check() error {
	var have int
	limit := len(v.data)
	switch {
	case v.typ.Kind == KindInvalid:
		return malformed("values of no type")
	case v.typ.List:
		switch {
		case v.elements == nil:
			return malformed("a column without values")
		case v.elements.typ.List:
			return malformed("a list of lists")
		case v.elements.typ.Kind != v.typ.Kind:
			return malformed("list elements of another type")
		}
		if err := v.elements.check(); err != nil {
			return err
		}
		have, limit = len(v.offsets)-1, v.elements.n
	default:
		switch v.typ.Kind {
		case Bool:
			have = len(v.bools)
		case Int32:
			have = len(v.int32s)
		case Int64, Timestamp:
			have = len(v.int64s)
		case Float32:
			have = len(v.float32s)
		case Float64:
			have = len(v.float64s)
		case String:
			have, limit = len(v.offsets)-1, len(v.text)
		case Bytes:
			have = len(v.offsets) - 1
		}
	}
	if have != v.n || len(v.validity) > 0 && len(v.validity) < (v.n+7)/8 {
		return malformed("values missing")
	}
	last := uint32(0)
	for _, o := range v.offsets {
		if o < last || uint64(o) > uint64(limit) {
			return malformed("offsets out of order")
		}
		last = o
	}
	return nil
}
