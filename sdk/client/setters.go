package client

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Fields of rows are written through their addresses, which are worked out once per type: reflection per value takes
// more than twice as long (BenchmarkRows). What is written has the memory layout of the field, which setterOf sees to.

// memory is rows of structs, one after the other.
type memory struct {
	first  unsafe.Pointer
	stride uintptr
	n      int
}

// scatter writes values[i] into the field of row i that is at offset. Its type must be laid out as E.
func scatter[E any](rows memory, offset uintptr, values []E) {
	for i, v := range values[:rows.n] {
		*(*E)(unsafe.Add(rows.first, uintptr(i)*rows.stride+offset)) = v
	}
}

// setter writes the values of a column into a field of all rows.
type setter func(rows memory, offset uintptr, v *Values)

// null is laid out as sql.Null is.
type null[D any] struct {
	V     D
	Valid bool
}

// How a field, or the elements of a list, can be null.
type nullness uint8

const (
	never     nullness = iota
	byPointer          // *D
	byStruct           // sql.Null[D]
)

// nullnessOf returns how a type can be null, and the type of what is not.
func nullnessOf(t reflect.Type) (nullness, reflect.Type) {
	switch {
	case t.Kind() == reflect.Pointer:
		return byPointer, t.Elem()
	case t.Kind() == reflect.Struct && t.NumField() == 2 && t.Field(0).Name == "V" && t.Field(1).Name == "Valid" &&
		t.Field(1).Type.Kind() == reflect.Bool:
		return byStruct, t.Field(0).Type
	}
	return never, t
}

// setterOf returns what writes a column of a type into a field, and whether a null in it is an error; false where the type does
// not go into the field.
func setterOf(f target, t Type) (set setter, strict, ok bool) {
	typ := f.typ
	if t.List {
		if typ.Kind() != reflect.Slice {
			return nil, false, false
		}
		typ = typ.Elem()
	}
	how, typ := nullnessOf(typ)
	to := typ.Kind()
	wide := strconv.IntSize == 64
	switch {
	case t.Kind == Bool && to == reflect.Bool:
		set = setterBy(t, how, (*Values).Bools)
	case t.Kind == Int32 && to == reflect.Int32:
		set = setterBy(t, how, (*Values).Int32s)
	case t.Kind == Int32 && to == reflect.Int64:
		set = setterBy(t, how, func(v *Values) []int64 { return widen[int64](v.int32s) })
	case t.Kind == Int32 && to == reflect.Int:
		set = setterBy(t, how, func(v *Values) []int { return widen[int](v.int32s) })
	case t.Kind == Int64 && to == reflect.Int64:
		set = setterBy(t, how, (*Values).Int64s)
	case t.Kind == Int64 && to == reflect.Int && wide:
		set = setterBy(t, how, func(v *Values) []int { return widen[int](v.int64s) })
	case t.Kind == Float32 && to == reflect.Float32:
		set = setterBy(t, how, (*Values).Float32s)
	case t.Kind == Float32 && to == reflect.Float64:
		set = setterBy(t, how, func(v *Values) []float64 { return widen[float64](v.float32s) })
	case t.Kind == Float64 && to == reflect.Float64:
		set = setterBy(t, how, (*Values).Float64s)
	case t.Kind == String && to == reflect.String:
		set = setterBy(t, how, func(v *Values) []string { return v.AppendTexts(make([]string, 0, v.n)) })
	case t.Kind == Bytes && to == reflect.Slice && typ.Elem().Kind() == reflect.Uint8:
		set = setterBy(t, how, (*Values).ownBytes)
	case t.Kind == Timestamp && typ == reflect.TypeFor[time.Time]():
		set = setterBy(t, how, (*Values).times)
	default:
		return nil, false, false
	}
	return set, f.option != "zero" && how == never && t.Kind != Bytes, true
}

// setterBy returns the setter of a field whose values, where they are not null, load returns. What it returns may be shared.
func setterBy[D any](t Type, how nullness, load func(*Values) []D) setter {
	switch how {
	case byPointer:
		return setterFor(t, func(v *Values) []*D {
			own, out := slices.Clone(load(v)), make([]*D, v.n)
			for i := range out {
				if !v.IsNull(i) {
					out[i] = &own[i]
				}
			}
			return out
		})
	case byStruct:
		return setterFor(t, func(v *Values) []null[D] {
			out := make([]null[D], v.n)
			for i, x := range load(v) {
				if !v.IsNull(i) {
					out[i] = null[D]{x, true}
				}
			}
			return out
		})
	}
	return setterFor(t, load)
}

// setterFor returns the setter of a field of type E, or of []E for lists.
func setterFor[E any](t Type, load func(*Values) []E) setter {
	if !t.List {
		return func(rows memory, offset uintptr, v *Values) { scatter(rows, offset, load(v)) }
	}
	return func(rows memory, offset uintptr, v *Values) {
		elements := append(make([]E, 0, v.elements.n), load(v.elements)...) // an empty list is not nil
		lists := make([][]E, v.n)
		for i := range lists {
			if !v.IsNull(i) {
				lists[i] = elements[v.offsets[i]:v.offsets[i+1]:v.offsets[i+1]]
			}
		}
		scatter(rows, offset, lists)
	}
}

// widen converts without loss.
func widen[D, S int | int32 | int64 | float32 | float64](values []S) []D {
	out := make([]D, len(values))
	for i, x := range values {
		out[i] = D(x)
	}
	return out
}

// ownBytes returns copies of the values of a bytes column, nil for a null.
func (v *Values) ownBytes() [][]byte {
	data := append(make([]byte, 0, len(v.data)), v.data...)
	out := make([][]byte, v.n)
	for i := range out {
		if !v.IsNull(i) {
			out[i] = data[v.offsets[i]:v.offsets[i+1]:v.offsets[i+1]]
		}
	}
	return out
}

// times returns the values of a timestamp column, the zero time for a null.
func (v *Values) times() []time.Time {
	out := make([]time.Time, v.n)
	for i := range out {
		if !v.IsNull(i) {
			out[i] = microsTime(v.int64s[i])
		}
	}
	return out
}

// goNames are the types that values of a kind go into.
var goNames = [...]string{
	Bool: "bool", Int32: "int32, int64, int", Int64: "int64, int", Float32: "float32, float64", Float64: "float64", String: "string",
	Bytes: "[]byte", Timestamp: "time.Time",
}

// goTypes tells which types a column of a type goes into.
func goTypes(t Type) string {
	names := strings.Split(goNames[t.Kind], ", ")
	first := names[0]
	if t.List {
		for i := range names {
			names[i] = "[]" + names[i]
		}
		return strings.Join(append(names, "[]*"+first, "[]sql.Null["+first+"]"), ", ")
	}
	return strings.Join(append(names, "*"+first, "sql.Null["+first+"]"), ", ")
}

// nullTypes tells what a field of a type would be, so that it can be null.
func nullTypes(t reflect.Type) string {
	list := ""
	if t.Kind() == reflect.Slice {
		list, t = "[]", t.Elem()
	}
	return list + "*" + t.String() + " or " + list + "sql.Null[" + t.String() + "]"
}
