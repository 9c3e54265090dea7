package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	parquetgo "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// Lists of old writers: a bare repeated column, and LIST with two levels.
func TestOldLists(t *testing.T) {
	two := parquetgo.Group{"array": parquetgo.Repeated(parquetgo.Int(64))}
	schema := parquetgo.NewSchema("old", parquetgo.Group{
		"bare": parquetgo.Repeated(parquetgo.Int(64)),
		"two":  parquetgo.Optional(two),
	})
	type row struct {
		Bare []int64 `parquet:"bare"`
		Two  *struct {
			Array []int64 `parquet:"array"`
		} `parquet:"two,optional"`
	}
	list := func(v ...int64) *struct {
		Array []int64 `parquet:"array"`
	} {
		return &struct {
			Array []int64 `parquet:"array"`
		}{v}
	}
	rows := []row{{[]int64{1, 2}, list(3)}, {nil, nil}, {[]int64{}, list()}, {[]int64{4}, list(5, 6, 7)}}
	var buf bytes.Buffer
	w := parquetgo.NewGenericWriter[row](&buf, schema, parquetgo.PageBufferSize(16))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"bare": "[[1 2] [] [] [4]]", "two.array": "[[3] [] [] [5 6 7]]"}
	for name, want := range names {
		r := bind(t, buf.Bytes(), "old.parquet", column(name, "list<int64>"))
		v := columnar.NewVector(columnar.Type{Kind: columnar.Int64, List: true}, 0)
		if err := r.Read(context.Background(), 0, 0, v); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(fmt.Sprint(texts(v)), "<nil>", "[]")
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Two files of one view may differ in column order, in the width of a type, and in what is optional.
func TestDrift(t *testing.T) {
	type first struct {
		A int32   `parquet:"a"`
		B float32 `parquet:"b"`
		C string  `parquet:"c"`
	}
	type second struct {
		C string  `parquet:"c"`
		B float64 `parquet:"b"`
		A int64   `parquet:"a"`
	}
	type third struct {
		A string  `parquet:"a"`
		B float64 `parquet:"b"`
	}
	write := func(rows any) []byte {
		var buf bytes.Buffer
		var err error
		switch rows := rows.(type) {
		case []first:
			err = parquetgo.Write(&buf, rows)
		case []second:
			err = parquetgo.Write(&buf, rows)
		case []third:
			err = parquetgo.Write(&buf, rows)
		}
		if err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	a, b, c := column("a", "int64"), column("b", "float64"), column("c", "string")
	c.Optional = true
	var got []any
	for _, file := range [][]byte{write([]first{{1, 1.5, "x"}}), write([]second{{"y", 2.5, 2}})} {
		r := bind(t, file, "x.parquet", a, b, c)
		for i, w := range []parquet.Column{a, b, c} {
			v := columnar.NewVector(w.Type, 0)
			if err := r.Read(context.Background(), 0, i, v); err != nil {
				t.Fatal(err)
			}
			got = append(got, texts(v)...)
		}
	}
	if diff := cmp.Diff([]any{"1", "3ff8000000000000", "x", "2", "4004000000000000", "y"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f, err := open(write([]third{{"1", 1}}), "third.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bind([]parquet.Column{a}); err == nil || !strings.Contains(err.Error(),
		`third.parquet: column "a": the file has BYTE_ARRAY string, which is string, not int64`) {
		t.Errorf("%v", err)
	}
}

// A zone with a gap: the error names row group and row, and the settings decide.
func TestAmbiguousRows(t *testing.T) {
	type row struct {
		T int64 `parquet:"t"`
	}
	schema := parquetgo.NewSchema("t", parquetgo.Group{"t": parquetgo.TimestampAdjusted(parquetgo.Microsecond, false)})
	var buf bytes.Buffer
	w := parquetgo.NewGenericWriter[row](&buf, schema)
	// 2001-04-01 02:30 does not exist in New York, 2001-10-28 01:30 exists twice.
	var rows []row
	for _, local := range []string{"2001-04-01 03:30:00", "2001-04-01 02:30:00", "2001-10-28 01:30:00"} {
		at, err := time.Parse(time.DateTime, local)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{at.UnixMicro()})
	}
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ny, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ambiguous registry.Ambiguous
		want      string
	}{
		{registry.AmbiguousError, `x.parquet: row group 0: column "t": row 1: the local time 2001-04-01 02:30:00 does not exist in America/New_York; say ambiguous: earliest or latest`},
		{registry.AmbiguousEarliest, "[2001-04-01 07:30:00 2001-04-01 06:30:00 2001-10-28 05:30:00]"},
		{registry.AmbiguousLatest, "[2001-04-01 07:30:00 2001-04-01 07:30:00 2001-10-28 06:30:00]"},
	} {
		c := column("t", "timestamp")
		c.Location, c.Ambiguous = ny, test.ambiguous
		r := bind(t, buf.Bytes(), "x.parquet", c)
		v := columnar.NewVector(c.Type, 0)
		var got string
		if err := r.Read(context.Background(), 0, 0, v); err != nil {
			got = err.Error()
		} else {
			var instants []string
			for _, at := range v.Int64s {
				instants = append(instants, time.UnixMicro(at).UTC().Format(time.DateTime))
			}
			got = fmt.Sprint(instants)
			least, greatest, ok := r.Bounds(0, 0)
			if ok && (least > v.Int64s[1] || greatest < v.Int64s[2]) {
				t.Errorf("%s: bounds %d and %d of %v", test.ambiguous, least, greatest, v.Int64s)
			}
		}
		if got != test.want {
			t.Errorf("%s: %s\nwant %s", test.ambiguous, got, test.want)
		}
	}
}
