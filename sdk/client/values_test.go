package client

import (
	"errors"
	"testing"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// TestMalformed: an answer that contradicts itself is an error here, not a panic in an accessor later.
func TestMalformed(t *testing.T) {
	good := func() *pb.GetFeaturesResponse {
		return &pb.GetFeaturesResponse{
			Rows: 2,
			Columns: []*pb.FeatureColumn{
				{Name: "a", Statuses: []byte{1, 1}, Values: &pb.Vector{
					Type: pb.ValueType_VALUE_TYPE_STRING, Length: 2, Offsets: []uint32{0, 1, 2}, Data: []byte("xy"), Validity: []byte{3},
				}},
				{Name: "b", Statuses: []byte{1, 1}, Values: &pb.Vector{
					Type: pb.ValueType_VALUE_TYPE_INT64, List: true, Length: 2, Offsets: []uint32{0, 0, 1},
					Elements: &pb.Vector{Type: pb.ValueType_VALUE_TYPE_INT64, Length: 1, Int64S: []int64{7}},
				}},
			},
			Views: []*pb.ViewRead{{View: "v", EventTimes: []int64{1, 2}}},
		}
	}
	if _, err := decode(encoded(t, good()), false); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*pb.GetFeaturesResponse){
		"no values":         func(m *pb.GetFeaturesResponse) { m.Columns[0].Values = nil },
		"no type":           func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Type = 0 },
		"unknown type":      func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Type = 77 },
		"type past a byte":  func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Type = 256 + 6 },
		"no offsets":        func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Offsets = nil },
		"offset too large":  func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Offsets[2] = 3 },
		"offsets backwards": func(m *pb.GetFeaturesResponse) { m.Columns[0].Values.Offsets[0] = 2 },
		"short validity":    func(m *pb.GetFeaturesResponse) { m.Rows, m.Columns[0].Values.Length = 9, 9 },
		"few statuses":      func(m *pb.GetFeaturesResponse) { m.Columns[0].Statuses = []byte{1} },
		"few values":        func(m *pb.GetFeaturesResponse) { m.Rows = 3 },
		"no such view":      func(m *pb.GetFeaturesResponse) { m.Columns[0].View = 1 },
		"few event times":   func(m *pb.GetFeaturesResponse) { m.Views[0].EventTimes = []int64{1} },
		"no elements":       func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Elements = nil },
		"few elements":      func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Elements.Length = 2 },
		"list offset":       func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Offsets[2] = 2 },
		"other elements":    func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Elements.Type = pb.ValueType_VALUE_TYPE_BOOL },
		"elements deeper":   func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Elements.Elements = &pb.Vector{} },
		"list of lists":     func(m *pb.GetFeaturesResponse) { m.Columns[1].Values.Elements.List = true },
	} {
		m := good()
		spoil(m)
		_, err := decode(encoded(t, m), false)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInternal {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := responseOf(m); err == nil {
			t.Errorf("%s: taken by the plain version", name)
		}
	}
}
