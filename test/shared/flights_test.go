//go:build shared

package shared

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/examples/flights"
)

// rawFlight is a row of flights-3m.parquet.
type rawFlight struct {
	Date        int64  `parquet:"date,timestamp(microsecond)"`
	Delay       int64  `parquet:"delay"`
	Origin      string `parquet:"origin"`
	Destination string `parquet:"destination"`
}

func (f rawFlight) departed() time.Time { return time.UnixMicro(f.Date).UTC() }

// known is when the delay is known for certain: not before the flight left, nor before the delay has passed.
func (f rawFlight) known() time.Time {
	return f.departed().Add(time.Duration(max(0, f.Delay)) * time.Minute)
}

// facts is what a reader of the raw file, standing at one instant, can say of the hour or day that ends then.
type facts struct {
	departures int64
	delays     []int64
}

func (f *facts) mean() (float64, bool) {
	var sum int64
	for _, d := range f.delays {
		sum += d
	}
	return float64(sum) / float64(len(f.delays)), len(f.delays) > 0
}

func (f *facts) late() float64 {
	n := 0
	for _, d := range f.delays {
		if d > 15 {
			n++
		}
	}
	return float64(n) / float64(len(f.delays))
}

// TestFlightsDoNotLeak recomputes every shipped row from the raw flights, with what was known at the row's event time.
func TestFlightsDoNotLeak(t *testing.T) {
	raw := readAll[rawFlight](t, filepath.Join(sharedData, "flights-3m.parquet"))
	hours, days := map[string]*facts{}, map[string]*facts{}
	at := func(m map[string]*facts, key string) *facts {
		if m[key] == nil {
			m[key] = &facts{}
		}
		return m[key]
	}
	hourKey := func(airport string, end time.Time) string { return fmt.Sprint(airport, " ", end.Unix()) }
	dayKey := func(f rawFlight, end time.Time) string {
		return fmt.Sprint(f.Origin, ">", f.Destination, " ", end.Format(time.DateOnly))
	}
	for _, f := range raw {
		// The end of an hour is after all that happened in it: an event at 10:00 belongs to the hour that ends at 11:00.
		at(hours, hourKey(f.Origin, f.departed().Truncate(time.Hour).Add(time.Hour))).departures++
		at(days, dayKey(f, f.departed().Truncate(24*time.Hour).AddDate(0, 0, 1))).departures++
		h := at(hours, hourKey(f.Origin, f.known().Truncate(time.Hour).Add(time.Hour)))
		h.delays = append(h.delays, f.Delay)
		d := at(days, dayKey(f, f.known().Truncate(24*time.Hour).AddDate(0, 0, 1)))
		d.delays = append(d.delays, f.Delay)
	}
	data := filepath.Join("..", "..", "examples", "flights", "data")
	rows := 0
	for _, r := range readTree[flights.AirportHour](t, filepath.Join(data, "airport_hourly")) {
		rows++
		want := hours[hourKey(r.IATA, time.UnixMicro(r.Hour))]
		if want == nil {
			t.Fatalf("airport_hourly %+v: no flight of the raw data is behind it", r)
		}
		mean, known := want.mean()
		if r.Departures != want.departures || (r.AvgDelay != nil) != known || (r.ShareLate != nil) != known ||
			known && (*r.AvgDelay != mean || *r.ShareLate != want.late()) {
			t.Fatalf("airport_hourly %+v: the raw data known at the hour's end says %+v", r, *want)
		}
	}
	if rows < 100_000 {
		t.Errorf("only %d rows of airport_hourly", rows)
	}
	rows = 0
	for _, r := range readTree[flights.RouteDay](t, filepath.Join(data, "route_daily")) {
		rows++
		end := time.Unix(int64(r.Day)*86400, 0).UTC().AddDate(0, 0, 1)
		want := days[dayKey(rawFlight{Origin: r.Origin, Destination: r.Destination}, end)]
		if want == nil {
			t.Fatalf("route_daily %+v: no flight of the raw data is behind it", r)
		}
		mean, known := want.mean()
		if r.Flights != want.departures || (r.MeanDelay != nil) != known || known && math.Abs(*r.MeanDelay-mean) > 0 {
			t.Fatalf("route_daily %+v: the raw data known at the day's end says %+v", r, *want)
		}
		if len(r.Delays) != min(10, len(want.delays)) {
			t.Fatalf("route_daily %+v: %d delays were known", r, len(want.delays))
		}
		for _, d := range r.Delays {
			if !slices.Contains(want.delays, int64(d)) {
				t.Fatalf("route_daily %+v: delay %d was not known: %v", r, d, want.delays)
			}
		}
	}
	if rows < 100_000 {
		t.Errorf("only %d rows of route_daily", rows)
	}
}

func readAll[T any](t *testing.T, path string) []T {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[T](path)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return rows
}

func readTree[T any](t *testing.T, dir string) (rows []T) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rows = append(rows, readAll[T](t, path)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
