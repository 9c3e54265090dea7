package row

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
)

var errKey = errors.New("damaged entity key")

// Each join key begins with its type, so that 1 and "1" never meet; a string's length keeps (1, 12) from (11, 2).
const (
	tagInt64  = 1
	tagString = 2
)

// AppendKey appends the entity key of row i of cols, the join keys in R8's order (int64 and string vectors), and
// reports false, with dst as it was, where one of them is null. Length-prefixed and typed. No columns: the key of a
// global view, empty.
func AppendKey(dst []byte, cols []*columnar.Vector, i int) ([]byte, bool) {
	start := len(dst)
	for _, v := range cols {
		switch {
		case v.IsNull(i):
			return dst[:start], false
		case v.Type.Kind == columnar.Int64:
			dst = AppendInt64Key(dst, v.Int64s[i])
		default:
			dst = AppendStringKey(dst, v.BytesAt(i))
		}
	}
	return dst, true
}

// AppendInt64Key appends one int64 join key.
func AppendInt64Key(dst []byte, x int64) []byte {
	return binary.AppendVarint(append(dst, tagInt64), x)
}

// AppendStringKey appends one string join key.
func AppendStringKey(dst []byte, s []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tagString), uint64(len(s)))
	return append(dst, s...)
}

// ParseKey is the reverse of AppendKey, appending one value to each vector of cols; the kinds must match. On an error
// nothing was appended.
func ParseKey(key []byte, cols []*columnar.Vector) error {
	for j, v := range cols {
		rest, ok := parseKeyPart(key, v)
		if !ok {
			return dropLast(cols[:j])
		}
		key = rest
	}
	if len(key) != 0 {
		return dropLast(cols)
	}
	return nil
}

func dropLast(cols []*columnar.Vector) error {
	for _, v := range cols {
		truncate(v, v.Len()-1)
	}
	return errKey
}

func parseKeyPart(b []byte, v *columnar.Vector) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	tag := b[0]
	x, b, ok := uvarint(b[1:])
	switch {
	case !ok:
		return nil, false
	case tag == tagInt64 && v.Type.Kind == columnar.Int64:
		v.AppendInt64(unzigzag(x))
		return b, true
	case tag == tagString && v.Type.Kind == columnar.String && x <= uint64(len(b)):
		v.AppendBytes(b[:x])
		return b[x:], true
	default:
		return nil, false
	}
}

// uvarint reads a varint in its only canonical form: no longer than needed.
func uvarint(b []byte) (x uint64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	x, n := binary.Uvarint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, nil, false
	}
	return x, b[n:], true
}

func unzigzag(x uint64) int64 { return int64(x>>1) ^ -int64(x&1) }

// int32Of returns the int32 that x encodes, if it is one.
func int32Of(x uint64) (int32, bool) {
	v := unzigzag(x)
	return int32(v), math.MinInt32 <= v && v <= math.MaxInt32
}
