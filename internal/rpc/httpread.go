package rpc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// message is a pointer to a generated message.
type message[T any] interface {
	*T
	proto.Message
}

// reading is a call that only reads, by GET: the fields of its request that are not in the path are query parameters, and
// its answer is JSON as appendMessage has it.
func reading[In any, Out proto.Message, P message[In]](h *web, path string, call func(context.Context, P) (Out, error)) endpoint {
	fields := P(new(In)).ProtoReflect().Descriptor().Fields()
	var query []string
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !strings.Contains(path, "{"+name+"}") {
			query = append(query, name)
		}
	}
	return endpoint{http.MethodGet, path, query, func(w http.ResponseWriter, r *http.Request) error {
		in := P(new(In))
		given := r.URL.Query()
		for i := range fields.Len() {
			f := fields.Get(i)
			values := given[string(f.Name())]
			if value := r.PathValue(string(f.Name())); value != "" {
				values = []string{value}
			}
			if err := setField(in.ProtoReflect(), f, values); err != nil {
				return err
			}
		}
		out, err := call(r.Context(), in)
		if err != nil {
			return err
		}
		h.answer(w, nil, func(c *chunks) { c.text = appendMessage(c.text, out.ProtoReflect()) })
		return nil
	}}
}

// setField sets a field of a request to what a path or a query gives for it.
func setField(m protoreflect.Message, f protoreflect.FieldDescriptor, values []string) error {
	name := string(f.Name())
	if f.IsList() {
		list := m.Mutable(f).List()
		for _, v := range values {
			list.Append(protoreflect.ValueOfString(v))
		}
		return nil
	}
	switch len(values) {
	case 0:
		return nil
	case 1:
	default:
		return twice(name)
	}
	text := values[0]
	invalid := func(want string) *problem.Error {
		return &problem.Error{Code: problem.Invalid, Message: at(name) + "want " + want + ", got " + strconv.Quote(text), Field: name}
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString(text))
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return invalid("a number")
		}
		m.Set(f, protoreflect.ValueOfInt32(int32(n)))
	case protoreflect.Int64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return invalid("a number")
		}
		m.Set(f, protoreflect.ValueOfInt64(n))
	case protoreflect.EnumKind:
		names := enumNames(f.Enum())
		n, ok := names[text]
		if !ok {
			return invalid("one of " + strings.Join(slices.Sorted(maps.Keys(names)), ", "))
		}
		m.Set(f, protoreflect.ValueOfEnum(n))
	}
	return nil
}

// enumNames are an enum's values but the unspecified one, as JSON and queries call them: "feature_view" for
// DEFINITION_KIND_FEATURE_VIEW.
func enumNames(e protoreflect.EnumDescriptor) map[string]protoreflect.EnumNumber {
	values := e.Values()
	prefix := strings.TrimSuffix(string(values.Get(0).Name()), "UNSPECIFIED")
	names := make(map[string]protoreflect.EnumNumber, values.Len())
	for i := 1; i < values.Len(); i++ {
		names[strings.ToLower(strings.TrimPrefix(string(values.Get(i).Name()), prefix))] = values.Get(i).Number()
	}
	return names
}

// definitionField holds JSON, which is no string in JSON.
const definitionField = "provender.v1.Definition.json"

// durationName is the message whose fields say in JSON that they are seconds.
const durationName = "google.protobuf.Duration"

// appendMessage appends a message as JSON: fields by their names in the proto, integers as numbers, enums as enumNames has
// them, timestamps as RFC 3339, durations as seconds, which the name then says; what is not set is its zero value, or left out if it is a message.
func appendMessage(dst []byte, m protoreflect.Message) []byte {
	switch m := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return append(columnar.AppendTimestamp(append(dst, '"'), m.AsTime().UnixMicro()), '"')
	case *durationpb.Duration:
		return strconv.AppendFloat(dst, m.AsDuration().Seconds(), 'f', -1, 64)
	}
	dst = append(dst, '{')
	fields, first := m.Descriptor().Fields(), true
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, '"'), f.Name()...)
		if f.Kind() == protoreflect.MessageKind && f.Message().FullName() == durationName {
			dst = append(dst, "_seconds"...)
		}
		dst = append(dst, `":`...)
		if f.FullName() == definitionField {
			dst = append(dst, cmp.Or(m.Get(f).String(), "null")...)
			continue
		}
		if !f.IsList() {
			dst = appendField(dst, f, m.Get(f))
			continue
		}
		dst = append(dst, '[')
		for k, list := 0, m.Get(f).List(); k < list.Len(); k++ {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = appendField(dst, f, list.Get(k))
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendField(dst []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(dst, v.Message())
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool())
	case protoreflect.EnumKind:
		for name, n := range enumNames(f.Enum()) {
			if n == v.Enum() {
				return columnar.AppendQuoted(dst, []byte(name))
			}
		}
		return append(dst, "null"...)
	case protoreflect.StringKind:
		return columnar.AppendQuoted(dst, []byte(v.String()))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return strconv.AppendInt(dst, v.Int(), 10)
	case protoreflect.DoubleKind:
		return strconv.AppendFloat(dst, v.Float(), 'f', -1, 64)
	default: // unsigned ones: the messages that are read this way have no others
		return strconv.AppendUint(dst, v.Uint(), 10)
	}
}

// serviceReport is a feature service as its callers need it: what to ask it for, and what it answers.
type serviceReport struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Owner       string          `json:"owner,omitempty"`
	Revision    int64           `json:"revision"`
	Keys        []keyReport     `json:"keys"`
	Features    []featureReport `json:"features"`
}

type keyReport struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type featureReport struct {
	Name    string        `json:"name"`
	Type    columnar.Type `json:"type"`
	View    string        `json:"view"`
	Feature string        `json:"feature"`
}

func newServiceReport(snapshot *registry.Snapshot, service *registry.Service) *serviceReport {
	r := &serviceReport{Name: service.Name, Revision: snapshot.Revision, Keys: []keyReport{}, Features: []featureReport{}}
	for _, d := range snapshot.Definitions.Services {
		if d.Name == service.Name {
			r.Description, r.Owner = d.Description, d.Owner
		}
	}
	for _, k := range service.RequestKeys {
		r.Keys = append(r.Keys, keyReport{k.Name, k.Kind.String()})
	}
	for _, o := range service.Outputs {
		view := service.Reads[o.Read].View
		f := view.Features[o.Feature]
		r.Features = append(r.Features, featureReport{o.Name, f.Type, view.Name, f.Name})
	}
	return r
}

// definitions returns the snapshot that lookups are answered by.
func (h *web) definitions() (*registry.Snapshot, error) {
	if snapshot := h.Snapshot(); snapshot != nil {
		return snapshot, nil
	}
	return nil, &problem.Error{Code: problem.Unavailable, Message: "the server has not loaded the definitions yet"}
}

func (h *web) listServices(w http.ResponseWriter, _ *http.Request) error {
	snapshot, err := h.definitions()
	if err != nil {
		return err
	}
	list := struct {
		Services []*serviceReport `json:"services"`
	}{Services: []*serviceReport{}}
	for _, name := range slices.Sorted(maps.Keys(snapshot.Services)) {
		list.Services = append(list.Services, newServiceReport(snapshot, snapshot.Services[name]))
	}
	return h.answerJSON(w, list)
}

func (h *web) getService(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := h.definitions()
	if err != nil {
		return err
	}
	service, err := snapshot.FeatureService(r.PathValue("name"))
	if err != nil {
		return err
	}
	return h.answerJSON(w, newServiceReport(snapshot, service))
}

func (h *web) answerJSON(w http.ResponseWriter, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // list<int64> reads better
	if err := encoder.Encode(v); err != nil {
		return err
	}
	h.answer(w, nil, func(c *chunks) { c.text = append(c.text, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...) })
	return nil
}
