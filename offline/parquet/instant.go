package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/registry"
)

var (
	errYear = errors.New("an instant outside the years 0001–9999")
	errRest = errors.New("a timestamp finer than a microsecond, which would have to be rounded")
)

// instants turns the times of a file into microseconds UTC (R1). Not safe for concurrent use.
type instants struct {
	local localTime
	naive bool
	unit  unit
	round Rounding
	at    registry.DayEnd
}

// micros reports whether values are what they shall become.
func (c *instants) micros() bool { return c.unit == unitMicros && (!c.naive || c.local.loc == nil) }

// timestamp converts a number of units since 1970.
func (c *instants) timestamp(v int64) (int64, error) {
	if !c.naive || c.local.loc == nil {
		switch c.unit {
		case unitMillis:
			if v < row.MinTime/1000 || v > row.MaxTime/1000 {
				return 0, errYear
			}
			return v * 1000, nil
		case unitNanos:
			return c.nanos(v/1000, v%1000)
		}
		return inYears(v)
	}
	perSecond := int64(1_000_000)
	switch c.unit {
	case unitMillis:
		perSecond = 1000
	case unitNanos:
		perSecond = 1_000_000_000
	}
	seconds, rest := v/perSecond, v%perSecond
	if rest < 0 {
		seconds--
		rest += perSecond
	}
	// Zones change at whole seconds, so what is finer is added after the search, and cannot be rounded into a gap.
	if seconds < row.MinTime/1_000_000-daySeconds || seconds > row.MaxTime/1_000_000+daySeconds {
		return 0, errYear
	}
	seconds, err := c.local.instant(seconds)
	if err != nil {
		return 0, err
	}
	if c.unit == unitNanos {
		return c.nanos(seconds*1_000_000+rest/1000, rest%1000)
	}
	return inYears(seconds*1_000_000 + rest*(1_000_000/perSecond))
}

// nanos rounds micros and a rest of nanoseconds, which has the sign of the whole or none.
func (c *instants) nanos(micros, rest int64) (int64, error) {
	switch {
	case rest == 0:
	case c.round == RoundUp && rest > 0:
		micros++
	case c.round == RoundDown && rest < 0:
		micros--
	case c.round == Exact:
		return 0, errRest
	}
	return inYears(micros)
}

func inYears(micros int64) (int64, error) {
	if !row.ValidTime(micros) {
		return 0, errYear
	}
	return micros, nil
}

// date converts days since 1970 to the start or the end of the local day; the end is the next day's start.
func (c *instants) date(days int32) (int64, error) {
	day := int64(days)
	if c.at == registry.AtEnd {
		day++
	}
	return inYears(c.local.dayStart(day) * 1_000_000)
}

// julianEpoch is the Julian day of 1970-01-01.
const julianEpoch = 2440588

// int96 converts nanoseconds of a day and a Julian day, which writers count in UTC.
func (c *instants) int96(b []byte) (int64, error) {
	nanos := binary.LittleEndian.Uint64(b)
	day := int64(int32(binary.LittleEndian.Uint32(b[8:])))
	if nanos >= daySeconds*1_000_000_000 {
		return 0, fmt.Errorf("an INT96 with %d nanoseconds in a day", nanos)
	}
	if day < julianEpoch-720_000 || day > julianEpoch+2_940_000 { // what follows must not overflow
		return 0, errYear
	}
	micros := (day-julianEpoch)*daySeconds*1_000_000 + int64(nanos/1000)
	return c.nanos(micros, int64(nanos%1000))
}

// half converts IEEE 754 half precision; every such number is a float32.
func half(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exponent == 0x1f: // infinity or not a number
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case exponent == 0: // zero or subnormal: fraction × 2⁻²⁴, exact in float32
		magnitude := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(magnitude))
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
