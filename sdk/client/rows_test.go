package client

import (
	"bytes"
	"database/sql"
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// answered returns a message as a client has it.
func answered(t testing.TB, m *pb.GetFeaturesResponse) *Response {
	t.Helper()
	r, err := decode(encoded(t, m), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// column is a column of a message: of floats or of integers, the nulls by their rows.
func column(name string, values any, statuses []Status, nulls ...int) *pb.FeatureColumn {
	v := &pb.Vector{}
	switch x := values.(type) {
	case []float64:
		v.Type, v.Float64S = pb.ValueType_VALUE_TYPE_FLOAT64, x
	case []float32:
		v.Type, v.Float32S = pb.ValueType_VALUE_TYPE_FLOAT32, x
	case []int64:
		v.Type, v.Int64S = pb.ValueType_VALUE_TYPE_INT64, x
	case []int32:
		v.Type, v.Int32S = pb.ValueType_VALUE_TYPE_INT32, x
	}
	n := reflect.ValueOf(values).Len()
	v.Length = uint32(n)
	if len(nulls) > 0 {
		v.Validity = bytes.Repeat([]byte{0xff}, (n+7)/8)
		for _, i := range nulls {
			v.Validity[i>>3] &^= 1 << (i & 7)
		}
	}
	c := &pb.FeatureColumn{Name: name, Values: v}
	for _, s := range statuses {
		c.Statuses = append(c.Statuses, byte(s))
	}
	return c
}

// delays is an answer of three rows, of which the second is absent and the third has an expired mean.
func delays(t testing.TB) *Response {
	t.Helper()
	m := &pb.GetFeaturesResponse{
		Rows: 3,
		Views: []*pb.ViewRead{
			{View: "hourly", EventTimes: []int64{1, math.MinInt64, 3}},
			{View: "twice", EventTimes: []int64{4, 5, 6}},
			{View: "twice", EventTimes: []int64{7, 8, 9}},
		},
		Columns: []*pb.FeatureColumn{
			column("origin_departures", []int64{31, 7, 2}, []Status{Present, NotFound, Present}),
			column("origin_mean_delay", []float64{12.5, 0, 0}, []Status{Present, NotFound, Expired}, 1, 2),
			column("distance", []int32{-5, math.MaxInt32, 0}, []Status{Present, Present, Present}),
			column("share", []float32{0.1, float32(math.Inf(1)), 0}, []Status{Present, Present, Present}),
		},
	}
	m.Columns[2].View, m.Columns[3].View = 1, 2
	return answered(t, m)
}

// minutes is a type of somebody's own.
type minutes float64

type airport struct {
	Departures int64             `provender:"departures"`
	Mean       *minutes          `provender:"mean_delay"`
	Again      sql.Null[float64] `provender:"mean_delay"`
	Zero       float64           `provender:"mean_delay,zero"`
	Status     Status            `provender:"mean_delay,status"`
}

type common struct {
	Seen time.Time `provender:"hourly,event_time"`
}

type flight struct {
	common
	ID       string    // the caller's own
	Origin   airport   `provender:"origin_,prefix"`
	Count    int       `provender:"origin_departures"`
	Distance int64     `provender:"distance"`
	Short    int32     `provender:"distance"`
	Share    float64   `provender:"share"`
	Exact    float32   `provender:"share"`
	AtFirst  time.Time `provender:"distance,event_time"`
	AtSecond time.Time `provender:"share,event_time"`
	Ignored  chan int  `provender:"-"`
}

func ptr[T any](x T) *T { return &x }

// TestRows: values, widened where that loses nothing, nulls, statuses and times go where the tags say.
func TestRows(t *testing.T) {
	want := []flight{
		{
			common: common{microsTime(1)}, Count: 31, Distance: -5, Short: -5, Share: float64(float32(0.1)), Exact: 0.1,
			Origin:  airport{31, ptr(minutes(12.5)), sql.Null[float64]{V: 12.5, Valid: true}, 12.5, Present},
			AtFirst: microsTime(4), AtSecond: microsTime(7),
		},
		{
			Count: 7, Distance: math.MaxInt32, Short: math.MaxInt32, Share: math.Inf(1), Exact: float32(math.Inf(1)),
			Origin: airport{Departures: 7, Status: NotFound}, AtFirst: microsTime(5), AtSecond: microsTime(8),
		},
		{
			common: common{microsTime(3)}, Count: 2, Origin: airport{Departures: 2, Status: Expired},
			AtFirst: microsTime(6), AtSecond: microsTime(9),
		},
	}
	compare := func(got []flight) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(flight{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	for range 2 { // the second by the plan that the first has made
		rows, err := Rows[flight](delays(t))
		if err != nil {
			t.Fatal(err)
		}
		compare(rows)
	}
	d, err := NewDecoder[flight]()
	if err != nil {
		t.Fatal(err)
	}
	// Memory that had other rows.
	rows := make([]flight, 5)
	for i := range rows {
		rows[i] = flight{ID: "old", Origin: airport{Mean: ptr(minutes(9)), Again: sql.Null[float64]{V: 9, Valid: true}}}
	}
	all, err := d.AppendRows(rows[:1], delays(t))
	if err != nil || &all[0] != &rows[0] || all[0].ID != "old" {
		t.Fatalf("%v, %v", all, err)
	}
	compare(all[1:])
	none := &pb.GetFeaturesResponse{Views: []*pb.ViewRead{{View: "hourly"}, {View: "twice"}, {View: "twice"}}}
	for i, name := range []string{"origin_departures", "origin_mean_delay", "distance", "share"} {
		none.Columns = append(none.Columns, column(name, []any{[]int64{}, []float64{}, []int32{}, []float32{}}[i], nil))
	}
	if all, err = d.AppendRows(all, answered(t, none)); err != nil || len(all) != 4 {
		t.Errorf("no rows: %d, %v", len(all), err)
	}
}

// TestRowsOfEveryType goes through every kind, single and in lists, as itself, by pointer and by sql.Null.
func TestRowsOfEveryType(t *testing.T) {
	const n = 20
	r := answered(t, wide(n))
	// The first value of each eight, and the sixth, is null: wide says so.
	type all struct {
		Bool    bool         `provender:"bool,zero"`
		Int32   int32        `provender:"int32,zero"`
		Int64   int64        `provender:"int64,zero"`
		Float32 float32      `provender:"float32,zero"`
		Float64 float64      `provender:"float64,zero"`
		String  string       `provender:"string,zero"`
		Bytes   []byte       `provender:"bytes"`
		Time    time.Time    `provender:"timestamp,zero"`
		Bools   []*bool      `provender:"bool_list"`
		Int32s  []*int32     `provender:"int32_list"`
		Wide    []*int64     `provender:"int32_list"`
		Int64s  []*int       `provender:"int64_list"`
		Singles []*float32   `provender:"float32_list"`
		Doubles []*float64   `provender:"float64_list"`
		Strings []*string    `provender:"string_list"`
		Data    [][]byte     `provender:"bytes_list"`
		Times   []*time.Time `provender:"timestamp_list"`
	}
	type other struct {
		Bool    *bool                 `provender:"bool"`
		Int32   sql.Null[int64]       `provender:"int32"`
		Int64   sql.Null[int]         `provender:"int64"`
		Float32 sql.Null[float64]     `provender:"float32"`
		Float64 sql.Null[float64]     `provender:"float64"`
		String  *string               `provender:"string"`
		Bytes   *[]byte               `provender:"bytes"`
		Time    sql.Null[time.Time]   `provender:"timestamp"`
		Bools   []sql.Null[bool]      `provender:"bool_list"`
		Int64s  []int64               `provender:"int64_list,zero"`
		Strings []sql.Null[string]    `provender:"string_list"`
		Times   []sql.Null[time.Time] `provender:"timestamp_list"`
	}
	rows, err := Rows[all](r)
	if err != nil {
		t.Fatal(err)
	}
	others, err := Rows[other](r)
	if err != nil {
		t.Fatal(err)
	}
	value := func(p any) any { // as Values.Value has it
		v := reflect.ValueOf(p)
		switch {
		case v.Kind() == reflect.Pointer && v.IsNil() || v.Kind() == reflect.Slice && v.IsNil():
			return nil
		case v.Kind() == reflect.Pointer:
			return v.Elem().Interface()
		case v.Kind() == reflect.Struct && v.NumField() == 2 && v.Type().Field(1).Name == "Valid":
			if !v.Field(1).Bool() {
				return nil
			}
			return v.Field(0).Interface()
		}
		return p
	}
	list := func(p any) any {
		v := reflect.ValueOf(p)
		out := make([]any, v.Len())
		for i := range out {
			out[i] = value(v.Index(i).Interface())
		}
		return out
	}
	check := func(row int, name string, got any) {
		t.Helper()
		want := r.Column(name).Value(row)
		if w, ok := want.(int32); ok && reflect.TypeOf(got) == reflect.TypeFor[int64]() {
			want = int64(w)
		}
		if w, ok := want.(int64); ok && reflect.TypeOf(got) == reflect.TypeFor[int]() {
			want = int(w)
		}
		if w, ok := want.(float32); ok && reflect.TypeOf(got) == reflect.TypeFor[float64]() {
			want = float64(w)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("row %d of %s (-want +got):\n%s", row, name, diff)
		}
	}
	for i := range n {
		x, y := rows[i], others[i]
		for name, got := range map[string]any{
			"bool": x.Bool, "int32": x.Int32, "int64": x.Int64, "float32": x.Float32, "float64": x.Float64, "string": x.String,
			"timestamp": x.Time,
		} {
			if r.Column(name).IsNull(i) {
				if !reflect.ValueOf(got).IsZero() && name != "bool" && r.Column(name).Type().Kind == Timestamp {
					t.Errorf("row %d of %s is null and became %v", i, name, got)
				}
				continue
			}
			check(i, name, got)
		}
		check(i, "bytes", value(x.Bytes))
		for name, got := range map[string]any{
			"bool_list": x.Bools, "int32_list": x.Int32s, "float32_list": x.Singles, "float64_list": x.Doubles,
			"string_list": x.Strings, "bytes_list": x.Data, "timestamp_list": x.Times,
		} {
			check(i, name, list(got))
		}
		for name, got := range map[string]any{
			"bool": y.Bool, "int32": y.Int32, "int64": y.Int64, "float32": y.Float32, "float64": y.Float64, "string": y.String,
			"bytes": y.Bytes, "timestamp": y.Time,
		} {
			check(i, name, value(got))
		}
		for name, got := range map[string]any{"bool_list": y.Bools, "string_list": y.Strings, "timestamp_list": y.Times} {
			check(i, name, list(got))
		}
		for k, got := range x.Wide {
			if want := x.Int32s[k]; (got == nil) != (want == nil) || got != nil && *got != int64(*want) {
				t.Errorf("row %d: int32 %v became %v", i, want, got)
			}
		}
		for k, got := range x.Int64s {
			if got != nil && int64(*got) != y.Int64s[k] {
				t.Errorf("row %d: int64 %v became %v", i, y.Int64s[k], *got)
			}
		}
	}
	// What is in slices is the caller's.
	others[1].Int64s[1] = 9
	if r.Column("int64_list").Elements().Int64(3) == 9 {
		t.Error("a list shares the response's memory")
	}
	rows[1].Bytes[0], *rows[1].Doubles[1] = 'X', 9
	if r.Column("bytes").Bytes(1)[0] == 'X' || r.Column("float64_list").Elements().Float64(3) == 9 {
		t.Error("a row shares the response's memory")
	}
}

// TestRowsOfLists: an empty list is not a null one.
func TestRowsOfLists(t *testing.T) {
	m := &pb.GetFeaturesResponse{Rows: 3, Views: []*pb.ViewRead{{View: "v"}}, Columns: []*pb.FeatureColumn{{
		Name: "list", Statuses: []byte{1, 2, 1}, Values: &pb.Vector{
			Type: pb.ValueType_VALUE_TYPE_INT64, List: true, Length: 3, Validity: []byte{0b101}, Offsets: []uint32{0, 0, 0, 2},
			Elements: &pb.Vector{Type: pb.ValueType_VALUE_TYPE_INT64, Length: 2, Int64S: []int64{1, 2}},
		},
	}}}
	type row struct {
		List []int64 `provender:"list"`
	}
	rows, err := Rows[row](answered(t, m))
	if diff := cmp.Diff([]row{{[]int64{}}, {nil}, {[]int64{1, 2}}}, rows); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	m.Columns[0].Values.Elements.Validity = []byte{0b01}
	_, err = Rows[row](answered(t, m))
	checkUnfit(t, err, "row.List", "list of row 2 has a null (PRESENT), and row.List is []int64 (let the field be null ([]*int64 or []sql.Null[int64]), "+
		"give the feature a default, or tag it `provender:\"list,zero\"`)")
	m.Columns[0].Values.Elements = &pb.Vector{Type: pb.ValueType_VALUE_TYPE_INT64}
	m.Columns[0].Values.Offsets[3] = 0
	if rows, err = Rows[row](answered(t, m)); err != nil || rows[0].List == nil || rows[1].List != nil || rows[2].List == nil {
		t.Errorf("empty lists: %#v, %v", rows, err)
	}
}

func checkUnfit(t *testing.T, err error, field, message string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeInvalid || e.Field != field || e.Message != message {
		t.Errorf("field %s: %s\ngot: %+v", field, message, err)
	}
}

// TestRowsUnfit: what does not fit is told by field, before any row is made, and a null never becomes a zero unasked.
func TestRowsUnfit(t *testing.T) {
	type inner struct {
		Share float32 `provender:"share"`
	}
	rows := func(_ any, err error) error { return err }
	for _, test := range []struct {
		err            error
		field, message string
	}{
		{rows(Rows[int](delays(t))), "int", "rows are structs, and int is none"},
		{rows(Rows[struct{ A int }](delays(t))), "", "no field of struct { A int } has a tag (tag fields `provender:\"COLUMN\"`)"},
		{
			rows(Rows[struct {
				A int `provender:"distanse"`
			}](delays(t))), "struct.A", `the answer has no column "distanse", which struct.A takes (did you mean "distance"?)`,
		},
		{
			rows(Rows[struct {
				A Status `provender:"nothing,status"`
			}](delays(t))), "struct.A", `the answer has no column "nothing", which struct.A takes`,
		},
		{
			rows(Rows[struct {
				a int `provender:"distance"`
			}](delays(t))), "struct.a", "struct.a is tagged and can't be set (its name must begin with a capital letter)",
		},
		{
			rows(Rows[struct {
				A int `provender:",zero"`
			}](delays(t))), "struct.A", "the tag of struct.A names no column",
		},
		{
			rows(Rows[struct {
				A int `provender:"distance,zeros"`
			}](delays(t))), "struct.A", `the tag of struct.A has an unknown option "zeros" (did you mean "zero"?)`,
		},
		{
			rows(Rows[struct {
				A int `provender:"distance,status"`
			}](delays(t))), "struct.A", "struct.A is int (a status goes into client.Status)",
		},
		{
			rows(Rows[struct {
				A int64 `provender:"hourly,event_time"`
			}](delays(t))), "struct.A", "struct.A is int64 (an event time goes into time.Time, zero for none)",
		},
		{
			rows(Rows[struct {
				A time.Time `provender:"hurly,event_time"`
			}](delays(t))), "struct.A", `the answer has no view "hurly", which struct.A takes the event time of (did you mean "hourly"?)`,
		},
		{
			rows(Rows[struct {
				A time.Time `provender:"twice,event_time"`
			}](delays(t))), "struct.A", "view twice is read more than once (name a column in place of the view)",
		},
		{
			rows(Rows[struct {
				A int `provender:"x,prefix"`
			}](delays(t))), "struct.A", "the prefix of struct.A is for a struct, and it is int",
		},
		{rows(Rows[struct{ *inner }](delays(t))), "struct.inner", "struct.inner is embedded by a pointer, through which nothing can be set (embed the struct itself)"},
		{
			rows(Rows[struct {
				A float64 `provender:"distance"`
			}](delays(t))), "struct.A", "struct.A is float64, and the column distance int32 (it goes into int32, int64, int, *int32, sql.Null[int32])",
		},
		{
			rows(Rows[struct {
				A int32 `provender:"origin_departures"`
			}](delays(t))), "struct.A", "struct.A is int32, and the column origin_departures int64 (it goes into int64, int, *int64, sql.Null[int64])",
		},
		{
			rows(Rows[struct {
				A []float64 `provender:"share"`
			}](delays(t))), "struct.A", "struct.A is []float64, and the column share float32 (it goes into float32, float64, *float32, sql.Null[float32])",
		},
		{
			rows(Rows[struct {
				A float64 `provender:"origin_mean_delay"`
			}](delays(t))), "struct.A", "origin_mean_delay of row 1 is null (NOT_FOUND), and struct.A is float64 (let the field be null " +
				"(*float64 or sql.Null[float64]), give the feature a default, or tag it `provender:\"origin_mean_delay,zero\"`)",
		},
	} {
		checkUnfit(t, test.err, test.field, test.message)
	}
	unasked := &pb.GetFeaturesResponse{Rows: 1, Views: []*pb.ViewRead{{View: "v"}}}
	_, err := Rows[struct {
		A time.Time `provender:"v,event_time"`
	}](answered(t, unasked))
	checkUnfit(t, err, "struct.A", "the answer has no event times, which struct.A takes (set EventTimes in the request)")
	// Every kind has its types in the message.
	for kind := Bool; kind <= Timestamp; kind++ {
		if strings.Contains(goTypes(Type{Kind: kind, List: true}), "[][]sql") || goNames[kind] == "" {
			t.Error(goTypes(Type{Kind: kind, List: true}))
		}
	}
}

// TestDecoderFollowsColumns: one decoder for answers whose columns change, in many goroutines.
func TestDecoderFollowsColumns(t *testing.T) {
	type row struct {
		A float64 `provender:"a"`
		B int64   `provender:"b"`
	}
	d, err := NewDecoder[row]()
	if err != nil {
		t.Fatal(err)
	}
	view, present := []*pb.ViewRead{{View: "v"}}, []Status{Present}
	a, b := column("a", []float64{1}, present), column("b", []int64{2}, present)
	answers := []*Response{
		answered(t, &pb.GetFeaturesResponse{Rows: 1, Views: view, Columns: []*pb.FeatureColumn{a, b}}),
		answered(t, &pb.GetFeaturesResponse{Rows: 1, Views: view, Columns: []*pb.FeatureColumn{b, a}}),
		answered(t, &pb.GetFeaturesResponse{Rows: 1, Views: view, Columns: []*pb.FeatureColumn{column("c", []int32{3}, present), a, b}}),
	}
	wrong := answered(t, &pb.GetFeaturesResponse{Rows: 1, Views: view, Columns: []*pb.FeatureColumn{a, column("b", []float64{2}, present)}})
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 300 {
				rows, err := d.Rows(answers[(worker+i)%len(answers)])
				if err != nil || len(rows) != 1 || rows[0] != (row{1, 2}) {
					t.Errorf("%v, %v", rows, err)
					return
				}
				if _, err := d.Rows(wrong); err == nil {
					t.Error("a float64 in an int64")
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkRows beside the same with reflection for each value.
func BenchmarkRows(b *testing.B) {
	m := &pb.GetFeaturesResponse{Rows: 100, Views: []*pb.ViewRead{{View: "view"}}}
	statuses := make([]Status, 100)
	for i := range statuses {
		statuses[i] = Present
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		m.Columns = append(m.Columns, column(name, make([]float64, 100), statuses))
	}
	type row struct {
		A float64 `provender:"a"`
		B float64 `provender:"b"`
		C float64 `provender:"c"`
		D float64 `provender:"d"`
		E float64 `provender:"e"`
	}
	r := answered(b, m)
	b.Run("rows", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Rows[row](r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			rows := make([]row, r.Rows)
			v := reflect.ValueOf(rows)
			for i := range rows {
				for k := range r.Columns {
					v.Index(i).Field(k).SetFloat(r.Columns[k].Float64(i))
				}
			}
		}
	})
}
