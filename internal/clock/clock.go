// Package clock measures how long things take on hot paths, for half of what time.Now costs.
package clock

import "time"

// Instant is a moment of this process. The zero value is none.
type Instant int64

var began = time.Now().Add(-1)

// Now returns this moment. It never goes back.
func Now() Instant { return Instant(time.Since(began)) }

// Since returns how long ago i was.
func (i Instant) Since() time.Duration { return time.Since(began) - time.Duration(i) }

// Sub returns how long i is after other.
func (i Instant) Sub(other Instant) time.Duration { return time.Duration(i - other) }

// Time returns i by the wall clock, as that stands now.
func (i Instant) Time() time.Time { return time.Now().Add(-i.Since()) }
