package parquet

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// statsOrder is how values of a leaf compare in statistics.
type statsOrder uint8

// Leaves of orderNone get no bounds: unsigned, fixed-length, INT96 and unknown types, whose order readers disagree on.
const (
	orderNone statsOrder = iota
	orderInt32
	orderInt64
	orderFloat
	orderDouble
	orderText
)

// statsText is the longest string that statistics hold; a truncated bound would not be a value.
const statsText = 64

func orderOf(e *format.SchemaElement) statsOrder {
	if l, ok := e.LogicalType.Value.(*format.IntType); ok && !l.IsSigned {
		return orderNone
	}
	if c := e.ConvertedType; c.Valid {
		switch c.V {
		case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
			return orderNone
		}
	}
	switch e.Type.V {
	case format.Int32:
		return orderInt32
	case format.Int64:
		return orderInt64
	case format.Float:
		return orderFloat
	case format.Double:
		return orderDouble
	case format.ByteArray:
		_, text := e.LogicalType.Value.(*format.StringType)
		if text || (e.ConvertedType.Valid && e.ConvertedType.V == deprecated.UTF8) {
			return orderText
		}
	}
	return orderNone
}

// statistics returns the null count of a chunk and, where the order is known, its bounds. As the format asks, NaN is
// no bound, and a zero bound stands for both zeros.
func (c *Chunk) statistics() format.Statistics {
	s := format.Statistics{NullCount: int64(c.slots - c.values)}
	if c.values == 0 {
		return s
	}
	switch c.leaf.order {
	case orderInt32:
		lo, hi := int32(math.MaxInt32), int32(math.MinInt32)
		for b := c.fixed; len(b) > 0; b = b[4:] {
			x := int32(binary.LittleEndian.Uint32(b))
			lo, hi = min(lo, x), max(hi, x)
		}
		s.MinValue = binary.LittleEndian.AppendUint32(nil, uint32(lo))
		s.MaxValue = binary.LittleEndian.AppendUint32(nil, uint32(hi))
	case orderInt64:
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for b := c.fixed; len(b) > 0; b = b[8:] {
			x := int64(binary.LittleEndian.Uint64(b))
			lo, hi = min(lo, x), max(hi, x)
		}
		s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(lo))
		s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(hi))
	case orderFloat:
		bounds := noBounds
		for b := c.fixed; len(b) > 0; b = b[4:] {
			bounds.add(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
		if lo, hi, ok := bounds.get(); ok {
			s.MinValue = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(lo)))
			s.MaxValue = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(hi)))
		}
	case orderDouble:
		bounds := noBounds
		for b := c.fixed; len(b) > 0; b = b[8:] {
			bounds.add(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
		if lo, hi, ok := bounds.get(); ok {
			s.MinValue = binary.LittleEndian.AppendUint64(nil, math.Float64bits(lo))
			s.MaxValue = binary.LittleEndian.AppendUint64(nil, math.Float64bits(hi))
		}
	case orderText:
		lo, hi := c.bytesAt(0), c.bytesAt(0)
		for i := 1; i < c.values; i++ {
			switch x := c.bytesAt(i); {
			case bytes.Compare(x, lo) < 0:
				lo = x
			case bytes.Compare(x, hi) > 0:
				hi = x
			}
		}
		if len(lo) > 0 && len(lo) <= statsText && len(hi) <= statsText {
			s.MinValue, s.MaxValue = bytes.Clone(lo), bytes.Clone(hi)
		}
	}
	return s
}

type floatBounds struct{ lo, hi float64 }

var noBounds = floatBounds{lo: math.Inf(1), hi: math.Inf(-1)}

func (f *floatBounds) add(x float64) {
	// Neither comparison holds for a NaN.
	if x <= f.lo {
		f.lo = x
	}
	if x >= f.hi {
		f.hi = x
	}
}

func (f *floatBounds) get() (lo, hi float64, ok bool) {
	lo, hi = f.lo, f.hi
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0 // not −0
	}
	return lo, hi, lo <= hi
}
