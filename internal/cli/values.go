package cli

import (
	"encoding/json"
	"fmt"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/sdk/client"
)

// vectorOf copies a column of an answer into a vector, so that it prints and compares as history's does.
func vectorOf(v *client.Values) *columnar.Vector {
	t := v.Type()
	out := columnar.NewVector(columnar.Type{Kind: columnar.Kind(t.Kind), List: t.List}, v.Len())
	for i := range v.Len() {
		appendValue(out, v, i)
	}
	return out
}

func appendValue(dst *columnar.Vector, v *client.Values, i int) {
	switch {
	case v.IsNull(i):
		dst.AppendNull()
		return
	case dst.Type.List:
		list := v.List(i)
		for j := range list.Len() {
			appendValue(dst.Elem, list, j)
		}
		dst.EndList()
		return
	}
	switch dst.Type.Kind {
	case columnar.Bool:
		dst.AppendBool(v.Bool(i))
	case columnar.Int32:
		dst.AppendInt32(v.Int32(i))
	case columnar.Int64, columnar.Timestamp:
		dst.AppendInt64(v.Int64(i))
	case columnar.Float32:
		dst.AppendFloat32(v.Float32(i))
	case columnar.Float64:
		dst.AppendFloat64(v.Float64(i))
	case columnar.String:
		dst.AppendString(v.Text(i))
	case columnar.Bytes:
		dst.AppendBytes(v.Bytes(i))
	}
}

// keysOf turns typed key columns into those of a request.
func keysOf(names []string, columns []*columnar.Vector) []client.Key {
	keys := make([]client.Key, len(columns))
	for i, v := range columns {
		k := client.Key{Name: names[i]}
		if v.Type.Kind == columnar.Int64 {
			k.Int64s = v.Int64s
		} else {
			k.Strings = make([]string, v.Len())
			for r := range k.Strings {
				k.Strings[r] = string(v.BytesAt(r))
			}
		}
		if v.NullCount() > 0 {
			k.Nulls = make([]bool, v.Len())
			for r := range k.Nulls {
				k.Nulls[r] = v.IsNull(r)
			}
		}
		keys[i] = k
	}
	return keys
}

// keyVector is the first value of a key that is not null.
func keyVector(k client.Key) *columnar.Vector {
	if len(k.Int64s) > 0 {
		v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
		v.AppendInt64(k.Int64s[0])
		return v
	}
	v := columnar.NewVector(columnar.Type{Kind: columnar.String}, 1)
	for _, s := range k.Strings[:min(1, len(k.Strings))] {
		v.AppendString(s)
	}
	return v
}

// appendJSON decodes a definition and appends it.
func appendJSON[T any](dst *[]*T, d client.Definition) error {
	x := new(T)
	if err := json.Unmarshal(d.JSON, x); err != nil {
		return fmt.Errorf("read %s %s: %w", d.Kind, d.Name, err)
	}
	*dst = append(*dst, x)
	return nil
}
