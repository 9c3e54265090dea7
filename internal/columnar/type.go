// Package columnar holds typed vectors with validity, laid out as Arrow lays them out.
// Nothing here knows of features, files or stores.
package columnar

import (
	"fmt"
	"strings"
)

// Kind is the kind of one value, or of one element of a list.
type Kind uint8

// The kinds of SPEC §3. The numbers are stored: never renumber.
const (
	Invalid Kind = iota
	Bool
	Int32
	Int64
	Float32
	Float64
	String
	Bytes
	Timestamp // int64 microseconds since 1970-01-01T00:00:00Z
)

var kindNames = [...]string{"invalid", "bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp"}

// String returns the kind's name in definition files.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Width returns the bytes of one value in memory, 0 for string and bytes.
func (k Kind) Width() int {
	switch k {
	case Bool:
		return 1
	case Int32, Float32:
		return 4
	case Int64, Float64, Timestamp:
		return 8
	default:
		return 0
	}
}

// Type is the type of a column: a kind, or a list of it.
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

// Elem returns the type of a list's elements.
func (t Type) Elem() Type { return Type{Kind: t.Kind} }

// FixedWidth reports whether all values take the same bytes.
func (t Type) FixedWidth() bool { return !t.List && t.Kind.Width() > 0 }

// ParseType reads a type as definition files write it.
func ParseType(s string) (Type, error) {
	name, list := strings.CutPrefix(s, "list<")
	if list {
		var closed bool
		if name, closed = strings.CutSuffix(name, ">"); !closed {
			return Type{}, fmt.Errorf("type %q: missing >", s)
		}
	}
	for k := Bool; k <= Timestamp; k++ {
		if kindNames[k] == name {
			return Type{Kind: k, List: list}, nil
		}
	}
	return Type{}, fmt.Errorf("unknown type %q", s)
}

// TypeNames lists every type that a feature may have.
func TypeNames() []string {
	names := make([]string, 0, 2*(len(kindNames)-1))
	for _, list := range []bool{false, true} {
		for k := Bool; k <= Timestamp; k++ {
			names = append(names, Type{Kind: k, List: list}.String())
		}
	}
	return names
}

// MarshalText writes the type as definition files do.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (t *Type) UnmarshalText(b []byte) (err error) {
	*t, err = ParseType(string(b))
	return err
}
