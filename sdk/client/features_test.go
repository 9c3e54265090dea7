package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/sdk/client"
)

// cells prints a column: "3 PRESENT".
func cells(c *client.Column) []string {
	out := make([]string, c.Len())
	for i := range out {
		out[i] = fmt.Sprint(c.Value(i), " ", c.Status(i))
	}
	return out
}

func check(t *testing.T, r *client.Response, column string, want ...string) {
	t.Helper()
	c := r.Column(column)
	if c == nil {
		t.Fatalf("no column %q", column)
	}
	if diff := cmp.Diff(want, cells(c)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", column, diff)
	}
}

// TestStatuses covers R3, R5, R6 and R7 as serving applies them, with each edge of ttl (6 h) at ±1 µs.
func TestStatuses(t *testing.T) {
	p, c := start(t)
	for _, r := range []struct {
		airport string
		age     time.Duration
		count   string
	}{
		{`"fresh"`, 0, "3"},
		{`"null"`, time.Hour, "null"},
		{`"alive"`, 6 * time.Hour, "4"},
		{`"expired"`, 6*time.Hour + time.Microsecond, "5"},
		{`"still expired"`, 12 * time.Hour, "6"},
		{`"gone"`, 12*time.Hour + time.Microsecond, "8"},
	} {
		p.put("airport_hourly", r.airport, noon.Add(-r.age), r.count, "null", `"x"`)
	}
	p.write(p.live["airport_hourly"].Generation, p.key("airport_hourly", `"damaged"`), []byte("not a row"))

	names := []string{"fresh", "null", "alive", "expired", "still expired", "gone", "absent", "damaged", "", "fresh"}
	r, err := c.GetFeatures(t.Context(), client.Request{
		Features:   []string{"airport_hourly:departures", "airport_hourly:note", "airport_static:runways", "world:temperature"},
		Keys:       []client.Key{client.Strings("airport", names...).Null(8)},
		EventTimes: true,
	})
	must(t, err)
	check(t, r, "departures", "3 PRESENT", "<nil> NULL", "4 PRESENT", "7 EXPIRED", "7 EXPIRED", "7 NOT_FOUND", "7 NOT_FOUND",
		"<nil> ERROR", "7 NOT_FOUND", "3 PRESENT")
	check(t, r, "note", "x PRESENT", "x PRESENT", "x PRESENT", "<nil> EXPIRED", "<nil> EXPIRED", "<nil> NOT_FOUND",
		"<nil> NOT_FOUND", "<nil> ERROR", "<nil> NOT_FOUND", "x PRESENT")
	// A view whose entity is missing, and a global one that has no row, answer for every row.
	none := slices.Repeat([]string{"<nil> NOT_FOUND"}, len(names))
	check(t, r, "runways", none...)
	check(t, r, "temperature", none...)

	want := []time.Time{
		noon, noon.Add(-time.Hour), noon.Add(-6 * time.Hour), noon.Add(-6*time.Hour - time.Microsecond), noon.Add(-12 * time.Hour),
		{},
		{},
		{},
		{},
		noon,
	}
	if diff := cmp.Diff(want, r.Views[0].EventTimes); diff != "" {
		t.Errorf("event times (-want +got):\n%s", diff)
	}
	if !r.ReadTime.Equal(noon) || r.Fixed || r.Revision != 3 || r.Rows != len(names) {
		t.Errorf("read time %v, fixed %v, revision %d, rows %d", r.ReadTime, r.Fixed, r.Revision, r.Rows)
	}
	if v := r.Views[0]; v.Name != "airport_hourly" || v.Generation != 1 || !v.T.Equal(noon) {
		t.Errorf("view %+v", v)
	}
}

// TestServiceBindings reads one view under two bindings, beside another view of the same keys and a global one.
func TestServiceBindings(t *testing.T) {
	p, c := start(t)
	p.put("airport_hourly", `"JFK"`, noon, "1", "1.5", "null")
	p.put("airport_hourly", `"SFO"`, noon, "2", "2.5", "null")
	p.put("airport_static", `"JFK"`, noon.AddDate(-30, 0, 0), "4")
	p.put("world", "", noon, "21.5")
	r, err := c.GetFeatures(t.Context(), client.Request{
		Service: "delay_model",
		Keys: []client.Key{
			client.Strings("destination", "SFO", "JFK", "JFK", "").Null(3),
			client.Strings("origin", "JFK", "SFO", "", "JFK").Null(2),
		},
	})
	must(t, err)
	var names []string
	for i := range r.Columns {
		names = append(names, r.Columns[i].Name)
	}
	wantNames := []string{
		"origin_departures", "origin_mean_delay", "origin_note", "destination_delay", "origin_runways", "temperature",
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	check(t, r, "origin_departures", "1 PRESENT", "2 PRESENT", "7 NOT_FOUND", "1 PRESENT")
	check(t, r, "origin_note", "<nil> NULL", "<nil> NULL", "<nil> NOT_FOUND", "<nil> NULL")
	check(t, r, "destination_delay", "2.5 PRESENT", "1.5 PRESENT", "1.5 PRESENT", "<nil> NOT_FOUND")
	check(t, r, "origin_runways", "4 PRESENT", "<nil> NOT_FOUND", "<nil> NOT_FOUND", "4 PRESENT")
	check(t, r, "temperature", slices.Repeat([]string{"21.5 PRESENT"}, 4)...)
	if len(r.Views) != 4 || r.Columns[3].View != 1 || r.Views[1].Name != "airport_hourly" || r.Views[1].EventTimes != nil {
		t.Errorf("views %+v", r.Views)
	}

	// A global view alone takes no keys and answers one row; no entities answer no rows.
	r, err = c.GetFeatures(t.Context(), client.Request{Features: []string{"world:temperature"}})
	must(t, err)
	check(t, r, "temperature", "21.5 PRESENT")
	r, err = c.GetFeatures(t.Context(), client.Request{
		Features: []string{"airport_static:runways", "world:temperature"}, Keys: []client.Key{client.Strings("airport")},
	})
	must(t, err)
	check(t, r, "runways", []string{}...)
}

// TestValues sends every type there and back: extremes, NaN with its bits, nulls, empty lists (R10).
func TestValues(t *testing.T) {
	p, c := start(t)
	nan64, nan32 := math.Float64frombits(0x7ff8_0000_dead_beef), math.Float32frombits(0x7fc0_beef)
	fill := func(v *columnar.Vector, k columnar.Kind) {
		switch k {
		case columnar.Bool:
			v.AppendBool(true)
			v.AppendBool(false)
		case columnar.Int32:
			v.AppendInt32(math.MinInt32)
			v.AppendInt32(math.MaxInt32)
		case columnar.Int64, columnar.Timestamp:
			v.AppendInt64(-62135596800 * 1e6)
			v.AppendInt64(253402300799999999)
		case columnar.Float32:
			v.AppendFloat32(nan32)
			v.AppendFloat32(float32(math.Inf(-1)))
		case columnar.Float64:
			v.AppendFloat64(nan64)
			v.AppendFloat64(math.Copysign(0, -1))
		default:
			v.AppendString("not\xffUTF-8\x00")
			v.AppendString("")
		}
	}
	view := p.snapshot.Views["everything"]
	for n := range 4 {
		cols := make([]*columnar.Vector, len(view.Features))
		for i, f := range view.Features {
			v := columnar.NewVector(f.Type, 1)
			switch all := columnar.NewVector(f.Type.Elem(), 2); {
			case n == 3:
				v.AppendNull()
			case f.Type.List && n == 2: // empty
				v.EndList()
			case f.Type.List:
				fill(v.Elem, f.Type.Kind)
				v.Elem.AppendNull()
				v.EndList()
			default:
				fill(all, f.Type.Kind)
				v.AppendFrom(all, n%2)
			}
			cols[i] = v
		}
		p.putVectors("everything", fmt.Sprint(n), noon, cols)
	}
	features := make([]string, len(view.Features))
	for i, f := range view.Features {
		features[i] = "everything:" + f.Name
	}
	r, err := c.GetFeatures(t.Context(), client.Request{
		Features: features, Keys: []client.Key{client.Int64s("driver", 0, 1, 2, 3, 4)},
	})
	must(t, err)
	for i, f := range view.Features {
		col := &r.Columns[i]
		if col.Type().String() != f.Type.String() {
			t.Fatalf("%s has type %s", f.Name, col.Type())
		}
		for n, want := range []client.Status{client.Present, client.Present, client.Present, client.Null, client.NotFound} {
			if col.Status(n) != want || col.IsNull(n) != (n > 2) {
				t.Errorf("%s row %d: %s, null %v", f.Name, n, col.Status(n), col.IsNull(n))
			}
		}
		values := &col.Values
		if f.Type.List {
			if l := col.List(2); l.Len() != 0 || col.IsNull(2) {
				t.Errorf("%s: an empty list has %d elements", f.Name, l.Len())
			}
			for n := range 2 {
				if values = col.List(n); values.Len() != 3 || !values.IsNull(2) || values.IsNull(1) {
					t.Fatalf("%s row %d: %v", f.Name, n, col.Value(n))
				}
			}
		}
		checkPair(t, f.Name, values, nan32, nan64)
	}
}

// checkPair checks the two values that TestValues writes.
func checkPair(t *testing.T, name string, v *client.Values, nan32 float32, nan64 float64) {
	t.Helper()
	ok := false
	switch v.Type().Kind {
	case client.Bool:
		ok = v.Bool(0) && !v.Bool(1)
	case client.Int32:
		ok = v.Int32(0) == math.MinInt32 && v.Int32(1) == math.MaxInt32
	case client.Int64:
		ok = v.Int64(0) == -62135596800*1e6 && v.Int64(1) == 253402300799999999
	case client.Timestamp:
		ok = v.Time(0).Equal(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)) &&
			v.Time(1).Equal(time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC))
	case client.Float32:
		ok = math.Float32bits(v.Float32(0)) == math.Float32bits(nan32) && math.IsInf(float64(v.Float32(1)), -1)
	case client.Float64:
		ok = math.Float64bits(v.Float64(0)) == math.Float64bits(nan64) && v.Float64(1) == 0 && math.Signbit(v.Float64(1))
	case client.String:
		ok = v.Text(0) == "not\xffUTF-8\x00" && v.Text(1) == "" && string(v.Bytes(0)) == v.Text(0)
	case client.Bytes:
		ok = string(v.Bytes(0)) == "not\xffUTF-8\x00" && bytes.Equal(v.Bytes(1), nil)
	}
	if !ok {
		t.Errorf("%s: %v, %v", name, v.Value(0), v.Value(1))
	}
}

// TestReadTime: a clock behind T moves to T; a fixed time, the server's or the request's, does not.
func TestReadTime(t *testing.T) {
	p, c := start(t)
	p.put("airport_static", `"JFK"`, noon, "4")
	req := client.Request{Features: []string{"airport_static:runways"}, Keys: []client.Key{client.Strings("airport", "JFK")}}
	p.options.Now = func() time.Time { return noon.Add(-time.Second) }
	p.serve()
	r, err := c.GetFeatures(t.Context(), req)
	must(t, err)
	check(t, r, "runways", "4 PRESENT")
	if !r.ReadTime.Equal(noon) || r.Fixed {
		t.Errorf("read time %v, fixed %v", r.ReadTime, r.Fixed)
	}

	req.ReadTime = noon.Add(time.Hour)
	r, err = c.GetFeatures(t.Context(), req)
	must(t, err)
	if !r.ReadTime.Equal(req.ReadTime) || !r.Fixed {
		t.Errorf("read time %v, fixed %v", r.ReadTime, r.Fixed)
	}
	req.ReadTime = time.Time{}

	p.options.Fixed = true
	p.serve()
	_, err = c.GetFeatures(t.Context(), req)
	if e := asError(t, err); e.Code != client.CodePrecondition || !strings.Contains(e.Message, "2026-05-04T12:00:00Z") {
		t.Errorf("%+v", e)
	}
	p.options.Now = func() time.Time { return noon }
	p.serve()
	r, err = c.GetFeatures(t.Context(), req)
	must(t, err)
	if !r.Fixed {
		t.Error("a fixed read time is not said")
	}
}

// TestLayouts serves a generation whose layout has other fields, in another order, than the definition has now.
func TestLayouts(t *testing.T) {
	p, c := start(t)
	f64, i64 := columnar.Type{Kind: columnar.Float64}, columnar.Type{Kind: columnar.Int64}
	fields := []row.Field{{Name: "dropped", Type: f64}, {Name: "mean_delay", Type: f64}, {Name: "departures", Type: i64}}
	l := p.live["airport_hourly"]
	l.Fields = fields
	p.live["airport_hourly"] = l
	p.serve()
	stored := row.NewLayout(fields).AppendRow(nil, noon.UnixMicro(), row.NoCreated,
		[]*columnar.Vector{parse(t, f64, "9"), parse(t, f64, "1.5"), parse(t, i64, "3")}, 0)
	p.write(l.Generation, p.key("airport_hourly", `"JFK"`), stored)
	req := client.Request{
		Features: []string{"airport_hourly:departures", "airport_hourly:mean_delay"},
		Keys:     []client.Key{client.Strings("airport", "JFK")},
	}
	r, err := c.GetFeatures(t.Context(), req)
	must(t, err)
	check(t, r, "departures", "3 PRESENT")
	check(t, r, "mean_delay", "1.5 PRESENT")
}

func asError(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *client.Error", err)
	}
	return e
}

// noKinds is the part of a test's lookups that JSON alone needs.
type noKinds struct{}

func (noKinds) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) { return nil, nil }

// panicking panics where a lookup would be.
type panicking struct{ noKinds }

func (panicking) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	var none []int
	return nil, fmt.Errorf("secret %d", none[3])
}

// failing returns an error without a class.
type failing struct {
	noKinds
	err error
}

func (f failing) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	return nil, f.err
}

// TestHidden: a panic or an unknown error is INTERNAL, told without detail, logged in full, and stops nothing.
func TestHidden(t *testing.T) {
	for name, l := range map[string]rpc.Lookups{"index out of range": panicking{}, "hunter2": failing{err: errors.New("hunter2")}} {
		var log bytes.Buffer
		c := dial(t, rpc.Services{Lookups: l}, &log)
		for range 2 {
			_, err := c.GetFeatures(t.Context(), client.Request{Service: "x"})
			e := asError(t, err)
			_, reference, _ := strings.Cut(e.Message, "reference ")
			if e.Code != client.CodeInternal || strings.Contains(e.Message, name) || reference == "" {
				t.Errorf("%+v", e)
			}
			if !strings.Contains(log.String(), reference) || !strings.Contains(log.String(), name) {
				t.Errorf("the log lacks %s or %q: %s", reference, name, log.String())
			}
		}
	}
}

// TestCanceled: ends of the caller's context are told apart, from both sides.
func TestCanceled(t *testing.T) {
	_, c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := client.Request{Features: []string{"world:temperature"}}
	if _, err := c.GetFeatures(ctx, req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := c.GetFeatures(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c = dial(t, rpc.Services{Lookups: failing{err: fmt.Errorf("read: %w", context.DeadlineExceeded)}}, io.Discard)
	if _, err := c.GetFeatures(t.Context(), req); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
