// Derive makes the example's Parquet files from raw flights (date, delay, distance, origin, destination).
//
//	go run ./examples/flights/derive -raw flights-3m.parquet -out examples/flights/data -from 2001-05-07 -to 2001-07-01
//
// Nothing leaks from the future: an hour's row holds at the hour's end, a day's at the day's end, and a flight's delay
// counts only in the hour and the day in which it became known, at departure + delay (at departure when early).
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/provender-dev/provender/examples/flights"
)

const (
	minute = int64(60e6) // microseconds
	hour   = 60 * minute
	day    = 24 * hour
	// loadDelay is how long after the end of an hour or a day its row was written.
	loadDelay = 5 * minute
	// lateMinutes is the delay over which a flight counts as late.
	lateMinutes = 15
	// maxDelays bounds a route's list of delays.
	maxDelays = 10
)

type raw struct {
	Date        int64  `parquet:"date,timestamp(microsecond)"`
	Delay       int64  `parquet:"delay"`
	Distance    int64  `parquet:"distance"`
	Origin      string `parquet:"origin"`
	Destination string `parquet:"destination"`
}

// knownAt is when the flight's delay is known for certain.
func (f *raw) knownAt() int64 { return f.Date + max(f.Delay, 0)*minute }

func main() {
	in := flag.String("raw", "", "Parquet file of raw flights")
	out := flag.String("out", "data", "folder to write")
	from := flag.String("from", "2001-01-01", "first day")
	to := flag.String("to", "2001-07-01", "first day no more")
	spine := flag.Int("spine", 30000, "rows of the spine")
	flag.Parse()
	if err := run(*in, *out, *from, *to, *spine); err != nil {
		fmt.Fprintln(os.Stderr, "derive:", err)
		os.Exit(1)
	}
}

func run(in, out, from, to string, spineRows int) error {
	lo, err := time.Parse(time.DateOnly, from)
	if err != nil {
		return err
	}
	hi, err := time.Parse(time.DateOnly, to)
	if err != nil {
		return err
	}
	rows, err := read(in)
	if err != nil {
		return err
	}
	window := span{lo.UnixMicro(), hi.UnixMicro()}
	if err := writeWeeks(filepath.Join(out, "airport_hourly"), airportHours(rows, window),
		func(r *flights.AirportHour) int64 { return r.Hour - 1 }); err != nil {
		return err
	}
	if err := writeWeeks(filepath.Join(out, "route_daily"), routeDays(rows, window),
		func(r *flights.RouteDay) int64 { return int64(r.Day) * day }); err != nil {
		return err
	}
	return write(filepath.Join(out, "flights.parquet"), sample(rows, window, spineRows))
}

// read returns the raw flights by the order in which their delays became known.
func read(path string) ([]raw, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := parquet.NewGenericReader[raw](f)
	defer r.Close()
	rows := make([]raw, r.NumRows())
	if n, err := r.Read(rows); n != len(rows) || (err != nil && !errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("read %s: %d of %d rows: %w", path, n, len(rows), err)
	}
	slices.SortStableFunc(rows, func(a, b raw) int { return cmp.Compare(a.knownAt(), b.knownAt()) })
	return rows, nil
}

// span is the instants from lo on and before hi.
type span struct{ lo, hi int64 }

func (s span) contains(t int64) bool { return t >= s.lo && t < s.hi }

// delays gathers the delays that became known in one hour or day.
type delays struct {
	sum         int64
	known, late int64
}

func (d *delays) add(delay int64) {
	d.sum += delay
	d.known++
	if delay > lateMinutes {
		d.late++
	}
}

// per returns x for each known delay, nil where none is known.
func (d *delays) per(x int64) *float64 {
	if d.known == 0 {
		return nil
	}
	v := float64(x) / float64(d.known)
	return &v
}

func airportHours(rows []raw, window span) []flights.AirportHour {
	type key struct {
		airport string
		hour    int64 // its start
	}
	type cell struct {
		departures int64
		delays
	}
	cells := map[key]*cell{}
	at := func(airport string, t int64) *cell {
		k := key{airport, t - t%hour}
		if cells[k] == nil {
			cells[k] = &cell{}
		}
		return cells[k]
	}
	for i := range rows {
		f := &rows[i]
		if window.contains(f.Date) {
			at(f.Origin, f.Date).departures++
		}
		if known := f.knownAt(); window.contains(known) {
			at(f.Origin, known).add(f.Delay)
		}
	}
	out := make([]flights.AirportHour, 0, len(cells))
	for k, c := range cells {
		out = append(out, flights.AirportHour{
			IATA: k.airport, Hour: k.hour + hour, LoadedAt: k.hour + hour + loadDelay,
			Departures: c.departures, AvgDelay: c.per(c.sum), ShareLate: c.per(c.late),
		})
	}
	slices.SortFunc(out, func(a, b flights.AirportHour) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.IATA, b.IATA))
	})
	return out
}

var partsOfDay = [...]string{"night", "morning", "afternoon", "evening"}

func routeDays(rows []raw, window span) []flights.RouteDay {
	type key struct {
		origin, destination string
		day                 int64
	}
	type cell struct {
		flights  int64
		distance int64
		parts    [len(partsOfDay)]int
		list     []int32
		delays
	}
	cells := map[key]*cell{}
	at := func(f *raw, t int64) *cell {
		k := key{f.Origin, f.Destination, t / day}
		if cells[k] == nil {
			cells[k] = &cell{distance: f.Distance, list: []int32{}}
		}
		return cells[k]
	}
	for i := range rows {
		f := &rows[i]
		if window.contains(f.Date) {
			c := at(f, f.Date)
			c.flights++
			c.parts[f.Date%day/(6*hour)]++
		}
		if known := f.knownAt(); window.contains(known) {
			c := at(f, known)
			c.add(f.Delay)
			c.list = append(c.list, int32(f.Delay))
			c.list = c.list[max(0, len(c.list)-maxDelays):]
		}
	}
	out := make([]flights.RouteDay, 0, len(cells))
	for k, c := range cells {
		busiest := 0
		for p, n := range c.parts {
			if n > c.parts[busiest] {
				busiest = p
			}
		}
		out = append(out, flights.RouteDay{
			Origin: k.origin, Destination: k.destination, Day: int32(k.day), LoadedAt: (k.day+1)*day + loadDelay,
			Flights: c.flights, Distance: int32(c.distance), MeanDelay: c.per(c.sum), Delays: c.list,
			BusiestPart: partsOfDay[busiest],
		})
	}
	slices.SortFunc(out, func(a, b flights.RouteDay) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Destination, b.Destination))
	})
	return out
}

// sample takes n flights spread evenly over the window, by departure.
func sample(rows []raw, window span, n int) []flights.Flight {
	all := make([]flights.Flight, 0, len(rows))
	for i := range rows {
		if f := &rows[i]; window.contains(f.Date) {
			all = append(all, flights.Flight{
				Origin: f.Origin, Destination: f.Destination, Departs: f.Date, Distance: f.Distance, Delay: f.Delay,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b flights.Flight) int {
		return cmp.Or(cmp.Compare(a.Departs, b.Departs), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Destination, b.Destination))
	})
	if n >= len(all) {
		return all
	}
	out := make([]flights.Flight, n)
	for i := range out {
		out[i] = all[i*len(all)/n]
	}
	return out
}

// writeWeeks writes one file per week, in hive folders named by the week's Monday.
func writeWeeks[T any](dir string, rows []T, at func(*T) int64) error {
	for len(rows) > 0 {
		week := flights.WeekOf(at(&rows[0]))
		n := 1
		for n < len(rows) && flights.WeekOf(at(&rows[n])) == week {
			n++
		}
		name := time.UnixMicro(week).UTC().Format(time.DateOnly)
		if err := write(filepath.Join(dir, "week="+name, "part-0.parquet"), rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func write[T any](path string, rows []T) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return parquet.WriteFile(path, rows, parquet.Compression(&zstd.Codec{Level: zstd.SpeedBestCompression}))
}
