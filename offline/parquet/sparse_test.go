package parquet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

// hybrid encodes values of width bits in random runs, some of no value, some packed.
func hybrid(rnd *rand.Rand, width uint, values []uint32) []byte {
	var b []byte
	for at := 0; at < len(values) || rnd.IntN(8) == 0; {
		if rnd.IntN(16) == 0 {
			b = append(b, 1) // packed, of no group
		}
		same := 0
		for same < len(values)-at && values[at+same] == values[at] {
			same++
		}
		if same > 0 && rnd.IntN(2) == 0 || at == len(values) {
			n, v := 0, uint32(0)
			if same > 0 {
				n, v = 1+rnd.IntN(same), values[at]
			}
			b = binary.AppendUvarint(b, uint64(n)<<1)
			b = append(b, binary.LittleEndian.AppendUint32(nil, v)[:(width+7)/8]...)
			at += n
			continue
		}
		groups := 1 + rnd.IntN(5)
		packed := make([]byte, groups*int(width)+8)
		for i := range min(groups*8, len(values)-at) {
			bit := uint(i) * width
			w := binary.LittleEndian.Uint64(packed[bit>>3:]) | uint64(values[at+i])<<(bit&7)
			binary.LittleEndian.PutUint64(packed[bit>>3:], w)
		}
		b = binary.AppendUvarint(b, uint64(groups)<<1|1)
		b = append(b, packed[:groups*int(width)]...)
		at = min(at+groups*8, len(values))
	}
	return b
}

// TestFewRowsOfAnyPages: few rows of pages of both versions are what all rows are, whatever the width of indexes, the runs
// they and the levels lie in, and where nulls are.
func TestFewRowsOfAnyPages(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, kind := range []struct {
		typ     format.Type
		as      string
		logical format.LogicalTypeValue
		value   func(i int) []byte
	}{
		{format.Int64, "int64", nil, func(i int) []byte { return plainInt64s(int64(i) * 7919) }},
		{format.Int64, "timestamp", &format.TimestampType{Unit: format.TimeUnit{Value: &format.NanoSeconds{}}}, func(i int) []byte { return plainInt64s(int64(i) * 1001) }},
		{format.Int32, "int32", nil, func(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(-i)) }},
		{format.Int32, "int64", nil, func(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(-i)) }},
		{format.Float, "float32", nil, func(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(i)*0x01010101) }},
		{format.Float, "float64", nil, func(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(i)) }},
		{format.Double, "float64", nil, func(i int) []byte { return plainInt64s(int64(i) << 40) }},
		{format.ByteArray, "string", &format.StringType{}, func(i int) []byte { return plainText(fmt.Sprint(i)) }},
	} {
		for width := range uint(33) {
			col := craftedColumn{path: []string{"x"}, typ: kind.typ}
			optional := rnd.IntN(3) > 0
			entries := 1
			if width > 0 {
				entries = 1 + rnd.IntN(min(200, 1<<width))
			}
			plain := func(n int) (b []byte) {
				for range n {
					b = append(b, kind.value(rnd.IntN(1000))...)
				}
				return b
			}
			col.pages = append(col.pages, dictionaryPage(entries, plain(entries)))
			for range 1 + rnd.IntN(4) {
				rows := []int{0, 1, 7, 8, 63, 64, 65, 200, 500}[rnd.IntN(9)]
				levels := make([]uint32, rows)
				present, often := rows, rnd.IntN(5)
				if optional {
					present = 0
					for i := range levels {
						if rnd.IntN(5) <= often {
							levels[i] = 1
							present++
						}
					}
				}
				encoding, body := format.Plain, plain(present)
				if rnd.IntN(4) > 0 {
					indexes := make([]uint32, present)
					for i := range indexes {
						indexes[i] = rnd.Uint32N(uint32(entries))
						if i > 0 && rnd.IntN(3) > 0 {
							indexes[i] = indexes[i-1]
						}
					}
					encoding, body = format.RLEDictionary, append([]byte{byte(width)}, hybrid(rnd, width, indexes)...)
				}
				col.pages = append(col.pages, anyPage(rnd.IntN(2) == 0, optional, rows, rows-present, encoding, hybrid(rnd, 1, levels), body))
				col.values += int64(rows)
			}
			e := craftedLeaf("x", kind.typ, optional)
			e.LogicalType.Value = kind.logical
			c := column("x", kind.as)
			c.Round = parquet.RoundUp
			file := crafted{elements: []format.SchemaElement{e}, rows: col.values, columns: []craftedColumn{col}}
			b := file.bytes(t)
			if err := readColumn(b, c, parquet.Limits{}); err != nil {
				t.Fatalf("%s, %d bits: %v", kind.as, width, err)
			}
			agree(t, b, c)
		}
	}
}

// TestEmptyPage: a page of no rows that refers to a dictionary says so, and keys that it does not use are none of its own.
func TestEmptyPage(t *testing.T) {
	c := craftOne(format.Int64, false, 1, format.Plain, nil)
	c.columns[0].stats = format.Statistics{MinValue: plainInt64s(1), MaxValue: plainInt64s(1)}
	c.columns[0].pages = []craftedPage{
		dictionaryPage(2, plainInt64s(1, 2)), dataPage(0, format.RLEDictionary, nil), dataPage(1, format.RLEDictionary, []byte{1, 2, 0}),
	}
	r := bind(t, c.bytes(t), "x.parquet", column("x", "int64"))
	// Memory of column chunks before must not matter, nor that there was none.
	var together sync.WaitGroup
	for range 50 {
		together.Go(func() {
			err := r.PagesOf(context.Background(), 0, 0, nil, func(p parquet.Page) error {
				if p.Index == nil || len(p.Index) != p.Rows {
					return fmt.Errorf("a page of %d rows has the index %v", p.Rows, p.Index)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
}

// TestLeaps: a few rows, and rows of spans, of a large column chunk are the same however they lie in its pages, which are
// leaped over between them.
func TestLeaps(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, codec := range []format.CompressionCodec{format.Uncompressed, format.Snappy} {
		const rows = 120_000
		col := craftedColumn{path: []string{"x"}, typ: format.Int64, codec: codec, values: rows}
		for at := 0; at < rows; {
			n := min(1+rnd.IntN(1<<(1+rnd.IntN(15))), rows-at)
			body := make([]byte, 0, 8*n)
			for i := range n {
				body = append(body, plainInt64s(int64(at+i)*0x9e3779b97f4a7c1)...)
			}
			page := dataPage(n, format.Plain, compressed(t, codec, body))
			page.size = int32(len(body))
			col.pages = append(col.pages, page)
			at += n
		}
		file := crafted{elements: []format.SchemaElement{craftedLeaf("x", format.Int64, false)}, rows: rows, columns: []craftedColumn{col}}
		r := bind(t, file.bytes(t), "x.parquet", column("x", "int64"))
		for range 20 {
			var some []int32
			var spans []parquet.Span
			for at := rnd.IntN(rows / 5); at < rows; at += 1 + rnd.IntN(rows/3) {
				some = append(some, int32(at))
				end := min(at+1+rnd.IntN(5000), rows)
				spans = append(spans, parquet.Span{From: at, To: end})
				at = end
			}
			few := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
			if err := r.Gather(t.Context(), 0, 0, some, few); err != nil {
				t.Fatal(err)
			}
			for i, row := range some {
				if want := int64(row) * 0x9e3779b97f4a7c1; few.Int64s[i] != want {
					t.Fatalf("row %d is %d, want %d", row, few.Int64s[i], want)
				}
			}
			next := 0 // of the rows of spans
			err := r.PagesOf(t.Context(), 0, 0, spans, func(p parquet.Page) error {
				for i, v := range p.Values.Int64s {
					if want := int64(p.First+i) * 0x9e3779b97f4a7c1; v != want {
						return fmt.Errorf("row %d is %d, want %d", p.First+i, v, want)
					}
				}
				for ; len(spans) > 0 && max(next, spans[0].From) < p.First+p.Rows; spans = spans[1:] {
					if next = max(next, spans[0].From); next < p.First {
						return fmt.Errorf("row %d is missing", next)
					}
					if next = min(spans[0].To, p.First+p.Rows); next < spans[0].To {
						break
					}
				}
				return nil
			})
			if err != nil || len(spans) > 0 {
				t.Fatalf("%v; left %v", err, spans)
			}
		}
	}
}

// anyPage is a page of version 1 or 2 with the hybrid of its levels in place.
func anyPage(v2, optional bool, rows, nulls int, encoding format.Encoding, levels, body []byte) craftedPage {
	switch {
	case !optional:
		levels = nil
	case !v2:
		levels = append(binary.LittleEndian.AppendUint32(nil, uint32(len(levels))), levels...)
	}
	page := dataPage(rows, encoding, append(bytes.Clone(levels), body...))
	if v2 {
		page.PageHeader = format.PageHeader{Type: format.DataPageV2, DataPageHeaderV2: pqthrift.New(format.DataPageHeaderV2{
			NumValues: int32(rows), NumRows: int32(rows), NumNulls: int32(nulls), Encoding: encoding,
			DefinitionLevelsByteLength: int32(len(levels)), IsCompressed: pqthrift.New(false),
		})}
	}
	return page
}

// FuzzGather reads few rows of two pages with a dictionary, of any levels and indexes, some of the rows twice: alone and
// with all others.
func FuzzGather(f *testing.F) {
	packed := []byte{3, 0b10110101}
	f.Add(uint8(5), uint8(0), uint16(8), uint16(8), []byte{16, 1}, []byte{1, 3, 0xff}, packed, []byte{1, 3, 0x5a})
	f.Add(uint8(11), uint8(1), uint16(70), uint16(8), []byte{128, 1, 1, 3, 0xff}, []byte{2, 140, 1, 1}, packed, []byte{3, 3, 1, 2, 3})
	f.Add(uint8(12), uint8(2), uint16(3), uint16(5), []byte{6, 1}, []byte{0}, []byte{10, 0}, []byte(nil))
	f.Add(uint8(7), uint8(3), uint16(3), uint16(5), []byte{6, 1}, []byte{32, 6, 1, 0, 0, 0}, packed, []byte{17, 10, 0, 0, 0})
	f.Fuzz(func(t *testing.T, kind, flags uint8, first, second uint16, defs, indexes, moreDefs, moreIndexes []byte) {
		k := fuzzedColumns[int(kind)%len(fuzzedColumns)]
		e := craftedLeaf("x", k.typ, true)
		if k.length > 0 {
			e.TypeLength = pqthrift.New(k.length)
		}
		e.LogicalType.Value = k.logical
		c := column("x", k.as)
		if _, ok := k.logical.(*format.DateType); ok {
			c.At = "start"
		}
		c.Round = parquet.RoundUp
		dictionary := bytes.Repeat([]byte{1, 0, 0, 0, 'a'}, 20)
		if k.typ != format.ByteArray {
			dictionary = bytes.Repeat([]byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}, 20)
		}
		rows := int64(first) + int64(second)
		file := crafted{elements: []format.SchemaElement{e}, rows: rows, columns: []craftedColumn{{
			path: []string{"x"}, typ: k.typ, values: rows, pages: []craftedPage{
				dictionaryPage(20, dictionary),
				anyPage(flags&1 != 0, true, int(first), 0, format.RLEDictionary, defs, indexes),
				anyPage(flags&2 != 0, true, int(second), 0, format.RLEDictionary, moreDefs, moreIndexes),
			},
		}}}
		agree(t, file.bytes(t), c)
	})
}

// TestStraysOfDictionary: a key outside of the statistics is an error in whichever page it is used, and none where it is
// not, at no more cost than any other.
func TestStraysOfDictionary(t *testing.T) {
	const entries = 1 << 17
	values := make([]int64, entries)
	for i := range values {
		values[i] = int64(i)
	}
	run := func(v int) []byte {
		return binary.LittleEndian.AppendUint32(append([]byte{17}, binary.AppendUvarint(nil, entries<<1)...), uint32(v))[:7]
	}
	for name, test := range map[string]struct {
		second int
		want   string
	}{
		"unused":           {0, ""},
		"in a second page": {entries - 1, "rows 131072 to 262143: a value is not within the row group's statistics"},
	} {
		c := craftOne(format.Int64, false, 2*entries, format.Plain, nil)
		c.columns[0].stats = format.Statistics{MinValue: plainInt64s(0), MaxValue: plainInt64s(0)}
		c.columns[0].pages = []craftedPage{
			dictionaryPage(entries, plainInt64s(values...)),
			dataPage(entries, format.RLEDictionary, run(0)), dataPage(entries, format.RLEDictionary, run(test.second)),
		}
		r := bind(t, c.bytes(t), "x.parquet", column("x", "int64"))
		err := r.PagesOf(context.Background(), 0, 0, nil, func(parquet.Page) error { return nil })
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
