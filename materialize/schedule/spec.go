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
	naive *cron.SpecSchedule // its zone is UTC: it runs over local clock readings; nil for @every
	loc   *time.Location
	every time.Duration // of @every
	// hourly: the expression names no hours, so it means an interval rather than a time of day.
	hourly bool
}

// Parse reads a cron expression that holds in a time zone; an empty zone is UTC. It is five fields (minute, hour, day
// of month, month, day of week), a name for such (@hourly, @daily, …), or "@every 90m": the multiples of that since a
// midnight UTC of long ago, so that several servers agree on them. Whatever the text, Parse does not panic.
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
	// The library rounds less than a second up without a word.
	if text, ok := strings.CutPrefix(expr, "@every "); ok {
		every, err := time.ParseDuration(text)
		if err != nil || every < time.Second {
			return nil, fmt.Errorf("schedule %q: @every wants a duration of a second or more", expr)
		}
		return &Spec{loc: loc, every: every}, nil
	}
	parsed, err := cron.ParseStandard(expr)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", expr, err)
	}
	naive, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("schedule %q is not a cron expression", expr)
	}
	// The library takes a field of commas alone, and looks for its ticks through five years.
	for _, field := range []uint64{naive.Minute, naive.Hour, naive.Dom, naive.Month, naive.Dow} {
		if field == 0 {
			return nil, fmt.Errorf("schedule %q: a field has no value", expr)
		}
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
	if s.every > 0 {
		return t.Truncate(s.every).Add(s.every)
	}
	at := t.In(s.loc)
	begin, end := bounds(at)
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
		_, end = bounds(at)
	}
}

// Last returns the last tick after from and not after to, or the zero time where there is none.
func (s *Spec) Last(from, to time.Time) time.Time {
	last := s.Next(from)
	if last.IsZero() || last.After(to) {
		return time.Time{}
	}
	// The one looked for is in [last, until]: halved until it is found, as there may be a year's ticks of every minute.
	for until := to; ; {
		middle := last.Add(until.Sub(last) / 2)
		switch next := s.Next(middle); {
		case !next.IsZero() && !next.After(to):
			last = next
		case middle.Equal(last):
			return last
		default:
			until = middle
		}
	}
}

// reading is what the clock shows at t, as if it were UTC.
func reading(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// bounds is at.ZoneBounds. On the last day of leap years far ahead the end that it gives is not after at; then a later
// instant, at which the clock does not change, stands for it.
func bounds(at time.Time) (begin, end time.Time) {
	begin, end = at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		end = at.Add(24 * time.Hour)
	}
	return begin, end
}
