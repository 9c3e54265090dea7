package schedule

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Spec is a parsed cron expression in a time zone. Immutable.
type Spec struct {
	naive *cron.SpecSchedule // its zone is UTC: it runs over local clock readings
	loc   *time.Location
	// hourly: the expression names no hours, so it means an interval rather than a time of day.
	hourly bool
}

// Parse reads a five-field cron expression (minute, hour, day of month, month, day of week) that holds in a time zone;
// an empty zone is UTC. Whatever the text, it returns an error rather than panicking.
func Parse(expr, zone string) (spec *Spec, err error) {
	defer func() {
		if r := recover(); r != nil {
			spec, err = nil, fmt.Errorf("schedule %q is not a cron expression", expr)
		}
	}()
	if zone == "" {
		zone = "UTC"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("schedule time zone %q is unknown: give an IANA name such as Europe/Berlin", zone)
	}
	// The library takes a zone inside the expression, and panics on some; a zone has its own field here.
	if strings.Contains(expr, "=") {
		return nil, fmt.Errorf("schedule %q: give the time zone in schedule_timezone, not in the expression", expr)
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expr)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", expr, err)
	}
	naive, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("schedule %q is not a cron expression", expr)
	}
	naive.Location = time.UTC
	const everyHour = 1<<24 - 1
	return &Spec{naive: naive, loc: loc, hourly: bits.OnesCount64(naive.Hour&everyHour) == 24}, nil
}

// Next returns the first tick after t, or the zero time where there is none within five years.
//
// A local time that a clock change skips ticks once, when the clock jumps; one that comes twice ticks the first time.
// An expression that names no hours ticks in both passes of a repeated hour: every fifteen minutes stays that.
func (s *Spec) Next(t time.Time) time.Time {
	at := t.In(s.loc)
	begin, end := at.ZoneBounds()
	from := reading(at)
	if !s.hourly && !begin.IsZero() {
		// Readings up to where the clock was set back have ticked in the first pass.
		if last := reading(begin.Add(-1)); last.After(from) {
			from = last
		}
	}
	for limit := at.Year() + 5; ; {
		next := s.naive.Next(from)
		if next.IsZero() || at.Year() > limit {
			return time.Time{}
		}
		_, offset := at.Zone()
		tick := next.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || tick.Before(end) {
			return tick.In(t.Location())
		}
		before := reading(end.Add(-1))
		at = end.In(s.loc)
		if now := reading(at); now.After(next) {
			return at.In(t.Location()) // next is a reading that the clock skips
		} else if from = now.Add(-1); !s.hourly && before.After(from) {
			from = before
		}
		_, end = at.ZoneBounds()
	}
}

// reading is what the clock shows at t, as if it were UTC.
func reading(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
