package rpc

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/rpc/wire"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// plain is the answer as generated code has it: what the encoding by hand must mean.
func plain(a *serving.Answer) *pb.GetFeaturesResponse {
	m := &pb.GetFeaturesResponse{ReadTime: a.ReadTime, FixedReadTime: a.Fixed, Revision: a.Revision, Rows: uint32(a.Rows)}
	for i, v := range a.Columns {
		c := &pb.FeatureColumn{Name: a.Names[i], View: uint32(a.Outputs[i].Read), Values: plainVector(v)}
		for _, s := range a.Status[i] {
			c.Statuses = append(c.Statuses, byte(s))
		}
		m.Columns = append(m.Columns, c)
	}
	for _, v := range a.Views {
		m.Views = append(m.Views, &pb.ViewRead{View: v.View, Generation: uint64(v.Generation), T: v.T, EventTimes: v.Events})
	}
	return m
}

func plainVector(v *columnar.Vector) *pb.Vector {
	m := &pb.Vector{
		Type: pb.ValueType(v.Type.Kind), List: v.Type.List, Length: uint32(v.Len()), Validity: v.Valid,
		Bools: v.Bools, Int32S: v.Int32s, Int64S: v.Int64s, Float32S: v.Float32s, Float64S: v.Float64s,
		Offsets: v.Offsets, Data: v.Data,
	}
	if v.Elem != nil {
		m.Elements = plainVector(v.Elem)
	}
	return m
}

// TestAnswerEncoding: what is encoded by hand is, byte for byte, what generated code makes of it.
func TestAnswerEncoding(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, rows := range []int{0, 1, 7, 8, 9, 100, 1000} {
		a := randomAnswer(rnd, rows)
		m := features{a}
		got := m.Append(nil)
		if len(got) != m.Size() {
			t.Errorf("%d rows: %d bytes, announced %d", rows, len(got), m.Size())
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(plain(a))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			var back pb.GetFeaturesResponse
			if err := proto.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			t.Errorf("%d rows: %s", rows, cmp.Diff(plain(a), &back, protocmp.Transform()))
		}
	}
}

// asMessage is a decoded request as generated code has it.
func asMessage(r *featuresRequest) *pb.GetFeaturesRequest {
	m := &pb.GetFeaturesRequest{Service: r.request.Service, Features: r.request.Features, EventTimes: r.request.Events}
	if !r.request.ReadTime.IsZero() {
		at := r.request.ReadTime.UnixMicro()
		m.ReadTime = &at
	}
	for _, k := range r.keys {
		c := &pb.KeyColumn{Name: k.name, Int64S: k.int64s, Nulls: k.nulls}
		for i := range max(len(k.offsets), 1) - 1 {
			c.Strings = append(c.Strings, string(k.data[k.offsets[i]:k.offsets[i+1]]))
		}
		m.Keys = append(m.Keys, c)
	}
	return m
}

// FuzzRequest: whatever the bytes, the decoder by hand and generated code agree, on what is refused too, and nothing of an
// earlier request shows.
func FuzzRequest(f *testing.F) {
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC).UnixMicro()
	for _, m := range []*pb.GetFeaturesRequest{
		{},
		{Service: "s", EventTimes: true, ReadTime: &at, Keys: []*pb.KeyColumn{
			{Name: "a", Int64S: []int64{1, -2, math.MaxInt64}, Nulls: []bool{false, true, false}}, {Name: "b", Strings: []string{"", "JFK", "é"}},
		}},
		{Features: []string{"v:a", "", "v:b"}, Keys: []*pb.KeyColumn{{}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x1a\x0b\x11\x01\x02\x03\x04\x05\x06\x07\x08\x20\x01")) // not packed
	f.Add([]byte("\x0a\x01s\x0a\x01t\x32\x02xx\x0a\x01\xff"))
	r := new(featuresRequest)
	f.Fuzz(func(t *testing.T, b []byte) {
		var want pb.GetFeaturesRequest
		refused := proto.Unmarshal(b, &want)
		err := r.Decode(b)
		if (err == nil) != (refused == nil) {
			t.Fatalf("by hand: %v; generated: %v", err, refused)
		}
		if err != nil {
			return
		}
		want.ProtoReflect().SetUnknown(nil)
		for _, k := range want.Keys {
			k.ProtoReflect().SetUnknown(nil)
		}
		if want.ReadTime != nil && time.UnixMicro(*want.ReadTime).IsZero() {
			want.ReadTime = nil
		}
		if diff := cmp.Diff(&want, asMessage(r), protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
		_, _ = r.lookup() // must not panic
	})
}

// answering returns one answer again and again.
type answering struct{ *serving.Answer }

func (a answering) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	return a.Answer, nil
}

func (a answering) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) {
	return nil, nil
}

// TestAllocations: what a call allocates depends neither on the number of features nor on that of entities.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		return // the race detector empties pools at random
	}
	var allocations []float64
	for _, n := range []int{1, 200} {
		rnd := rand.New(rand.NewPCG(1, 0))
		a := randomAnswer(rnd, n)
		for range n {
			a.Names, a.Columns = append(a.Names, "f"), append(a.Columns, a.Columns[0])
			a.Status, a.Outputs = append(a.Status, a.Status[0]), append(a.Outputs, a.Outputs[0])
		}
		service := &onlineService{answering{a}, admission.New(admission.Options{})}
		m := &pb.GetFeaturesRequest{Service: "s", Keys: []*pb.KeyColumn{{Name: "a"}}}
		for i := range n {
			m.Keys[0].Strings = append(m.Keys[0].Strings, fmt.Sprint(i))
		}
		req, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		in, codec, message := new(featuresRequest), wire.Codec(), mem.BufferSlice{mem.SliceBuffer(req)}
		allocations = append(allocations, testing.AllocsPerRun(200, func() {
			if err := codec.Unmarshal(message, &in.received); err != nil {
				t.Fatal(err)
			}
			r, err := service.getFeatures(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := codec.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			encoded.Free()
		}))
	}
	if allocations[1] > allocations[0]+2 {
		t.Errorf("%v allocations for 1 and 200 features", allocations)
	}
}
