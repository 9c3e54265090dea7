package row

import "encoding/binary"

// MinTime and MaxTime are the first and last microsecond of years 0001–9999, the times that a row can have (R1).
const (
	MinTime = -62135596800 * microsPerSecond
	MaxTime = 253402300800*microsPerSecond - 1
)

// ValidTime reports whether a row can have t, in microseconds since 1970, as its event or created time.
func ValidTime(t int64) bool { return MinTime <= t && t <= MaxTime }

const (
	microsPerSecond = 1_000_000

	// A time is 2 × (seconds since 0001-01-01T00:00:00Z) + timeBias + (1 where microseconds follow), in timeLen bytes,
	// most significant first; then the microseconds, if not zero, in microsLen bytes. The bias makes the first byte at
	// least 1, which leaves 0 for "no created time". The greatest is 2 × 315,537,897,599 + 1 + 2^32 < 2^40.
	timeBias    = 1 << 32
	timeLen     = 5
	microsLen   = 3
	noTime      = 0
	minTimesLen = timeLen + 1
)

func appendTimes(dst []byte, event, created int64) []byte {
	dst = appendTime(dst, event)
	if created == NoCreated {
		return append(dst, noTime)
	}
	return appendTime(dst, created)
}

func appendTime(dst []byte, t int64) []byte {
	if !ValidTime(t) {
		panic("row: time outside of years 0001-9999")
	}
	since := uint64(t - MinTime)
	seconds, micros := since/microsPerSecond, since%microsPerSecond
	x := seconds<<1 + timeBias
	if micros != 0 {
		x |= 1
	}
	dst = append(dst, byte(x>>32), byte(x>>24), byte(x>>16), byte(x>>8), byte(x))
	if micros != 0 {
		dst = append(dst, byte(micros>>16), byte(micros>>8), byte(micros))
	}
	return dst
}

// parseTimes reads both times and returns what follows them.
func parseTimes(b []byte) (event, created int64, rest []byte, ok bool) {
	event, b, ok = parseTime(b)
	if !ok || len(b) == 0 {
		return 0, 0, nil, false
	}
	if b[0] == noTime {
		return event, NoCreated, b[1:], true
	}
	created, b, ok = parseTime(b)
	return event, created, b, ok
}

func parseTime(b []byte) (t int64, rest []byte, ok bool) {
	if len(b) < timeLen {
		return 0, nil, false
	}
	x := uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:]))
	b = b[timeLen:]
	if x < timeBias {
		return 0, nil, false
	}
	t = int64((x-timeBias)>>1) * microsPerSecond // below 2^40 × 10^6 / 2: no overflow
	if x&1 != 0 {
		if len(b) < microsLen {
			return 0, nil, false
		}
		micros := int64(b[0])<<16 | int64(b[1])<<8 | int64(b[2])
		if micros == 0 || micros >= microsPerSecond {
			return 0, nil, false
		}
		t += micros
		b = b[microsLen:]
	}
	if t > MaxTime-MinTime {
		return 0, nil, false
	}
	return t + MinTime, b, true
}

// timesLen returns how many bytes the times of a stored row take, 0 where it is too short to have them.
func timesLen(stored []byte) int {
	n := timeFormLen(stored)
	if n == 0 || n >= len(stored) {
		return 0
	}
	if stored[n] == noTime {
		return n + 1
	}
	m := timeFormLen(stored[n:])
	if m == 0 || n+m > len(stored) {
		return 0
	}
	return n + m
}

func timeFormLen(b []byte) int {
	if len(b) < timeLen {
		return 0
	}
	return timeLen + microsLen*int(b[timeLen-1]&1)
}
