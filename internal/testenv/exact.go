package testenv

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/provender-dev/provender/internal/columnar"
)

// Exact returns value i of a vector as JSON can hold it without loss: text, nil for a null, a slice for a list. Floats
// and bytes are in hexadecimal.
func Exact(v *columnar.Vector, i int) any {
	if v.IsNull(i) {
		return nil
	}
	if v.Type.List {
		list := []any{}
		for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
			list = append(list, Exact(v.Elem, int(j)))
		}
		return list
	}
	switch v.Type.Kind {
	case columnar.Bool:
		return strconv.FormatBool(v.Bools[i])
	case columnar.Int32:
		return strconv.Itoa(int(v.Int32s[i]))
	case columnar.Int64, columnar.Timestamp:
		return strconv.FormatInt(v.Int64s[i], 10)
	case columnar.Float32:
		return fmt.Sprintf("%08x", math.Float32bits(v.Float32s[i]))
	case columnar.Float64:
		return fmt.Sprintf("%016x", math.Float64bits(v.Float64s[i]))
	case columnar.String:
		return string(v.BytesAt(i))
	default:
		return hex.EncodeToString(v.BytesAt(i))
	}
}
