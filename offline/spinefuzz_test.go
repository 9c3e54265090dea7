package offline

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// A CSV text is refused with a reason, or its records, written with quotes, are read again as they were.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"a\n", "\xef\xbb\xbfa,b\r\n1,2\r\n", "a,b\n\"x\",\n,\"y\"", "\"a\",\"b \"\"c\"\"\"\n\"1,\n2\r\n3\",4\n\n5,6\n", "a\n\n1\n", "a,b\n1,\"2\n3,4\n", "a,b\n1,2\rx\n",
	} {
		f.Add(text)
	}
	read := func(text string) (records [][]string, err error) {
		r, err := newCSVReader("spine s.csv", ',', strings.NewReader(text), SpineLimits{CSVRecord: 1 << 16, SpineColumns: 100}.withDefaults())
		if err != nil {
			return nil, err
		}
		records = append(records, r.header)
		for {
			cells, err := r.next()
			if errors.Is(err, io.EOF) {
				return records, nil
			}
			if err != nil {
				return nil, err
			}
			var record []string
			for _, cell := range cells {
				record = append(record, string(cell.text))
			}
			records = append(records, record)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		records, err := read(text)
		if err != nil {
			if problem.CodeOf(err) == problem.Internal {
				t.Fatal(err)
			}
			return
		}
		var again strings.Builder
		for _, record := range records {
			for i, cell := range record {
				if i > 0 {
					again.WriteByte(',')
				}
				again.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
			}
			again.WriteByte('\n')
		}
		if again.Len() > 1<<16 {
			return
		}
		same, err := read(again.String())
		if err != nil || len(same) != len(records) {
			t.Fatalf("%q: %d records, then %d: %v", text, len(records), len(same), err)
		}
		for i := range records {
			if strings.Join(records[i], "\x00") != strings.Join(same[i], "\x00") {
				t.Fatalf("%q: record %d is %q, then %q", text, i, records[i], same[i])
			}
		}
	})
}

// A time as RFC 3339 has it is what Go's library says.
func FuzzCivil(f *testing.F) {
	for _, text := range []string{
		"2001-01-31T12:00:00Z", "2001-01-31 12:00:00.0000019+01:00", "2000-02-29", "2001-01-31T12:00", "9999-12-31T23:59:59.999999999-23:59", "0000-01-01T00:00Z",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseCivil([]byte(text))
		want, wantErr := time.Parse(time.RFC3339Nano, text)
		if wantErr == nil && err == nil && (got.seconds-got.offset != want.Unix() || got.micros != int64(want.Nanosecond())/1000) {
			t.Fatalf("%q: %+v, want %v", text, got, want)
		}
		// The library takes offsets of a day, a comma for the point and hours of one digit.
		if wantErr == nil && err != nil && len(text) == len("2001-01-31T12:00:00Z") {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
