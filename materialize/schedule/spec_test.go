package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize/schedule"
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ expr, zone string }{
		{"", ""},
		{"TZ=0", ""},
		{"TZ=UTC", ""},
		{"CRON_TZ=UTC", ""},
		{"TZ=UTC * * * * *", ""},
		{"* * * *", ""},
		{"* * * * * *", ""},
		{"61 * * * *", ""},
		{"*/0 * * * *", ""},
		{", * * * *", ""},
		{"0 0 * * ,,", ""},
		{"@every 1ms", ""},
		{"@every -1h", ""},
		{"@every 1", ""},
		{"@fortnightly", ""},
		{"* * * * *", "Mars/Olympus"},
		{"* * * * *", "Local"},
		{"* * * * *", "../../etc/passwd"},
	} {
		if _, err := schedule.Parse(c.expr, c.zone); err == nil {
			t.Errorf("Parse(%q, %q) is accepted", c.expr, c.zone)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, expr, zone string) {
		spec, err := schedule.Parse(expr, zone)
		if err != nil {
			return
		}
		for _, at := range []time.Time{
			time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(9999, 12, 31, 23, 59, 59, 999, time.UTC),
		} {
			next := spec.Next(at)
			if !next.IsZero() && !next.After(at) {
				t.Errorf("Next(%v) is %v", at, next)
			}
			if last := spec.Last(at, next); !next.IsZero() && !last.Equal(next) {
				t.Errorf("Last(%v, %v) is %v", at, next, last)
			}
		}
	})
}

// A local time that the clock skips ticks once, one that comes twice ticks once.
func TestClockChanges(t *testing.T) {
	for _, c := range []struct {
		name, expr, zone, from, to string
		want                       []string
	}{
		{
			"skipped", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-10T00:00:00Z",
			[]string{"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"},
		},
		{
			"repeated", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-03T00:00:00Z",
			[]string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		},
		{
			"skipped Berlin", "15 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"},
		},
		{
			"repeated Berlin", "15 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z",
			[]string{"2026-10-25T00:15:00Z", "2026-10-26T01:15:00Z"},
		},
		{
			"several skipped are one", "0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z"},
		},
		{
			"half an hour skipped", "10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T20:00:00Z",
			[]string{"2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"},
		},
		{
			"half an hour repeated", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T20:00:00Z",
			[]string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"},
		},
		{
			"midnight skipped", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z",
			[]string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		},
		{
			"a day skipped", "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z",
			[]string{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"},
		},
		{
			"an interval goes on", "*/30 * * * *", "America/New_York", "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z",
			[]string{
				"2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z",
			},
		},
		{
			"no change of clock", "0 6 * * mon", "Asia/Tokyo", "2026-11-22T00:00:00Z", "2026-12-01T00:00:00Z",
			[]string{"2026-11-22T21:00:00Z", "2026-11-29T21:00:00Z"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := schedule.Parse(c.expr, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, to := instant(t, c.from), instant(t, c.to)
			var got []string
			for {
				at = spec.Next(at)
				if at.After(to) {
					break
				}
				got = append(got, at.Format(time.RFC3339))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("ticks\n got %v\nwant %v", got, c.want)
			}
		})
	}
}

// On the last day of a leap year far ahead the zone's bounds can't be trusted.
func TestLeapYearEnds(t *testing.T) {
	spec, err := schedule.Parse("30 12 * * *", "Africa/Cairo")
	if err != nil {
		t.Fatal(err)
	}
	at := instant(t, "2048-12-30T00:00:00Z")
	for range 4 {
		next := spec.Next(at)
		if next.Sub(at) > 24*time.Hour || next.Hour() != 10 || next.Minute() != 30 {
			t.Errorf("after %v comes %v", at, next)
		}
		at = next
	}
}

func TestNever(t *testing.T) {
	spec, err := schedule.Parse("0 0 30 2 *", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if next := spec.Next(time.Now()); !next.IsZero() {
		t.Errorf("30 February is %v", next)
	}
}

// expression is a cron expression as its fields mean it, for a reference that shares nothing with the parser.
type expression struct {
	text                              string
	minute, hour, day, month, weekday map[int]bool
	anyDay, anyWeekday                bool
}

// randomExpression makes one that often has a tick within a day of near.
func randomExpression(rnd *rand.Rand, near time.Time) expression {
	var e expression
	var texts [5]string
	texts[0], e.minute, _ = randomField(rnd, 0, 59, rnd.IntN(60), nil)
	texts[1], e.hour, _ = randomField(rnd, 0, 23, near.Hour(), nil)
	texts[2], e.day, e.anyDay = randomField(rnd, 1, 31, near.Day(), nil)
	texts[3], e.month, _ = randomField(rnd, 1, 12, int(near.Month()), []string{
		1: "jan", 2: "feb", 3: "MAR", 4: "apr", 5: "may", 6: "jun", 7: "jul", 8: "aug", 9: "sep", 10: "Oct", 11: "nov", 12: "dec",
	})
	texts[4], e.weekday, e.anyWeekday = randomField(rnd, 0, 6, int(near.Weekday()),
		[]string{"sun", "Mon", "tue", "wed", "thu", "fri", "SAT"})
	e.text = strings.Join(texts[:], " ")
	return e
}

// randomField makes one field, with the values that it names, and whether it names all by a star.
func randomField(rnd *rand.Rand, least, most, near int, names []string) (text string, values map[int]bool, star bool) {
	values = map[int]bool{}
	add := func(from, to, step int) {
		for v := from; v <= to; v += step {
			values[v] = true
		}
	}
	name := func(v int) string {
		if names != nil && rnd.IntN(2) == 0 {
			return names[v]
		}
		return strconv.Itoa(v)
	}
	within := func(v int) int { return min(max(v, least), most) }
	switch rnd.IntN(8) {
	case 0, 1, 2:
		add(least, most, 1)
		return "*", values, true
	case 3:
		step := 1 + rnd.IntN(most-least)
		add(least, most, step)
		return fmt.Sprintf("*/%d", step), values, step == 1
	case 4:
		from, to := within(near-rnd.IntN(4)), within(near+rnd.IntN(4))
		step := 1 + rnd.IntN(3)
		add(from, to, step)
		return fmt.Sprintf("%s-%s/%d", name(from), name(to), step), values, false
	case 5:
		add(near, most, 5)
		return fmt.Sprintf("%d/5", near), values, false
	default:
		var parts []string
		for range 1 + rnd.IntN(3) {
			v := within(near + rnd.IntN(5) - 2)
			add(v, v, 1)
			parts = append(parts, name(v))
		}
		return strings.Join(parts, ","), values, false
	}
}

// matches reports whether a clock that shows c ticks.
func (e *expression) matches(c time.Time) bool {
	day, weekday := e.day[c.Day()], e.weekday[int(c.Weekday())]
	on := day && weekday
	if !e.anyDay && !e.anyWeekday {
		on = day || weekday
	}
	return e.minute[c.Minute()] && e.hour[c.Hour()] && e.month[int(c.Month())] && on
}

// walk looks at the clock every minute: it ticks where it shows, or has jumped over, a reading that matches and that it
// had not shown before; an expression of every hour ticks at readings shown before, too.
func (e *expression) walk(begin time.Time, span time.Duration) []time.Time {
	clock := func(at time.Time) time.Time {
		y, m, d := at.Date()
		return time.Date(y, m, d, at.Hour(), at.Minute(), 0, 0, time.UTC)
	}
	var ticks []time.Time
	furthest := clock(begin)
	for at := begin.Add(time.Minute); at.Sub(begin) <= span; at = at.Add(time.Minute) {
		now := clock(at)
		tick := len(e.hour) == 24 && e.matches(now)
		for c := furthest.Add(time.Minute); !c.After(now); c = c.Add(time.Minute) {
			tick = tick || e.matches(c)
		}
		if now.After(furthest) {
			furthest = now
		}
		if tick {
			ticks = append(ticks, at)
		}
	}
	return ticks
}

// changes are zones with changes of the clock worth a look: years from, to.
var changes = []struct {
	zone     string
	from, to int
}{
	{"Europe/Berlin", 1980, 2040},
	{"America/New_York", 1970, 2040},
	{"Australia/Lord_Howe", 1985, 2040}, // by half an hour
	{"America/Sao_Paulo", 1985, 2019},   // at midnight
	{"Africa/Cairo", 1975, 2040},        // at midnight, with years without
	{"Asia/Tehran", 1991, 2022},         // half hours from UTC, at midnight
	{"Pacific/Apia", 2010, 2021},        // a day that is left out
	{"Africa/Casablanca", 2012, 2040},   // back and forth for Ramadan
	{"America/St_Johns", 1987, 2011},    // a minute after midnight
	{"Antarctica/Troll", 2005, 2040},    // by two hours
	{"Asia/Kolkata", 2000, 2040},        // never
	{"UTC", 2000, 2040},
}

// Next and Last agree with looking at the clock every minute, over changes of the clock.
func TestNextRandom(t *testing.T) {
	rnd := testenv.Rand(t)
	rounds := 12
	if testenv.Long() {
		rounds = 100
	}
	for _, c := range changes {
		t.Run(c.zone, func(t *testing.T) {
			loc, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			for range rounds {
				// The change after some day, where there is one.
				near := time.Date(c.from+rnd.IntN(c.to-c.from), time.Month(1+rnd.IntN(12)), 1, 0, 0, 0, 0, loc)
				if _, end := near.ZoneBounds(); !end.IsZero() && end.Year() <= c.to {
					near = end.In(loc)
				}
				e := randomExpression(rnd, near.Add(time.Duration(rnd.IntN(180)-120)*time.Minute))
				begin := near.Add(-40 * time.Hour).Truncate(time.Minute)
				checkNext(t, rnd, &e, c.zone, begin, 90*time.Hour)
			}
		})
	}
}

func checkNext(t *testing.T, rnd *rand.Rand, e *expression, zone string, begin time.Time, span time.Duration) {
	t.Helper()
	spec, err := schedule.Parse(e.text, zone)
	if err != nil {
		t.Fatal(err)
	}
	ticks := e.walk(begin, span)
	at := begin
	for i, want := range ticks {
		if at = spec.Next(at); !at.Equal(want) {
			t.Fatalf("%q in %s from %v: tick %d is %v, want %v", e.text, zone, begin, i, at, want)
		}
	}
	end := begin.Add(span)
	if next := spec.Next(at); !next.IsZero() && !next.After(end) {
		t.Fatalf("%q in %s from %v: a tick too many at %v", e.text, zone, begin, next)
	}
	// Whatever the instants asked for.
	for range 20 {
		from := begin.Add(time.Duration(rnd.Int64N(int64(span))))
		to := from.Add(time.Duration(rnd.Int64N(int64(end.Sub(from)))))
		var next, last time.Time
		for _, tick := range ticks {
			if next.IsZero() && tick.After(from) {
				next = tick
			}
			if tick.After(from) && !tick.After(to) {
				last = tick
			}
		}
		if got := spec.Next(from); !next.IsZero() && !got.Equal(next) {
			t.Fatalf("%q in %s: Next(%v) is %v, want %v", e.text, zone, from, got, next)
		}
		if got := spec.Last(from, to); !got.Equal(last) {
			t.Fatalf("%q in %s: Last(%v, %v) is %v, want %v", e.text, zone, from, to, got, last)
		}
	}
}

// The names of common schedules are those, and @every has the same ticks whoever asks and whenever.
func TestNames(t *testing.T) {
	at := instant(t, "2026-11-28T12:34:56Z") // a Saturday
	for expr, want := range map[string]string{
		"@hourly": "2026-11-28T13:00:00Z", "@daily": "2026-11-28T23:00:00Z", "@midnight": "2026-11-28T23:00:00Z",
		"@weekly": "2026-11-28T23:00:00Z", "@monthly": "2026-11-30T23:00:00Z", "@yearly": "2026-12-31T23:00:00Z",
		"@every 1h": "2026-11-28T13:00:00Z", "@every 15m": "2026-11-28T12:45:00Z", "@every 1s": "2026-11-28T12:34:57Z",
		"@every 24h": "2026-11-29T00:00:00Z",
	} {
		spec, err := schedule.Parse(expr, "Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		if got := spec.Next(at).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

// Of a year's ticks the last is found at once.
func TestLastOfMany(t *testing.T) {
	spec, err := schedule.Parse("* * * * *", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	from, to := instant(t, "1926-01-01T00:00:30Z"), instant(t, "2026-07-01T12:00:59Z")
	if got := spec.Last(from, to); !got.Equal(instant(t, "2026-07-01T12:00:00Z")) {
		t.Errorf("last is %v", got)
	}
	if got := spec.Last(to, from); !got.IsZero() {
		t.Errorf("the last before the first is %v", got)
	}
}

func instant(t *testing.T, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
