package feast

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	pb "github.com/provender-dev/provender/proto/feast/serving"
	types "github.com/provender-dev/provender/proto/feast/types"
)

// FuzzRequest: what is accepted is what the generated code reads; what the generated code writes of a request that can be
// asked is accepted.
func FuzzRequest(f *testing.F) {
	rnd := testenv.Rand(f)
	for range 20 {
		m, _ := randomRequest(rnd, rnd.IntN(4))
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	double, err := proto.Marshal(&pb.GetOnlineFeaturesRequest{
		Entities:       map[string]*types.RepeatedValue{"k": {Val: []*types.Value{{Val: &types.Value_DoubleVal{DoubleVal: 1}}}}},
		RequestContext: map[string]*types.RepeatedValue{"k": {}}, IncludeFeatureViewVersionMetadata: true,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(double)
	in := new(request) // as pooled: one request's memory is the next one's
	f.Fuzz(func(t *testing.T, raw []byte) { checkDecode(t, in, raw) })
}

// TestDamagedRequests decodes requests with bytes changed, removed and added.
func TestDamagedRequests(t *testing.T) {
	rnd := testenv.Rand(t)
	rounds := 20_000
	if testenv.Long() {
		rounds = 1_000_000
	}
	in := new(request)
	accepted := 0
	for range rounds {
		m, _ := randomRequest(rnd, rnd.IntN(4))
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for range rnd.IntN(4) {
			at := rnd.IntN(len(raw) + 1)
			switch rnd.IntN(4) {
			case 0:
				raw = raw[:at]
			case 1:
				raw = slices.Insert(raw, at, byte(rnd.IntN(256)))
			case 2:
				raw = slices.Insert(raw, at, raw[at:]...)
			default:
				if at < len(raw) {
					raw[at] ^= 1 << rnd.IntN(8)
				}
			}
		}
		if checkDecode(t, in, raw); in.err == nil {
			accepted++
		}
	}
	if accepted < rounds/10 || accepted > rounds*9/10 {
		t.Errorf("%d of %d requests were accepted", accepted, rounds)
	}
}

// checkDecode decodes bytes and compares with what the generated code makes of them.
func checkDecode(t *testing.T, in *request, raw []byte) {
	t.Helper()
	var m pb.GetOnlineFeaturesRequest
	wellFormed := proto.Unmarshal(raw, &m) == nil
	if err := in.Decode(raw); err != nil {
		t.Fatal(err)
	}
	if in.err == nil {
		if wellFormed {
			checkRequest(t, in, &m)
		} else if !hasContext(raw) { // which is passed over unread
			t.Fatalf("%x is accepted: %v", raw, &in.lookup)
		}
		return
	}
	if !wellFormed || !askable(&m) {
		return
	}
	again, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Decode(again); err != nil || in.err != nil {
		t.Fatalf("%v: %v", &m, in.err)
	}
	checkRequest(t, in, &m)
}

// hasContext reports whether a request has a request_context.
func hasContext(raw []byte) bool {
	for len(raw) > 0 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			return false
		}
		if number == 5 {
			return true
		}
		raw = raw[n:]
	}
	return false
}

// TestStrict: what no encoder writes is refused.
func TestStrict(t *testing.T) {
	column := func(value ...byte) []byte { // of the key k
		list := protowire.AppendBytes([]byte{tagVal}, value)
		entry := protowire.AppendBytes([]byte{0x0a, 1, 'k', 0x12}, list)
		return protowire.AppendBytes([]byte{0x1a}, entry)
	}
	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{column(tagInt64, 1, tagInt64, 1), "the request has at entities.k[0] a value of several kinds"},
		{column(tagInt64, 1, tagString, 1, 'x'), "the request has at entities.k[0] a value of several kinds"},
		{column(tagString, 1, 0xff), "the request has at entities.k[0] a string that is not UTF-8"},
		{column(tagInt64), "the request has at entities.k[0] bytes that are no GetOnlineFeaturesRequest"},
		{column(0xa2, 0x01, 0), "the request has at entities.k[0] a value that is of kind 20; a join key is an integer or a string"},
		{[]byte{0x1a, 6, 0x0a, 1, 'k', 0x0a, 1, 'k'}, "the request has at entities bytes that are no GetOnlineFeaturesRequest"},
		{[]byte{0x1a, 4, 0x12, 0, 0x12, 0}, "the request has at entities bytes that are no GetOnlineFeaturesRequest"},
		{[]byte{0x0a, 1, 0xff}, "the request has at feature_service a name that is not UTF-8"},
		{[]byte{0x12, 3, 0x0a, 1, 0xff}, "the request has at features a name that is not UTF-8"},
		{bytes.Repeat([]byte{0x1a, 0}, maxColumns+1), "the request has at entities more than 1000 members"},
		{[]byte{0x0a}, "the request has bytes that are no GetOnlineFeaturesRequest"},
	} {
		in := new(request)
		if err := in.Decode(c.raw); err != nil {
			t.Fatal(err)
		}
		if in.err == nil || in.err.Error() != c.want {
			t.Errorf("%x: %v, want %s", c.raw, in.err, c.want)
		}
	}
}

// askable reports whether every column of keys is of integers or of strings.
func askable(m *pb.GetOnlineFeaturesRequest) bool {
	for _, column := range m.Entities {
		ints, strings := false, false
		for _, v := range column.GetVal() {
			if len(v.ProtoReflect().GetUnknown()) > 0 {
				return false
			}
			switch v.GetVal().(type) {
			case nil, *types.Value_NullVal:
			case *types.Value_Int32Val, *types.Value_Int64Val:
				ints = true
			case *types.Value_StringVal:
				strings = true
			default:
				return false
			}
		}
		if ints && strings || len(column.ProtoReflect().GetUnknown()) > 0 {
			return false
		}
	}
	return true
}

// checkRequest compares a request with the message that the generated code read.
func checkRequest(t *testing.T, r *request, m *pb.GetOnlineFeaturesRequest) {
	t.Helper()
	asked := r.lookup
	if asked.Service != m.GetFeatureService() || !slices.Equal(asked.Features, m.GetFeatures().GetVal()) || asked.FullNames != m.FullFeatureNames {
		t.Fatalf("%+v, want %v", asked, m)
	}
	if len(asked.Keys) != len(asked.KeyNames) {
		t.Fatalf("%d columns, %d names", len(asked.Keys), len(asked.KeyNames))
	}
	if slices.Sort(asked.KeyNames); len(slices.Compact(slices.Clone(asked.KeyNames))) != len(asked.KeyNames) {
		return // a name that comes twice: the lookup refuses it
	}
	if len(asked.KeyNames) != len(m.Entities) {
		t.Fatalf("columns %q, want %v", asked.KeyNames, m)
	}
	for i := range r.entityNames {
		name := r.text[r.entityNames[i].start:r.entityNames[i].end]
		column := m.Entities[name]
		if column == nil && asked.Keys[i].Len() > 0 {
			t.Fatalf("column %q, want %v", name, m)
		}
		var echo types.RepeatedValue
		if err := proto.Unmarshal(r.keys[i].wire, &echo); err != nil {
			t.Fatal(err)
		}
		if len(column.GetVal()) > 0 && !proto.Equal(&echo, column) {
			t.Fatalf("%q answers %v, want %v", name, &echo, column)
		}
		if got, want := vectorText(asked.Keys[i]), vectorText(slowKeys(column.GetVal())); got != want {
			t.Fatalf("%q is %s, want %s", name, got, want)
		}
	}
}

// slowKeys is a column of keys as a vector, value by value.
func slowKeys(values []*types.Value) *columnar.Vector {
	kind := columnar.Int64
	for _, v := range values {
		if _, ok := v.GetVal().(*types.Value_StringVal); ok {
			kind = columnar.String
		}
	}
	out := columnar.NewVector(columnar.Type{Kind: kind}, len(values))
	for _, v := range values {
		switch x := v.GetVal().(type) {
		case *types.Value_Int32Val:
			out.AppendInt64(int64(x.Int32Val))
		case *types.Value_Int64Val:
			out.AppendInt64(x.Int64Val)
		case *types.Value_StringVal:
			out.AppendString(x.StringVal)
		default:
			out.AppendNull()
		}
	}
	return out
}
