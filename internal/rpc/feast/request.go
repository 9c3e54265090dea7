package feast

import (
	"strconv"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/online/serving"
)

// The fields of GetOnlineFeaturesRequest, of FeatureList, of an entry of its maps and of RepeatedValue.
const (
	fieldService        = 1
	fieldFeatures       = 2
	fieldEntities       = 3
	fieldFullNames      = 4
	fieldVal            = 1 // of FeatureList and RepeatedValue
	fieldKey            = 1
	fieldValue          = 2
	tagVal         byte = fieldVal<<3 | byte(protowire.BytesType)
)

// The tags of Value that a join key may have, as its encoders write them.
const (
	tagString byte = valueString<<3 | byte(protowire.BytesType)
	tagInt32  byte = valueInt32<<3 | byte(protowire.VarintType)
	tagInt64  byte = valueInt64<<3 | byte(protowire.VarintType)
)

// The fields of Value.
const (
	valueBytes     = 1
	valueString    = 2
	valueInt32     = 3
	valueInt64     = 4
	valueDouble    = 5
	valueFloat     = 6
	valueBool      = 7
	valueTimestamp = 8
	valueLists     = 10 // of the list of a kind: that of the kind and 10
	valueNull      = 19
)

// request is a request in columns. It is pooled: its memory, the vectors that lookup has included, is the next one's after
// release.
type request struct {
	lookup serving.Request
	err    error // what is wrong with it, for the handler to return

	received wire.Received // until it is decoded

	raw  []byte // the message
	keys []key  // of which len(lookup.Keys) are in use

	// Names are cut from one string, which is the last request's where that had the same ones.
	names                 []byte
	text                  string
	service               span
	features, entityNames []span
	values                []span // of raw, per entity column: its RepeatedValue
}

// maxColumns bounds the columns of keys, each of which takes memory however small it is: no service has near as many.
const maxColumns = 1000

// span is a part of names or raw.
type span struct{ start, end int }

// key is a column of join keys.
type key struct {
	wire            []byte // the values as sent, field 1 of RepeatedValue and of FeatureVector alike; nil over HTTP
	ints, strings   *columnar.Vector
	isInt, isString bool // the type that is in use; neither before the first that is not null
	nulls           int  // before it
}

var requests = sync.Pool{New: func() any { return new(request) }}

// release gives the request's memory to the next.
func (r *request) release() {
	r.received.Free() // where the call ended before it was decoded
	const header = 16 // of a span, and of a string
	held := cap(r.raw) + cap(r.names) + header*(cap(r.features)+cap(r.lookup.Features))
	for i := range r.keys {
		k := &r.keys[i]
		k.wire = nil
		held += 8*cap(k.ints.Int64s) + cap(k.strings.Data) + 4*cap(k.strings.Offsets)
	}
	if held > maxPooled {
		return
	}
	r.reset()
	requests.Put(r)
}

func (r *request) reset() {
	clear(r.lookup.Keys)
	r.lookup = serving.Request{
		Features: r.lookup.Features[:0], KeyNames: r.lookup.KeyNames[:0], Keys: r.lookup.Keys[:0],
		Events: true,
	}
	r.err, r.raw, r.names = nil, r.raw[:0], r.names[:0]
	r.service, r.features, r.entityNames, r.values = span{}, r.features[:0], r.entityNames[:0], r.values[:0]
}

// Decode reads a GetOnlineFeaturesRequest, copying what it keeps. What is wrong with the request is for the handler to
// tell, by an error with a class.
func (r *request) Decode(b []byte) error {
	r.reset()
	r.raw = append(r.raw, b...)
	if r.err = r.decode(); r.err == nil {
		r.finish()
	}
	return nil
}

// decode reads r.raw. It is stricter than protobuf in what no encoder writes: a map's key twice, a value of several
// kinds. Fields that it does not know it passes over.
func (r *request) decode() error {
	for at := 0; at < len(r.raw); {
		number, wire, n := consumeTag(r.raw[at:])
		if n < 0 {
			return malformed("")
		}
		at += n
		known := protowire.BytesType
		if number == fieldFullNames {
			known = protowire.VarintType
		}
		if number < fieldService || number > fieldFullNames || wire != known {
			if n = protowire.ConsumeFieldValue(number, wire, r.raw[at:]); n < 0 {
				return malformed("")
			}
			at += n
			continue
		}
		if number == fieldFullNames {
			x, n := protowire.ConsumeVarint(r.raw[at:])
			if n < 0 {
				return malformed("full_feature_names")
			}
			r.lookup.FullNames = protowire.DecodeBool(x)
			at += n
			continue
		}
		body, n := protowire.ConsumeBytes(r.raw[at:])
		if n < 0 {
			return malformed("")
		}
		end := at + n
		if err := r.field(number, body, end-len(body)); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// consumeTag is protowire.ConsumeTag, which lets field numbers pass that are too large.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	number, wire, n := protowire.ConsumeTag(b)
	if n > 0 && !number.IsValid() {
		return 0, 0, -1
	}
	return number, wire, n
}

// field takes in a part of the request, which begins at r.raw[start].
func (r *request) field(number protowire.Number, body []byte, start int) error {
	var err error
	switch number {
	case fieldService: // the last of a oneof counts
		r.service, err = r.name(body, "feature_service")
		r.features = r.features[:0]
	case fieldFeatures:
		r.service = span{}
		err = r.featureList(body)
	case fieldEntities:
		err = r.entity(body, start)
	}
	return err
}

// name keeps a string of the request.
func (r *request) name(b []byte, field string) (span, error) {
	if !utf8.Valid(b) {
		return span{}, invalid(field, "a name that is not UTF-8")
	}
	start := len(r.names)
	r.names = append(r.names, b...)
	return span{start, len(r.names)}, nil
}

func (r *request) featureList(b []byte) error {
	for len(b) > 0 {
		number, wire, n := consumeTag(b)
		if n < 0 {
			return malformed("features")
		}
		b = b[n:]
		if number != fieldVal || wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
				return malformed("features")
			}
			b = b[n:]
			continue
		}
		text, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return malformed("features")
		}
		b = b[n:]
		s, err := r.name(text, "features")
		if err != nil {
			return err
		}
		r.features = append(r.features, s)
	}
	return nil
}

// entity reads an entry of the map of columns, which begins at r.raw[start].
func (r *request) entity(b []byte, start int) error {
	if len(r.entityNames) == maxColumns {
		return tooMany("entities")
	}
	var name, values span
	var seen [fieldValue + 1]bool
	for at := 0; at < len(b); {
		number, wire, n := consumeTag(b[at:])
		if n < 0 {
			return malformed("entities")
		}
		at += n
		if number > fieldValue || wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wire, b[at:]); n < 0 {
				return malformed("entities")
			}
			at += n
			continue
		}
		body, n := protowire.ConsumeBytes(b[at:])
		if n < 0 || seen[number] {
			return malformed("entities")
		}
		seen[number] = true
		end := at + n
		if number == fieldKey {
			var err error
			if name, err = r.name(body, "entities"); err != nil {
				return err
			}
		} else {
			values = span{start + end - len(body), start + end}
		}
		at = end
	}
	r.entityNames, r.values = append(r.entityNames, name), append(r.values, values)
	return nil
}

// finish cuts the names, and reads the keys' values.
func (r *request) finish() {
	r.cutNames()
	for i, name := range r.lookup.KeyNames {
		k := r.addKey()
		k.wire = r.raw[r.values[i].start:r.values[i].end]
		if err := k.decode(name); err != nil {
			r.err = err
			return
		}
		r.lookup.Keys = append(r.lookup.Keys, k.vector())
	}
}

// cutNames makes strings of the names.
func (r *request) cutNames() {
	if r.text != string(r.names) {
		r.text = string(r.names)
	}
	cut := func(s span) string { return r.text[s.start:s.end] }
	r.lookup.Service = cut(r.service)
	for _, s := range r.features {
		r.lookup.Features = append(r.lookup.Features, cut(s))
	}
	for _, s := range r.entityNames {
		r.lookup.KeyNames = append(r.lookup.KeyNames, cut(s))
	}
}

// addKey returns the next column of keys, empty.
func (r *request) addKey() *key {
	n := len(r.lookup.Keys)
	if n == len(r.keys) {
		r.keys = append(r.keys, key{
			ints:    columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0),
			strings: columnar.NewVector(columnar.Type{Kind: columnar.String}, 0),
		})
	}
	k := &r.keys[n]
	k.wire, k.isInt, k.isString, k.nulls = nil, false, false, 0
	k.ints.Reset()
	k.strings.Reset()
	return k
}

// vector returns the column; nulls alone are integers.
func (k *key) vector() *columnar.Vector {
	if k.isString {
		return k.strings
	}
	if !k.isInt {
		appendNulls(k.ints, k.nulls)
	}
	return k.ints
}

func appendNulls(v *columnar.Vector, n int) {
	for range n {
		v.AppendNull()
	}
}

// decode reads the values of k.wire.
func (k *key) decode(name string) error {
	b := k.wire
	for row := 0; len(b) > 0; row++ {
		if b[0] != tagVal {
			return malformed("entities." + name)
		}
		value, n := protowire.ConsumeBytes(b[1:])
		if n < 0 {
			return malformed("entities." + name)
		}
		b = b[1+n:]
		if err := k.append(value, name, row); err != nil {
			return err
		}
	}
	return nil
}

// append adds a Value, which is a join key's: an integer, a string or null.
func (k *key) append(b []byte, name string, row int) error {
	if len(b) == 0 {
		k.appendNull()
		return nil
	}
	var n int
	switch b[0] {
	case tagInt64, tagInt32:
		var x uint64
		if x, n = protowire.ConsumeVarint(b[1:]); n < 0 {
			return malformed(field(name, row))
		}
		if b[0] == tagInt32 {
			x = uint64(int32(x)) // as protobuf reads it
		}
		if !k.appendInt(int64(x)) {
			return mixed(name, row)
		}
		n++
	case tagString:
		var s []byte
		if s, n = protowire.ConsumeBytes(b[1:]); n < 0 {
			return malformed(field(name, row))
		}
		if !utf8.Valid(s) {
			return invalid(field(name, row), "a string that is not UTF-8")
		}
		if !k.appendString(s) {
			return mixed(name, row)
		}
		n++
	default:
		number, wire, size := protowire.ConsumeField(b)
		if size < 0 {
			return malformed(field(name, row))
		}
		if number != valueNull || wire != protowire.VarintType {
			return invalid(field(name, row), "a value that is "+valueName(number)+"; a join key is an integer or a string")
		}
		k.appendNull()
		n = size
	}
	if n != len(b) {
		return invalid(field(name, row), "a value of several kinds")
	}
	return nil
}

func (k *key) appendNull() {
	switch {
	case k.isInt:
		k.ints.AppendNull()
	case k.isString:
		k.strings.AppendNull()
	default:
		k.nulls++
	}
}

// appendInt reports false where the column is of strings.
func (k *key) appendInt(x int64) bool {
	if !k.isInt {
		if k.isString {
			return false
		}
		k.isInt = true
		appendNulls(k.ints, k.nulls)
	}
	k.ints.AppendInt64(x)
	return true
}

// appendString reports false where the column is of integers.
func (k *key) appendString(s []byte) bool {
	if !k.isString {
		if k.isInt {
			return false
		}
		k.isString = true
		appendNulls(k.strings, k.nulls)
	}
	k.strings.AppendBytes(s)
	return true
}

// valueName names a field of Value in an error.
func valueName(n protowire.Number) string {
	kinds := [...]string{
		valueBytes: "bytes", valueString: "a string", valueInt32: "an int32", valueInt64: "an int64", valueDouble: "a double",
		valueFloat: "a float", valueBool: "a bool", valueTimestamp: "a timestamp",
	}
	switch {
	case n < protowire.Number(len(kinds)):
		return kinds[n]
	case n > valueLists && n < valueNull:
		return "a list"
	default:
		return "of kind " + strconv.Itoa(int(n))
	}
}

func field(name string, row int) string { return "entities." + name + "[" + strconv.Itoa(row) + "]" }

func mixed(name string, row int) error {
	return invalid(field(name, row), "integers and strings in one column; a join key has one type")
}

func tooMany(field string) error {
	return invalid(field, "more than "+strconv.Itoa(maxColumns)+" members")
}

func malformed(field string) error {
	return invalid(field, "bytes that are no GetOnlineFeaturesRequest")
}

// invalid returns the error of a request that has something at a field, "" for no particular one.
func invalid(field, what string) error {
	message := "the request has " + what
	if field != "" {
		message = "the request has at " + field + " " + what
	}
	return &problem.Error{Code: problem.Invalid, Message: message, Field: field}
}
