package columnar

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The times that a timestamp may have in JSON: years 0001 to 9999 (R1).
const (
	minMicros = -62135596800 * 1e6
	maxMicros = 253402300800*1e6 - 1
)

// ParseJSON returns a vector with the one value that raw holds: null, true, numbers, strings, base64 bytes, RFC 3339
// timestamps, "NaN", "Infinity" and "-Infinity" for floats, arrays for lists. A value that the type cannot hold exactly
// is an error: fractions for integers, times finer than a microsecond, integers that a float rounds.
func ParseJSON(t Type, raw json.RawMessage) (*Vector, error) {
	if t.Kind < Bool || t.Kind > Timestamp {
		return nil, fmt.Errorf("no values of type %s", t)
	}
	// json.Valid also bounds the nesting, and leaves only well-formed tokens for the functions below.
	if !json.Valid(raw) {
		return nil, errors.New("not a JSON value")
	}
	raw = bytes.TrimSpace(raw)
	v := NewVector(t, 1)
	if !t.List {
		if err := v.appendJSONValue(raw); err != nil {
			return nil, err
		}
		return v, nil
	}
	if string(raw) == "null" {
		v.AppendNull()
		return v, nil
	}
	if raw[0] != '[' {
		return nil, fmt.Errorf("want an array for %s, got %s", t, excerpt(raw))
	}
	var elems []json.RawMessage
	if err := json.Unmarshal(raw, &elems); err != nil {
		return nil, err
	}
	for i, e := range elems {
		if err := v.Elem.appendJSONValue(e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	v.EndList()
	return v, nil
}

// appendJSONValue appends one valid JSON token to a vector that is no list.
func (v *Vector) appendJSONValue(raw []byte) error {
	s := string(raw)
	if s == "null" {
		v.AppendNull()
		return nil
	}
	switch v.Type.Kind {
	case Bool:
		if s != "true" && s != "false" {
			return v.mismatch(raw)
		}
		v.AppendBool(s == "true")
		return nil
	case Int32, Int64:
		return v.appendJSONInt(raw)
	case Float32, Float64:
		return v.appendJSONFloat(raw)
	}
	text, err := unquote(raw)
	if err != nil {
		if raw[0] != '"' {
			return v.mismatch(raw)
		}
		return err
	}
	switch v.Type.Kind {
	case String:
		v.AppendString(text)
	case Bytes:
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return fmt.Errorf("want base64, got %s", excerpt(raw))
		}
		v.AppendBytes(b)
	case Timestamp:
		us, err := ParseTimestamp(text)
		if err != nil {
			return err
		}
		v.AppendInt64(us)
	}
	return nil
}

func (v *Vector) appendJSONInt(raw []byte) error {
	size := v.Type.Kind.Width() * 8
	n, err := strconv.ParseInt(string(raw), 10, size)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s is out of the range of %s", excerpt(raw), v.Type)
	case err != nil:
		return v.mismatch(raw)
	case size == 32:
		v.AppendInt32(int32(n))
	default:
		v.AppendInt64(n)
	}
	return nil
}

func (v *Vector) appendJSONFloat(raw []byte) error {
	size := v.Type.Kind.Width() * 8
	var f float64
	switch s := string(raw); {
	case s == `"NaN"`:
		f = math.NaN()
	case s == `"Infinity"`:
		f = math.Inf(1)
	case s == `"-Infinity"`:
		f = math.Inf(-1)
	case raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		return v.mismatch(raw)
	default:
		var err error
		if f, err = strconv.ParseFloat(s, size); err != nil {
			return fmt.Errorf("%s is out of the range of %s", excerpt(raw), v.Type)
		}
		if rounded(s, f, size) {
			return fmt.Errorf("%s has no exact %s", excerpt(raw), v.Type)
		}
	}
	if size == 32 {
		v.AppendFloat32(float32(f))
	} else {
		v.AppendFloat64(f)
	}
	return nil
}

// rounded reports whether the literal s loses more in f than decimal fractions must: an integer that is another one,
// or something that became nothing. The shortest text of a float is that float, whatever its digits.
func rounded(s string, f float64, size int) bool {
	if f == 0 {
		mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
		return strings.ContainsAny(mantissa, "123456789")
	}
	if strings.ContainsAny(s, ".eE") || s == strconv.FormatFloat(f, 'f', -1, size) {
		return false
	}
	want, ok := new(big.Int).SetString(s, 10)
	got, _ := new(big.Float).SetFloat64(f).Int(nil)
	return !ok || want.Cmp(got) != 0
}

func (v *Vector) mismatch(raw []byte) error {
	return fmt.Errorf("want %s, got %s", v.Type, excerpt(raw))
}

// excerpt bounds what an error repeats of its input.
func excerpt(raw []byte) string {
	const limit = 60
	if len(raw) <= limit {
		return string(raw)
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(raw[cut]) {
		cut--
	}
	return string(raw[:cut]) + "…"
}

// unquote returns a JSON string's text, refusing what encoding/json would replace: bytes that are not UTF-8, and halves
// of surrogate pairs.
func unquote(raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", errors.New("want a string")
	}
	if !utf8.Valid(raw) {
		return "", errors.New("a string that is not UTF-8")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if strings.ContainsRune(s, utf8.RuneError) && loneSurrogate(raw) {
		return "", fmt.Errorf("half a surrogate pair in %s", excerpt(raw))
	}
	return s, nil
}

func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		u := hex4(raw[i+1:])
		i += 4
		if u < 0xd800 || u > 0xdfff {
			continue
		}
		if u >= 0xdc00 || i+6 >= len(raw) || raw[i+1] != '\\' || raw[i+2] != 'u' {
			return true
		}
		if low := hex4(raw[i+3:]); low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 6
	}
	return false
}

// hex4 reads four hexadecimal digits of a valid JSON string.
func hex4(b []byte) uint64 {
	u, _ := strconv.ParseUint(string(b[:4]), 16, 16)
	return u
}

// ParseTimestamp reads an RFC 3339 instant of the years 0001 to 9999 as microseconds since 1970. A fraction finer than a
// microsecond is an error.
func ParseTimestamp(s string) (int64, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("want an RFC 3339 time such as 2001-01-31T12:00:00Z, got %s", excerpt(strconv.AppendQuote(nil, s)))
	}
	if _, fraction, ok := strings.Cut(s, "."); ok {
		if end := strings.IndexAny(fraction, "Zz+-"); end > 6 && strings.Trim(fraction[6:end], "0") != "" {
			return 0, fmt.Errorf("%q is finer than a microsecond", s)
		}
	}
	us := t.UnixMicro()
	if us < minMicros || us > maxMicros {
		return 0, fmt.Errorf("%q is not within the years 0001 to 9999", s)
	}
	return us, nil
}

// AppendTimestamp appends an instant as RFC 3339 in UTC, with a fraction only where there is one.
func AppendTimestamp(dst []byte, us int64) []byte {
	return time.UnixMicro(us).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999999Z07:00")
}

// AppendJSON appends value i as ParseJSON reads it. Bytes of a string that are not UTF-8 become U+FFFD.
func AppendJSON(dst []byte, v *Vector, i int) []byte {
	if v.IsNull(i) {
		return append(dst, "null"...)
	}
	if v.Type.List {
		dst = append(dst, '[')
		for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
			if j > v.Offsets[i] {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, v.Elem, int(j))
		}
		return append(dst, ']')
	}
	switch v.Type.Kind {
	case Bool:
		return strconv.AppendBool(dst, v.Bools[i])
	case Int32:
		return strconv.AppendInt(dst, int64(v.Int32s[i]), 10)
	case Int64:
		return strconv.AppendInt(dst, v.Int64s[i], 10)
	case Float32:
		return appendFloat(dst, float64(v.Float32s[i]), 32, true)
	case Float64:
		return appendFloat(dst, v.Float64s[i], 64, true)
	case String:
		return AppendQuoted(dst, v.BytesAt(i))
	case Bytes:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.BytesAt(i)), '"')
	case Timestamp:
		return append(AppendTimestamp(append(dst, '"'), v.Int64s[i]), '"')
	default:
		return append(dst, "null"...)
	}
}

// AppendText appends value i for people and CSV: as JSON, less the quotes; a null is empty, a list stays JSON.
func AppendText(dst []byte, v *Vector, i int) []byte {
	if v.IsNull(i) {
		return dst
	}
	if v.Type.List {
		return AppendJSON(dst, v, i)
	}
	switch v.Type.Kind {
	case Float32:
		return appendFloat(dst, float64(v.Float32s[i]), 32, false)
	case Float64:
		return appendFloat(dst, v.Float64s[i], 64, false)
	case String:
		return append(dst, v.BytesAt(i)...)
	case Bytes:
		return base64.StdEncoding.AppendEncode(dst, v.BytesAt(i))
	case Timestamp:
		return AppendTimestamp(dst, v.Int64s[i])
	default:
		return AppendJSON(dst, v, i)
	}
}

// AppendFloatJSON appends a float64 as AppendJSON does.
func AppendFloatJSON(dst []byte, f float64) []byte { return appendFloat(dst, f, 64, true) }

// appendFloat appends the shortest text that reads back as f, in ECMAScript's form, which JSON numbers share.
func appendFloat(dst []byte, f float64, size int, quoted bool) []byte {
	name := ""
	switch {
	case math.IsNaN(f):
		name = "NaN"
	case math.IsInf(f, 1):
		name = "Infinity"
	case math.IsInf(f, -1):
		name = "-Infinity"
	}
	switch {
	case name != "" && quoted:
		return append(append(append(dst, '"'), name...), '"')
	case name != "":
		return append(dst, name...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, size)
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends s as a JSON string; bytes that are not UTF-8 become U+FFFD. U+2028 and U+2029 are escaped, as JavaScript wants them.
func AppendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		if c := s[0]; c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			case c < ' ' || c == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				dst = append(dst, c)
			}
			s = s[1:]
			continue
		}
		r, n := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, '\\', 'u', '2', '0', '2', hexDigits[r&15])
		default:
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
	return append(dst, '"')
}
