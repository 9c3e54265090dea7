package parquet

import (
	"fmt"
	"math"
	"time"

	"github.com/provender-dev/provender/registry"
)

// daySeconds is also more than any zone is ever away from UTC.
const daySeconds = 24 * 60 * 60

// localTime turns what clocks of a zone show into instants. Both are in seconds, what clocks show counted as if it
// were UTC. Not safe for concurrent use.
type localTime struct {
	loc       *time.Location // nil: UTC
	ambiguous registry.Ambiguous

	// Between lo and hi clocks show each time once and are off by offset: far from every change of the zone.
	lo, hi, offset int64
}

func newLocalTime(loc *time.Location, ambiguous registry.Ambiguous) localTime {
	if loc == time.UTC {
		loc = nil
	}
	return localTime{loc: loc, ambiguous: ambiguous}
}

// instant returns when clocks show local. Where they never do, or do twice, ambiguous decides: it is an error, or the
// earliest or latest of the instants that the offsets before and after the change give.
func (l *localTime) instant(local int64) (int64, error) {
	if l.loc == nil {
		return local, nil
	}
	if l.lo <= local && local < l.hi {
		return local - l.offset, nil
	}
	r := l.readings(local)
	if r.times == 1 {
		return r.least, nil
	}
	switch l.ambiguous {
	case registry.AmbiguousEarliest:
		return r.least, nil
	case registry.AmbiguousLatest:
		return r.greatest, nil
	}
	what := "exists twice"
	if r.times == 0 {
		what = "does not exist"
	}
	return 0, fmt.Errorf("the local time %s %s in %s; say ambiguous: earliest or latest",
		time.Unix(local, 0).UTC().Format(time.DateTime), what, l.loc)
}

// dayStart returns the first instant of a local day, counted in days since 1970-01-01. Where clocks jump over
// midnight, it is the jump.
func (l *localTime) dayStart(day int64) int64 {
	local := day * daySeconds
	if l.loc == nil {
		return local
	}
	if l.lo <= local && local < l.hi {
		return local - l.offset
	}
	r := l.readings(local)
	if r.times == 0 {
		return r.change
	}
	return r.least
}

// bounds returns instants that no reading of a local time at or after local comes before, and none at or before it
// comes after.
func (l *localTime) bounds(local int64) (least, greatest int64) {
	if l.loc == nil {
		return local, local
	}
	if l.lo <= local && local < l.hi {
		return local - l.offset, local - l.offset
	}
	least, greatest = math.MaxInt64, math.MinInt64
	for _, p := range l.periods(local, 4*daySeconds) {
		least, greatest = min(least, local-p.offset), max(greatest, local-p.offset)
	}
	return least, greatest
}

// readings are the instants that a local time may mean.
type readings struct {
	times           int   // how often clocks show it
	least, greatest int64 // of those; of what the offsets around give where clocks never show it
	change          int64 // when clocks jump over it
}

func (l *localTime) readings(local int64) readings {
	var r, jump readings
	var last period
	for i, p := range l.periods(local, daySeconds) {
		at := local - p.offset
		if p.start <= at && at < p.end {
			if r.times == 0 {
				r.least, r.greatest = at, at
			}
			r.least, r.greatest = min(r.least, at), max(r.greatest, at)
			r.times++
			l.remember(p)
		}
		if i > 0 && p.start+last.offset <= local && local < p.start+p.offset {
			jump = readings{least: at, greatest: local - last.offset, change: p.start}
		}
		last = p
	}
	if r.times == 0 {
		return jump
	}
	return r
}

// period is a time of one offset from UTC, from start to before end.
type period struct{ start, end, offset int64 }

// The ends of periods that have none, far from overflow.
const (
	noStart = math.MinInt64 / 4
	noEnd   = math.MaxInt64 / 4
)

// periods returns the zone's periods that instants within reach of local lie in, in order.
func (l *localTime) periods(local, reach int64) []period {
	var ps []period
	for at := local - reach; at <= local+reach; {
		t := time.Unix(at, 0).In(l.loc)
		_, offset := t.Zone()
		p := period{start: noStart, end: noEnd, offset: int64(offset)}
		start, end := t.ZoneBounds()
		if !start.IsZero() {
			p.start = start.Unix()
		}
		if !end.IsZero() {
			p.end = end.Unix()
		}
		ps = append(ps, p)
		at = p.end
	}
	return ps
}

// remember keeps a period whose inner part needs no search: two days from both ends no other offset can be meant.
func (l *localTime) remember(p period) {
	if lo, hi := p.start+p.offset+2*daySeconds, p.end+p.offset-2*daySeconds; lo < hi {
		l.lo, l.hi, l.offset = lo, hi, p.offset
	}
}
