package parquet_test

import (
	"context"
	"encoding/binary"
	"math"
	"testing"
	"time"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// boundsOf returns the bounds of a file's one column.
func boundsOf(t *testing.T, c *crafted, col parquet.Column) (least, greatest parquet.Bound, ok bool) {
	t.Helper()
	return bind(t, c.bytes(t), "x.parquet", col).KeyBounds(0, 0)
}

// TestBoundsOfZones: of times in any unit, zone and rounding, near changes of the zone or not, no value is outside of the
// bounds that the least and the greatest as they are stored give.
func TestBoundsOfZones(t *testing.T) {
	rnd := testenv.Rand(t)
	perSecond := map[format.TimeUnitValue]int64{&format.MilliSeconds{}: 1e3, &format.MicroSeconds{}: 1e6, &format.NanoSeconds{}: 1e9}
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for unit, second := range perSecond {
			for round := range 40 {
				// Values near one instant; half of them near where the zone changes.
				at := time.Unix(rnd.Int64N(2_000_000_000)-1_000_000_000, 0).In(loc)
				if _, change := at.ZoneBounds(); round%2 == 0 && !change.IsZero() {
					at = change
				}
				reach := []int64{second, 7200 * second, 6 * 86400 * second}[rnd.IntN(3)]
				values := make([]int64, 50)
				for i := range values {
					values[i] = at.Unix()*second + rnd.Int64N(2*reach) - reach
				}
				c := craftOne(format.Int64, false, len(values), format.Plain, plainInt64s(values...))
				c.elements[0].LogicalType.Value = &format.TimestampType{Unit: format.TimeUnit{Value: unit}}
				col := column("x", "timestamp")
				col.Location, col.Round = loc, []parquet.Rounding{parquet.RoundUp, parquet.RoundDown}[rnd.IntN(2)]
				col.Ambiguous = []registry.Ambiguous{registry.AmbiguousEarliest, registry.AmbiguousLatest}[rnd.IntN(2)]
				holds(t, zone, c, values, col)
			}
		}
		for _, at := range []registry.DayEnd{registry.AtStart, registry.AtEnd} {
			values, body := make([]int64, 100), []byte(nil)
			for i := range values {
				values[i] = rnd.Int64N(20_000)
				body = binary.LittleEndian.AppendUint32(body, uint32(values[i]))
			}
			c := craftOne(format.Int32, false, len(values), format.Plain, body)
			c.elements[0].LogicalType.Value = &format.DateType{}
			col := column("x", "timestamp")
			col.Location, col.At = loc, at
			holds(t, zone, c, values, col)
		}
	}
}

// holds fails unless a column's values are within the bounds that the least and the greatest of stored give, which are the
// values as they are stored.
func holds(t *testing.T, zone string, c *crafted, stored []int64, col parquet.Column) {
	t.Helper()
	width := 8
	if c.columns[0].typ == format.Int32 {
		width = 4
	}
	least, greatest := stored[0], stored[0]
	for _, v := range stored {
		least, greatest = min(least, v), max(greatest, v)
	}
	c.columns[0].stats = format.Statistics{MinValue: plainInt64s(least)[:width], MaxValue: plainInt64s(greatest)[:width]}
	r := bind(t, c.bytes(t), "x.parquet", col)
	if _, _, ok := r.Bounds(0, 0); !ok {
		t.Fatalf("%s: no bounds of %d to %d", zone, least, greatest)
	}
	if err := r.Read(context.Background(), 0, 0, columnar.NewVector(col.Type, 0)); err != nil {
		t.Fatalf("%s: %+v: %v", zone, col, err)
	}
}

// TestBoundsAreBelieved: which statistics count, and what they say.
func TestBoundsAreBelieved(t *testing.T) {
	four := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	eight := func(v int64) []byte { return plainInt64s(v) }
	stats := func(least, greatest []byte) format.Statistics {
		return format.Statistics{MinValue: least, MaxValue: greatest}
	}
	utc := func(unit format.TimeUnitValue) format.LogicalTypeValue {
		return &format.TimestampType{IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: unit}}
	}
	unsigned := func(bits int8) format.LogicalTypeValue { return &format.IntType{BitWidth: bits} }
	type bounds = [2]int64
	for name, c := range map[string]struct {
		typ     format.Type
		logical format.LogicalTypeValue
		as      string
		stats   format.Statistics
		want    *bounds // nil: none
	}{
		"int64":                      {format.Int64, nil, "int64", stats(eight(-3), eight(4)), &bounds{-3, 4}},
		"int64, the widest":          {format.Int64, nil, "int64", stats(eight(math.MinInt64), eight(math.MaxInt64)), &bounds{math.MinInt64, math.MaxInt64}},
		"int32":                      {format.Int32, nil, "int64", stats(four(math.MaxUint32), four(4)), &bounds{-1, 4}},
		"int32, of eight bytes":      {format.Int32, nil, "int64", stats(eight(1), eight(4)), nil},
		"int64, of four bytes":       {format.Int64, nil, "int64", stats(four(1), four(4)), nil},
		"uint32":                     {format.Int32, unsigned(32), "int64", stats(four(4), four(math.MaxUint32)), &bounds{4, math.MaxUint32}},
		"uint32, in signed order":    {format.Int32, unsigned(32), "int64", stats(four(math.MaxUint32), four(4)), nil},
		"uint64":                     {format.Int64, unsigned(64), "int64", stats(eight(1), eight(-1)), nil},
		"decimal":                    {format.Int64, &format.DecimalType{Precision: 18}, "int64", stats(eight(-3), eight(4)), &bounds{-3, 4}},
		"least over greatest":        {format.Int64, nil, "int64", stats(eight(5), eight(4)), nil},
		"the least alone":            {format.Int64, nil, "int64", stats(eight(5), nil), nil},
		"the greatest alone":         {format.Int64, nil, "int64", stats(nil, eight(5)), nil},
		"nulls alone":                {format.Int64, nil, "int64", format.Statistics{NullCount: 2}, nil},
		"deprecated":                 {format.Int64, nil, "int64", format.Statistics{Min: eight(1), Max: eight(2)}, nil},
		"milliseconds":               {format.Int64, utc(&format.MilliSeconds{}), "timestamp", stats(eight(-3), eight(4)), &bounds{-3000, 4000}},
		"nanoseconds, rounded up":    {format.Int64, utc(&format.NanoSeconds{}), "timestamp", stats(eight(-1001), eight(1001)), &bounds{-1, 2}},
		"nanoseconds that are exact": {format.Int64, utc(&format.NanoSeconds{}), "timestamp", stats(eight(-1000), eight(1000)), &bounds{-1, 1}},
		"beyond the year 9999":       {format.Int64, utc(&format.MilliSeconds{}), "timestamp", stats(eight(0), eight(math.MaxInt64)), nil},
		"a day":                      {format.Int32, &format.DateType{}, "timestamp", stats(four(0), four(1)), &bounds{86400e6, 2 * 86400e6}},
		"INT96":                      {format.Int96, nil, "timestamp", stats(make([]byte, 12), make([]byte, 12)), nil},
		"INT96, of eight bytes":      {format.Int96, nil, "timestamp", stats(eight(0), eight(1)), nil},
		"int32, which is no key":     {format.Int32, nil, "int32", stats(four(1), four(4)), nil},
	} {
		file := craftOne(c.typ, true, 2, format.Plain, prefixedLevels(2, 0))
		file.elements[0].LogicalType.Value = c.logical
		file.columns[0].stats = c.stats
		col := column("x", c.as)
		col.Round = parquet.RoundUp
		if _, ok := c.logical.(*format.DateType); ok {
			col.At = registry.AtEnd
		}
		least, greatest, ok := boundsOf(t, file, col)
		if ok != (c.want != nil) || ok && *c.want != (bounds{least.Int, greatest.Int}) {
			t.Errorf("%s: [%d, %d] %v, want %v", name, least.Int, greatest.Int, ok, c.want)
		}
		file.alter = func(m *format.FileMetaData) { m.ColumnOrders = nil }
		if _, _, ok := boundsOf(t, file, col); ok {
			t.Errorf("%s: bounds of an order that the file does not say", name)
		}
	}
	for name, c := range map[string]struct {
		typ             format.Type
		length          int32
		logical         format.LogicalTypeValue
		least, greatest string
		ok              bool
	}{
		"text":                {format.ByteArray, 0, &format.StringType{}, "a", "é", true},
		"cut short":           {format.ByteArray, 0, &format.StringType{}, "a\xc3", "b\xc4", true},
		"text of old writers": {format.ByteArray, 0, nil, "a", "b", true},
		"in another order":    {format.ByteArray, 0, &format.StringType{}, "b", "a", false},
		"a UUID, not as text": {format.FixedLenByteArray, 16, &format.UUIDType{}, "0123456789abcdef", "0123456789abcdef", false},
	} {
		file := craftOne(c.typ, true, 2, format.Plain, prefixedLevels(2, 0))
		file.elements[0].LogicalType.Value = c.logical
		if c.length > 0 {
			file.elements[0].TypeLength = pqthrift.New(c.length)
		}
		file.columns[0].stats = stats([]byte(c.least), []byte(c.greatest))
		least, greatest, ok := boundsOf(t, file, column("x", "string"))
		if ok != c.ok || ok && (string(least.Bytes) != c.least || string(greatest.Bytes) != c.greatest) {
			t.Errorf("%s: [%q, %q] %v", name, least.Bytes, greatest.Bytes, ok)
		}
	}
}
