package offline

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// Every limit that a spine meets is named, and is one that the request sets.
func TestSpineLimits(t *testing.T) {
	const at = "2001-01-01T12:00:00Z,JFK,"
	wide := arrowFields{[]arrow.Field{{Name: "x", Type: arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.Null, Nullable: true}, arrow.Field{Name: "b", Type: arrow.Null, Nullable: true},
	), Nullable: true}}, func(b *array.RecordBuilder) { b.Field(2).AppendNulls(3) }}
	for _, tt := range []struct {
		name, file string
		content    []byte
		limits     SpineLimits
		want       string
	}{
		{"line", "s.csv", []byte("t,airport,x\n" + at + strings.Repeat("x", 100)), SpineLimits{CSVRecord: 100}, "line 2: a line of more than 100 bytes (limits.csv_record)"},
		{
			"quote", "s.csv", []byte("t,airport,x\n" + at + "\"" + strings.Repeat("xxxxx\n", 50)),
			SpineLimits{CSVRecord: 100},
			"line 2, column 26: a quote that is not closed within a record of 100 bytes (limits.csv_record)",
		},
		{
			"many quotes", "s.csv", []byte("t,airport,x,y,z\n" + at + strings.Repeat("\"xxxxxxxxxxxxxxxxxxxxxxxx\nxxxxxxxxxxxxxxxxxxxxxxxx\",", 3)),
			SpineLimits{CSVRecord: 100},
			"limits.csv_record",
		},
		{"header", "s.csv", []byte("t,airport,x,y\n"), SpineLimits{SpineColumns: 3}, "line 1: more columns than the limit of 3 (limits.spine_columns)"},
		{"header in quotes", "s.csv", []byte("\"t\",airport,x,y\n"), SpineLimits{SpineColumns: 3}, "line 1: more columns than the limit of 3 (limits.spine_columns)"},
		{"rows of CSV", "s.csv", []byte("t,airport\n" + strings.Repeat("2001-01-01T12:00:00Z,JFK\n", 3)), SpineLimits{SpineRows: 2}, "more rows than the limit of 2 (limits.spine_rows)"},
		{"rows of Arrow", "s.arrow", arrowSpine(t, true, 2, oddFields), SpineLimits{SpineRows: 5}, "more rows than the limit of 5 (limits.spine_rows)"},
		{"fields", "s.arrow", arrowSpine(t, true, 1, wide), SpineLimits{SpineColumns: 3}, "4 columns are over the limit of 3 (limits.spine_columns)"},
		{"batch of a stream", "s.arrow", arrowSpine(t, true, 1, oddFields), SpineLimits{ArrowBatch: 200}, "over the limit of 200 (limits.arrow_batch)"},
		{"batch of a file", "s.arrow", arrowSpine(t, false, 1, oddFields), SpineLimits{ArrowBatch: 200}, "over the limit of 200 (limits.arrow_batch)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.WriteFile(w.path(tt.file), tt.content, 0o644); err != nil {
				t.Fatal(err)
			}
			req := w.request("one", w.path(tt.file))
			req.SpineLimits = tt.limits
			_, err := Export(context.Background(), req)
			if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(fmt.Sprint(err), tt.want) || !strings.Contains(err.Error(), "raise the limit") {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
	w := newWorld(t)
	writeFile(t, w.path("spine.parquet"), 100, field{"t", vec(timeType, noon)}, field{"airport", vec(stringType, "JFK")}, field{"x", vec(stringType, nil)})
	req := w.request("one", w.path("spine.parquet"))
	req.SpineColumns = 2
	_, err := Export(context.Background(), req)
	wantInvalid(t, "columns of Parquet", err, "3 columns are over the limit of 2 (limits.spine_columns)")
	req.SpineColumns, req.SpineRows = 0, 0
	writeFile(t, w.path("spine.parquet"), 100, field{"t", vec(timeType, noon, noon)}, field{"airport", vec(stringType, "JFK", "long")})
	req.SpineRows = 1
	_, err = Export(context.Background(), req)
	wantInvalid(t, "rows of Parquet", err, "more rows than the limit of 1 (limits.spine_rows)")
	req.SpineRows, req.Limits = 0, parquet.Limits{ValueBytes: 2}
	_, err = Export(context.Background(), req)
	wantInvalid(t, "values of Parquet", err, "limits.parquet_value")
}

// A footer that claims more rows than there are costs no memory.
func TestSpineOfRowsThatAreNotThere(t *testing.T) {
	const groups, rows = 500, 1 << 27
	w := newWorld(t)
	path := w.path("spine.parquet")
	writeFile(t, path, 100, field{"t", vec(timeType, noon)}, field{"airport", vec(stringType, "JFK")})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b) - 8
	footer := end - int(binary.LittleEndian.Uint32(b[end:]))
	var meta format.FileMetaData
	if err := pqthrift.Unmarshal(new(pqthrift.CompactProtocol), b[footer:end], &meta); err != nil {
		t.Fatal(err)
	}
	group := meta.RowGroups[0]
	meta.RowGroups, meta.NumRows = nil, 0
	at := int64(4)
	for range groups {
		g := group
		g.NumRows, g.Columns = rows, slices.Clone(group.Columns)
		for i := range g.Columns {
			c := &g.Columns[i].MetaData
			c.NumValues, c.DataPageOffset, c.TotalCompressedSize = rows, at, 1
			at++
		}
		meta.RowGroups = append(meta.RowGroups, g)
		meta.NumRows += rows
	}
	raw, err := pqthrift.Marshal(new(pqthrift.CompactProtocol), meta)
	if err != nil {
		t.Fatal(err)
	}
	lie := slices.Concat(b[:footer], make([]byte, at), raw, binary.LittleEndian.AppendUint32(nil, uint32(len(raw))), []byte("PAR1"))
	if err := os.WriteFile(path, lie, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{0, groups * rows} {
		req := w.request("one", path)
		req.SpineRows = limit
		_, err = Export(context.Background(), req)
		wantInvalid(t, "rows that are not there", err, "spine.parquet")
	}
}

// A CSV record of commas alone takes memory for no more fields than there are columns.
func TestCSVFieldsTakeNoMemory(t *testing.T) {
	text := bytes.Repeat([]byte(","), 32<<20)
	for _, header := range []string{"", "a,b\n", "\"a\",b\n"} {
		allocated := allocatedBy(func() {
			r, err := newCSVReader("spine s.csv", ',', bytes.NewReader(append([]byte(header), text...)), SpineLimits{}.withDefaults())
			for err == nil {
				_, err = r.next()
			}
			if !strings.Contains(err.Error(), "line ") {
				t.Error(err)
			}
		})
		if allocated > 300<<20 {
			t.Errorf("%q: %d bytes were allocated", header, allocated)
		}
	}
}

func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A spine with many columns names a few of them where one is missing.
func TestManyColumnsInMessages(t *testing.T) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("column_%04d", i)
	}
	err := missingColumn("spine s.csv", "colunm_0007", "key", names)
	wantInvalid(t, "missing", err, `no key column "colunm_0007"`, "column_0049 and 950 more", `did you mean "column_0007"`)
	if len(err.Error()) > 1000 {
		t.Errorf("a message of %d characters", len(err.Error()))
	}
}
