package feast

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/feast/serving"
)

// The tags of GetOnlineFeaturesResponse and its parts. All are of fields that have a length, but a Timestamp's.
const (
	tagMetadata   byte = 1<<3 | byte(protowire.BytesType)
	tagResults    byte = 2<<3 | byte(protowire.BytesType)
	tagNames      byte = 1<<3 | byte(protowire.BytesType) // of metadata
	tagValues     byte = 1<<3 | byte(protowire.BytesType) // of a FeatureVector
	tagStatuses   byte = 2<<3 | byte(protowire.BytesType)
	tagEventTimes byte = 3<<3 | byte(protowire.BytesType)
	tagSeconds    byte = 1<<3 | byte(protowire.VarintType)
	tagNanos      byte = 2<<3 | byte(protowire.VarintType)
)

// statuses are those of Feast, by ours.
var statuses = [...]byte{
	columnar.StatusInvalid: byte(pb.FieldStatus_INVALID),
	columnar.Present:       byte(pb.FieldStatus_PRESENT),
	columnar.Null:          byte(pb.FieldStatus_NULL_VALUE),
	columnar.Expired:       byte(pb.FieldStatus_OUTSIDE_MAX_AGE),
	columnar.NotFound:      byte(pb.FieldStatus_NOT_FOUND),
	columnar.Error:         byte(pb.FieldStatus_INVALID),
}

const (
	present = byte(pb.FieldStatus_PRESENT)
	damaged = byte(pb.FieldStatus_INVALID)
)

// encoder has the memory of encoding, which is pooled.
type encoder struct {
	statuses []byte // of the column at hand
	present  []byte // of columns of keys
	times    []byte // the event times of keys, then of every read of the answer
	ends     []int  // of each in times
	body     []byte // of an answer over HTTP
}

// maxPooled bounds what is kept for the next request or answer.
const maxPooled = 1 << 20

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func (e *encoder) release() {
	if cap(e.times)+cap(e.body) <= maxPooled {
		encoders.Put(e)
	}
}

// appendResponse appends the GetOnlineFeaturesResponse to a request.
func (e *encoder) appendResponse(dst []byte, req *request, a *serving.Answer) []byte {
	dst = appendMetadata(dst, req.lookup.KeyNames, a.Names)
	e.prepare(a, appendTimestamp)
	for i := range req.lookup.KeyNames {
		values := req.keys[i].wire
		dst = appendVectorHead(dst, len(values), e.present, e.timesOf(0))
		dst = append(dst, values...)
		dst = appendVectorTail(dst, e.present, e.timesOf(0))
	}
	for i, v := range a.Columns {
		status, times := e.judge(v, a.Status[i]), e.timesOf(1+a.Outputs[i].Read)
		dst = appendVectorHead(dst, valuesSize(v, status), status, times)
		dst = appendValues(dst, v, status)
		dst = appendVectorTail(dst, status, times)
	}
	return dst
}

// prepare encodes the event times, once for all columns of a read, and the statuses of keys.
func (e *encoder) prepare(a *serving.Answer, appendTime func([]byte, int64) []byte) {
	e.present = e.present[:0]
	for range a.Rows {
		e.present = append(e.present, present)
	}
	e.times, e.ends = e.times[:0], e.ends[:0]
	for range a.Rows {
		e.times = appendTime(e.times, 0)
	}
	e.ends = append(e.ends, len(e.times))
	for _, v := range a.Views {
		for _, t := range v.Events {
			if t == math.MinInt64 { // none: Feast has 1970 there
				t = 0
			}
			e.times = appendTime(e.times, t)
		}
		e.ends = append(e.ends, len(e.times))
	}
}

// timesOf returns an encoded column of event times: 0 for keys, i+1 for the answer's view i.
func (e *encoder) timesOf(i int) []byte {
	start := 0
	if i > 0 {
		start = e.ends[i-1]
	}
	return e.times[start:e.ends[i]]
}

// judge returns Feast's statuses of a column. A value that Feast's messages cannot hold is INVALID: a string that is not
// UTF-8, a list with a null in it.
func (e *encoder) judge(v *columnar.Vector, status []columnar.Status) []byte {
	e.statuses = e.statuses[:0]
	for _, s := range status {
		e.statuses = append(e.statuses, statuses[s])
	}
	if !v.Type.List && v.Type.Kind != columnar.String {
		return e.statuses
	}
	for i := range e.statuses {
		if !fits(v, i) {
			e.statuses[i] = damaged
		}
	}
	return e.statuses
}

func fits(v *columnar.Vector, i int) bool {
	if !v.Type.List {
		return utf8.Valid(v.BytesAt(i))
	}
	if v.Elem.Valid == nil && v.Type.Kind != columnar.String {
		return true
	}
	for j := int(v.Offsets[i]); j < int(v.Offsets[i+1]); j++ {
		if v.Elem.IsNull(j) || v.Type.Kind == columnar.String && !utf8.Valid(v.Elem.BytesAt(j)) {
			return false
		}
	}
	return true
}

// isNull reports whether value i of a column is sent as null.
func isNull(v *columnar.Vector, status []byte, i int) bool {
	return status[i] == damaged || v.IsNull(i)
}

func appendMetadata(dst []byte, keys, names []string) []byte {
	size := 0
	for _, list := range [...][]string{keys, names} {
		for _, name := range list {
			size += sizeField(len(name))
		}
	}
	dst = appendHead(dst, tagMetadata, sizeField(size))
	dst = appendHead(dst, tagNames, size)
	for _, list := range [...][]string{keys, names} {
		for _, name := range list {
			dst = append(appendHead(dst, tagVal, len(name)), name...)
		}
	}
	return dst
}

// appendVectorHead begins a FeatureVector of values of that size.
func appendVectorHead(dst []byte, values int, status, times []byte) []byte {
	size := values + len(times)
	if len(status) > 0 {
		size += sizeField(len(status))
	}
	dst = slices.Grow(dst, size+binary.MaxVarintLen64)
	return appendHead(dst, tagResults, size)
}

// appendVectorTail ends a FeatureVector.
func appendVectorTail(dst, status, times []byte) []byte {
	if len(status) > 0 {
		dst = append(appendHead(dst, tagStatuses, len(status)), status...)
	}
	return append(dst, times...)
}

// appendTimestamp appends an event time, in microseconds, of a FeatureVector.
func appendTimestamp(dst []byte, us int64) []byte {
	seconds := floorSeconds(us)
	start := len(dst)
	dst = append(dst, tagEventTimes, 0)
	if seconds != 0 {
		dst = appendVarint(append(dst, tagSeconds), uint64(seconds))
	}
	if micros := us - seconds*1e6; micros != 0 {
		dst = appendVarint(append(dst, tagNanos), uint64(micros)*1e3)
	}
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

// floorSeconds returns the whole seconds of a time in microseconds, rounded down: Feast's timestamps have no more.
func floorSeconds(us int64) int64 {
	seconds := us / 1e6
	if us%1e6 < 0 {
		seconds--
	}
	return seconds
}

// appendHead appends a tag and a length.
func appendHead(dst []byte, tag byte, size int) []byte {
	return protowire.AppendVarint(append(dst, tag), uint64(size))
}

// sizeField returns the size of a field of size bytes, with a tag of one byte and the length.
func sizeField(size int) int { return 1 + protowire.SizeBytes(size) }
