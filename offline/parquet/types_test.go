package parquet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

func TestColumns(t *testing.T) {
	f, err := open(load(t, "unreadable.parquet"), "unreadable.parquet", source.Partition{Name: "month", Value: "2001-01"})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, c := range f.Columns() {
		got += fmt.Sprintf("%s: %s: %s: %s\n", c.Name, c.Physical, c.Type, c.Reason)
	}
	want := `ok: INT64: int64: 
u64: INT64 uint64: int64: 
money: FIXED_LEN_BYTE_ARRAY(2) decimal(3, 2): invalid: decimals with a fraction are not read, because float64 would not hold them exactly; cast the column to float64 or string, or to an integer of the smallest unit
huge: FIXED_LEN_BYTE_ARRAY(16) decimal(38, 0): int64: 
day: INT32 date: timestamp: 
clock: INT64 time[us]: invalid: a time of day is not an instant; cast the column to int64
id: FIXED_LEN_BYTE_ARRAY(16) uuid: string: 
map.key_value.key: BYTE_ARRAY string: invalid: maps are not read; write the keys that are features as columns of their own
map.key_value.value: INT64: invalid: maps are not read; write the keys that are features as columns of their own
structs.a: list of INT64: list<int64>: 
nested.list.element.list.element: INT64: invalid: lists of lists are not read; flatten them, or write one row per inner list
latin1: BYTE_ARRAY: bytes: 
month: partition: string: 
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBindErrors(t *testing.T) {
	rounded := func(c parquet.Column) parquet.Column { c.Round = parquet.RoundUp; return c }
	at := func(c parquet.Column, at registry.DayEnd) parquet.Column { c.At = at; return c }
	for _, test := range []struct {
		file   string
		column parquet.Column
		want   string
	}{
		{"unreadable.parquet", column("u64", "int32"), `unreadable.parquet: column "u64": the file has INT64 uint64, which is int64, not int32`},
		{"unreadable.parquet", column("money", "float64"), `column "money": FIXED_LEN_BYTE_ARRAY(2) decimal(3, 2): decimals with a fraction are not read`},
		{"unreadable.parquet", column("huge", "float64"), `decimal(38, 0), which is int64, not float64`},
		{"unreadable.parquet", column("clock", "int64"), `INT64 time[us]: a time of day is not an instant; cast the column to int64`},
		{"unreadable.parquet", column("id", "int64"), `uuid, which is string, not int64`},
		{"unreadable.parquet", column("map", "string"), `column "map": maps are not read; write the keys`},
		{"unreadable.parquet", column("nested", "list<int64>"), `column "nested": lists of lists are not read; flatten them`},
		{"unreadable.parquet", column("structs", "list<int64>"), `column "structs" is a group of columns (name one of them: structs.a)`},
		{"unreadable.parquet", column("map.key_value.key", "string"), `maps are not read`},
		{"unreadable.parquet", column("okay", "int64"), `unreadable.parquet: column "okay" is not in the file (it has ok, u64,`},
		{"unreadable.parquet", column("ok", "int32"), `the file has INT64, which is int64, not int32; only int32 widens`},
		{"unreadable.parquet", column("ok", "float64"), `int64, not float64`},
		{"unreadable.parquet", column("ok", "timestamp"), `int64, not timestamp`},
		{"unreadable.parquet", column("ok", "list<int64>"), `int64, not list<int64>`},
		{"none-v1-dict.parquet", column("f64", "float32"), `float64, not float32`},
		{"none-v1-dict.parquet", column("word", "bytes"), `string, not bytes`},
		{"none-v1-dict.parquet", column("ints", "int64"), `list<int64>, not int64`},
		{"none-v1-dict.parquet", column("ints", "list<int32>"), `list<int64>, not list<int32>`},
		{"none-v1-dict.parquet", column("day", "timestamp"), `INT32 date is a day, not an instant: cast the column to a timestamp`},
		{"none-v1-dict.parquet", rounded(column("day", "timestamp")), `INT32 date is a day, not an instant: say at: start or at: end`},
		{"none-v1-dict.parquet", column("day", "int32"), `INT32 date, which is timestamp, not int32`},
		{"none-v1-dict.parquet", at(column("us_utc", "timestamp"), registry.AtEnd), "is an instant: `at: end` is for DATE columns"},
		{"none-v1-dict.parquet", column("at", "float64"), `is a group of columns (name one of them: at.lat, at.deep.n, at.tags)`},
	} {
		f, err := open(load(t, test.file), test.file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Bind([]parquet.Column{test.column})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s as %s: %v\nwant: %s", test.column.Name, test.column.Type, err, test.want)
		}
		if problem.CodeOf(err) != problem.Precondition {
			t.Errorf("%s: code %d", test.column.Name, problem.CodeOf(err))
		}
	}
}

// An integer that int64 can't hold is an error that names its row, and never another number.
func TestIntegersOutOfRange(t *testing.T) {
	r := bind(t, load(t, "unreadable.parquet"), "u.parquet", column("u64", "int64"), column("huge", "int64"))
	for i, name := range []string{"u64", "huge"} {
		want := fmt.Sprintf("u.parquet: row group 0: column %q: row 1: an integer beyond what its type here holds", name)
		v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
		if err := r.Read(context.Background(), 0, i, v); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// UUIDs are strings in one spelling, or their bytes.
func TestUUID(t *testing.T) {
	r := bind(t, load(t, "unreadable.parquet"), "u.parquet", column("id", "string"), column("id", "bytes"))
	for i, want := range []string{"[00000000-0000-0000-0000-000000000001 <nil>]", "[00000000000000000000000000000001 <nil>]"} {
		v := columnar.NewVector(columnar.Type{Kind: []columnar.Kind{columnar.String, columnar.Bytes}[i]}, 0)
		if err := r.Read(context.Background(), 0, i, v); err != nil || fmt.Sprint(texts(v)) != want {
			t.Errorf("%v, %v, want %s", err, texts(v), want)
		}
	}
}
