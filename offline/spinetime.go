package offline

import (
	"bytes"
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
	spine  string // its name in messages
	name   string
	unit   string // for integers
	column parquet.Column
	where  func(row int) string // "row 7", or where else the user finds it
	// Of columns without zone, and of text:
	naive bool
	zone  *time.Location // nil: UTC
	local *parquet.Clock // of zone
	at    registry.DayEnd
}

// timeColumn says how to read the time column, or which option it still needs.
func timeColumn(spine string, opts SpineOptions, infos []parquet.ColumnInfo, where func(int) string) (spineClock, error) {
	c := spineClock{
		spine: spine, name: opts.Time, unit: opts.Unit, where: where,
		zone: opts.Location, local: parquet.NewClock(opts.Location), at: opts.At,
	}
	info, err := findColumn(spine, opts.Time, "time", infos)
	if err != nil {
		return c, err
	}
	c.naive = info.Naive
	c.column = parquet.Column{
		Name: opts.Time, Type: info.Type, At: opts.At, Round: parquet.RoundDown, Ambiguous: registry.AmbiguousError,
	}
	switch {
	case info.Date:
		if opts.At == "" {
			return c, c.wrong("is a DATE, and a day is not an instant", "say --time-at start or --time-at end")
		}
		c.column.Type, c.column.Location = columnar.Type{Kind: columnar.Timestamp}, opts.Location
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
		return c, c.wrong("is "+info.Physical, "a spine's time is a timestamp, text such as 2001-01-31T12:00:00Z, an integer or a DATE")
	}
	return c, nil
}

func (c *spineClock) wrong(what, fix string) error {
	return &problem.Error{
		Code: problem.Invalid, Message: fmt.Sprintf("%s: time column %s %s", c.spine, c.name, what), Field: "time", Suggestion: fix,
	}
}

// unitMicros is the microseconds of units that are not finer.
var unitMicros = map[string]int64{"s": 1e6, "ms": 1e3, "us": 1}

// instants turns the values of the column into microseconds.
func (c *spineClock) instants(v *columnar.Vector) ([]int64, error) {
	if v.Valid != nil {
		for i := range v.Len() {
			if v.IsNull(i) {
				return nil, c.wrong(fmt.Sprintf("is null in %s", c.where(i)), "every row of a spine needs a time")
			}
		}
	}
	switch {
	case v.Type.Kind == columnar.String:
		times := make([]int64, v.Len())
		for i := range times {
			t, err := parseCivil(v.BytesAt(i))
			if err != nil {
				return nil, c.wrong(fmt.Sprintf("%s: %v", c.where(i), err), "write instants as 2001-01-31T12:00:00Z")
			}
			if times[i], err = c.instant(t, i); err != nil {
				return nil, err
			}
		}
		return times, nil
	case v.Type.Kind == columnar.Int64:
		times := v.Int64s
		for i, x := range times {
			t, ok := scale(x, c.unit)
			if !ok {
				return nil, c.wrong(fmt.Sprintf("%s: %d %s lies outside the years 0001 to 9999", c.where(i), x, c.unit), "check --time-unit")
			}
			times[i] = t
		}
		return times, nil
	case c.naive:
		times := v.Int64s
		for i, x := range times {
			seconds := floorDiv(x, 1e6)
			t, err := c.instant(civil{seconds: seconds, micros: x - seconds*1e6}, i)
			if err != nil {
				return nil, err
			}
			times[i] = t
		}
		return times, nil
	default:
		return v.Int64s, nil
	}
}

// instant returns the microseconds that a time of a row means.
func (c *spineClock) instant(t civil, i int) (int64, error) {
	seconds := t.seconds
	switch {
	case t.date:
		if c.at == "" {
			return 0, c.wrong(fmt.Sprintf("is a date in %s, and a day is not an instant", c.where(i)), "say --time-at start or --time-at end")
		}
		day := seconds / daySeconds
		if c.at == registry.AtEnd {
			day++
		}
		seconds = c.local.DayStart(day)
	case t.zoned:
		seconds -= t.offset
	default:
		var times int
		if seconds, times = c.local.Instant(seconds); times != 1 {
			what := "exists twice"
			if times == 0 {
				what = "does not exist"
			}
			return 0, c.wrong(
				fmt.Sprintf("%s: %s %s in %s", c.where(i), time.Unix(t.seconds, 0).UTC().Format(time.DateTime), what, c.zone),
				"write instants with their zone: 2001-01-31T12:00:00Z",
			)
		}
	}
	us := seconds*1e6 + t.micros
	if !row.ValidTime(us) {
		return 0, c.wrong(c.where(i)+" lies outside the years 0001 to 9999", "correct the time")
	}
	return us, nil
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

const daySeconds = 24 * 60 * 60

// civil is a time as text has it.
type civil struct {
	seconds int64 // since 1970 as if clocks showed UTC
	micros  int64 // of the second, rounded down
	fine    bool  // there was something to round
	date    bool  // a day alone
	zoned   bool
	offset  int64 // of the zone, seconds east of UTC
}

// parseCivil reads a date, 2001-01-31, or a time, 2001-01-31T12:00:00.000001Z. The T may be a space, seconds and their
// decimals may be missing, and so may the zone: Z or an offset, +01:00, +0100 or +01.
func parseCivil(text []byte) (t civil, err error) {
	p := civilParser{rest: text}
	year := p.number(4)
	p.skip('-')
	month := p.number(2)
	p.skip('-')
	day := p.number(2)
	var hour, minute, second int
	if t.date = len(p.rest) == 0; !t.date {
		p.skip('T', 't', ' ')
		hour = p.number(2)
		p.skip(':')
		if minute = p.number(2); p.next(':') {
			p.skip(':')
			if second = p.number(2); p.next('.') {
				p.skip('.')
				t.micros, t.fine = p.fraction()
			}
		}
		if t.zoned = len(p.rest) > 0; t.zoned {
			t.offset = p.zone()
		}
	}
	date := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if p.failed || len(p.rest) > 0 || date.Day() != day || int(date.Month()) != month || hour > 23 || minute > 59 || second > 59 {
		return civil{}, fmt.Errorf("%.64q is not a time", text)
	}
	t.seconds = date.Unix()
	return t, nil
}

// civilParser takes parts off the front of a text.
type civilParser struct {
	rest   []byte
	failed bool
}

func (p *civilParser) next(c byte) bool { return len(p.rest) > 0 && p.rest[0] == c }

// skip takes one of some characters.
func (p *civilParser) skip(any ...byte) {
	if len(p.rest) == 0 || bytes.IndexByte(any, p.rest[0]) < 0 {
		p.failed = true
		return
	}
	p.rest = p.rest[1:]
}

// number takes n digits.
func (p *civilParser) number(n int) int {
	if countDigits(p.rest) < n {
		p.failed = true
		return 0
	}
	x := 0
	for _, c := range p.rest[:n] {
		x = x*10 + int(c-'0')
	}
	p.rest = p.rest[n:]
	return x
}

// fraction takes the decimals of a second, rounding down to microseconds; fine says that it did.
func (p *civilParser) fraction() (micros int64, fine bool) {
	n := countDigits(p.rest)
	p.failed = p.failed || n == 0
	for i := range max(n, 6) {
		digit := int64(0)
		if i < n {
			digit = int64(p.rest[i] - '0')
		}
		if i < 6 {
			micros = micros*10 + digit
		} else if digit != 0 {
			fine = true
		}
	}
	p.rest = p.rest[n:]
	return micros, fine
}

// zone takes Z or an offset.
func (p *civilParser) zone() int64 {
	if p.next('Z') || p.next('z') {
		p.rest = p.rest[1:]
		return 0
	}
	sign := int64(1)
	if p.next('-') {
		sign = -1
	}
	p.skip('+', '-')
	hours, minutes := p.number(2), 0
	if len(p.rest) > 0 {
		if p.next(':') {
			p.skip(':')
		}
		minutes = p.number(2)
	}
	p.failed = p.failed || hours > 23 || minutes > 59
	return sign * int64(hours*3600+minutes*60)
}
