package feast

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/feast/serving"
)

// readBody reads the body of POST /get-online-features; what is wrong with it is in r.err.
func (r *request) readBody(w http.ResponseWriter, req *http.Request, maxBody int64) {
	r.reset()
	body := bytes.NewBuffer(r.raw)
	_, err := body.ReadFrom(http.MaxBytesReader(w, req.Body, maxBody))
	r.raw = body.Bytes()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		r.err = &problem.Error{
			Code:       problem.Exhausted,
			Message:    "the request has more than " + strconv.FormatInt(maxBody, 10) + " bytes (limits.request_message)",
			Field:      "body",
			Suggestion: "send several requests, or raise the limit in provender.yaml",
		}
	case err != nil && req.Context().Err() != nil:
		r.err = req.Context().Err()
	case err != nil:
		r.err = problem.New(problem.Invalid, "the request did not come whole: %w", err)
	}
}

// decodeJSON decodes a body. As Feast's Python server does, it passes over members that it does not know.
func (r *request) decodeJSON() error {
	if !utf8.Valid(r.raw) {
		return invalid("", "bytes that are not UTF-8")
	}
	if !json.Valid(r.raw) { // and leaves nothing malformed for what is below
		var raw json.RawMessage
		return problem.New(problem.Invalid, "the request is not JSON: %w", json.Unmarshal(r.raw, &raw))
	}
	return members(r.raw, "the request", func(name string, raw json.RawMessage) error {
		switch name {
		case "feature_service":
			return member(raw, name, &r.lookup.Service, "a string")
		case "features":
			var features []string // its own, for a null in JSON leaves what is in memory
			err := member(raw, name, &features, "an array of strings")
			r.lookup.Features = append(r.lookup.Features, features...)
			return err
		case "full_feature_names":
			return member(raw, name, &r.lookup.FullNames, "true or false")
		case "entities":
			if string(raw) == "null" {
				return nil
			}
			return members(raw, name, r.column)
		}
		return nil
	})
}

// members calls each with the members of a valid JSON object, in order; a name that comes twice is an error, as are more than
// maxColumns.
func members(raw []byte, field string, each func(name string, value json.RawMessage) error) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return problem.New(problem.Invalid, "%s is not a JSON object", field)
	}
	var names []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return problem.New(problem.Invalid, "%s: %w", field, err)
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return problem.New(problem.Invalid, "%s: %w", field, err)
		}
		switch {
		case slices.Contains(names, name):
			return problem.New(problem.Invalid, "%s has %q twice", field, name)
		case len(names) == maxColumns:
			return problem.New(problem.Invalid, "%s has more than %d members", field, maxColumns)
		}
		names = append(names, name)
		if err := each(name, value); err != nil {
			return err
		}
	}
	return nil
}

// member reads a member's value; null leaves into as it is.
func member(raw json.RawMessage, name string, into any, want string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		p := problem.New(problem.Invalid, "%s is not %s", name, want)
		p.Field = name
		return p
	}
	return nil
}

// column reads the values of one join key: integers, strings and nulls.
func (r *request) column(name string, raw json.RawMessage) error {
	var values []json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return &problem.Error{
			Code: problem.Invalid, Message: "entities." + name + " is not an array of integers or strings", Field: "entities." + name,
		}
	}
	k := r.addKey()
	for row, value := range values {
		if err := k.appendJSON(value, name, row); err != nil {
			return err
		}
	}
	r.lookup.KeyNames, r.lookup.Keys = append(r.lookup.KeyNames, name), append(r.lookup.Keys, k.vector())
	return nil
}

func (k *key) appendJSON(value json.RawMessage, name string, row int) error {
	switch c := value[0]; {
	case c == 'n':
		k.appendNull()
		return nil
	case c == '"':
		v, err := columnar.ParseJSON(columnar.Type{Kind: columnar.String}, value)
		if err != nil {
			return invalid(field(name, row), err.Error())
		}
		if !k.appendString(v.BytesAt(0)) {
			return mixed(name, row)
		}
		return nil
	case c == '-' || c >= '0' && c <= '9':
		x, err := strconv.ParseInt(string(value), 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return invalid(field(name, row), string(value)+", which is out of the range of int64")
		}
		if err == nil {
			if !k.appendInt(x) {
				return mixed(name, row)
			}
			return nil
		}
	}
	return invalid(field(name, row), "a value that is neither an integer, a string nor null")
}

// statusNames are the names of Feast's statuses, quoted.
var statusNames = func() [5]string {
	var names [5]string
	for i := range names {
		names[i] = strconv.Quote(pb.FieldStatus(i).String())
	}
	return names
}()

// appendJSON appends the answer to a request as Feast's Python server writes it.
func (e *encoder) appendJSON(dst []byte, req *request, a *serving.Answer) []byte {
	e.prepare(a, func(dst []byte, us int64) []byte { return append(appendTimeJSON(dst, us), ',') })
	dst = append(dst, `{"metadata":{"feature_names":[`...)
	for _, list := range [...][]string{req.lookup.KeyNames, a.Names} {
		for _, name := range list {
			dst = append(appendStringJSON(dst, name), ',')
		}
	}
	dst = append(closeList(dst), `},"results":[`...)
	for i := range req.lookup.KeyNames {
		dst = e.appendColumnJSON(dst, req.lookup.Keys[i], e.present, e.timesOf(0))
	}
	for i, v := range a.Columns {
		dst = e.appendColumnJSON(dst, v, e.judge(v, a.Status[i]), e.timesOf(1+a.Outputs[i].Read))
	}
	return append(closeList(dst), '}', '\n')
}

// closeList ends a list of elements that each end in a comma.
func closeList(dst []byte) []byte {
	if last := len(dst) - 1; dst[last] == ',' {
		dst = dst[:last]
	}
	return append(dst, ']')
}

func (e *encoder) appendColumnJSON(dst []byte, v *columnar.Vector, status, times []byte) []byte {
	dst = append(dst, `{"values":[`...)
	for i := range status {
		if isNull(v, status, i) {
			dst = append(dst, "null,"...)
		} else {
			dst = append(appendValueJSON(dst, v, i), ',')
		}
	}
	dst = append(closeList(dst), `,"statuses":[`...)
	for _, s := range status {
		dst = append(append(dst, statusNames[s]...), ',')
	}
	dst = append(append(closeList(dst), `,"event_timestamps":[`...), times...)
	return append(closeList(dst), '}', ',')
}

// appendValueJSON appends value i, which is not null, as Feast has it: timestamps are seconds, floats have a point or an
// exponent, by which clients tell them from integers, and float32 becomes double.
func appendValueJSON(dst []byte, v *columnar.Vector, i int) []byte {
	if v.Type.List {
		dst = append(dst, '[')
		for j := int(v.Offsets[i]); j < int(v.Offsets[i+1]); j++ {
			dst = append(appendValueJSON(dst, v.Elem, j), ',')
		}
		return closeList(dst)
	}
	switch v.Type.Kind {
	case columnar.Float32:
		return appendFloatJSON(dst, float64(v.Float32s[i]))
	case columnar.Float64:
		return appendFloatJSON(dst, v.Float64s[i])
	case columnar.Timestamp:
		return strconv.AppendInt(dst, floorSeconds(v.Int64s[i]), 10)
	default:
		return columnar.AppendJSON(dst, v, i)
	}
}

// appendFloatJSON appends a float; what is not finite is a string, as JSON has no number for it.
func appendFloatJSON(dst []byte, x float64) []byte {
	start := len(dst)
	dst = columnar.AppendFloatJSON(dst, x)
	if dst[start] == '"' || bytes.ContainsAny(dst[start:], ".e") {
		return dst
	}
	return append(dst, ".0"...)
}

func appendStringJSON(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // strings marshal
	return append(dst, quoted...)
}

// appendTimeJSON appends an event time with 0, 3 or 6 digits of its second, which is what all clients read.
func appendTimeJSON(dst []byte, us int64) []byte {
	layout := `"2006-01-02T15:04:05.000000Z"`
	switch {
	case us%1e6 == 0:
		layout = `"2006-01-02T15:04:05Z"`
	case us%1e3 == 0:
		layout = `"2006-01-02T15:04:05.000Z"`
	}
	return time.UnixMicro(us).UTC().AppendFormat(dst, layout)
}
