package parquet

import (
	"time"

	"github.com/provender-dev/provender/registry"
)

// Clock turns what clocks of a zone show into instants, as columns without zone are read, for times that are text. Not
// safe for concurrent use.
type Clock struct{ local localTime }

// NewClock returns a clock of a zone; nil is UTC.
func NewClock(loc *time.Location) *Clock {
	return &Clock{newLocalTime(loc, registry.AmbiguousError)}
}

// Instant returns when clocks show local, and how often they do: 0 times where they jump over it, twice where they are
// set back, and then the instant is not said. Both are in seconds, what clocks show counted as if it were UTC.
func (c *Clock) Instant(local int64) (instant int64, times int) {
	l := &c.local
	if l.loc == nil {
		return local, 1
	}
	if l.lo <= local && local < l.hi {
		return local - l.offset, 1
	}
	r := l.readings(local)
	return r.least, r.times
}

// DayStart returns the first instant of a local day, in seconds; days count from 1970-01-01.
func (c *Clock) DayStart(day int64) int64 { return c.local.dayStart(day) }
