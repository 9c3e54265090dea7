package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// FuzzOpen reads whole files, damaged anywhere, in every way.
func FuzzOpen(f *testing.F) {
	err := filepath.WalkDir("testdata", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" {
			return err
		}
		b, err := os.ReadFile(path)
		if len(b) < 1<<13 {
			f.Add(b)
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readAll(b); err != nil &&
			(strings.Contains(err.Error(), "silently missing") || strings.Contains(err.Error(), "can't be decoded")) {
			t.Fatal(err)
		}
	})
}

// fuzzedColumns are the kinds of columns that FuzzPage makes.
var fuzzedColumns = []struct {
	typ     format.Type
	length  int32
	logical format.LogicalTypeValue
	as      string
}{
	{format.Boolean, 0, nil, "bool"},
	{format.Int32, 0, nil, "int32"},
	{format.Int32, 0, nil, "int64"},
	{format.Int32, 0, &format.IntType{BitWidth: 32}, "int64"},
	{format.Int32, 0, &format.DateType{}, "timestamp"},
	{format.Int64, 0, nil, "int64"},
	{format.Int64, 0, &format.IntType{BitWidth: 64}, "int64"},
	{format.Int64, 0, &format.TimestampType{Unit: format.TimeUnit{Value: &format.NanoSeconds{}}}, "timestamp"},
	{format.Int96, 0, nil, "timestamp"},
	{format.Float, 0, nil, "float32"},
	{format.Float, 0, nil, "float64"},
	{format.Double, 0, nil, "float64"},
	{format.ByteArray, 0, &format.StringType{}, "string"},
	{format.ByteArray, 0, nil, "bytes"},
	{format.ByteArray, 0, &format.DecimalType{Precision: 30}, "int64"},
	{format.FixedLenByteArray, 3, nil, "bytes"},
	{format.FixedLenByteArray, 9, &format.DecimalType{Precision: 20}, "int64"},
	{format.FixedLenByteArray, 16, &format.UUIDType{}, "string"},
	{format.FixedLenByteArray, 2, &format.Float16Type{}, "float32"},
}

// The ways in which FuzzPage's column and page differ.
const (
	fuzzOptional = 1 << iota
	fuzzList
	fuzzV2
	fuzzDictionary
)

// FuzzPage reads a column of one page, and a dictionary before it, of any bytes. Read, Pages and Gather must agree.
func FuzzPage(f *testing.F) {
	two := plainInt64s(1, 2)
	f.Add(uint8(5), uint8(format.Plain), uint8(0), uint16(2), uint16(0), []byte(nil), two)
	f.Add(uint8(5), uint8(format.Plain), uint8(fuzzOptional), uint16(2), uint16(0), []byte(nil), append(prefixedLevels(2, 1), two...))
	f.Add(uint8(5), uint8(format.RLEDictionary), uint8(fuzzDictionary), uint16(9), uint16(2), two, []byte{1, 3, 0x5a, 2, 1})
	f.Add(uint8(12), uint8(format.RLEDictionary), uint8(fuzzDictionary|fuzzOptional|fuzzV2), uint16(3), uint16(2), plainText("a", "é"), []byte{1, 4, 1, 2, 0})
	f.Add(uint8(12), uint8(format.DeltaByteArray), uint8(0), uint16(1), uint16(0), []byte(nil), []byte{128, 1, 4, 1, 0, 128, 1, 4, 1, 2, 'a'})
	f.Add(uint8(1), uint8(format.DeltaBinaryPacked), uint8(0), uint16(3), uint16(0), []byte(nil), []byte{128, 1, 4, 3, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0})
	f.Add(uint8(5), uint8(format.Plain), uint8(fuzzList), uint16(2), uint16(2), []byte(nil), append(append(prefixedLevels(2, 0), prefixedLevels(2, 1)...), two...))
	f.Add(uint8(0), uint8(format.RLE), uint8(0), uint16(9), uint16(0), []byte(nil), []byte{3, 0, 0, 0, 3, 0xff, 1})
	for i := range fuzzedColumns {
		f.Add(uint8(i), uint8(format.Plain), uint8(0), uint16(2), uint16(0), []byte(nil), bytes.Repeat([]byte{2, 0, 0, 0}, 12))
		f.Add(uint8(i), uint8(format.ByteStreamSplit), uint8(fuzzV2|fuzzOptional), uint16(2), uint16(0), []byte(nil), bytes.Repeat([]byte{2, 1, 0, 0}, 12))
	}
	f.Fuzz(func(t *testing.T, kind, encoding, flags uint8, values, other uint16, dictionary, body []byte) {
		k := fuzzedColumns[int(kind)%len(fuzzedColumns)]
		has := func(flag uint8) bool { return flags&flag != 0 }
		e := craftedLeaf("x", k.typ, has(fuzzOptional))
		rows := int(values)
		c := column("x", k.as)
		if has(fuzzList) {
			e.RepetitionType = pqthrift.New(format.Repeated)
			rows, c.Type.List = min(int(other), rows), true
		}
		if k.length > 0 {
			e.TypeLength = pqthrift.New(k.length)
		}
		e.LogicalType.Value = k.logical
		if _, ok := k.logical.(*format.DateType); ok {
			c.At = "end"
		}
		c.Round = parquet.RoundUp
		var pages []craftedPage
		if has(fuzzDictionary) {
			pages = append(pages, dictionaryPage(int(other), dictionary))
		}
		page := dataPage(int(values), format.Encoding(encoding%10), body)
		if has(fuzzV2) {
			page.PageHeader = format.PageHeader{Type: format.DataPageV2, DataPageHeaderV2: pqthrift.New(format.DataPageHeaderV2{
				NumValues: int32(values), NumRows: int32(rows), NumNulls: int32(other & 7), Encoding: format.Encoding(encoding % 10),
				DefinitionLevelsByteLength: int32(other >> 3 & 7), RepetitionLevelsByteLength: int32(other >> 6 & 7),
			})}
		}
		file := crafted{
			elements: []format.SchemaElement{e}, rows: int64(rows),
			columns: []craftedColumn{{path: []string{"x"}, typ: k.typ, values: int64(values), pages: append(pages, page)}},
		}
		agree(t, file.bytes(t), c)
	})
}

// agree reads a file's column in every way and fails where two of them differ. Few rows are drawn by the file's length.
func agree(t *testing.T, b []byte, c parquet.Column) {
	t.Helper()
	ctx := context.Background()
	f, err := parquet.Open(ctx, bytes.NewReader(b), source.File{Path: "x.parquet", Size: int64(len(b))}, hostile)
	if err != nil {
		return
	}
	r, err := f.Bind([]parquet.Column{c})
	if err != nil {
		return
	}
	rnd := rand.New(rand.NewPCG(uint64(len(b)), 0))
	for g := range r.RowGroups() {
		every, some := make([]int32, r.Rows(g)), []int32{}
		rare := 1 + rnd.IntN(20)
		for i := range every {
			every[i] = int32(i)
			if rnd.IntN(rare) == 0 {
				some = append(some, int32(i))
			}
		}
		read, pages, all, few := columnar.NewVector(c.Type, 0), columnar.NewVector(c.Type, 0), columnar.NewVector(c.Type, 0), columnar.NewVector(c.Type, 0)
		errs := []error{
			r.Read(ctx, g, 0, read), fromPages(ctx, r, g, 0, pages), r.Gather(ctx, g, 0, every, all), r.Gather(ctx, g, 0, some, few),
		}
		for i, err := range errs {
			if err != nil && strings.Contains(err.Error(), "can't be decoded") {
				t.Fatalf("a decoder panicked: %v", err)
			}
			if errs[0] == nil && err != nil || i < 3 && errs[0] != nil && err == nil && len(every) > 0 {
				t.Fatalf("Read says %v, way %d %v", errs[0], i, err)
			}
		}
		if errs[0] != nil {
			return
		}
		want := texts(read)
		if len(want) != r.Rows(g) {
			t.Fatalf("%d of %d rows", len(want), r.Rows(g))
		}
		for _, v := range []*columnar.Vector{pages, all} {
			if got := texts(v); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("one way reads %v, another %v", want, got)
			}
		}
		for i, at := range some {
			if got := testenv.Exact(few, i); fmt.Sprint(got) != fmt.Sprint(want[at]) {
				t.Fatalf("row %d is %v, gathered %v", at, want[at], got)
			}
		}
	}
}

// FuzzCodec decompresses any bytes as a page of any declared size.
func FuzzCodec(f *testing.F) {
	for codec := range 8 {
		f.Add(uint8(codec), uint32(16), compressed(f, format.CompressionCodec(codec), plainInt64s(1, 2)))
	}
	f.Fuzz(func(t *testing.T, codec uint8, size uint32, body []byte) {
		c := craftOne(format.Int64, false, 2, format.Plain, body)
		c.columns[0].codec = format.CompressionCodec(codec % 8)
		c.columns[0].pages[0].size = int32(size % (1 << 20))
		agree(t, c.bytes(t), column("x", "int64"))
	})
}
