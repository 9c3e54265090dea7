package parquet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// readBounded reads a file's column x in every way under the default limits, and returns how many bytes were allocated
// and the first error.
func readBounded(t *testing.T, b []byte, typ string) (took uint64, err error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = readColumn(b, column("x", typ), parquet.Limits{})
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// readColumn reads a column of a file in every way. Each way must fail if one does.
func readColumn(b []byte, c parquet.Column, limits parquet.Limits) error {
	ctx := context.Background()
	f, err := parquet.Open(ctx, bytes.NewReader(b), source.File{Path: "x.parquet", Size: int64(len(b))}, limits)
	if err != nil {
		return err
	}
	r, err := f.Bind([]parquet.Column{c})
	if err != nil {
		return err
	}
	for g := range r.RowGroups() {
		every := make([]int32, min(r.Rows(g), 1<<20))
		for i := range every {
			every[i] = int32(i)
		}
		read := r.Read(ctx, g, 0, columnar.NewVector(c.Type, 0))
		pages := r.Pages(ctx, g, 0, func(parquet.Page) error { return nil })
		gather := r.Gather(ctx, g, 0, every, columnar.NewVector(c.Type, 0))
		if (read == nil) != (pages == nil) || (read == nil) != (gather == nil) {
			return fmt.Errorf("ways differ: %w", errors.Join(read, pages, gather))
		}
		if read != nil {
			return read
		}
	}
	return nil
}

// Whatever a small file says of itself is held against what there is before memory is taken for it; the error names
// file, row group and column.
func TestLies(t *testing.T) {
	two := plainInt64s(1, 2)
	i64 := func(values int, pages ...craftedPage) *crafted {
		c := craftOne(format.Int64, false, values, format.Plain, nil)
		c.columns[0].pages = pages
		return c
	}
	meta := func(alter func(*format.FileMetaData)) *crafted {
		c := craftOne(format.Int64, false, 2, format.Plain, two)
		c.alter = alter
		return c
	}
	chunk := func(alter func(*format.ColumnMetaData)) *crafted {
		return meta(func(m *format.FileMetaData) { alter(&m.RowGroups[0].Columns[0].MetaData) })
	}
	v2 := func(h format.DataPageHeaderV2, body []byte) *crafted {
		c := craftOne(format.Int64, true, 2, format.Plain, nil)
		c.columns[0].pages = []craftedPage{{body: body, PageHeader: format.PageHeader{Type: format.DataPageV2, DataPageHeaderV2: pqthrift.New(h)}}}
		return c
	}
	text := func(values int, encoding format.Encoding, body []byte) *crafted {
		c := craftOne(format.ByteArray, false, values, encoding, body)
		c.elements[0].LogicalType = format.LogicalType{Value: &format.StringType{}}
		return c
	}
	list := func(rows, values int, reps, defs, body []byte) *crafted {
		page := dataPage(values, format.Plain, nil)
		for _, levels := range [][]byte{reps, defs} {
			page.body = append(binary.LittleEndian.AppendUint32(page.body, uint32(len(levels))), levels...)
		}
		page.body = append(page.body, body...)
		return &crafted{
			elements: []format.SchemaElement{{Name: "x", Type: pqthrift.New(format.Int64), RepetitionType: pqthrift.New(format.Repeated)}},
			rows:     int64(rows),
			columns:  []craftedColumn{{path: []string{"x"}, typ: format.Int64, values: int64(values), pages: []craftedPage{page}}},
		}
	}
	codec := func(codec format.CompressionCodec, size int32, body []byte) *crafted {
		c := i64(2, craftedPage{PageHeader: dataPage(2, format.Plain, nil).PageHeader, size: size, body: body})
		c.columns[0].codec = codec
		return c
	}
	dictionary := func(values int, dict craftedPage, indexes ...byte) *crafted {
		return i64(values, dict, dataPage(values, format.RLEDictionary, indexes))
	}
	delta := func(header ...uint64) []byte {
		var b []byte
		for _, v := range header {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	where := `x.parquet: row group 0: column "x": `
	for name, test := range map[string]struct {
		file *crafted
		typ  string
		want string // "" reads
	}{
		"honest":                         {meta(nil), "int64", ""},
		"page of 2 GiB":                  {codec(format.Zstd, math.MaxInt32, compressed(t, format.Zstd, two)), "int64", where + "a page of 2147483647 bytes is over the limit of 268435456"},
		"negative page":                  {codec(format.Zstd, -5, compressed(t, format.Zstd, two)), "int64", where + "page header: its sizes are missing or negative"},
		"page with fewer values":         {i64(2, dataPage(2, format.Plain, two[:8])), "int64", where + "the page ends before its last value"},
		"pages with fewer values":        {i64(3, dataPage(2, format.Plain, two)), "int64", where + "the column chunk ends after 2 of 3 values"},
		"pages with more values":         {i64(3, dataPage(2, format.Plain, two), dataPage(2, format.Plain, two)), "int64", where + "page header: with the page's 2 values the column chunk has more than its 3"},
		"no pages":                       {i64(2), "int64", where + "footer: its pages lie outside the file's data"},
		"unknown encoding":               {i64(2, dataPage(2, 77, two)), "int64", where + "encoding"},
		"encoding of other types":        {i64(2, dataPage(2, format.DeltaByteArray, two)), "int64", where + "encoding DELTA_BYTE_ARRAY is not read for INT64"},
		"levels of an old encoding":      {i64(2, craftedPage{body: two, PageHeader: format.PageHeader{Type: format.DataPage}}), "int64", where + "page header: a required part is missing"},
		"dictionary of 2 billion":        {dictionary(2, dictionaryPage(math.MaxInt32, two), 1, 4, 0), "int64", where + "dictionary: the page ends before its last value"},
		"negative dictionary":            {dictionary(2, dictionaryPage(-1, two), 1, 4, 0), "int64", where + "page header: a required part is missing"},
		"index out of range":             {dictionary(2, dictionaryPage(2, two), 2, 4, 2), "int64", where + "dictionary index 2, but the dictionary has 2 entries"},
		"index beyond int32":             {dictionary(2, dictionaryPage(2, two), 32, 4, 255, 255, 255, 255), "int64", where + "dictionary index 4294967295"},
		"run over its width":             {dictionary(2, dictionaryPage(2, two), 1, 4, 2), "int64", where + "a run of the value 2, which does not fit its 1 bits"},
		"index of 33 bits":               {dictionary(2, dictionaryPage(2, two), 33, 4, 0), "int64", where + "dictionary indexes of 33 bits"},
		"indexes cut short":              {dictionary(2, dictionaryPage(2, two), 1), "int64", where + "the page ends before its last value"},
		"run without end":                {dictionary(2, dictionaryPage(2, two), 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "int64", where + "the page ends before its last value"},
		"no dictionary":                  {i64(2, dataPage(2, format.RLEDictionary, []byte{1, 4, 0})), "int64", where + "the page refers to a dictionary that is not there"},
		"two dictionaries":               {i64(2, dictionaryPage(2, two), dictionaryPage(2, two), dataPage(2, format.RLEDictionary, []byte{1, 4, 0})), "int64", where + "dictionary: a second one"},
		"empty dictionary":               {dictionary(2, dictionaryPage(0, nil), 0), "int64", where + "dictionary index 0, but the dictionary has 0 entries"},
		"levels longer than the page":    {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, DefinitionLevelsByteLength: 99}, two), "int64", where + "page header: its levels do not fit the page"},
		"negative levels":                {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, DefinitionLevelsByteLength: -1}, two), "int64", where + "page header: its levels do not fit the page"},
		"more nulls than values":         {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, NumNulls: 3}, two), "int64", where + "page header: it has more nulls or rows than values"},
		"other nulls":                    {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, NumNulls: 1, DefinitionLevelsByteLength: 2}, append([]byte{4, 1}, two...)), "int64", where + "the page header says 1 nulls, its levels say 0"},
		"nulls left unsaid":              {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, DefinitionLevelsByteLength: 4}, append([]byte{2, 0, 2, 1}, two[:8]...)), "int64", ""},
		"rows that are not values":       {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 1, DefinitionLevelsByteLength: 2}, append([]byte{4, 1}, two...)), "int64", where + "page header: 1 rows of 2 values"},
		"level out of range":             {v2(format.DataPageHeaderV2{NumValues: 2, NumRows: 2, DefinitionLevelsByteLength: 2}, append([]byte{4, 2}, two...)), "int64", where + "levels: a run of the value 2"},
		"list that begins inside a row":  {list(1, 2, []byte{4, 1}, []byte{4, 1}, two), "list<int64>", where + "the levels of its lists contradict each other"},
		"list with fewer rows":           {list(2, 2, []byte{2, 0, 2, 1}, []byte{4, 1}, two), "list<int64>", where + "its pages hold 1 rows, the row group 2"},
		"list with more rows":            {list(1, 2, []byte{4, 0}, []byte{4, 1}, two), "list<int64>", where + "its pages hold 2 rows, the row group 1"},
		"list that is empty and goes on": {list(1, 2, []byte{2, 0, 2, 1}, []byte{4, 0}, nil), "list<int64>", where + "the levels of its lists contradict each other"},
		"string of 4 GiB":                {text(1, format.Plain, []byte{255, 255, 255, 255, 'a'}), "string", where + "the page ends before its last value"},
		"delta of nothing":               {i64(2, dataPage(2, format.DeltaBinaryPacked, delta(0, 0, 2, 0))), "int64", where + "delta blocks of 0 values in 0 parts"},
		"delta of 2 billion":             {i64(2, dataPage(2, format.DeltaBinaryPacked, delta(128, 4, math.MaxInt32, 0))), "int64", where + "a block of 2147483647 delta values where there should be 2"},
		"delta of huge blocks":           {i64(2, dataPage(2, format.DeltaBinaryPacked, delta(1<<40, 4, 2, 0, 0))), "int64", where + "delta blocks of 1099511627776 values in 4 parts"},
		"delta of 65 bits":               {i64(2, dataPage(2, format.DeltaBinaryPacked, delta(128, 4, 2, 0, 0, 65, 0, 0, 0))), "int64", where + "delta values of 65 bits"},
		"delta of a negative length":     {text(1, format.DeltaLengthByteArray, delta(128, 4, 1, 1)), "string", where + "the page ends before its last value"},
		"delta of a prefix of nothing":   {text(1, format.DeltaByteArray, append(delta(128, 4, 1, 2), delta(128, 4, 1, 0)...)), "string", where + "the page ends before its last value"},
		"chunk before the data":          {chunk(func(m *format.ColumnMetaData) { m.DataPageOffset = 1 }), "int64", where + "footer: its pages lie outside the file's data"},
		"chunk behind the data":          {chunk(func(m *format.ColumnMetaData) { m.DataPageOffset = math.MaxInt64 - 5 }), "int64", where + "footer: its pages lie outside the file's data"},
		"chunk that reaches too far":     {chunk(func(m *format.ColumnMetaData) { m.TotalCompressedSize = math.MaxInt64 - 5 }), "int64", where + "footer: its pages lie outside the file's data"},
		"negative chunk":                 {chunk(func(m *format.ColumnMetaData) { m.TotalCompressedSize = -1 }), "int64", "x.parquet: footer: a required part of the metadata is missing"},
		"chunk of another column":        {chunk(func(m *format.ColumnMetaData) { m.PathInSchema = []string{"y"} }), "int64", where + "footer: the column chunk is of another column"},
		"chunk of another type":          {chunk(func(m *format.ColumnMetaData) { m.Type = format.Double }), "int64", where + "footer: the column chunk is of another column"},
		"chunk of other rows":            {chunk(func(m *format.ColumnMetaData) { m.NumValues = 3 }), "int64", where + "footer: 3 values for 2 rows"},
		"chunk of 2^40 values":           {meta(func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = 1<<40, 1<<40 }), "int64", "x.parquet: row group 0: 1099511627776 rows are over the limit of 268435456"},
		"codec of the future":            {chunk(func(m *format.ColumnMetaData) { m.Codec = 99 }), "int64", where + "compression"},
		"LZO":                            {chunk(func(m *format.ColumnMetaData) { m.Codec = format.LZO }), "int64", where + "compression LZO is not read; rewrite the file"},
		"chunk in another file":          {meta(func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].FilePath = "other" }), "int64", where + "its pages are in another file"},
		"rows of the file":               {meta(func(m *format.FileMetaData) { m.NumRows = 3 }), "int64", "x.parquet: footer: the row groups have 2 rows, the file 3"},
		"chunks missing":                 {meta(func(m *format.FileMetaData) { m.RowGroups[0].Columns = nil }), "int64", "x.parquet: row group 0: 0 column chunks, but the schema has 1 columns"},
		"chunks that overlap": {
			meta(func(m *format.FileMetaData) { m.RowGroups = append(m.RowGroups, m.RowGroups[0]); m.NumRows = 4 }), "int64",
			`x.parquet: row group 1: column "x": footer: its pages overlap`,
		},
		"schema that promises more": {&crafted{elements: []format.SchemaElement{craftedGroup("x", format.Optional, 5)}}, "int64", "x.parquet: footer: the schema's groups promise more elements"},
		"schema with a rest":        {&crafted{elements: []format.SchemaElement{craftedLeaf("x", format.Int64, false), craftedLeaf("y", format.Int64, false)}, children: 1}, "int64", "x.parquet: footer: the schema has 3 elements, but its root holds 2"},
		"fixed length of nothing":   {craftOne(format.FixedLenByteArray, false, 2, format.Plain, nil), "bytes", "its length is missing"},
		"snappy of 4 GiB":           {codec(format.Snappy, 16, []byte{255, 255, 255, 255, 15, 0}), "int64", where + "the page does not decompress to the size its header declares"},
		"zstd of 16 EiB":            {codec(format.Zstd, 16, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0}), "int64", where},
		"zstd with a huge window":   {codec(format.Zstd, 16, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 1, 0, 0}), "int64", where},
		"Hadoop's LZ4 of 4 GiB":     {codec(format.Lz4, 16, []byte{255, 255, 255, 255, 0, 0, 0, 1, 0}), "int64", where + "lz4: not in Hadoop's framing"},
		"Hadoop's LZ4 of nothing":   {codec(format.Lz4, 16, nil), "int64", where + "the page does not decompress"},
		"Hadoop's LZ4 without end":  {codec(format.Lz4, 16, []byte{0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0}), "int64", where + "lz4: "},
	} {
		t.Run(name, func(t *testing.T) {
			took, err := readBounded(t, test.file.bytes(t), test.typ)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "x.parquet: ") {
				t.Errorf("%v\nwant %s", err, test.want)
			}
			if took > 16<<20 {
				t.Errorf("%d MiB were allocated for %d bytes", took>>20, len(test.file.bytes(t)))
			}
		})
	}
}

// A page that decompresses to more than it declares is noticed at what it declares.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Brotli, format.Zstd, format.Lz4Raw, format.Lz4} {
		body := compressed(t, codec, zeros)
		for _, size := range []int32{16, 1 << 20} {
			c := craftOne(format.Int64, false, 2, format.Plain, body)
			c.columns[0].codec = codec
			c.columns[0].pages[0].size = size
			took, err := readBounded(t, c.bytes(t), "int64")
			if err == nil || !strings.HasPrefix(err.Error(), `x.parquet: row group 0: column "x": `) {
				t.Errorf("%s: %v", codec, err)
			}
			// The file is read three times, a megabyte at a time; zstd and brotli have buffers of their own.
			if took > 48<<20 {
				t.Errorf("%s: %d MiB were allocated for a page of %d bytes", codec, took>>20, size)
			}
		}
		// Declared, it is over the limit.
		c := craftOne(format.Int64, false, 2, format.Plain, body)
		c.columns[0].codec = codec
		c.columns[0].pages[0].size = int32(len(zeros))
		err := readColumn(c.bytes(t), column("x", "int64"), parquet.Limits{PageBytes: 1 << 20})
		if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(err.Error(), "a page of 67108864 bytes is over the limit of 1048576 (limits.parquet_page)") {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

// Prefixes that repeat are a bomb of their own: 1 MiB and 2,000 times all of it.
func TestPrefixBomb(t *testing.T) {
	const values = 2000
	long := strings.Repeat("a", 1<<20)
	lengths := func(first uint64, rest int64) []byte {
		b := binary.AppendUvarint(nil, 2048) // one block of one part
		b = binary.AppendUvarint(b, 1)
		b = binary.AppendUvarint(b, values)
		b = binary.AppendVarint(b, int64(first))
		// The second value differs from the first, the others do not.
		b = binary.AppendVarint(b, min(rest-int64(first), 0))
		b = append(b, 32)
		packed := make([]byte, 4*2048)
		binary.LittleEndian.PutUint32(packed, uint32(max(rest-int64(first), 0)))
		for i := 1; i < values-1 && rest < int64(first); i++ {
			binary.LittleEndian.PutUint32(packed[4*i:], uint32(int64(first)-rest))
		}
		return append(b, packed...)
	}
	body := append(lengths(0, 1<<20), lengths(1<<20, 0)...)
	body = append(body, long...)
	c := craftOne(format.ByteArray, false, values, format.DeltaByteArray, compressed(t, format.Zstd, body))
	c.columns[0].codec = format.Zstd
	c.columns[0].pages[0].size = int32(len(body))
	for _, typ := range []string{"bytes", "string"} {
		took, err := readBounded(t, c.bytes(t), typ)
		if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(err.Error(), "limits.parquet_page") || took > 64<<20 {
			t.Errorf("%v, %d MiB", err, took>>20)
		}
	}
}

// A schema may be so deep that recursion alone would end the process.
func TestDeepSchema(t *testing.T) {
	for _, repetition := range []format.FieldRepetitionType{format.Required, format.Optional, format.Repeated} {
		c := &crafted{children: 1}
		for range 10_000 {
			c.elements = append(c.elements, craftedGroup("g", repetition, 1))
		}
		c.elements = append(c.elements, craftedLeaf("x", format.Int64, false))
		if took, err := readBounded(t, c.bytes(t), "int64"); err == nil || !strings.Contains(err.Error(), "x.parquet: footer: the schema is more than 64 levels deep") || took > 16<<20 {
			t.Errorf("%v, %d bytes", err, took)
		}
	}
}

// Files with nothing in them are no error.
func TestNothing(t *testing.T) {
	for name, c := range map[string]*crafted{
		"no columns":    {},
		"no row groups": {elements: []format.SchemaElement{craftedLeaf("x", format.Int64, true)}},
		"no rows":       {elements: []format.SchemaElement{craftedLeaf("x", format.Int64, true)}, columns: []craftedColumn{{path: []string{"x"}, typ: format.Int64}}},
		"an empty page": craftOne(format.Int64, false, 0, format.Plain, nil),
	} {
		x := column("x", "int64")
		err := readColumn(c.bytes(t), x, parquet.Limits{})
		if name == "no columns" {
			if err == nil || !strings.Contains(err.Error(), `column "x" is not in the file (it has no columns)`) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of two columns of one name neither is taken for the other.
func TestRepeatedName(t *testing.T) {
	one := craftOne(format.Int64, false, 2, format.Plain, plainInt64s(1, 2))
	one.elements = append(one.elements, one.elements[0])
	one.columns = append(one.columns, one.columns[0])
	err := readColumn(one.bytes(t), column("x", "int64"), parquet.Limits{})
	if err == nil || !strings.Contains(err.Error(), `x.parquet: column "x": the file has 2 columns of this name`) {
		t.Error(err)
	}
}

// Statistics that contradict the values are an error of times, by which row groups are left out, and no matter elsewhere.
func TestLyingStatistics(t *testing.T) {
	one := func(v int64) []byte { return plainInt64s(v) }
	for name, test := range map[string]struct {
		stats format.Statistics
		want  string // of a timestamp
	}{
		"true":            {format.Statistics{MinValue: one(1), MaxValue: one(2)}, ""},
		"too narrow":      {format.Statistics{MinValue: one(1), MaxValue: one(1)}, "row 1: "},
		"contradictory":   {format.Statistics{MinValue: one(2), MaxValue: one(1)}, ""},
		"of another type": {format.Statistics{MinValue: []byte{1}, MaxValue: []byte("zzz")}, ""},
		"half":            {format.Statistics{MinValue: one(9)}, ""},
		"deprecated":      {format.Statistics{Min: one(9), Max: one(9)}, ""},
	} {
		c := craftOne(format.Int64, false, 2, format.Plain, plainInt64s(1, 2))
		c.columns[0].stats = test.stats
		if err := readColumn(c.bytes(t), column("x", "int64"), parquet.Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.elements[0].LogicalType = format.LogicalType{Value: &format.TimestampType{
			IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: &format.MicroSeconds{}},
		}}
		r := bind(t, c.bytes(t), "x.parquet", column("x", "timestamp"))
		err := r.Read(context.Background(), 0, 0, columnar.NewVector(columnar.Type{Kind: columnar.Timestamp}, 0))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A value of 64 MiB is over the default limit, and read where the limit allows it.
func TestHugeString(t *testing.T) {
	body := plainText(strings.Repeat("x", 64<<20), "y")
	c := craftOne(format.ByteArray, false, 2, format.Plain, compressed(t, format.Zstd, body))
	c.columns[0].codec, c.columns[0].pages[0].size = format.Zstd, int32(len(body))
	b := c.bytes(t)
	err := readColumn(b, column("x", "string"), parquet.Limits{})
	const want = `x.parquet: row group 0: column "x": a value of 67108864 bytes is over the limit of 16777216 (limits.parquet_value)`
	if problem.CodeOf(err) != problem.Exhausted || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	f, err := parquet.Open(context.Background(), bytes.NewReader(b), source.File{Path: "x.parquet", Size: int64(len(b))}, parquet.Limits{ValueBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Bind([]parquet.Column{column("x", "string")})
	if err != nil {
		t.Fatal(err)
	}
	v := columnar.NewVector(columnar.Type{Kind: columnar.String}, 0)
	if err := r.Read(context.Background(), 0, 0, v); err != nil || len(v.BytesAt(0)) != 64<<20 || string(v.BytesAt(1)) != "y" {
		t.Errorf("%v, %d values", err, v.Len())
	}
}

// A dictionary of values that can't be converted costs no more than one that can.
func TestFlawedDictionary(t *testing.T) {
	const entries = 1 << 17
	bad := bytes.Repeat([]byte{1, 0, 0, 0, 0xff}, entries)
	indexes := []byte{17}
	indexes = binary.AppendUvarint(indexes, entries<<1)
	indexes = append(indexes, 0, 0, 0)
	good := append(bytes.Clone(bad[5:]), 1, 0, 0, 0, 'a') // the last entry is text
	last := binary.AppendUvarint([]byte{17}, entries<<1)
	last = append(last, byte((entries-1)&0xff), byte((entries-1)>>8&0xff), byte((entries-1)>>16))
	for name, test := range map[string]struct {
		dictionary, indexes []byte
		want                string
	}{
		"used":   {bad, indexes, "row 0: a string that is not valid UTF-8"},
		"unused": {good, last, ""},
	} {
		c := craftOne(format.ByteArray, false, entries, format.Plain, nil)
		c.columns[0].pages = []craftedPage{dictionaryPage(entries, test.dictionary), dataPage(entries, format.RLEDictionary, test.indexes)}
		err := readColumn(c.bytes(t), column("x", "string"), parquet.Limits{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file cut while it is read, at any byte: each column is an error that names it, or true.
func TestCutWhileRead(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"time-int96-dict.parquet", "fallback.parquet", "duckdb-zstd-v2.parquet", "spark/legacy-dates.parquet"} {
		b := load(t, name)
		columns := expected(t)[name]
		for n := 0; n < len(b); n += 1 + len(b)/500 {
			r := bytes.NewReader(b)
			f, err := parquet.Open(ctx, r, source.File{Path: name, Size: int64(len(b))}, parquet.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			r.Reset(b[:n])
			failed := 0
			for c, w := range columns {
				if w.Error != "" {
					continue
				}
				bound, err := f.Bind([]parquet.Column{w.column(c)})
				if err != nil {
					t.Fatal(err)
				}
				v := columnar.NewVector(w.Type, 0)
				for g := 0; g < bound.RowGroups() && err == nil; g++ {
					err = bound.Read(ctx, g, 0, v)
				}
				switch {
				case err == nil:
					if fmt.Sprint(texts(v)) != fmt.Sprint(w.Values) {
						t.Fatalf("%s: cut to %d bytes, column %s reads as something else", name, n, c)
					}
				case !strings.HasPrefix(err.Error(), name+": row group ") || !strings.Contains(err.Error(), fmt.Sprintf("column %q", c)):
					t.Fatalf("%s: cut to %d bytes: %v", name, n, err)
				default:
					failed++
				}
			}
			if n < len(b)/4 && failed == 0 {
				t.Fatalf("%s: cut to %d of %d bytes, nothing fails", name, n, len(b))
			}
		}
	}
}
