package offline

import (
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// spineClock reads a spine's time column by R1: what is finer than a microsecond rounds down.
type spineClock struct {
	path   string
	name   string
	unit   string // for integers
	column parquet.Column
}

// timeColumn says how to read the time column, or which option it still needs.
func timeColumn(path string, opts SpineOptions, infos []parquet.ColumnInfo) (spineClock, error) {
	c := spineClock{path: path, name: opts.Time, unit: opts.Unit}
	info, err := findColumn(path, opts.Time, "time", infos)
	if err != nil {
		return c, err
	}
	c.column = parquet.Column{
		Name: opts.Time, Type: info.Type, Location: opts.Location, At: opts.At,
		Round: parquet.RoundDown, Ambiguous: registry.AmbiguousError,
	}
	switch {
	case info.Date:
		if opts.At == "" {
			return c, c.wrong("is a DATE, and a day is not an instant", "say --time-at start or --time-at end")
		}
		c.column.Type = columnar.Type{Kind: columnar.Timestamp}
	case info.Type == columnar.Type{Kind: columnar.Timestamp}, info.Type == columnar.Type{Kind: columnar.String}:
	case info.Type == columnar.Type{Kind: columnar.Int32}, info.Type == columnar.Type{Kind: columnar.Int64}:
		c.column.Type = columnar.Type{Kind: columnar.Int64}
		if _, known := unitMicros[c.unit]; !known && c.unit != "ns" {
			if c.unit == "" {
				return c, c.wrong("is an integer", "say its unit: --time-unit s, ms, us or ns")
			}
			return c, c.wrong(fmt.Sprintf("can't be read in unit %q", c.unit), "use s, ms, us or ns")
		}
	default:
		return c, c.wrong("is "+info.Physical, "a spine's time is a timestamp, an RFC 3339 text, an integer or a DATE")
	}
	return c, nil
}

func (c *spineClock) wrong(what, fix string) error {
	return &problem.Error{
		Code: problem.Invalid, Message: fmt.Sprintf("spine %s: time column %s %s", c.path, c.name, what), Field: "time", Suggestion: fix,
	}
}

// unitMicros is the microseconds of units that are not finer.
var unitMicros = map[string]int64{"s": 1e6, "ms": 1e3, "us": 1}

// instants turns the values of the column into microseconds.
func (c *spineClock) instants(v *columnar.Vector) ([]int64, error) {
	if v.Valid != nil {
		for i := range v.Len() {
			if v.IsNull(i) {
				return nil, c.wrong(fmt.Sprintf("is null in row %d", i), "every row of a spine needs a time")
			}
		}
	}
	switch v.Type.Kind {
	case columnar.Timestamp:
		return v.Int64s, nil
	case columnar.String:
		times := make([]int64, v.Len())
		for i := range times {
			t, err := parseInstant(v.BytesAt(i))
			if err != nil {
				return nil, c.wrong(fmt.Sprintf("row %d: %v", i, err), "write instants as 2001-01-31T12:00:00Z")
			}
			times[i] = t
		}
		return times, nil
	default:
		times := v.Int64s
		for i, x := range times {
			t, ok := scale(x, c.unit)
			if !ok {
				return nil, c.wrong(fmt.Sprintf("row %d: %d %s lies outside the years 0001 to 9999", i, x, c.unit), "check --time-unit")
			}
			times[i] = t
		}
		return times, nil
	}
}

// scale turns an integer time into microseconds; ok is false outside the years of R1.
func scale(x int64, unit string) (us int64, ok bool) {
	if unit == "ns" {
		return floorDiv(x, 1000), true // int64 nanoseconds span 1677 to 2262
	}
	f := unitMicros[unit]
	if x < floorDiv(row.MinTime, f) || x > row.MaxTime/f {
		return 0, false
	}
	return x * f, true
}

func floorDiv(x, d int64) int64 {
	q := x / d
	if x%d < 0 {
		q--
	}
	return q
}

// parseInstant reads an RFC 3339 instant, rounding down to a microsecond. As RFC 3339 allows, the T may be a space.
func parseInstant(b []byte) (int64, error) {
	if len(b) < len("2001-01-31T12:00:00Z") || len(b) > 64 {
		return 0, fmt.Errorf("%.64q is not an RFC 3339 instant", b)
	}
	var buf [64]byte
	text := buf[:copy(buf[:], b)]
	if text[10] == ' ' || text[10] == 't' {
		text[10] = 'T'
	}
	if last := len(text) - 1; text[last] == 'z' {
		text[last] = 'Z'
	}
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return 0, fmt.Errorf("%.64q is not an RFC 3339 instant", b)
	}
	us := t.UnixMicro()
	if !row.ValidTime(us) {
		return 0, fmt.Errorf("%.64q lies outside the years 0001 to 9999", b)
	}
	return us, nil
}
