package feast

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/feast/serving"
	types "github.com/provender-dev/provender/proto/feast/types"
	"github.com/provender-dev/provender/registry"
)

// answering answers every request with one answer, and notes the request.
type answering struct {
	answer *serving.Answer
	asked  func(*serving.Request)
}

func (a answering) Lookup(_ context.Context, req *serving.Request) (*serving.Answer, error) {
	if a.asked != nil {
		a.asked(req)
	}
	return a.answer, nil
}

func decoded(t testing.TB, m *pb.GetOnlineFeaturesRequest) *request {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r := new(request)
	if err := r.Decode(raw); err != nil {
		t.Fatal(err)
	}
	return r
}

func int64Value(x int64) *types.Value {
	return &types.Value{Val: &types.Value_Int64Val{Int64Val: x}}
}

func stringValue(s string) *types.Value {
	return &types.Value{Val: &types.Value_StringVal{StringVal: s}}
}

// randomRequest has up to three columns of keys. The other results are its columns, as it has them.
func randomRequest(rnd *rand.Rand, rows int) (*pb.GetOnlineFeaturesRequest, map[string]*types.RepeatedValue) {
	m := &pb.GetOnlineFeaturesRequest{Entities: map[string]*types.RepeatedValue{}, FullFeatureNames: rnd.IntN(2) == 0}
	if rnd.IntN(2) == 0 {
		m.Kind = &pb.GetOnlineFeaturesRequest_FeatureService{FeatureService: randomText(rnd)}
	} else {
		list := &pb.FeatureList{}
		for range rnd.IntN(4) {
			list.Val = append(list.Val, randomText(rnd)+":"+randomText(rnd))
		}
		m.Kind = &pb.GetOnlineFeaturesRequest_Features{Features: list}
	}
	for i := range rnd.IntN(4) {
		column := &types.RepeatedValue{}
		strings, nulls := rnd.IntN(2) == 0, rnd.IntN(3) == 0
		for range rows {
			x := int64(rnd.Uint64()) >> rnd.IntN(64)
			switch {
			case nulls && rnd.IntN(3) == 0:
				column.Val = append(column.Val, &types.Value{Val: &types.Value_NullVal{}})
			case nulls && rnd.IntN(2) == 0:
				column.Val = append(column.Val, &types.Value{})
			case strings:
				column.Val = append(column.Val, stringValue(randomText(rnd)))
			case rnd.IntN(2) == 0:
				column.Val = append(column.Val, &types.Value{Val: &types.Value_Int32Val{Int32Val: int32(x)}})
			default:
				column.Val = append(column.Val, int64Value(x))
			}
		}
		m.Entities[fmt.Sprint("k", i)] = column
	}
	return m, m.Entities
}

var rowCounts = []int{0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 127, 128, 129}

// TestResponse: an answer encoded by hand is, byte for byte, what the generated code makes of a message per value.
func TestResponse(t *testing.T) {
	rnd := testenv.Rand(t)
	rounds := 300
	if testenv.Long() {
		rounds = 20_000
	}
	for range rounds {
		rows := rowCounts[rnd.IntN(len(rowCounts))]
		m, entities := randomRequest(rnd, rows)
		req, answer := decoded(t, m), randomAnswer(rnd, rows)
		if req.err != nil {
			t.Fatal(req.err)
		}
		var keys []*types.RepeatedValue
		for _, name := range req.lookup.KeyNames {
			keys = append(keys, entities[name])
		}
		want := slowResponse(req.lookup.KeyNames, keys, answer)
		wantBytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := new(encoder).appendResponse(nil, req, answer)
		if bytes.Equal(got, wantBytes) {
			continue
		}
		var m2 pb.GetOnlineFeaturesResponse
		if err := proto.Unmarshal(got, &m2); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s", cmp.Diff(want, &m2, protocmp.Transform()))
	}
}

// TestJSON: what an answer is in JSON, read by encoding/json, is what it is in messages.
func TestJSON(t *testing.T) {
	rnd := testenv.Rand(t)
	for range 300 {
		rows := rowCounts[rnd.IntN(len(rowCounts))]
		answer := randomAnswer(rnd, rows)
		req := new(request)
		req.lookup.KeyNames = []string{"driver"}
		ints := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, rows)
		keys := &types.RepeatedValue{}
		for range rows {
			ints.AppendInt64(math.MaxInt64)
			keys.Val = append(keys.Val, int64Value(math.MaxInt64))
		}
		req.lookup.Keys = []*columnar.Vector{ints}
		want := slowResponse(req.lookup.KeyNames, []*types.RepeatedValue{keys}, answer)

		raw := new(encoder).appendJSON(nil, req, answer)
		var got struct {
			Metadata struct {
				Names []string `json:"feature_names"`
			}
			Results []struct {
				Values   []any
				Statuses []string
				Times    []string `json:"event_timestamps"`
			}
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		if diff := cmp.Diff(want.Metadata.FeatureNames.Val, got.Metadata.Names); diff != "" {
			t.Fatal(diff)
		}
		if len(got.Results) != len(want.Results) {
			t.Fatalf("%d results, want %d", len(got.Results), len(want.Results))
		}
		for i, column := range want.Results {
			if len(got.Results[i].Values) != rows || len(got.Results[i].Statuses) != rows || len(got.Results[i].Times) != rows {
				t.Fatalf("%d rows: %s", rows, raw)
			}
			for row, v := range column.Values {
				if have := exactJSON(got.Results[i].Values[row]); !equalJSON(have, slowJSON(v)) {
					t.Fatalf("%v: %v, want %v", v, have, slowJSON(v))
				}
				if have, want := got.Results[i].Statuses[row], column.Statuses[row].String(); have != want {
					t.Fatalf("%v: status %s, want %s", v, have, want)
				}
				when := column.EventTimestamps[row].AsTime()
				layout := "2006-01-02T15:04:05Z"
				switch ns := when.Nanosecond(); {
				case ns%1e6 != 0:
					layout = "2006-01-02T15:04:05.000000Z"
				case ns != 0:
					layout = "2006-01-02T15:04:05.000Z"
				}
				if have, want := got.Results[i].Times[row], when.Format(layout); have != want {
					t.Fatalf("event time %s, want %s", have, want)
				}
			}
		}
	}
}

// exactJSON reads numbers as Feast's clients do: with a point or an exponent they are floats.
func exactJSON(x any) any {
	switch x := x.(type) {
	case json.Number:
		if strings.ContainsAny(x.String(), ".eE") {
			f, _ := x.Float64()
			return f
		}
		n, err := x.Int64()
		if err != nil {
			return err.Error()
		}
		return n
	case []any:
		return each(x, exactJSON)
	}
	return x
}

func equalJSON(a, b any) bool {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalJSON)
	}
	return a == b
}

// TestKeys: every way to write a column of keys, and every way to write it wrong.
func TestKeys(t *testing.T) {
	null := &types.Value{Val: &types.Value_NullVal{}}
	int32Value := &types.Value{Val: &types.Value_Int32Val{Int32Val: -7}}
	for _, c := range []struct {
		values []*types.Value
		want   string // the vector, or the error where it has a space
		field  string
	}{
		{nil, "int64[]", ""},
		{[]*types.Value{int64Value(7), int32Value, null, {}}, "int64[7,-7,null,null]", ""},
		{[]*types.Value{null, stringValue("é"), stringValue(""), {}}, `string[null,"é","",null]`, ""},
		{[]*types.Value{{}, {}, null}, "int64[null,null,null]", ""},
		{[]*types.Value{int64Value(math.MinInt64), int64Value(math.MaxInt64)}, "int64[-9223372036854775808,9223372036854775807]", ""},
		{[]*types.Value{int64Value(1), stringValue("1")}, "the request has at entities.k[1] integers and strings in one column; a join key has one type", "entities.k[1]"},
		{[]*types.Value{stringValue("1"), null, int64Value(1)}, "the request has at entities.k[2] integers and strings in one column; a join key has one type", "entities.k[2]"},
		{[]*types.Value{{Val: &types.Value_DoubleVal{DoubleVal: 1}}}, "the request has at entities.k[0] a value that is a double; a join key is an integer or a string", "entities.k[0]"},
		{[]*types.Value{{Val: &types.Value_BytesVal{}}}, "the request has at entities.k[0] a value that is bytes; a join key is an integer or a string", "entities.k[0]"},
		{[]*types.Value{{Val: &types.Value_UnixTimestampVal{}}}, "the request has at entities.k[0] a value that is a timestamp; a join key is an integer or a string", "entities.k[0]"},
		{[]*types.Value{{Val: &types.Value_Int64ListVal{Int64ListVal: &types.Int64List{}}}}, "the request has at entities.k[0] a value that is a list; a join key is an integer or a string", "entities.k[0]"},
	} {
		r := decoded(t, &pb.GetOnlineFeaturesRequest{Entities: map[string]*types.RepeatedValue{"k": {Val: c.values}}})
		var got string
		if r.err != nil {
			got = r.err.Error()
			if p, ok := r.err.(*problem.Error); !ok || p.Code != problem.Invalid || p.Field != c.field { //nolint:errorlint // as made
				t.Errorf("%v: %#v", c.values, r.err)
			}
		} else {
			got = vectorText(r.lookup.Keys[0])
		}
		if got != c.want {
			t.Errorf("%v:\n%s, want\n%s", c.values, got, c.want)
		}
	}
}

func vectorText(v *columnar.Vector) string {
	out := append([]byte(v.Type.String()), '[')
	for i := range v.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		out = columnar.AppendJSON(out, v, i)
	}
	return string(append(out, ']'))
}

// TestReadJSON: bodies, and what is asked of the lookups, or the error.
func TestReadJSON(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{
			`{"features": ["v:a", "v:b"], "entities": {"z": [1, 2], "a": ["x", null]}, "feature_service": null, "full_feature_names": true}`,
			`service "", features [v:a v:b], full true, z=int64[1,2] a=string["x",null]`,
		},
		{`{"feature_service": "s", "entities": {}}`, `service "s", features [], full false,`},
		{`{"feature_service": "s", "entities": null, "features": null, "unknown": {"a": [1.5]}}`, `service "s", features [], full false,`},
		{`{"feature_service": "s", "entities": {"k": []}}`, `service "s", features [], full false, k=int64[]`},
		{`{"entities": {"k": [null]}}`, `service "", features [], full false, k=int64[null]`},
		{`{"entities": {"k": [9007199254740993]}}`, `service "", features [], full false, k=int64[9007199254740993]`},
		{`{"entities": {"k": ["😀"]}}`, `service "", features [], full false, k=string["😀"]`},
		{`{`, `error: the request is not JSON: unexpected end of JSON input`},
		{`{} {}`, `error: the request is not JSON: invalid character '{' after top-level value`},
		{``, `error: the request is not JSON: unexpected end of JSON input`},
		{`[]`, `error: the request is not a JSON object`},
		{"{\"a\": \"\xff\"}", `error: the request has bytes that are not UTF-8`},
		{`{"entities": []}`, `error: entities is not a JSON object`},
		{`{"entities": {"k": 1}}`, `error: entities.k is not an array of integers or strings`},
		{`{"entities": {"k": null}}`, `error: entities.k is not an array of integers or strings`},
		{`{"entities": {"k": [1.0]}}`, `error: the request has at entities.k[0] a value that is neither an integer, a string nor null`},
		{`{"entities": {"k": [1e3]}}`, `error: the request has at entities.k[0] a value that is neither an integer, a string nor null`},
		{`{"entities": {"k": [true]}}`, `error: the request has at entities.k[0] a value that is neither an integer, a string nor null`},
		{`{"entities": {"k": [[1]]}}`, `error: the request has at entities.k[0] a value that is neither an integer, a string nor null`},
		{`{"entities": {"k": [9223372036854775808]}}`, `error: the request has at entities.k[0] 9223372036854775808, which is out of the range of int64`},
		{`{"entities": {"k": [1, "1"]}}`, `error: the request has at entities.k[1] integers and strings in one column; a join key has one type`},
		{`{"entities": {"k": ["\ud800"]}}`, `error: the request has at entities.k[0] half a surrogate pair in "\ud800"`},
		{`{"entities": {"k": [1], "k": [2]}}`, `error: entities has "k" twice`},
		{"{" + strings.Repeat(`"x":0,`, 160) + `"x":0}`, `error: the request has "x" twice`},
		{`{"features": "v:a"}`, `error: features is not an array of strings`},
		{`{"features": [1]}`, `error: features is not an array of strings`},
		{`{"feature_service": 1}`, `error: feature_service is not a string`},
		{`{"full_feature_names": "yes"}`, `error: full_feature_names is not true or false`},
		{`{"x": "` + strings.Repeat("x", 1000) + `"}`, `error: the request has more than 1000 bytes (limits.request_message) (send several requests, or raise the limit in provender.yaml)`},
		{strings.Repeat("[", 500), `error: the request is not JSON: unexpected end of JSON input`},
	} {
		got := ""
		lookups := answering{&serving.Answer{}, func(r *serving.Request) {
			got = fmt.Sprintf("service %q, features %v, full %v,", r.Service, r.Features, r.FullNames)
			for i, name := range r.KeyNames {
				got += " " + name + "=" + vectorText(r.Keys[i])
			}
		}}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		if err := Handler(lookups, nil, 1000)(httptest.NewRecorder(), r); err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

// TestManyMembers: JSON with a great number of members is refused, and soon.
func TestManyMembers(t *testing.T) {
	var body strings.Builder
	for i := range 500_000 {
		fmt.Fprintf(&body, `,"m%d":0`, i)
	}
	for _, form := range []string{`{%s}`, `{"entities":{%s}}`} {
		text := fmt.Sprintf(form, body.String()[1:])
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
		err := Handler(answering{}, nil, 1<<30)(httptest.NewRecorder(), r)
		if problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// TestAllocations: what a request allocates depends neither on the number of features nor on that of entities.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		return // the race detector empties pools at random
	}
	var allocations []float64
	for _, w := range []struct{ entities, features int }{{1, 10}, {1, 200}, {100, 50}} {
		raw, answer := workload(t, w.entities, w.features)
		s := &service{answering{answer: answer}, admission.New(admission.Options{})}
		allocations = append(allocations, testing.AllocsPerRun(100, func() { serveOnce(t, s, raw) }))
	}
	if slices.Max(allocations) > 8 || slices.Max(allocations) > slices.Min(allocations)+1 {
		t.Errorf("%v allocations", allocations)
	}
}

// workload returns a request and an answer: half of the features float64, half int64 below a million, in views of ten.
func workload(t testing.TB, entities, features int) ([]byte, *serving.Answer) {
	rnd := rand.New(rand.NewPCG(1, 2))
	m := &pb.GetOnlineFeaturesRequest{Entities: map[string]*types.RepeatedValue{"user": {}}}
	list := &pb.FeatureList{}
	a := &serving.Answer{Rows: entities}
	for range entities {
		m.Entities["user"].Val = append(m.Entities["user"].Val, int64Value(rnd.Int64N(100_000)))
	}
	for f := range features {
		if f%10 == 0 {
			events := make([]int64, entities)
			for i := range events {
				events[i] = 1_700_000_000_000_000 + rnd.Int64N(1e12)
			}
			a.Views = append(a.Views, serving.ViewAnswer{Events: events})
		}
		v := columnar.NewVector(columnar.Type{Kind: []columnar.Kind{columnar.Float64, columnar.Int64}[f%2]}, entities)
		status := make([]columnar.Status, entities)
		for i := range entities {
			if f%2 == 0 {
				v.AppendFloat64(rnd.Float64())
			} else {
				v.AppendInt64(rnd.Int64N(1e6))
			}
			status[i] = columnar.Present
		}
		a.Names, a.Columns = append(a.Names, fmt.Sprint("feature_", f)), append(a.Columns, v)
		a.Status, a.Outputs = append(a.Status, status), append(a.Outputs, registry.Output{Read: f / 10})
		list.Val = append(list.Val, fmt.Sprintf("view_%d:feature_%d", f/10, f))
	}
	m.Kind = &pb.GetOnlineFeaturesRequest_Features{Features: list}
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw, a
}

var codec = wire.Codec()

// serveOnce decodes a request and encodes its answer, as the codec and the handler do.
func serveOnce(t testing.TB, s *service, raw []byte) {
	in := requests.Get().(*request)
	if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, &in.received); err != nil {
		t.Fatal(err)
	}
	r, err := s.getOnlineFeatures(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	in.release()
	encoded, err := codec.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	encoded.Free()
}

// BenchmarkCodec measures a request less its lookup: decoding, and encoding the answer; by hand and by generated code.
func BenchmarkCodec(b *testing.B) {
	for _, w := range []struct{ entities, features int }{{1, 10}, {1, 50}, {100, 50}} {
		raw, answer := workload(b, w.entities, w.features)
		name := fmt.Sprintf("%dx%d", w.entities, w.features)
		b.Run("hand/"+name, func(b *testing.B) {
			s := &service{answering{answer: answer}, admission.New(admission.Options{})}
			b.ReportAllocs()
			for b.Loop() {
				serveOnce(b, s, raw)
			}
		})
		b.Run("decode/"+name, func(b *testing.B) {
			in := new(request)
			b.ReportAllocs()
			for b.Loop() {
				if err := in.Decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("generated/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m pb.GetOnlineFeaturesRequest
				if err := proto.Unmarshal(raw, &m); err != nil {
					b.Fatal(err)
				}
				out := slowResponse([]string{"user"}, []*types.RepeatedValue{m.Entities["user"]}, answer)
				if _, err := proto.Marshal(out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
