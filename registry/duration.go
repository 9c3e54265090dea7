package registry

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
}

// ParseDuration reads a duration as definition files write it: whole numbers with d, h, m, s, ms or us, such as 90s,
// 30d or 1h30m. A leading minus is understood.
func ParseDuration(s string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(s, "-")
	if rest == "" {
		return 0, errors.New("empty duration")
	}
	var total time.Duration
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		letters := len(rest[digits:]) - len(strings.TrimLeft(rest[digits:], "dhmsu"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == rest[digits:digits+letters] {
				unit = u.unit
			}
		}
		if err != nil || unit == 0 {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		if n > int64((math.MaxInt64-total)/unit) {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total += time.Duration(n) * unit
		rest = rest[digits+letters:]
	}
	if negative {
		total = -total
	}
	return total, nil
}

// FormatDuration is the reverse of ParseDuration; what is finer than a microsecond is lost.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
	}
	for _, u := range durationUnits {
		if n := d / u.unit; n != 0 {
			b.WriteString(strings.TrimPrefix(strconv.FormatInt(int64(n), 10), "-"))
			b.WriteString(u.name)
			d %= u.unit
		}
	}
	return b.String()
}
