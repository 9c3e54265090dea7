package rpc

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online/serving"
)

// lookupFields are the fields of a lookup's request in JSON.
var lookupFields = []string{"service", "features", "keys", "event_times", "read_time", "int64_as_strings"}

// lookupRequest is a lookup as JSON has it.
type lookupRequest struct {
	serving.Request
	values       [][]byte // per key: the array of its values
	int64Strings bool
}

// getFeatures answers GetFeatures over HTTP.
func (h *web) getFeatures(w http.ResponseWriter, r *http.Request) error {
	var req lookupRequest
	leave := func() {}
	defer func() { leave() }()
	err := h.readBody(w, r, func(body []byte) error {
		turn, err := h.Admission.Enter(r.Context(), admission.Call{Keys: admission.KeysOfJSON(body, "keys"), Bytes: len(body)})
		leave = sync.OnceFunc(turn.Release)
		return err
	}, func(body []byte) error {
		if err := req.decode(body); err != nil {
			return err
		}
		kinds, err := h.Lookups.KeyKinds(r.Context(), &req.Request)
		if err != nil {
			return err
		}
		return req.decodeKeys(kinds)
	})
	if err != nil {
		return err
	}
	a, err := h.Lookups.Lookup(r.Context(), &req.Request)
	if err != nil {
		return err
	}
	defer a.Release()
	h.answer(w, leave, func(c *chunks) { c.lookup(a, req.int64Strings) })
	return nil
}

// decode reads a body, all but the values of keys. A field that is null counts as left out.
func (r *lookupRequest) decode(body []byte) error {
	var seen []string
	return members(body, "", func(name string, value []byte) (err error) {
		if !slices.Contains(lookupFields, name) {
			return unknownName("field", name, name, lookupFields)
		}
		if slices.Contains(seen, name) {
			return twice(name)
		}
		seen = append(seen, name)
		if string(value) == "null" {
			return nil
		}
		switch name {
		case "service":
			r.Service, err = stringOf(value, name)
		case "features":
			err = elements(value, name, func(i int, value []byte) error {
				feature, err := stringOf(value, indexed(name, i))
				r.Features = append(r.Features, feature)
				return err
			})
		case "keys":
			err = members(value, name, func(key string, values []byte) error {
				r.KeyNames, r.values = append(r.KeyNames, key), append(r.values, values)
				return nil
			})
		case "event_times":
			r.Events, err = boolOf(value, name)
		case "read_time":
			r.ReadTime, err = timeIn(value, name)
		case "int64_as_strings":
			r.int64Strings, err = boolOf(value, name)
		}
		return err
	})
}

// decodeKeys reads the values of keys, whose kinds are given.
func (r *lookupRequest) decodeKeys(kinds []columnar.Kind) error {
	r.Keys = make([]*columnar.Vector, len(kinds))
	for k, kind := range kinds {
		field := "keys." + r.KeyNames[k]
		if slices.Contains(r.KeyNames[:k], r.KeyNames[k]) {
			return twice(field)
		}
		v := columnar.NewVector(columnar.Type{Kind: kind}, 0)
		r.Keys[k] = v
		err := elements(r.values[k], field, func(i int, value []byte) error {
			var err error
			if kind == columnar.Int64 {
				err = appendInt64Key(v, value)
			} else {
				err = appendStringKey(v, value)
			}
			if err != nil {
				field := indexed(field, i)
				return &problem.Error{Code: problem.Invalid, Message: at(field) + err.Error(), Field: field, Err: err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func twice(field string) error {
	return &problem.Error{Code: problem.Invalid, Message: at(field) + "given twice", Field: field}
}

// appendInt64Key appends a number, or one as a string: a client that holds numbers as doubles has no others beyond 2^53.
func appendInt64Key(v *columnar.Vector, value []byte) error {
	number := value
	if text, ok := plainString(value); ok && isNumber(text) {
		number = text
	}
	if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
		v.AppendInt64(n)
		return nil
	}
	one, err := columnar.ParseJSON(v.Type, number)
	if err != nil {
		return err
	}
	v.AppendFrom(one, 0)
	return nil
}

// isNumber reports whether text is a JSON number, and nothing but one.
func isNumber(text []byte) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return len(text) > 0 && (text[0] == '-' || digit(text[0])) && digit(text[len(text)-1]) && json.Valid(text)
}

func appendStringKey(v *columnar.Vector, value []byte) error {
	if plain, ok := plainString(value); ok {
		v.AppendBytes(plain)
		return nil
	}
	one, err := columnar.ParseJSON(v.Type, value)
	if err != nil {
		return err
	}
	v.AppendFrom(one, 0)
	return nil
}

// timeIn decodes an RFC 3339 instant.
func timeIn(value []byte, field string) (time.Time, error) {
	text, err := stringOf(value, field)
	if err != nil {
		return time.Time{}, err
	}
	us, err := columnar.ParseTimestamp(text)
	if err != nil {
		return time.Time{}, &problem.Error{Code: problem.Invalid, Message: at(field) + err.Error(), Field: field, Err: err}
	}
	return time.UnixMicro(us).UTC(), nil
}

// lookup appends an answer.
func (c *chunks) lookup(a *serving.Answer, int64Strings bool) {
	c.text = append(c.text, `{"read_time":"`...)
	c.text = columnar.AppendTimestamp(c.text, a.ReadTime)
	c.text = append(c.text, `","fixed_read_time":`...)
	c.text = strconv.AppendBool(c.text, a.Fixed)
	c.text = append(c.text, `,"revision":`...)
	c.text = strconv.AppendInt(c.text, a.Revision, 10)
	c.text = append(c.text, `,"rows":`...)
	c.text = strconv.AppendInt(c.text, int64(a.Rows), 10)
	c.text = append(c.text, `,"columns":[`...)
	for i, v := range a.Columns {
		c.separate(i)
		c.text = append(c.text, `{"name":`...)
		c.text = columnar.AppendQuoted(c.text, []byte(a.Names[i]))
		c.text = append(c.text, `,"view":`...)
		c.text = strconv.AppendInt(c.text, int64(a.Outputs[i].Read), 10)
		c.text = append(c.text, `,"type":"`...)
		c.text = append(c.text, v.Type.String()...)
		c.text = append(c.text, `","values":[`...)
		c.values(v, int64Strings)
		c.text = append(c.text, `],"statuses":[`...)
		for k, s := range a.Status[i] {
			c.separate(k)
			c.text = append(append(append(c.text, '"'), s.String()...), '"')
		}
		if c.text = append(c.text, "]}"...); c.err != nil {
			return
		}
	}
	c.text = append(c.text, `],"views":[`...)
	for i := range a.Views {
		c.separate(i)
		c.view(&a.Views[i])
	}
	c.text = append(c.text, "]}"...)
}

// values appends a column.
func (c *chunks) values(v *columnar.Vector, int64Strings bool) {
	if int64Strings && v.Type.Kind == columnar.Int64 {
		for i := range v.Len() {
			c.separate(i)
			c.text = appendInt64Strings(c.text, v, i)
		}
		return
	}
	for i := range v.Len() {
		c.separate(i)
		c.text = columnar.AppendJSON(c.text, v, i)
	}
}

// appendInt64Strings appends value i of int64s or lists of them as columnar.AppendJSON does, but every integer as a string.
func appendInt64Strings(dst []byte, v *columnar.Vector, i int) []byte {
	switch {
	case v.IsNull(i):
		return append(dst, "null"...)
	case !v.Type.List:
		return append(strconv.AppendInt(append(dst, '"'), v.Int64s[i], 10), '"')
	}
	dst = append(dst, '[')
	for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
		if j > v.Offsets[i] {
			dst = append(dst, ',')
		}
		dst = appendInt64Strings(dst, v.Elem, int(j))
	}
	return append(dst, ']')
}

// view appends which data answered for a view.
func (c *chunks) view(v *serving.ViewAnswer) {
	c.text = append(c.text, `{"view":`...)
	c.text = columnar.AppendQuoted(c.text, []byte(v.View))
	c.text = append(c.text, `,"generation":`...)
	c.text = strconv.AppendUint(c.text, uint64(v.Generation), 10)
	c.text = append(c.text, `,"t":"`...)
	c.text = columnar.AppendTimestamp(c.text, v.T)
	c.text = append(c.text, '"')
	if v.Events != nil {
		c.text = append(c.text, `,"event_times":[`...)
		for i, us := range v.Events {
			c.separate(i)
			if us == math.MinInt64 {
				c.text = append(c.text, "null"...)
				continue
			}
			c.text = append(columnar.AppendTimestamp(append(c.text, '"'), us), '"')
		}
		c.text = append(c.text, ']')
	}
	c.text = append(c.text, '}')
}

// separate goes on to element i of an array.
func (c *chunks) separate(i int) {
	if i > 0 {
		c.text = append(c.text, ',')
	}
	c.grown()
}
