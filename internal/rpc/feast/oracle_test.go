package feast

import (
	"encoding/base64"
	"math"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/feast/serving"
	types "github.com/provender-dev/provender/proto/feast/types"
	"github.com/provender-dev/provender/registry"
)

// slowResponse is the answer to a request, a message per value.
func slowResponse(names []string, keys []*types.RepeatedValue, a *serving.Answer) *pb.GetOnlineFeaturesResponse {
	m := &pb.GetOnlineFeaturesResponse{Metadata: &pb.GetOnlineFeaturesResponseMetadata{FeatureNames: &pb.FeatureList{}}}
	m.Metadata.FeatureNames.Val = append(append([]string{}, names...), a.Names...)
	for _, k := range keys {
		column := &pb.GetOnlineFeaturesResponse_FeatureVector{Values: k.Val}
		for range a.Rows {
			column.Statuses = append(column.Statuses, pb.FieldStatus_PRESENT)
			column.EventTimestamps = append(column.EventTimestamps, &timestamppb.Timestamp{})
		}
		m.Results = append(m.Results, column)
	}
	for i, v := range a.Columns {
		column := &pb.GetOnlineFeaturesResponse_FeatureVector{}
		for row := range a.Rows {
			status := map[columnar.Status]pb.FieldStatus{
				columnar.Present: pb.FieldStatus_PRESENT, columnar.Null: pb.FieldStatus_NULL_VALUE,
				columnar.Expired: pb.FieldStatus_OUTSIDE_MAX_AGE, columnar.NotFound: pb.FieldStatus_NOT_FOUND,
				columnar.Error: pb.FieldStatus_INVALID,
			}[a.Status[i][row]]
			value, ok := slowValue(v, row)
			if !ok {
				value, status = &types.Value{}, pb.FieldStatus_INVALID
			}
			t := time.UnixMicro(a.Views[a.Outputs[i].Read].Events[row])
			if a.Views[a.Outputs[i].Read].Events[row] == math.MinInt64 {
				t = time.UnixMicro(0)
			}
			column.Values, column.Statuses = append(column.Values, value), append(column.Statuses, status)
			column.EventTimestamps = append(column.EventTimestamps, timestamppb.New(t))
		}
		m.Results = append(m.Results, column)
	}
	return m
}

// slowValue returns a value as a message, or false for one that there is no message for.
func slowValue(v *columnar.Vector, i int) (*types.Value, bool) {
	if v.IsNull(i) {
		return &types.Value{}, true
	}
	if v.Type.List {
		return slowList(v.Elem, int(v.Offsets[i]), int(v.Offsets[i+1]))
	}
	switch v.Type.Kind {
	case columnar.Bool:
		return &types.Value{Val: &types.Value_BoolVal{BoolVal: v.Bools[i]}}, true
	case columnar.Int32:
		return &types.Value{Val: &types.Value_Int32Val{Int32Val: v.Int32s[i]}}, true
	case columnar.Int64:
		return &types.Value{Val: &types.Value_Int64Val{Int64Val: v.Int64s[i]}}, true
	case columnar.Float32:
		return &types.Value{Val: &types.Value_FloatVal{FloatVal: v.Float32s[i]}}, true
	case columnar.Float64:
		return &types.Value{Val: &types.Value_DoubleVal{DoubleVal: v.Float64s[i]}}, true
	case columnar.String:
		s := string(v.BytesAt(i))
		return &types.Value{Val: &types.Value_StringVal{StringVal: s}}, utf8.ValidString(s)
	case columnar.Bytes:
		return &types.Value{Val: &types.Value_BytesVal{BytesVal: v.BytesAt(i)}}, true
	default:
		return &types.Value{Val: &types.Value_UnixTimestampVal{UnixTimestampVal: time.UnixMicro(v.Int64s[i]).Unix()}}, true
	}
}

func slowList(v *columnar.Vector, from, to int) (*types.Value, bool) {
	var bools []bool
	var int32s []int32
	var int64s, seconds []int64
	var float32s []float32
	var float64s []float64
	var strings []string
	var bytes [][]byte
	for i := from; i < to; i++ {
		x, ok := slowValue(v, i)
		if !ok || v.IsNull(i) {
			return nil, false
		}
		switch v.Type.Kind {
		case columnar.Bool:
			bools = append(bools, x.GetBoolVal())
		case columnar.Int32:
			int32s = append(int32s, x.GetInt32Val())
		case columnar.Int64:
			int64s = append(int64s, x.GetInt64Val())
		case columnar.Float32:
			float32s = append(float32s, x.GetFloatVal())
		case columnar.Float64:
			float64s = append(float64s, x.GetDoubleVal())
		case columnar.String:
			strings = append(strings, x.GetStringVal())
		case columnar.Bytes:
			bytes = append(bytes, x.GetBytesVal())
		default:
			seconds = append(seconds, x.GetUnixTimestampVal())
		}
	}
	switch v.Type.Kind {
	case columnar.Bool:
		return &types.Value{Val: &types.Value_BoolListVal{BoolListVal: &types.BoolList{Val: bools}}}, true
	case columnar.Int32:
		return &types.Value{Val: &types.Value_Int32ListVal{Int32ListVal: &types.Int32List{Val: int32s}}}, true
	case columnar.Int64:
		return &types.Value{Val: &types.Value_Int64ListVal{Int64ListVal: &types.Int64List{Val: int64s}}}, true
	case columnar.Float32:
		return &types.Value{Val: &types.Value_FloatListVal{FloatListVal: &types.FloatList{Val: float32s}}}, true
	case columnar.Float64:
		return &types.Value{Val: &types.Value_DoubleListVal{DoubleListVal: &types.DoubleList{Val: float64s}}}, true
	case columnar.String:
		return &types.Value{Val: &types.Value_StringListVal{StringListVal: &types.StringList{Val: strings}}}, true
	case columnar.Bytes:
		return &types.Value{Val: &types.Value_BytesListVal{BytesListVal: &types.BytesList{Val: bytes}}}, true
	default:
		return &types.Value{Val: &types.Value_UnixTimestampListVal{UnixTimestampListVal: &types.Int64List{Val: seconds}}}, true
	}
}

// slowJSON is a value as JSON decodes it, with numbers as text. Infinities are strings, as is NaN.
func slowJSON(v *types.Value) any {
	number := func(f float64) any {
		switch {
		case math.IsNaN(f):
			return "NaN"
		case math.IsInf(f, 1):
			return "Infinity"
		case math.IsInf(f, -1):
			return "-Infinity"
		}
		return f
	}
	switch x := v.GetVal().(type) {
	case *types.Value_BoolVal:
		return x.BoolVal
	case *types.Value_Int32Val:
		return int64(x.Int32Val)
	case *types.Value_Int64Val:
		return x.Int64Val
	case *types.Value_UnixTimestampVal:
		return x.UnixTimestampVal
	case *types.Value_FloatVal:
		return number(float64(x.FloatVal))
	case *types.Value_DoubleVal:
		return number(x.DoubleVal)
	case *types.Value_StringVal:
		return x.StringVal
	case *types.Value_BytesVal:
		return base64.StdEncoding.EncodeToString(x.BytesVal)
	case *types.Value_BoolListVal:
		return each(x.BoolListVal.Val, func(b bool) any { return b })
	case *types.Value_Int32ListVal:
		return each(x.Int32ListVal.Val, func(n int32) any { return int64(n) })
	case *types.Value_Int64ListVal:
		return each(x.Int64ListVal.Val, func(n int64) any { return n })
	case *types.Value_UnixTimestampListVal:
		return each(x.UnixTimestampListVal.Val, func(n int64) any { return n })
	case *types.Value_FloatListVal:
		return each(x.FloatListVal.Val, func(f float32) any { return number(float64(f)) })
	case *types.Value_DoubleListVal:
		return each(x.DoubleListVal.Val, number)
	case *types.Value_StringListVal:
		return each(x.StringListVal.Val, func(s string) any { return s })
	case *types.Value_BytesListVal:
		return each(x.BytesListVal.Val, func(b []byte) any { return base64.StdEncoding.EncodeToString(b) })
	}
	return nil
}

func each[T any](list []T, f func(T) any) any {
	out := make([]any, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

// allTypes are the types that a feature may have.
var allTypes = func() []columnar.Type {
	var all []columnar.Type
	for k := columnar.Bool; k <= columnar.Timestamp; k++ {
		all = append(all, columnar.Type{Kind: k}, columnar.Type{Kind: k, List: true})
	}
	return all
}()

// randomAnswer returns an answer of some rows with columns of any type, of two views.
func randomAnswer(rnd *rand.Rand, rows int) *serving.Answer {
	a := &serving.Answer{Rows: rows, Views: []serving.ViewAnswer{{View: "v"}, {View: "w"}}}
	for i := range a.Views {
		for range rows {
			event := rnd.Int64N(1<<52) - 1<<51
			switch rnd.IntN(5) {
			case 0:
				event = math.MinInt64
			case 1:
				event -= event % 1e6
			case 2:
				event -= event % 1e3
			}
			a.Views[i].Events = append(a.Views[i].Events, event)
		}
	}
	for range rnd.IntN(6) {
		v := columnar.NewVector(allTypes[rnd.IntN(len(allTypes))], rows)
		var status []columnar.Status
		nulls := rnd.IntN(3)
		for range rows {
			s := columnar.Present + columnar.Status(rnd.IntN(5)*rnd.IntN(2))
			if nulls == 0 {
				s = columnar.Present
			}
			if s == columnar.Present || (s == columnar.Expired || s == columnar.NotFound) && rnd.IntN(2) == 0 {
				appendRandom(rnd, v, v.Type.List)
			} else {
				v.AppendNull()
			}
			status = append(status, s)
		}
		a.Names = append(a.Names, randomText(rnd))
		a.Columns, a.Status = append(a.Columns, v), append(a.Status, status)
		a.Outputs = append(a.Outputs, registry.Output{Read: rnd.IntN(2)})
	}
	return a
}

func appendRandom(rnd *rand.Rand, v *columnar.Vector, list bool) {
	if list {
		for range rnd.IntN(4) {
			if rnd.IntN(20) == 0 {
				v.Elem.AppendNull()
			} else {
				appendRandom(rnd, v.Elem, false)
			}
		}
		v.EndList()
		return
	}
	x := int64(rnd.Uint64()) >> rnd.IntN(64)
	f := []float64{0, math.Copysign(0, -1), 1, math.NaN(), math.Inf(1), math.Inf(-1), rnd.NormFloat64(), 1e300 * rnd.Float64()}[rnd.IntN(8)]
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(x&1 == 0)
	case columnar.Int32:
		v.AppendInt32(int32(x))
	case columnar.Int64:
		v.AppendInt64(x)
	case columnar.Float32:
		v.AppendFloat32(float32(f))
	case columnar.Float64:
		v.AppendFloat64(f)
	case columnar.Timestamp:
		v.AppendInt64(x >> 8)
	default:
		v.AppendString(randomText(rnd))
		if rnd.IntN(20) == 0 {
			v.Data[len(v.Data)-1] |= 0x80 // not UTF-8 in most cases
		}
	}
}

func randomText(rnd *rand.Rand) string {
	text := []rune("a")
	for range rnd.IntN(3) * rnd.IntN(80) {
		text = append(text, []rune("aé\"\\\n\u2028😀\x00")[rnd.IntN(8)])
	}
	return string(text)
}
