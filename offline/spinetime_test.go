package offline

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// Each spine time is one from which the row at noon is seen, or a microsecond short of it (R1: rounding never shows the
// future).
func TestSpineTimes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values *columnar.Vector
		opts   SpineOptions
		want   []int64 // departures: 3 before noon, null (-1) from then on
	}{
		{"timestamps", vec(timeType, noon-1, noon), SpineOptions{}, []int64{3, -1}},
		{"text", vec(stringType, "2001-01-01T11:59:59.999999Z", "2001-01-01T12:00:00Z", "2001-01-01T12:00:00+00:00"), SpineOptions{}, []int64{3, -1, -1}},
		{"text in nanoseconds rounds down", vec(stringType, "2001-01-01T11:59:59.999999999Z", "2001-01-01 13:00:00.000000999+01:00"), SpineOptions{}, []int64{3, -1}},
		{"text in lower case", vec(stringType, "2001-01-01t12:00:00z"), SpineOptions{}, []int64{-1}},
		{"seconds", vec(int64Type, noon/1e6-1, noon/1e6), SpineOptions{Unit: "s"}, []int64{3, -1}},
		{"milliseconds", vec(int64Type, noon/1e3-1, noon/1e3), SpineOptions{Unit: "ms"}, []int64{3, -1}},
		{"microseconds", vec(int64Type, noon-1, noon), SpineOptions{Unit: "us"}, []int64{3, -1}},
		{"nanoseconds round down", vec(int64Type, noon*1000-1, noon*1000, noon*1000+999), SpineOptions{Unit: "ns"}, []int64{3, -1, -1}},
		{"seconds in an int32", vec(int32Type, int32(noon/1e6-1), int32(noon/1e6)), SpineOptions{Unit: "s"}, []int64{3, -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			airports := columnar.NewVector(stringType, 0)
			for range tt.want {
				airports.AppendString("JFK")
			}
			writeFile(t, w.path("spine.parquet"), 100, field{"when", tt.values}, field{"airport", airports})
			req := w.request("one", w.path("spine.parquet"))
			req.SpineOptions = tt.opts
			req.Time = "when"
			w.export(t, req)
			wantDepartures(t, req.Out, tt.want)
			wantColumn(t, req.Out, "when", tt.values)
		})
	}
}

// wantDepartures takes -1 for a null.
func wantDepartures(t *testing.T, path string, want []int64) {
	t.Helper()
	v := columnar.NewVector(int64Type, 0)
	for _, x := range want {
		if x < 0 {
			v.AppendNull()
		} else {
			v.AppendInt64(x)
		}
	}
	wantColumn(t, path, "departures", v)
}

func TestSpineTimestampUnitsAndDates(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	day := noon / (24 * hour)
	for _, tt := range []struct {
		name   string
		node   pq.Node
		values []pq.Value
		opts   SpineOptions
		want   []int64
	}{
		{
			"nanoseconds round down", pq.Timestamp(pq.Nanosecond),
			[]pq.Value{pq.Int64Value(noon*1000 - 1), pq.Int64Value(noon*1000 + 999)},
			SpineOptions{},
			[]int64{3, -1},
		},
		{
			"milliseconds", pq.Timestamp(pq.Millisecond),
			[]pq.Value{pq.Int64Value(noon/1000 - 1), pq.Int64Value(noon / 1000)},
			SpineOptions{},
			[]int64{3, -1},
		},
		{
			"naive in a zone", pq.TimestampAdjusted(pq.Microsecond, false),
			[]pq.Value{pq.Int64Value(noon - 5*hour - 1), pq.Int64Value(noon - 5*hour)},
			SpineOptions{Location: newYork},
			[]int64{3, -1},
		},
		{
			"date at its start", pq.Date(),
			[]pq.Value{pq.Int32Value(int32(day)), pq.Int32Value(int32(day + 1))},
			SpineOptions{At: registry.AtStart},
			[]int64{5, 0},
		},
		{
			"date at its end", pq.Date(),
			[]pq.Value{pq.Int32Value(int32(day - 1)), pq.Int32Value(int32(day))},
			SpineOptions{At: registry.AtEnd},
			[]int64{5, 0},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			// Of Denver there is one row, at the midnight that the day begins with: the end of the day before.
			airport := "JFK"
			if tt.opts.At != "" {
				airport = "DEN"
			}
			writeFile(t, w.path("hourly/b.parquet"), 1,
				field{"airport", vec(stringType, "DEN")}, field{"hour", vec(timeType, day*24*hour)},
				field{"departures", vec(int64Type, 5)}, field{"delay", vec(floatType, 1.0)},
				field{"tags", vec(listType, nil)}, field{"note", vec(stringType, nil)},
			)
			var out bytes.Buffer
			writer := pq.NewGenericWriter[any](&out, pq.NewSchema("spine", pq.Group{"when": tt.node, "airport": pq.String()}))
			for _, v := range tt.values {
				row := pq.Row{pq.ByteArrayValue([]byte(airport)).Level(0, 0, 0), v.Level(0, 0, 1)}
				if _, err := writer.WriteRows([]pq.Row{row}); err != nil {
					t.Fatal(err)
				}
			}
			if err := writer.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.path("spine.parquet"), out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			req := w.request("one", w.path("spine.parquet"))
			req.SpineOptions = tt.opts
			req.Time = "when"
			w.export(t, req)
			wantDepartures(t, req.Out, tt.want)
		})
	}
	t.Run("a date needs --time-at", func(t *testing.T) {
		w := newWorld(t)
		req := w.request("one", "testdata/types_v1.parquet")
		req.Time = "date"
		if _, err := Export(context.Background(), req); err == nil {
			t.Error("no error")
		}
	})
}

func TestSpineTimeBounds(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"0001-01-01T00:00:00Z", true},
		{"9999-12-31T23:59:59.999999999Z", true},
		{"0001-01-01T00:00:00+00:01", false},
		{"9999-12-31T23:59:59-00:01", false},
		{"0000-12-31T00:00:00Z", false},
		{"0000-12-31T23:59:59-00:01", true},
		{"2001-02-29T00:00:00Z", false},
		{"2001-01-01", false}, // without --time-at
		{"", false},
	} {
		c := spineClock{local: parquet.NewClock(nil), where: func(int) string { return "" }}
		at, err := parseCivil([]byte(tt.text))
		if err == nil {
			_, err = c.instant(at, 0)
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
	for _, tt := range []struct {
		x    int64
		unit string
		want int64
		ok   bool
	}{
		{-1, "ns", -1, true},
		{-1000, "ns", -1, true},
		{-1001, "ns", -2, true},
		{row.MinTime / 1_000_000, "s", row.MinTime, true},
		{row.MinTime/1_000_000 - 1, "s", 0, false},
		{row.MaxTime / 1000, "ms", row.MaxTime / 1000 * 1000, true},
		{row.MaxTime/1000 + 1, "ms", 0, false},
		{row.MaxTime, "us", row.MaxTime, true},
		{row.MaxTime + 1, "us", 0, false},
		{-1 << 63, "s", 0, false},
		{1<<63 - 1, "ms", 0, false},
	} {
		if got, ok := scale(tt.x, tt.unit); ok != tt.ok || got != tt.want {
			t.Errorf("%d %s: %d %t, want %d %t", tt.x, tt.unit, got, ok, tt.want, tt.ok)
		}
	}
}
