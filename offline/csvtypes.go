package offline

import (
	"bytes"
	"math"
	"strconv"

	"github.com/provender-dev/provender/internal/row"
)

// csvKind is the type of a CSV column.
type csvKind uint8

// The types, narrowest first: a column has the first one that all its cells fit.
const (
	csvInt64 csvKind = iota
	csvFloat64
	csvBool
	csvDate      // of the time column alone, as those that follow
	csvTimestamp // all with a zone
	csvNaive     // all without
	csvString
)

// csvFits are the types that all cells of a column so far fit: bit k for kind k.
type csvFits uint8

const (
	csvPlainFits = csvFits(1<<csvInt64 | 1<<csvFloat64 | 1<<csvBool | 1<<csvString)
	csvTimeFits  = csvFits(1<<csvInt64 | 1<<csvDate | 1<<csvTimestamp | 1<<csvNaive | 1<<csvString)
)

func (f csvFits) has(k csvKind) bool { return f>>k&1 != 0 }

// kind returns the column's type; a column of nulls is text.
func (f csvFits) kind(cells int64) csvKind {
	if cells == 0 {
		return csvString
	}
	k := csvInt64
	for !f.has(k) {
		k++
	}
	return k
}

// observe returns f without the types that a cell does not fit.
func (f csvFits) observe(text []byte) csvFits {
	if f&(1<<csvInt64|1<<csvFloat64) != 0 {
		x, ok := parseInteger(text)
		if !ok {
			f &^= 1 << csvInt64
		}
		if exact := ok && -1<<53 <= x && x <= 1<<53; f.has(csvFloat64) && !exact {
			if _, ok := parseNumber(text); !ok {
				f &^= 1 << csvFloat64
			}
		}
	}
	if f.has(csvBool) {
		if _, ok := parseBool(text); !ok {
			f &^= 1 << csvBool
		}
	}
	if f&(1<<csvDate|1<<csvTimestamp|1<<csvNaive) != 0 {
		f = f.observeTime(text)
	}
	return f
}

func (f csvFits) observeTime(text []byte) csvFits {
	t, err := parseCivil(text)
	form := csvString
	switch {
	case err != nil || t.fine || !row.ValidTime((t.seconds-t.offset)*1e6):
	case t.date:
		form = csvDate
	case t.zoned:
		form = csvTimestamp
	default:
		form = csvNaive
	}
	return f & (1<<form | 1<<csvInt64 | 1<<csvString)
}

// parseInteger reads an int64 as it is written canonically: no plus sign, no leading zeros, no -0.
func parseInteger(b []byte) (int64, bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var x uint64
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		x = x*10 + uint64(c)
	}
	if negative {
		return -int64(x), x <= 1<<63
	}
	return int64(x), x < 1<<63
}

// parseNumber reads a finite float64 in the form that JSON has for numbers. It must be the number: written with as many
// significant digits as the cell has, it gives the cell's digits again.
func parseNumber(b []byte) (float64, bool) {
	digits, ok := numberDigits(b)
	if !ok {
		return 0, false
	}
	x, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, false
	}
	if digits.count == 0 {
		return x, true
	}
	// Every decimal number of 15 digits survives, but for those close to the ends of the range.
	if abs := math.Abs(x); digits.count <= 15 && abs > 1e-290 {
		return x, true
	}
	var buf, want [1100]byte
	if digits.count > 800 { // more than any float64 has
		return 0, false
	}
	again := strconv.AppendFloat(buf[:0], math.Abs(x), 'e', digits.count-1, 64)
	again, _, _ = bytes.Cut(again, []byte("e"))
	return x, bytes.Equal(bytes.Replace(again, []byte("."), nil, 1), digits.append(want[:0]))
}

// significant is the significant digits of a number: those of text without point, from the first that is not 0.
type significant struct {
	text  []byte // without sign and exponent
	count int    // 0 for the number 0
}

func (s significant) append(dst []byte) []byte {
	started := false
	for _, c := range s.text {
		if started = started || c != '0' && c != '.'; started && c != '.' {
			dst = append(dst, c)
		}
	}
	return dst
}

// numberDigits checks that a text is a number as JSON has it.
func numberDigits(b []byte) (s significant, ok bool) {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	at := countDigits(b)
	if at == 0 || b[0] == '0' && at > 1 {
		return s, false
	}
	if at < len(b) && b[at] == '.' {
		n := countDigits(b[at+1:])
		if n == 0 {
			return s, false
		}
		at += 1 + n
	}
	s.text = b[:at]
	if at < len(b) {
		if b[at] != 'e' && b[at] != 'E' {
			return s, false
		}
		exponent := b[at+1:]
		if len(exponent) > 0 && (exponent[0] == '-' || exponent[0] == '+') {
			exponent = exponent[1:]
		}
		if len(exponent) == 0 || countDigits(exponent) != len(exponent) {
			return s, false
		}
	}
	first := bytes.IndexAny(s.text, "123456789")
	if first < 0 {
		return s, true
	}
	s.count = len(s.text) - first
	if point := bytes.IndexByte(s.text, '.'); point > first {
		s.count--
	}
	return s, true
}

// countDigits returns how many digits b begins with.
func countDigits(b []byte) int {
	for i, c := range b {
		if c-'0' > 9 {
			return i
		}
	}
	return len(b)
}

// parseBool reads true and false as programs write them: in small letters, as Python does, and as spreadsheets do.
func parseBool(b []byte) (value, ok bool) {
	switch string(b) {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}
