package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// lookupAnswer is an answer as a client reads it.
type lookupAnswer struct {
	ReadTime string `json:"read_time"`
	Fixed    bool   `json:"fixed_read_time"`
	Revision int64
	Rows     int
	Columns  []struct {
		Name     string
		View     int
		Type     columnar.Type
		Values   []json.RawMessage
		Statuses []string
	}
	Views []struct {
		View       string
		Generation uint64
		T          string
		EventTimes []*string `json:"event_times"`
	}
}

// TestHTTPRoundTrip: random answers are the same on gRPC and, read back, in JSON: every bit of a value, every status, every
// time.
func TestHTTPRoundTrip(t *testing.T) {
	r := testenv.Rand(t)
	rounds := 60
	if testenv.Long() {
		rounds = 2000
	}
	given := &giving{}
	server, client := serveHTTP(t, Services{Lookups: given}, HTTPOptions{}), dialGRPC(t, Services{Lookups: given})
	for n := range rounds {
		rows := []int{0, 1, 2, 7, 8, 9, 63, 64, 65}[r.IntN(9)]
		if n%20 == 0 {
			rows = 5000 // several chunks
		}
		given.Answer = randomAnswer(r, rows)
		want, err := client.GetFeatures(t.Context(), &pb.GetFeaturesRequest{Service: "s"}, grpc.MaxCallRecvMsgSize(64<<20))
		if err != nil {
			t.Fatal(err)
		}
		asStrings := r.IntN(2) == 0
		resp, text := post(t, server, `{"service":"s","int64_as_strings":`+strconv.FormatBool(asStrings)+`}`)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		var got lookupAnswer
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%v: %.300s", err, text)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			t.Fatalf("text behind the answer: %v", err)
		}
		compareAnswers(t, want, &got, asStrings)
	}
}

// giving answers lookups with what it was given last.
type giving struct{ *serving.Answer }

func (g *giving) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	return g.Answer, nil
}

func (*giving) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) { return nil, nil }

// dialGRPC returns a client of services on gRPC.
func dialGRPC(t *testing.T, s Services) pb.OnlineServiceClient {
	t.Helper()
	return pb.NewOnlineServiceClient(connectGRPC(t, s))
}

func connectGRPC(t *testing.T, s Services) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(append(ServerOptions(quiet, s.Calls), RefuseEarly(quiet, s.Calls, s.Admission))...)
	Register(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func compareAnswers(t *testing.T, want *pb.GetFeaturesResponse, got *lookupAnswer, asStrings bool) {
	t.Helper()
	if micros(t, got.ReadTime) != want.ReadTime || got.Fixed != want.FixedReadTime || got.Revision != want.Revision ||
		got.Rows != int(want.Rows) || len(got.Columns) != len(want.Columns) || len(got.Views) != len(want.Views) {
		t.Fatalf("got %+v", got)
	}
	for i, c := range want.Columns {
		g := got.Columns[i]
		v := vectorIn(c.Values)
		if g.Name != c.Name || g.View != int(c.View) || g.Type != v.Type || len(g.Values) != v.Len() || len(g.Statuses) != v.Len() {
			t.Fatalf("column %d: %s of view %d, %s, %d values", i, g.Name, g.View, g.Type, len(g.Values))
		}
		for k, raw := range g.Values {
			if asStrings && v.Type.Kind == columnar.Int64 {
				if bare.Match(raw) {
					t.Fatalf("an int64 as %s", raw)
				}
				raw = bytes.ReplaceAll(raw, []byte(`"`), nil)
			}
			one, err := columnar.ParseJSON(v.Type, raw)
			if err != nil {
				t.Fatalf("%s: %v", v.Type, err)
			}
			if !v.EqualAt(k, one, 0) {
				t.Fatalf("%s: %v became %s", v.Type, testenv.Exact(v, k), raw)
			}
			if s := columnar.Status(c.Statuses[k]).String(); s != g.Statuses[k] {
				t.Fatalf("status %s became %s", s, g.Statuses[k])
			}
		}
	}
	for i, w := range want.Views {
		g := got.Views[i]
		if g.View != w.View || g.Generation != w.Generation || micros(t, g.T) != w.T ||
			len(g.EventTimes) != len(w.EventTimes) {
			t.Fatalf("view %d: %+v", i, g)
		}
		for k, us := range w.EventTimes {
			if none := us == math.MinInt64; none != (g.EventTimes[k] == nil) || !none && micros(t, *g.EventTimes[k]) != us {
				t.Fatalf("event time %d became %v", us, g.EventTimes[k])
			}
		}
	}
}

// bare is a number that is no string.
var bare = regexp.MustCompile(`(^|[\[,])-?[0-9]`)

func micros(t *testing.T, text string) int64 {
	t.Helper()
	us, err := columnar.ParseTimestamp(text)
	if err != nil {
		t.Fatal(err)
	}
	return us
}

// vectorIn is the reverse of fillVector.
func vectorIn(m *pb.Vector) *columnar.Vector {
	v := &columnar.Vector{
		Type: columnar.Type{Kind: columnar.Kind(m.Type), List: m.List}, Bools: m.Bools, Int32s: m.Int32S, Int64s: m.Int64S,
		Float32s: m.Float32S, Float64s: m.Float64S, Offsets: m.Offsets, Data: m.Data,
	}
	if len(m.Validity) > 0 {
		v.Valid = m.Validity
	}
	if m.Elements != nil {
		v.Elem = vectorIn(m.Elements)
	}
	v.SetLen(int(m.Length))
	return v
}

func randomAnswer(r *rand.Rand, rows int) *serving.Answer {
	a := &serving.Answer{ReadTime: randomMicros(r), Fixed: r.IntN(2) == 0, Revision: r.Int64(), Rows: rows}
	views := 1 + r.IntN(3)
	for range views {
		v := serving.ViewAnswer{View: "v", Generation: online.GenerationID(r.Uint64()), T: randomMicros(r)}
		if r.IntN(2) == 0 {
			v.Events = make([]int64, rows)
			for i := range v.Events {
				if v.Events[i] = math.MinInt64; r.IntN(3) > 0 {
					v.Events[i] = randomMicros(r)
				}
			}
		}
		a.Views = append(a.Views, v)
	}
	for _, name := range columnar.TypeNames() {
		typ, _ := columnar.ParseType(name)
		v := columnar.NewVector(typ, 0)
		status := make([]columnar.Status, rows)
		for i := range rows {
			appendRandom(r, v)
			status[i] = columnar.Status(1 + r.IntN(5))
		}
		a.Names, a.Columns, a.Status = append(a.Names, "f_"+name), append(a.Columns, v), append(a.Status, status)
		a.Outputs = append(a.Outputs, registry.Output{Read: r.IntN(views)})
	}
	return a
}

func appendRandom(r *rand.Rand, v *columnar.Vector) {
	if r.IntN(5) == 0 {
		v.AppendNull()
		return
	}
	if v.Type.List {
		for range r.IntN(4) {
			appendRandom(r, v.Elem)
		}
		v.EndList()
		return
	}
	pick := func(bits uint64, special ...uint64) uint64 {
		if r.IntN(2) == 0 {
			return special[r.IntN(len(special))]
		}
		return bits
	}
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(r.IntN(2) == 0)
	case columnar.Int32:
		v.AppendInt32(int32(pick(r.Uint64(), 0, math.MaxInt32, 1<<31)))
	case columnar.Int64:
		v.AppendInt64(int64(pick(r.Uint64(), 0, math.MaxInt64, 1<<63, 1<<53, 1<<53+1)))
	case columnar.Float32:
		f := math.Float32frombits(uint32(pick(r.Uint64(), 0, 1<<31, 1, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff)))
		if f != f { // NaN: JSON has one
			f = float32(math.NaN())
		}
		v.AppendFloat32(f)
	case columnar.Float64:
		f := math.Float64frombits(pick(r.Uint64(), 0, 1<<63, 1, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
			math.Float64bits(math.NaN()), math.Float64bits(1e21), math.Float64bits(1e-7)))
		if f != f { // NaN: JSON has one
			f = math.NaN()
		}
		v.AppendFloat64(f)
	case columnar.String:
		v.AppendString(strings.ToValidUTF8(randomText(r), "\u2028"))
	case columnar.Bytes:
		v.AppendString(randomText(r))
	case columnar.Timestamp:
		v.AppendInt64(randomMicros(r))
	}
}

func randomText(r *rand.Rand) string {
	b := make([]byte, r.IntN(12))
	for i := range b {
		if b[i] = byte(r.IntN(256)); r.IntN(2) == 0 {
			b[i] = "a\"\\\n</\x00\x7f"[r.IntN(8)]
		}
	}
	return string(b)
}

func randomMicros(r *rand.Rand) int64 {
	switch r.IntN(4) {
	case 0:
		return row.MinTime
	case 1:
		return row.MaxTime
	case 2:
		return r.Int64N(2e9) * 1e6
	default:
		return row.MinTime + r.Int64N(row.MaxTime-row.MinTime)
	}
}

// FuzzJSONText: what members, elements and stringOf make of a text is what encoding/json makes of it.
func FuzzJSONText(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-0,1e5,"x\"]}",null,true,{"b":{}}],"c":"\ud83d\ude00"}`, ` [ [] , [ [ ] , 0 ] ] `, `"\\"`, "0", `{"":{"":[""]}}`, "[\t\"a\"\r\n,1 ]", `"\ud800"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := checkJSON(text); (err == nil) != json.Valid(text) {
			t.Fatalf("%v", err)
		} else if err != nil {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(want), "\ufffd") { // encoding/json has replaced something, which we refuse to
			return
		}
		got, err := treeOf(bytes.TrimSpace(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v: -want +got\n%s", err, diff)
		}
	})
}

// treeOf decodes any JSON.
func treeOf(text []byte) (any, error) {
	switch text[0] {
	case '{':
		m := map[string]any{}
		return m, members(text, "", func(name string, value []byte) (err error) {
			m[name], err = treeOf(value)
			return err
		})
	case '[':
		list := []any{}
		err := elements(text, "", func(_ int, value []byte) error {
			v, err := treeOf(value)
			list = append(list, v)
			return err
		})
		return list, err
	case '"':
		return stringOf(text, "")
	case 't', 'f':
		return boolOf(text, "")
	case 'n':
		return nil, nil
	default:
		return json.Number(text), nil
	}
}

// FuzzLookupRequest: any body is answered with columns of as many values as there are rows, or refused with a status that
// says so.
func FuzzLookupRequest(f *testing.F) {
	for _, body := range []string{
		`{"service":"everything","keys":{"id":[1,"2",null],"name":["a","é","\u0000"]},"event_times":true}`,
		`{"features":["every:f_bool","world:x"],"keys":{"id":[],"name":[]},"int64_as_strings":true}`,
		`{"service":"global","read_time":"2026-05-04T12:00:00Z"}`, `{"service":"global","keys":{"id":[1]}}`, `{}`, `[]`, ``, `{"keys":{"id":[[`,
	} {
		f.Add([]byte(body))
	}
	server := serveHTTP(f, thingsAPI(f), HTTPOptions{})
	f.Fuzz(func(t *testing.T, body []byte) {
		resp, text := post(t, server, string(body))
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
			if !json.Valid(text) {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
			return
		default:
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		if !json.Valid(body) {
			t.Error("taken, but no JSON")
		}
		var got lookupAnswer
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, c := range got.Columns {
			if len(c.Values) != got.Rows || len(c.Statuses) != got.Rows {
				t.Errorf("%d rows, but %d values and %d statuses of %s", got.Rows, len(c.Values), len(c.Statuses), c.Name)
			}
		}
	})
}
