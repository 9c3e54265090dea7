package rpc

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/online/serving"
)

// featuresRequest is a GetFeaturesRequest, decoded straight into what a lookup takes. It is used again: Decode resets it.
// The fields' numbers are those of online.proto; a test compares it with generated code.
type featuresRequest struct {
	received wire.Received // until it is decoded
	request  serving.Request
	keys     []keyColumn // in use, and beyond their length spare ones
}

// keyColumn is a KeyColumn.
type keyColumn struct {
	name    string
	int64s  []int64
	offsets []uint32 // of strings, one more than there are; nil for none
	data    []byte
	nulls   []bool
	vector  columnar.Vector
}

var errMalformed = errors.New("the message is not a GetFeaturesRequest")

// Decode implements wire.Request.
func (r *featuresRequest) Decode(b []byte) error {
	q := &r.request
	service := q.Service
	q.Service, q.Features, q.Events, q.ReadTime = "", q.Features[:0], false, time.Time{}
	r.keys = r.keys[:0]
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		switch {
		case field == 1 && kind == protowire.BytesType:
			if q.Service, n = consumeText(b, service); n < 0 {
				return errMalformed
			}
			b = b[n:]
		case field == 2 && kind == protowire.BytesType:
			text, n := consumeText(b, "")
			if n < 0 {
				return errMalformed
			}
			q.Features = append(q.Features, text)
			b = b[n:]
		case field == 3 && kind == protowire.BytesType:
			text, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errMalformed
			}
			if len(r.keys) < cap(r.keys) {
				r.keys = r.keys[:len(r.keys)+1]
			} else {
				r.keys = append(r.keys, keyColumn{})
			}
			if err := r.keys[len(r.keys)-1].decode(text); err != nil {
				return err
			}
			b = b[n:]
		case field == 4 && kind == protowire.VarintType:
			x, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errMalformed
			}
			q.Events = x != 0
			b = b[n:]
		case field == 5 && kind == protowire.Fixed64Type:
			x, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return errMalformed
			}
			q.ReadTime = time.UnixMicro(int64(x))
			b = b[n:]
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return errMalformed
			}
			b = b[n:]
		}
	}
	return nil
}

// consumeText returns the string that b begins with and how many bytes it takes, negative where there is none. Where it is
// the same as the last request's, it is that.
func consumeText(b []byte, last string) (string, int) {
	text, n := protowire.ConsumeBytes(b)
	switch {
	case n < 0 || !utf8.Valid(text):
		return "", -1
	case string(text) == last:
		return last, n
	}
	return string(text), n
}

func (k *keyColumn) decode(b []byte) error {
	name := k.name
	k.name, k.int64s, k.offsets, k.data, k.nulls = "", k.int64s[:0], k.offsets[:0], k.data[:0], k.nulls[:0]
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		switch {
		case field == 1 && kind == protowire.BytesType:
			if k.name, n = consumeText(b, name); n < 0 {
				return errMalformed
			}
			b = b[n:]
		case field == 2 && kind == protowire.BytesType:
			packed, n := protowire.ConsumeBytes(b)
			if n < 0 || len(packed)%8 != 0 {
				return errMalformed
			}
			k.int64s = slices.Grow(k.int64s, len(packed)/8)
			for ; len(packed) > 0; packed = packed[8:] {
				k.int64s = append(k.int64s, int64(binary.LittleEndian.Uint64(packed)))
			}
			b = b[n:]
		case field == 2 && kind == protowire.Fixed64Type:
			x, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return errMalformed
			}
			k.int64s = append(k.int64s, int64(x))
			b = b[n:]
		case field == 3 && kind == protowire.BytesType:
			text, n := protowire.ConsumeBytes(b)
			if n < 0 || !utf8.Valid(text) {
				return errMalformed
			}
			if len(k.offsets) == 0 {
				k.offsets = append(k.offsets, 0)
			}
			k.data = append(k.data, text...)
			k.offsets = append(k.offsets, uint32(len(k.data)))
			b = b[n:]
		case field == 4 && kind == protowire.BytesType:
			packed, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errMalformed
			}
			for len(packed) > 0 {
				x, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return errMalformed
				}
				k.nulls, packed = append(k.nulls, x != 0), packed[n:]
			}
			b = b[n:]
		case field == 4 && kind == protowire.VarintType:
			x, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errMalformed
			}
			k.nulls, b = append(k.nulls, x != 0), b[n:]
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return errMalformed
			}
			b = b[n:]
		}
	}
	return nil
}

// lookup returns the request as serving takes it; it shares r's memory.
func (r *featuresRequest) lookup() (*serving.Request, error) {
	q := &r.request
	q.KeyNames, q.Keys = q.KeyNames[:0], q.Keys[:0]
	for i := range r.keys {
		k := &r.keys[i]
		if err := k.fill(); err != nil {
			return nil, err
		}
		q.KeyNames, q.Keys = append(q.KeyNames, k.name), append(q.Keys, &k.vector)
	}
	return q, nil
}

// fill makes k's vector of its values.
func (k *keyColumn) fill() error {
	invalid := func(text string) error {
		return &problem.Error{Code: problem.Invalid, Message: "key " + strconv.Quote(k.name) + " " + text, Field: "keys." + k.name}
	}
	n, kind := len(k.int64s), columnar.Int64
	if len(k.offsets) > 0 {
		if n > 0 {
			return invalid("has integers and strings; a key has one type")
		}
		n, kind = len(k.offsets)-1, columnar.String
	}
	if len(k.nulls) != 0 && len(k.nulls) != n {
		return invalid("has different numbers of values and null marks: " + strconv.Itoa(n) + " and " + strconv.Itoa(len(k.nulls)))
	}
	valid := k.vector.Valid[:0]
	k.vector = columnar.Vector{Type: columnar.Type{Kind: kind}}
	if kind == columnar.String {
		k.vector.Offsets, k.vector.Data = k.offsets, k.data
	} else {
		k.vector.Int64s = k.int64s
	}
	if len(k.nulls) > 0 {
		for i, null := range k.nulls {
			valid = valid.Append(i, !null)
		}
		k.vector.Valid = valid
	}
	k.vector.SetLen(n)
	return nil
}

// maxPooledKeys bounds the bytes of keys that a request keeps for the next.
const maxPooledKeys = 1 << 20

// poolable reports whether r is small enough to be kept.
func (r *featuresRequest) poolable() bool {
	n := 16 * cap(r.request.Features)
	for _, k := range r.keys[:cap(r.keys)] {
		n += 8*cap(k.int64s) + 4*cap(k.offsets) + cap(k.data) + cap(k.nulls)
	}
	return n <= maxPooledKeys
}
