package offline

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// records reads all of a CSV text as "line: a|b|…", quoted cells in brackets.
func records(text string) (string, error) {
	// A reader of single bytes finds every place where a line may be cut.
	r, err := newCSVReader("spine s.csv", ',', iotest.OneByteReader(strings.NewReader(text)), SpineLimits{}.withDefaults())
	if err != nil {
		return "", err
	}
	out := strings.Join(r.header, "|")
	for {
		cells, err := r.next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out += fmt.Sprintf("\n%d: ", r.line)
		for i, cell := range cells {
			if i > 0 {
				out += "|"
			}
			if cell.quoted {
				out += "[" + string(cell.text) + "]"
			} else {
				out += string(cell.text)
			}
		}
	}
}

func TestCSVRecords(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a", "a"},
		{"a\n", "a"},
		{"\xef\xbb\xbfa,b\r\n1,2\r\n", "a|b\n2: 1|2"},
		{"a,b\n1,2\n3,4", "a|b\n2: 1|2\n3: 3|4"},
		{"a,b\n,\n\"\",\"x\"\n", "a|b\n2: |\n3: []|[x]"},
		{"\"a\",\"b \"\"c\"\"\"\n\"1,\n2\r\n3\",4\n5,6\n", "a|b \"c\"\n2: [1,\n2\r\n3]|4\n5: 5|6"},
		{"a,b\n\n1,2\n\r\n\n", "a|b\n3: 1|2"},
		{"a\n\n1\n", "a\n2: \n3: 1"},
		{"a,b\n\"x\",\n,\"y\"", "a|b\n2: [x]|\n3: |[y]"},
		{"a,b\n é , ü\n", "a|b\n2:  é | ü"},
		{"a\n\"" + strings.Repeat("long\n", 100_000) + "\"\nz", "a\n2: [" + strings.Repeat("long\n", 100_000) + "]\n100003: z"},
		{"a,b\n" + strings.Repeat("x", 1<<19) + ",y\n", "a|b\n2: " + strings.Repeat("x", 1<<19) + "|y"},
	} {
		got, err := records(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%.40q: %.100q, %v", tt.text, got, err)
		}
	}
}

func TestCSVErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "line 1: the file is empty"},
		{"\xef\xbb\xbf", "line 1: there is no header"},
		{"a,,c\n", "line 1: column 2 has no name"},
		{"\n1,2\n", "line 1: column 1 has no name"},
		{"a,b,a\n", `line 1: columns 1 and 3 are both named "a"`},
		{"a,b\n1,2\n3\n", "line 3: 1 fields, where the header has 2"},
		{"a,b\n1,2\n\n3,4,5\n", "line 4: more fields than the 2 of the header"},
		{"a,b\n\"\"\n", "line 2: 1 fields, where the header has 2"},
		{"a,b\n\"1\n2\",3\n4\n", "line 4: 1 fields"},
		{"a,b\n1,é\"x\"\n", "line 2, column 4: a quote inside a field that does not begin with one"},
		{"a,b\n\"é\"x,2\n", "line 2, column 4: text after a closing quote"},
		{"a,b\n\"1\n\"x,2\n", "line 3, column 2: text after a closing quote"},
		{"a,b\n1,\"2\n3,4\n", "line 2, column 3: a quote that is not closed"},
		{"a,b\n1,2\rx\n", "line 2, column 4: a carriage return that ends no line"},
		{"a,b\n\"1\",2\rx\n", "line 2, column 6: a carriage return that ends no line"},
		{"a,b\r1,2\r", "line 1, column 4: a carriage return that ends no line"},
		{"a,b\n1,é\xffx\n", "line 2, column 4: byte 0xff is not UTF-8"},
		{"a,b\n\"1\n\xc3\",2\n", "line 3, column 1: byte 0xc3 is not UTF-8"},
		{"a,b\n1,\x002\n", "line 2, column 3: a NUL byte"},
		{"\xff\xfea\x00", "is UTF-16, not CSV (save it as CSV in UTF-8)"},
		{"PAR1....", "is a Parquet file, not CSV (say --spine-format parquet)"},
		{"ARROW1\x00\x00", "is an Arrow file, not CSV (say --spine-format arrow)"},
		{"PK\x03\x04....", "an Excel workbook, not CSV"},
		{"\x1f\x8bxx", "unpack gzip"},
	} {
		r, err := newCSVReader("spine s.csv", ',', strings.NewReader(tt.text), SpineLimits{}.withDefaults())
		for err == nil {
			_, err = r.next()
		}
		if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func TestCSVGzipDamage(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprintln(w, "a,b")
	for i := range 10_000 {
		fmt.Fprintf(w, "%d,%d\n", i, i*i)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 2; n < packed.Len(); n += packed.Len() / 50 {
		r, err := newCSVReader("spine s.csv.gz", ',', bytes.NewReader(packed.Bytes()[:n]), SpineLimits{}.withDefaults())
		for err == nil {
			_, err = r.next()
		}
		if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), "unpack gzip") {
			t.Fatalf("cut at %d of %d: %v", n, packed.Len(), err)
		}
	}
}

func TestCSVNumbers(t *testing.T) {
	for _, tt := range []struct {
		text    string
		integer bool
		number  bool
	}{
		{"0", true, true},
		{"-0", false, true},
		{"-1", true, true},
		{"9223372036854775807", true, false},
		{"9223372036854775808", false, true}, // 2^63 is a float64
		{"-9223372036854775808", true, true},
		{"-9223372036854775809", false, false},
		{"18446744073709551616", false, true},
		{"12345678901234567890", false, false},
		{"9007199254740993", true, false},
		{"007", false, false},
		{"-007", false, false},
		{"+1", false, false},
		{"", false, false},
		{"-", false, false},
		{"1.10", false, true},
		{"0.0", false, true},
		{"-0.0", false, true},
		{"0e99", false, true},
		{"1.", false, false},
		{".5", false, false},
		{"1e5", false, true},
		{"1E+05", false, true},
		{"1e", false, false},
		{"1e+", false, false},
		{"1e999", false, false},
		{"1e-999", false, false},
		{"5e-324", false, true},
		{"4.9406564584124654e-324", false, true},
		{"4e-324", false, false},
		{"1.7976931348623157e308", false, true},
		{"0.1", false, true},
		{"0.10000000000000001", false, true},
		{"0.1000000000000000055511151231257827021181583404541015625", false, true},
		{"0.100000000000000001", false, false},
		{"123456789012345678.5", false, false},
		{"1_000", false, false},
		{"0x10", false, false},
		{"NaN", false, false},
		{"inf", false, false},
		{" 1", false, false},
		{"1 ", false, false},
		{"1" + strings.Repeat("0", 2000), false, false},
		{"1" + strings.Repeat("0", 200), false, false},
		{"0." + strings.Repeat("0", 200) + "1", false, true},
	} {
		if _, ok := parseInteger([]byte(tt.text)); ok != tt.integer {
			t.Errorf("%s: an integer: %t", tt.text, ok)
		}
		if _, ok := parseNumber([]byte(tt.text)); ok != tt.number {
			t.Errorf("%s: a number: %t", tt.text, ok)
		}
	}
	if x, ok := parseInteger([]byte("-9223372036854775808")); !ok || x != math.MinInt64 {
		t.Error(x, ok)
	}
}

func TestCSVTypes(t *testing.T) {
	for _, tt := range []struct {
		cells string
		fits  csvFits
		want  csvKind
	}{
		{"1 2 3", csvPlainFits, csvInt64},
		{"1 2.5 3", csvPlainFits, csvFloat64},
		{"9007199254740993 2.5", csvPlainFits, csvString}, // the integer is no float64
		{"2.5 9007199254740993", csvPlainFits, csvString},
		{"1 0123", csvPlainFits, csvString},
		{"true False TRUE", csvPlainFits, csvBool},
		{"true 1", csvPlainFits, csvString},
		{"2001-01-01", csvPlainFits, csvString},
		{"", csvPlainFits, csvString},
		{"1 2", csvTimeFits, csvInt64},
		{"2001-01-01 1999-12-31", csvTimeFits, csvDate},
		{"2001-01-01T00:00:00Z 2001-01-01T00:00:00.5+01", csvTimeFits, csvTimestamp},
		{"2001-01-01T00:00:00 2001-01-01T00:00", csvTimeFits, csvNaive},
		{"2001-01-01T00:00:00.000001000", csvTimeFits, csvNaive},
		{"2001-01-01T00:00:00.0000011", csvTimeFits, csvString},
		{"2001-01-01T00:00:00Z 2001-01-01T00:00:00", csvTimeFits, csvString},
		{"0000-01-01T00:00:00", csvTimeFits, csvString},
		{"1 2001-01-01", csvTimeFits, csvString},
		{"1.5", csvTimeFits, csvString},
	} {
		fits, n := tt.fits, int64(0)
		for _, cell := range strings.Fields(tt.cells) {
			fits = fits.observe([]byte(cell))
			n++
		}
		if got := fits.kind(n); got != tt.want {
			t.Errorf("%s: kind %d, want %d", tt.cells, got, tt.want)
		}
	}
}

// Spine times in CSV: what each form sees of a row at noon, and the type that the column comes out in.
func TestCSVTimes(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, times string
		opts        SpineOptions
		want        []int64 // departures: 3 before noon, null (-1) from then on
		physical    string
	}{
		{"RFC 3339", "2001-01-01T11:59:59.999999Z 2001-01-01T12:00:00+00:00", SpineOptions{}, []int64{3, -1}, "timestamp[us, UTC]"},
		{"offsets", "2001-01-01T12:59:59+01 2001-01-01T13:00:00+0100", SpineOptions{}, []int64{3, -1}, "timestamp[us, UTC]"},
		{"naive", "2001-01-01T06:59:59 2001-01-01T07:00", SpineOptions{Location: newYork}, []int64{3, -1}, "timestamp[us]"},
		{"naive in UTC", "2001-01-01T11:59:59.999999 2001-01-01T12:00:00", SpineOptions{}, []int64{3, -1}, "timestamp[us]"},
		{"finer than microseconds", "2001-01-01T11:59:59.9999999Z 2001-01-01T12:00:00.0000009Z", SpineOptions{}, []int64{3, -1}, "string"},
		{"mixed", "2001-01-01T11:59:59Z 2001-01-01T07:00:00", SpineOptions{Location: newYork}, []int64{3, -1}, "string"},
		{"seconds", "978350399 978350400", SpineOptions{Unit: "s"}, []int64{3, -1}, "INT64"},
		{"nanoseconds", "978350399999999999 978350400000000999", SpineOptions{Unit: "ns"}, []int64{3, -1}, "INT64"},
		{"dates", "2001-01-01 2001-01-01", SpineOptions{At: registry.AtEnd}, []int64{0, 0}, "date"},
		{"dates in a zone", "2001-01-01 2001-01-02", SpineOptions{At: registry.AtStart, Location: newYork}, []int64{0, 0}, "date"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			text := "when,airport,z\n"
			for _, at := range strings.Fields(tt.times) {
				text += at + ",JFK,007\n"
			}
			req := w.csv(t, text)
			req.SpineOptions = tt.opts
			req.Time = "when"
			w.export(t, req)
			if tt.opts.At == "" {
				wantDepartures(t, req.Out, tt.want)
			}
			wantColumn(t, req.Out, "z", vec(stringType, "007", "007"))
			for _, info := range openFile(t, req.Out).Columns() {
				if info.Name == "when" && !strings.Contains(info.Physical, tt.physical) && !(tt.physical == "date" && info.Date) &&
					!(tt.physical == "string" && info.Type == stringType) &&
					!(strings.HasPrefix(tt.physical, "timestamp") && info.Type == timeType && info.Naive == !strings.Contains(tt.physical, "UTC")) {
					t.Errorf("the column comes out as %s, want %s", info.Physical, tt.physical)
				}
			}
		})
	}
}

// csv writes a spine and returns a request for it.
func (w *world) csv(t *testing.T, text string) ExportRequest {
	t.Helper()
	if err := os.WriteFile(w.path("spine.csv"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return w.request("one", w.path("spine.csv"))
}

func TestCSVSpineErrors(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, service, text string
		opts                SpineOptions
		want                []string
	}{
		{"null time", "one", "t,airport\n2001-01-01T00:00:00Z,\"J\nFK\"\n\n,JFK\n", SpineOptions{}, []string{"time column t is null in line 5", "every row"}},
		{
			"no time", "one", "t,airport\n2001-01-01T00:00:00Z,JFK\nyesterday,JFK\n",
			SpineOptions{},
			[]string{`line 3: "yesterday" is not a time`, "2001-01-31T12:00:00Z"},
		},
		{"hour 24", "one", "t,airport\n2001-01-01T24:00:00Z,JFK\n", SpineOptions{}, []string{"line 2", "is not a time"}},
		{"year 0", "one", "t,airport\n0000-01-01T00:00:00Z,JFK\n", SpineOptions{}, []string{"line 2", "years 0001 to 9999"}},
		{"integer without unit", "one", "t,airport\n1,JFK\n", SpineOptions{}, []string{"--time-unit"}},
		{"unit too coarse", "one", "t,airport\n0,JFK\n978350400000000,JFK\n", SpineOptions{Unit: "s"}, []string{"line 3", "check --time-unit"}},
		{"date", "one", "t,airport\n2001-01-01,JFK\n", SpineOptions{}, []string{"--time-at start or --time-at end"}},
		{"some dates", "one", "t,airport\n2001-01-01T00:00Z,JFK\n2001-01-01,JFK\n", SpineOptions{}, []string{"is a date in line 3", "--time-at"}},
		{
			"gap", "one", "t,airport\n2001-01-01 00:00:00,JFK\n2001-03-25 02:30:00,JFK\n",
			SpineOptions{Location: berlin},
			[]string{"line 3", "2001-03-25 02:30:00 does not exist in Europe/Berlin", "with their zone"},
		},
		{
			"fold", "one", "t,airport\n2001-10-28 02:30:00,JFK\n2001-03-25 02:30:00Z,JFK\n",
			SpineOptions{Location: berlin},
			[]string{"line 2", "2001-10-28 02:30:00 exists twice in Europe/Berlin"},
		},
		{"no key", "one", "t,port\n2001-01-01T00:00:00Z,JFK\n", SpineOptions{}, []string{`no key column "airport"`, "port, t"}},
		{"no time column", "one", "T,airport\n2001-01-01T00:00:00Z,JFK\n", SpineOptions{}, []string{`no time column "t"`, `did you mean "T"`}},
		{"key with zeros", "mixed", "t,airport,user\n2001-01-01T00:00:00Z,JFK,1\n2001-01-01T00:00:00Z,JFK,007\n", SpineOptions{}, []string{"line 3", "key column user", `"007" is not an int64`, "leading zeros"}},
		{"key with decimals", "mixed", "t,airport,user\n2001-01-01T00:00:00Z,JFK,1.0\n", SpineOptions{}, []string{"line 2", `"1.0" is not an int64`}},
		{"empty text as key", "mixed", "t,airport,user\n2001-01-01T00:00:00Z,JFK,\"\"\n", SpineOptions{}, []string{"line 2", `"" is not an int64`}},
		{"key out of range", "mixed", "t,airport,user\n2001-01-01T00:00:00Z,JFK,9223372036854775808\n", SpineOptions{}, []string{"is not an int64"}},
		{"ragged", "one", "t,airport\n2001-01-01T00:00:00Z\n", SpineOptions{}, []string{"spine.csv: line 2: 1 fields"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			req := w.csv(t, tt.text)
			req.Service, req.SpineOptions = w.snapshot.Services[tt.service], tt.opts
			req.Time = "t"
			_, err := Export(context.Background(), req)
			if problem.CodeOf(err) == problem.Internal {
				t.Fatalf("%v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// Keys keep the type that the service needs, nulls are not empty texts, and the manifest tells the user's own bytes.
func TestCSVSpine(t *testing.T) {
	w := newWorld(t)
	const at = "2001-01-01T13:00:00Z"
	text := "t,airport,user,x,empty\n" + at + ",JFK,1,1,\n" + at + ",,,2.50,\n" + at + ",\"\",-9,,\n" + at + ",007,2,-0,\n"
	req := w.csv(t, text)
	req.Service = w.snapshot.Services["mixed"]
	report := w.export(t, req)
	if report.Rows != 4 {
		t.Fatalf("%d rows", report.Rows)
	}
	wantColumn(t, req.Out, "airport", vec(stringType, "JFK", nil, "", "007"))
	wantColumn(t, req.Out, "user", vec(int64Type, 1, nil, -9, 2))
	wantColumn(t, req.Out, "x", vec(floatType, 1.0, 2.5, nil, math.Copysign(0, -1)))
	wantColumn(t, req.Out, "empty", vec(stringType, nil, nil, nil, nil))
	wantColumn(t, req.Out, "departures", vec(int64Type, 9, 0, 0, 0))
	wantColumn(t, req.Out, "vip", vec(boolType, true, false, false, nil))
	b, err := os.ReadFile(report.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256Hex([]byte(text)); !bytes.Contains(b, []byte(sum)) {
		t.Errorf("the manifest lacks the spine's digest %s", sum)
	}
	if temps := temporaryFiles(t); len(temps) > 0 {
		t.Errorf("left %v", temps)
	}
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// temporaryFiles lists what conversions left behind.
func temporaryFiles(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "provender-spine-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}
