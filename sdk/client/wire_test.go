package client

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/testenv"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// responseOf is the plain version of decode: it defines what a message means.
func responseOf(m *pb.GetFeaturesResponse) (*Response, error) {
	if m == nil {
		return nil, malformed("the response is missing")
	}
	r := &Response{ReadTime: microsTime(m.ReadTime), Fixed: m.FixedReadTime, Revision: m.Revision, Rows: int(m.Rows)}
	for _, c := range m.Columns {
		values, err := valuesOf(c.Values)
		if err != nil {
			return nil, err
		}
		column := Column{Name: c.Name, View: int(c.View), Values: *values}
		for _, s := range c.Statuses {
			column.statuses = append(column.statuses, Status(s))
		}
		r.Columns = append(r.Columns, column)
	}
	for _, v := range m.Views {
		view := View{Name: v.View, Generation: v.Generation, T: microsTime(v.T)}
		for _, us := range v.EventTimes {
			view.EventTimes = append(view.EventTimes, eventTime(us))
		}
		r.Views = append(r.Views, view)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wide is an answer with a column of every type and of lists of it, nulls among them.
func wide(rows int) *pb.GetFeaturesResponse {
	m := &pb.GetFeaturesResponse{ReadTime: -1, FixedReadTime: true, Revision: 3, Rows: uint32(rows)}
	vector := func(kind pb.ValueType, n int) *pb.Vector {
		v := &pb.Vector{Type: kind, Length: uint32(n), Validity: bytes.Repeat([]byte{0b1101_1110}, (n+7)/8)}
		switch Kind(kind) {
		case Bool:
			v.Bools = make([]bool, n)
		case Int32:
			v.Int32S = make([]int32, n)
		case Int64, Timestamp:
			v.Int64S = make([]int64, n)
		case Float32:
			v.Float32S = make([]float32, n)
		case Float64:
			v.Float64S = make([]float64, n)
		default:
			v.Offsets = []uint32{0}
		}
		for i := range n {
			switch Kind(kind) {
			case Bool:
				v.Bools[i] = i%3 == 1
			case Int32:
				v.Int32S[i] = int32(i) - 2
			case Int64, Timestamp:
				v.Int64S[i] = int64(i-2) << 40
			case Float32:
				v.Float32S[i] = float32(i) / 3
			case Float64:
				v.Float64S[i] = float64(i) / 3
			default:
				v.Data = append(v.Data, "text"[:i%5]...)
				v.Offsets = append(v.Offsets, uint32(len(v.Data)))
			}
		}
		return v
	}
	for kind := pb.ValueType_VALUE_TYPE_BOOL; kind <= pb.ValueType_VALUE_TYPE_TIMESTAMP; kind++ {
		list := &pb.Vector{Type: kind, List: true, Length: uint32(rows), Elements: vector(kind, 2*rows)}
		for i := range rows + 1 {
			list.Offsets = append(list.Offsets, uint32(2*i))
		}
		for name, v := range map[string]*pb.Vector{"": vector(kind, rows), "_list": list} {
			m.Columns = append(m.Columns, &pb.FeatureColumn{
				Name: Kind(kind).String() + name, Values: v, View: uint32(kind % 2), Statuses: bytes.Repeat([]byte{1}, rows),
			})
		}
	}
	for i := range 2 {
		v := &pb.ViewRead{View: "view", Generation: 1 << 60, T: int64(i) - 5}
		for k := range i * rows {
			v.EventTimes = append(v.EventTimes, []int64{7, math.MinInt64}[k%2])
		}
		m.Views = append(m.Views, v)
	}
	return m
}

// same compares a decoded message with what generated code makes of it.
func same(t *testing.T, b []byte, wrapped bool) {
	t.Helper()
	var want *Response
	var wantErr error
	if wrapped {
		var m pb.StreamFeaturesResponse
		if wantErr = proto.Unmarshal(b, &m); wantErr == nil {
			want, wantErr = responseOf(m.Response)
		}
	} else {
		var m pb.GetFeaturesResponse
		if wantErr = proto.Unmarshal(b, &m); wantErr == nil {
			want, wantErr = responseOf(&m)
		}
	}
	got, err := decode(b, wrapped)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("error %v, of generated code %v", err, wantErr)
	}
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Code != CodeInternal) {
		t.Fatalf("error %#v", err)
	}
	diff := cmp.Diff(want, got, cmp.AllowUnexported(Response{}, Column{}, Values{}), cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
		cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }))
	if diff != "" {
		t.Fatalf("(-generated +got):\n%s", diff)
	}
	if got != nil {
		walk(got)
	}
}

// walk reads all that an answer has: nothing that decode lets through may panic.
func walk(r *Response) {
	for i := range r.Columns {
		c := &r.Columns[i]
		for row := range r.Rows {
			_, _ = c.Value(row), c.Status(row).String()
		}
	}
}

// TestDecode: every type, with and without rows, as generated code reads it; its memory is the answer's own.
func TestDecode(t *testing.T) {
	for _, rows := range []int{0, 1, 2, 7, 8, 9, 63, 64, 65, 1000} {
		m := wide(rows)
		b := encoded(t, m)
		same(t, b, false)
		same(t, encoded(t, &pb.StreamFeaturesResponse{Response: m}), true)
		r, err := decode(b, false)
		if err != nil {
			t.Fatal(err)
		}
		want, err := responseOf(m)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		if diff := cmp.Diff(want, r, cmp.AllowUnexported(Column{}, Values{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%d rows share the message's memory: %s", rows, diff)
		}
	}
	same(t, nil, false)
	same(t, nil, true)
}

// TestDecodeOddly: what protobuf allows and no server of ours writes: fields again and in pieces, one number per field, in
// another order, of other kinds, unknown ones.
func TestDecodeOddly(t *testing.T) {
	tag := func(b []byte, number protowire.Number, kind protowire.Type) []byte {
		return protowire.AppendTag(b, number, kind)
	}
	bytesOf := func(b []byte, number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(tag(b, number, protowire.BytesType), value)
	}
	var vector []byte
	for i := range 3 {
		vector = protowire.AppendFixed64(tag(vector, 7, protowire.Fixed64Type), uint64(i))
	}
	vector = protowire.AppendVarint(tag(vector, 3, protowire.VarintType), 9)
	vector = bytesOf(vector, 7, protowire.AppendFixed64(nil, 3))
	vector = protowire.AppendVarint(tag(vector, 7, protowire.VarintType), 1)   // of another kind
	vector = protowire.AppendVarint(tag(vector, 100, protowire.VarintType), 1) // unknown
	vector = protowire.AppendTag(tag(vector, 101, protowire.StartGroupType), 101, protowire.EndGroupType)
	vector = protowire.AppendVarint(tag(vector, 3, protowire.VarintType), 5)
	vector = protowire.AppendVarint(tag(vector, 1, protowire.VarintType), 1<<32+3)
	more := protowire.AppendFixed64(tag(nil, 7, protowire.Fixed64Type), 4)
	column := bytesOf(bytesOf(bytesOf(nil, 2, vector), 1, []byte("first")), 2, more)
	column = bytesOf(bytesOf(bytesOf(column, 3, []byte{9}), 3, []byte{1, 2, 3, 4, 5}), 1, []byte("name"))
	other := protowire.AppendVarint(tag(nil, 1, protowire.VarintType), 3)
	other = bytesOf(protowire.AppendVarint(tag(other, 3, protowire.VarintType), 5), 7, bytes.Repeat([]byte{9}, 40))
	message := bytesOf(bytesOf(nil, 5, column), 6, nil)
	message = bytesOf(message, 5, bytesOf(bytesOf(nil, 2, other), 3, []byte{1, 1, 1, 1, 1}))
	message = protowire.AppendVarint(tag(message, 4, protowire.VarintType), 1<<32+5)
	same(t, message, false)
	if r, err := decode(message, false); err != nil || r.Columns[0].Name != "name" || r.Columns[0].Int64(4) != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	// The response in two pieces.
	half := bytesOf(bytesOf(nil, 1, message), 1, protowire.AppendVarint(tag(nil, 3, protowire.VarintType), 7))
	same(t, half, true)

	// Bools as varints of any length, in pieces.
	vector = protowire.AppendVarint(tag(nil, 1, protowire.VarintType), 1)
	vector = protowire.AppendVarint(tag(vector, 3, protowire.VarintType), 4)
	vector = bytesOf(vector, 5, []byte{0x80, 0x01, 0x00, 0x80, 0x00})
	vector = protowire.AppendVarint(tag(vector, 5, protowire.VarintType), 300)
	message = bytesOf(bytesOf(nil, 5, bytesOf(bytesOf(nil, 2, vector), 3, []byte{1, 1, 1, 1})), 6, nil)
	message = protowire.AppendVarint(tag(message, 4, protowire.VarintType), 4)
	same(t, message, false)
	if r, err := decode(message, false); err != nil || !cmp.Equal(r.Columns[0].Bools(), []bool{true, false, false, true}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestDecodeBroken: cut anywhere, or with bytes changed, a message is what generated code says.
func TestDecodeBroken(t *testing.T) {
	whole := encoded(t, wide(3))
	for i := range whole {
		same(t, whole[:i], false)
	}
	rnd := testenv.Rand(t)
	for range 1000 {
		b := bytes.Clone(whole)
		for range 1 + rnd.IntN(3) {
			b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
		}
		same(t, b, false)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, wide(2)), false)
	f.Add(encoded(f, &pb.StreamFeaturesResponse{Response: wide(1)}), true)
	f.Fuzz(func(t *testing.T, b []byte, wrapped bool) { same(t, b, wrapped) })
}

// BenchmarkDecode beside generated code.
func BenchmarkDecode(b *testing.B) {
	m := &pb.GetFeaturesResponse{ReadTime: time.Now().UnixMicro(), Rows: 100, Views: []*pb.ViewRead{{View: "view"}}}
	for i := range 50 {
		m.Columns = append(m.Columns, &pb.FeatureColumn{
			Name: "feature_of_a_view", Statuses: bytes.Repeat([]byte{1}, 100),
			Values: &pb.Vector{Type: pb.ValueType_VALUE_TYPE_FLOAT64, Length: 100, Float64S: make([]float64, 100)},
		})
		if i%2 == 0 {
			m.Columns[i].Values = &pb.Vector{Type: pb.ValueType_VALUE_TYPE_INT64, Length: 100, Int64S: make([]int64, 100)}
		}
	}
	raw := encoded(b, m)
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(raw, new(pb.GetFeaturesResponse)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decode(raw, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
