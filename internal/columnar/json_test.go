package columnar_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
)

func TestParseJSON(t *testing.T) {
	for _, c := range []struct{ typ, in, out string }{ // out "": an error
		{"bool", "true", "true"},
		{"bool", " false\n", "false"},
		{"bool", "1", ""},
		{"bool", `"true"`, ""},
		{"bool", "null", "null"},
		{"int32", "2147483647", "2147483647"},
		{"int32", "-2147483648", "-2147483648"},
		{"int32", "2147483648", ""},
		{"int64", "9223372036854775807", "9223372036854775807"},
		{"int64", "-9223372036854775808", "-9223372036854775808"},
		{"int64", "9223372036854775808", ""},
		{"int64", "9007199254740993", "9007199254740993"},
		{"int64", "1.0", ""},
		{"int64", "1e3", ""},
		{"int64", `"1"`, ""},
		{"int64", "01", ""},
		{"int64", "", ""},
		{"int64", "-0", "0"},
		{"int64", "1 2", ""},
		{"int64", "[1]", ""},
		{"int64", "{}", ""},
		{"int64", strings.Repeat("9", 1000), ""},
		{"float64", "0.1", "0.1"},
		{"float64", "1", "1"},
		{"float64", "-0", "-0"},
		{"float64", "-0.0", "-0"},
		{"float64", "1e400", ""},
		{"float64", "1e-400", ""},
		{"float64", "0e400", "0"},
		{"float64", "5e-324", "5e-324"},
		{"float64", "9007199254740992", "9007199254740992"},
		{"float64", "9007199254740993", ""},
		{"float64", "123456789012345680000", "123456789012345680000"},
		{"float64", "123456789012345683968", "123456789012345680000"},
		{"float64", `"NaN"`, `"NaN"`},
		{"float64", `"Infinity"`, `"Infinity"`},
		{"float64", `"-Infinity"`, `"-Infinity"`},
		{"float64", `"nan"`, ""},
		{"float64", "NaN", ""},
		{"float64", "1e21", "1e+21"},
		{"float64", "1E-7", "1e-07"},
		{"float64", "true", ""},
		{"float32", "0.1", "0.1"},
		{"float32", "16777216", "16777216"},
		{"float32", "16777217", ""},
		{"float32", "1e39", ""},
		{"float32", "1e-50", ""},
		{"string", `"a\u00e9\ud83d\ude00\n\""`, `"aé😀\n\""`},
		{"string", `""`, `""`},
		{"string", "1", ""},
		{"string", "null", "null"},
		{"string", `"\ud800"`, ""},
		{"string", `"\ud800x"`, ""},
		{"string", `"\udc00\ud800"`, ""},
		{"string", `"\ud800\u0041"`, ""},
		{"string", `"\\ud800"`, `"\\ud800"`},
		{"string", `"\ufffd"`, "\"\ufffd\""},
		{"string", "\"\xff\"", ""},
		{"string", "\"\ufffd\"", "\"\ufffd\""},
		{"string", `"\u0000\u001f\u007f\u2028"`, `"\u0000\u001f\u007f\u2028"`},
		{"string", "[]", ""},
		{"bytes", `"aGk="`, `"aGk="`},
		{"bytes", `""`, `""`},
		{"bytes", `"aGk"`, ""},
		{"bytes", `"aGl="`, ""},
		{"bytes", `"a-_="`, ""},
		{"bytes", `"aG\nk="`, ""},
		{"bytes", "1", ""},
		{"timestamp", `"2001-01-31T12:00:00Z"`, `"2001-01-31T12:00:00Z"`},
		{"timestamp", `"2001-01-31T12:00:00.000001+01:00"`, `"2001-01-31T11:00:00.000001Z"`},
		{"timestamp", `"2001-01-31T12:00:00.1234567Z"`, ""},
		{"timestamp", `"2001-01-31T12:00:00.123456000000Z"`, `"2001-01-31T12:00:00.123456Z"`},
		{"timestamp", `"2001-01-31T12:00:00.0000000001Z"`, ""},
		{"timestamp", `"2001-01-31"`, ""},
		{"timestamp", `"2001-01-31T12:00:00"`, ""},
		{"timestamp", `"2001-02-30T12:00:00Z"`, ""},
		{"timestamp", "980942400000000", ""},
		{"timestamp", `"0001-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`},
		{"timestamp", `"0001-01-01T00:00:00+01:00"`, ""},
		{"timestamp", `"0000-12-31T23:59:59Z"`, ""},
		{"timestamp", `"9999-12-31T23:59:59.999999Z"`, `"9999-12-31T23:59:59.999999Z"`},
		{"timestamp", `"9999-12-31T23:59:59-01:00"`, ""},
		{"timestamp", `"2001-01-31T12:00:60Z"`, ""},
		{"timestamp", `"1969-12-31T23:59:59.999999Z"`, `"1969-12-31T23:59:59.999999Z"`},
		{"list<int64>", "[1, 2,null]", "[1,2,null]"},
		{"list<int64>", "[]", "[]"},
		{"list<int64>", "null", "null"},
		{"list<int64>", "1", ""},
		{"list<int64>", "[1.5]", ""},
		{"list<int64>", "[[1]]", ""},
		{"list<string>", `["a", ""]`, `["a",""]`},
		{"list<float32>", `["NaN", -0]`, `["NaN",-0]`},
		{"list<string>", strings.Repeat("[", 100000), ""},
		{"list<int64>", `{"0": 1}`, ""},
	} {
		typ, err := columnar.ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		v, err := columnar.ParseJSON(typ, json.RawMessage(c.in))
		if err != nil {
			if v != nil || c.out != "" {
				t.Errorf("%s %.60s: %v, %v", c.typ, c.in, v, err)
			}
			if len(err.Error()) > 300 {
				t.Errorf("%s: the error has %d bytes", c.typ, len(err.Error()))
			}
			continue
		}
		if got := string(columnar.AppendJSON(nil, v, 0)); v.Len() != 1 || got != c.out {
			t.Errorf("%s %.60s: got %s, want %q", c.typ, c.in, got, c.out)
		}
	}
	if _, err := columnar.ParseJSON(columnar.Type{}, json.RawMessage("1")); err == nil {
		t.Error("a value without a type")
	}
}

func TestAppendText(t *testing.T) {
	for _, c := range []struct{ typ, in, text string }{
		{"string", `"a, \"b\"\n"`, "a, \"b\"\n"},
		{"string", "null", ""},
		{"bytes", `"aGk="`, "aGk="},
		{"float64", `"NaN"`, "NaN"},
		{"float32", `"-Infinity"`, "-Infinity"},
		{"float64", "-0", "-0"},
		{"timestamp", `"2001-01-31T12:00:00Z"`, "2001-01-31T12:00:00Z"},
		{"list<string>", `["a","NaN"]`, `["a","NaN"]`},
		{"list<float64>", `["NaN"]`, `["NaN"]`},
		{"bool", "true", "true"},
		{"int64", "-1", "-1"},
	} {
		typ, _ := columnar.ParseType(c.typ)
		v, err := columnar.ParseJSON(typ, json.RawMessage(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(columnar.AppendText([]byte(">"), v, 0)); got != ">"+c.text {
			t.Errorf("%s %s: got %q", c.typ, c.in, got)
		}
	}
}

// Every value of every type survives JSON bit for bit, except the payload of a NaN.
func TestJSONRoundTrip(t *testing.T) {
	r := testenv.Rand(t)
	for _, name := range columnar.TypeNames() {
		typ, err := columnar.ParseType(name)
		if err != nil {
			t.Fatal(err)
		}
		v := columnar.NewVector(typ, 0)
		for range 2000 {
			appendRandom(r, v)
		}
		for i := range v.Len() {
			raw := columnar.AppendJSON(nil, v, i)
			if !json.Valid(raw) {
				t.Fatalf("%s: %s is not JSON", name, raw)
			}
			back, err := columnar.ParseJSON(typ, raw)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, raw, err)
			}
			if !v.EqualAt(i, back, 0) {
				t.Fatalf("%s: %s becomes %s", name, raw, columnar.AppendJSON(nil, back, 0))
			}
		}
	}
}

// The years 0001 and 9999 are the first and the last.
var (
	minMicros = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxMicros = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1
)

func appendRandom(r *rand.Rand, v *columnar.Vector) {
	if r.IntN(10) == 0 {
		v.AppendNull()
		return
	}
	if v.Type.List {
		for range r.IntN(4) {
			appendRandom(r, v.Elem)
		}
		v.EndList()
		return
	}
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(r.IntN(2) == 0)
	case columnar.Int32:
		v.AppendInt32(int32(r.Uint32()) >> r.IntN(32))
	case columnar.Int64:
		v.AppendInt64(int64(r.Uint64()) >> r.IntN(64))
	case columnar.Timestamp:
		edges := []int64{minMicros, maxMicros, -1, 0, 1}
		if i := r.IntN(20); i < len(edges) {
			v.AppendInt64(edges[i])
		} else {
			v.AppendInt64(minMicros + r.Int64N(maxMicros-minMicros+1))
		}
	case columnar.Float32:
		f := math.Float32frombits(r.Uint32())
		if r.IntN(2) == 0 {
			f = float32(int32(r.Uint32()))
		}
		if f != f {
			f = float32(math.NaN())
		}
		v.AppendFloat32(f)
	case columnar.Float64:
		f := math.Float64frombits(r.Uint64())
		switch r.IntN(4) {
		case 0:
			f = float64(int64(r.Uint64()))
		case 1:
			f = math.Copysign(0, f)
		}
		if f != f {
			f = math.NaN()
		}
		v.AppendFloat64(f)
	case columnar.String:
		runes := make([]rune, r.IntN(6))
		for i := range runes {
			runes[i] = []rune{rune(r.IntN(128)), rune(r.IntN(0xd800)), 0xe000 + rune(r.IntN(0x2000)), 0x10000 + rune(r.IntN(0x1000))}[r.IntN(4)]
		}
		v.AppendString(string(runes))
	case columnar.Bytes:
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		v.AppendBytes(b)
	}
}

// Bytes of a string column need not be UTF-8; the output is JSON nevertheless.
func TestAppendJSONOfBrokenString(t *testing.T) {
	v := columnar.NewVector(columnar.Type{Kind: columnar.String}, 1)
	v.AppendString("a\xffb\xe2\x82")
	got := columnar.AppendJSON(nil, v, 0)
	if string(got) != `"a\ufffdb\ufffd\ufffd"` || !json.Valid(got) {
		t.Errorf("%s", got)
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{"1", "-0.0", `"NaN"`, `"\ud800\udc00"`, "[1,null]", `"2001-01-31T12:00:00.5Z"`, `"aGk="`, "null", "true"} {
		f.Add(uint8(2), false, []byte(s))
	}
	f.Fuzz(func(t *testing.T, kind uint8, list bool, raw []byte) {
		v, err := columnar.ParseJSON(columnar.Type{Kind: columnar.Kind(kind), List: list}, raw)
		if err != nil {
			return
		}
		text := columnar.AppendJSON(nil, v, 0)
		back, err := columnar.ParseJSON(v.Type, text)
		if err != nil || !v.EqualAt(0, back, 0) {
			t.Errorf("%s: %q becomes %s (%v)", v.Type, raw, text, err)
		}
	})
}
