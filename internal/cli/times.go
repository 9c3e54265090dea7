package cli

import (
	"strings"
	"time"
)

// instantFlag is a flag that takes an instant: RFC 3339, a date (its first instant in UTC), or "now".
type instantFlag struct {
	time  time.Time
	clock func() time.Time
}

func (f *instantFlag) String() string {
	if f.time.IsZero() {
		return ""
	}
	return instant(f.time)
}

// Type names the value in help texts.
func (f *instantFlag) Type() string { return "time" }

// Set reads the value. Times are cut to microseconds, Provender's unit.
func (f *instantFlag) Set(s string) error {
	if strings.EqualFold(s, "now") {
		f.time = f.clock().UTC().Truncate(time.Microsecond)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			f.time = t.UTC().Truncate(time.Microsecond)
			return nil
		}
	}
	return usagef("%q is not an instant: want RFC 3339 as in 2001-06-30T12:00:00Z, a date, or now", s)
}
