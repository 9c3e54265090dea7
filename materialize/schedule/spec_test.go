package schedule_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"

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
		{"@every 1s", ""},
		{"@daily", ""},
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
	for _, s := range []string{"* * * * *", "TZ=0", "TZ=UTC", "*/15 0-6 1,2 jan mon", "CRON_TZ=", "1-0 * * * *", "@"} {
		f.Add(s, "UTC")
	}
	f.Fuzz(func(t *testing.T, expr, zone string) {
		spec, err := schedule.Parse(expr, zone)
		if err == nil {
			at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			if next := spec.Next(at); !next.IsZero() && !next.After(at) {
				t.Errorf("Next(%v) is %v", at, next)
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

func TestNever(t *testing.T) {
	spec, err := schedule.Parse("0 0 30 2 *", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if next := spec.Next(time.Now()); !next.IsZero() {
		t.Errorf("30 February is %v", next)
	}
}

// Next agrees with walking minute by minute and looking at the clock.
func TestNextRandom(t *testing.T) {
	rnd := testenv.Rand(t)
	zones := []string{
		"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata",
		"Africa/Casablanca", "America/St_Johns",
	}
	for range 60 {
		zone := zones[rnd.IntN(len(zones))]
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		hour, every := "*", true
		if rnd.IntN(3) > 0 {
			hour, every = strconv.Itoa(rnd.IntN(5)), false
		}
		expr := fmt.Sprintf("%d,%d %s * * *", rnd.IntN(60), rnd.IntN(60), hour)
		spec, err := schedule.Parse(expr, zone)
		if err != nil {
			t.Fatal(err)
		}
		// Begin shortly before a change of the clock, where the zone has one.
		begin := time.Date(2010+rnd.IntN(16), time.Month(1+rnd.IntN(12)), 1, 0, 0, 0, 0, loc)
		if _, end := begin.ZoneBounds(); !end.IsZero() {
			begin = end.Add(-30 * time.Hour).Truncate(time.Minute).In(loc)
		}
		want := walk(t, expr, every, begin, 60*time.Hour)
		at := begin
		for i, w := range want {
			if at = spec.Next(at); !at.Equal(w) {
				t.Fatalf("%q in %s from %v: tick %d is %v, want %v", expr, zone, begin, i, at, w)
			}
		}
		// Whatever the instant asked for.
		for range 20 {
			from := begin.Add(time.Duration(rnd.Int64N(int64(58 * time.Hour))))
			got := spec.Next(from)
			for _, w := range want {
				if w.After(from) {
					if !got.Equal(w) {
						t.Fatalf("%q in %s: Next(%v) is %v, want %v", expr, zone, from, got, w)
					}
					break
				}
			}
		}
	}
}

func walk(t *testing.T, expr string, every bool, begin time.Time, span time.Duration) []time.Time {
	parsed, err := cron.ParseStandard(expr)
	if err != nil {
		t.Fatal(err)
	}
	sched := parsed.(*cron.SpecSchedule)
	sched.Location = time.UTC
	clock := func(at time.Time) time.Time {
		y, m, d := at.Date()
		return time.Date(y, m, d, at.Hour(), at.Minute(), 0, 0, time.UTC)
	}
	matches := func(c time.Time) bool { return sched.Next(c.Add(-time.Minute)).Equal(c) }
	var ticks []time.Time
	furthest := clock(begin)
	for at := begin.Add(time.Minute); at.Sub(begin) <= span; at = at.Add(time.Minute) {
		now := clock(at)
		tick := every && matches(now)
		for c := furthest.Add(time.Minute); !c.After(now); c = c.Add(time.Minute) {
			tick = tick || matches(c)
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

func instant(t *testing.T, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
