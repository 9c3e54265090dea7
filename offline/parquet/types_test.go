package parquet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go/deprecated"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

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

// craftedType crafts a file of one value of a logical or converted type.
func craftedType(typ format.Type, length int32, logical format.LogicalTypeValue, value []byte) *crafted {
	c := craftOne(typ, false, 1, format.Plain, value)
	c.elements[0].LogicalType.Value = logical
	if length > 0 {
		c.elements[0].TypeLength = pqthrift.New(length)
	}
	return c
}

// Types that only the logical type tells, only the older converted type, or that go with no physical type: a value is
// what the writer meant, or refused.
func TestTypesOfSchemas(t *testing.T) {
	converted := func(c *crafted, typ deprecated.ConvertedType, scale, precision int32) *crafted {
		e := &c.elements[0]
		e.ConvertedType, e.Scale, e.Precision = pqthrift.New(typ), pqthrift.New(scale), pqthrift.New(precision)
		return c
	}
	text := func(s string) []byte { return plainText(s) }
	four, eight := []byte{0xfb, 0xff, 0xff, 0xff}, plainInt64s(-5)
	for name, test := range map[string]struct {
		file *crafted
		as   string
		want string // the value, or what the error has
	}{
		"decimal by its logical type":        {craftedType(format.Int64, 0, &format.DecimalType{Precision: 10}, eight), "int64", "-5"},
		"a fraction by its logical type":     {craftedType(format.Int64, 0, &format.DecimalType{Precision: 10, Scale: 2}, eight), "int64", "INT64 decimal(10, 2): decimals with a fraction are not read"},
		"decimal by its converted type":      {converted(craftedType(format.Int64, 0, nil, eight), deprecated.Decimal, 0, 10), "int64", "-5"},
		"a fraction by its converted type":   {converted(craftedType(format.Int32, 0, nil, four), deprecated.Decimal, 2, 9), "int32", "INT32 decimal(9, 2): decimals with a fraction are not read"},
		"decimal without precision":          {converted(craftedType(format.Int32, 0, nil, four), deprecated.Decimal, 0, 0), "int32", "the decimal's precision or scale is not valid"},
		"decimal of negative scale":          {craftedType(format.Int64, 0, &format.DecimalType{Precision: 10, Scale: -2}, eight), "int64", "the decimal's precision or scale is not valid"},
		"decimal too wide for its integer":   {craftedType(format.Int32, 0, &format.DecimalType{Precision: 12}, four), "int64", "its logical type is not read"},
		"decimal of a double":                {craftedType(format.Double, 0, &format.DecimalType{Precision: 12}, eight), "float64", "its logical type is not read"},
		"decimal in bytes":                   {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 12}, text("\xfb")), "int64", "-5"},
		"decimal in many bytes":              {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 40}, text("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")), "int64", "-5"},
		"decimal of no bytes":                {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 12}, text("")), "int64", "row 0: an integer beyond"},
		"greatest int64":                     {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 19}, text("\x00\x7f\xff\xff\xff\xff\xff\xff\xff")), "int64", "9223372036854775807"},
		"one more":                           {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 19}, text("\x00\x80\x00\x00\x00\x00\x00\x00\x00")), "int64", "row 0: an integer beyond"},
		"least int64":                        {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 19}, text("\xff\x80\x00\x00\x00\x00\x00\x00\x00")), "int64", "-9223372036854775808"},
		"one less":                           {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 19}, text("\xff\x7f\xff\xff\xff\xff\xff\xff\xff")), "int64", "row 0: an integer beyond"},
		"decimal beyond int32":               {craftedType(format.ByteArray, 0, &format.DecimalType{Precision: 9}, text("\x00\x80\x00\x00\x00")), "int32", "row 0: an integer beyond"},
		"uint64 by its converted type":       {converted(craftedType(format.Int64, 0, nil, eight), deprecated.Uint64, 0, 0), "int64", "row 0: an integer beyond"},
		"uint32 by its converted type":       {converted(craftedType(format.Int32, 0, nil, four), deprecated.Uint32, 0, 0), "int64", "4294967291"},
		"time":                               {craftedType(format.Int32, 0, &format.TimeType{Unit: format.TimeUnit{Value: &format.MilliSeconds{}}}, four), "int32", "INT32 time[ms]: a time of day is not an instant"},
		"interval":                           {converted(craftedType(format.FixedLenByteArray, 12, nil, make([]byte, 12)), deprecated.Interval, 0, 0), "bytes", "intervals are not read"},
		"enum":                               {craftedType(format.ByteArray, 0, &format.EnumType{}, text("ON")), "string", "ON"},
		"JSON":                               {craftedType(format.ByteArray, 0, &format.JsonType{}, text("{}")), "string", "{}"},
		"JSON that is not text":              {craftedType(format.ByteArray, 0, &format.JsonType{}, text("\xff")), "string", "row 0: a string that is not valid UTF-8"},
		"BSON":                               {craftedType(format.ByteArray, 0, &format.BsonType{}, text("\x01")), "bytes", "01"},
		"a string of integers":               {craftedType(format.Int64, 0, &format.StringType{}, eight), "int64", "its logical type is not read"},
		"a date of int64":                    {craftedType(format.Int64, 0, &format.DateType{}, eight), "int64", "its logical type is not read"},
		"a timestamp of int32":               {craftedType(format.Int32, 0, &format.TimestampType{Unit: format.TimeUnit{Value: &format.MilliSeconds{}}}, four), "int32", "its logical type is not read"},
		"a timestamp without unit":           {craftedType(format.Int64, 0, &format.TimestampType{}, eight), "timestamp", "the timestamp's unit is unknown"},
		"an int64 of int32":                  {craftedType(format.Int32, 0, &format.IntType{BitWidth: 64, IsSigned: true}, four), "int64", "its logical type is not read"},
		"a UUID of other length":             {craftedType(format.FixedLenByteArray, 15, &format.UUIDType{}, make([]byte, 15)), "bytes", "its logical type is not read"},
		"a UUID of text":                     {craftedType(format.ByteArray, 0, &format.UUIDType{}, text("a")), "string", "its logical type is not read"},
		"a half of other length":             {craftedType(format.FixedLenByteArray, 4, &format.Float16Type{}, make([]byte, 4)), "float32", "its logical type is not read"},
		"a geometry":                         {craftedType(format.ByteArray, 0, &format.GeometryType{}, text("a")), "bytes", "its logical type is not read; cast the column"},
		"text that an old writer left plain": {craftedType(format.ByteArray, 0, nil, text("é")), "string", "é"},
	} {
		c := column("x", test.as)
		var got string
		if err := readColumn(test.file.bytes(t), c, parquet.Limits{}); err != nil {
			if got = err.Error(); !strings.HasPrefix(got, "x.parquet: ") || !strings.Contains(got, `column "x"`) {
				t.Errorf("%s: the error does not name file and column: %v", name, err)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%s: %v\nwant %s", name, err, test.want)
			}
			continue
		}
		if got := readColumnText(t, test.file.bytes(t), c); fmt.Sprint(got) != "["+test.want+"]" {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}
