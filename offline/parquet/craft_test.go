package parquet_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// crafted is a file put together from parts that may contradict each other.
type crafted struct {
	elements []format.SchemaElement // below the root
	children int32                  // of the root; 0: as many as elements
	rows     int64
	columns  []craftedColumn // of the one row group; none: no row group
	alter    func(*format.FileMetaData)
}

// craftedColumn is a column chunk.
type craftedColumn struct {
	path   []string
	typ    format.Type
	codec  format.CompressionCodec
	values int64
	pages  []craftedPage
	stats  format.Statistics
}

// craftedPage is a page: its header's sizes are those of its bytes unless they are set.
type craftedPage struct {
	format.PageHeader
	size int32  // uncompressed, where it is not that of the body
	body []byte // as it stands in the file
}

// craftOne makes a file of one flat column, optional or required, in one page of values.
func craftOne(typ format.Type, optional bool, rows int, encoding format.Encoding, body []byte) *crafted {
	return &crafted{
		elements: []format.SchemaElement{craftedLeaf("x", typ, optional)},
		rows:     int64(rows),
		columns: []craftedColumn{{
			path: []string{"x"}, typ: typ, values: int64(rows), pages: []craftedPage{dataPage(rows, encoding, body)},
		}},
	}
}

func craftedLeaf(name string, typ format.Type, optional bool) format.SchemaElement {
	e := format.SchemaElement{Name: name, Type: pqthrift.New(typ), RepetitionType: pqthrift.New(format.Required)}
	if optional {
		e.RepetitionType = pqthrift.New(format.Optional)
	}
	return e
}

func craftedGroup(name string, repetition format.FieldRepetitionType, children int32) format.SchemaElement {
	return format.SchemaElement{Name: name, RepetitionType: pqthrift.New(repetition), NumChildren: pqthrift.New(children)}
}

func dataPage(values int, encoding format.Encoding, body []byte) craftedPage {
	return craftedPage{body: body, PageHeader: format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: pqthrift.New(format.DataPageHeader{
			NumValues: int32(values), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	}}
}

func dictionaryPage(values int, body []byte) craftedPage {
	return craftedPage{body: body, PageHeader: format.PageHeader{
		Type:                 format.DictionaryPage,
		DictionaryPageHeader: pqthrift.New(format.DictionaryPageHeader{NumValues: int32(values), Encoding: format.Plain}),
	}}
}

// bytes returns the file.
func (c *crafted) bytes(t testing.TB) []byte {
	t.Helper()
	out := []byte("PAR1")
	children := c.children
	if children == 0 {
		children = int32(len(c.elements))
	}
	meta := format.FileMetaData{
		Version: 2, NumRows: c.rows, RowGroups: []format.RowGroup{},
		Schema: append([]format.SchemaElement{{Name: "schema", NumChildren: pqthrift.New(children)}}, c.elements...),
	}
	if len(c.columns) > 0 {
		group := format.RowGroup{NumRows: c.rows}
		for _, col := range c.columns {
			meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
			m := format.ColumnMetaData{
				Type: col.typ, PathInSchema: col.path, Codec: col.codec, NumValues: col.values, Statistics: col.stats,
				DataPageOffset: int64(len(out)),
			}
			for _, p := range col.pages {
				h := p.PageHeader
				h.CompressedPageSize, h.UncompressedPageSize = int32(len(p.body)), int32(len(p.body))
				if p.size != 0 {
					h.UncompressedPageSize = p.size
				}
				b := marshal(t, &h)
				out = append(append(out, b...), p.body...)
				if p.Type == format.DictionaryPage && m.DictionaryPageOffset == 0 {
					m.DictionaryPageOffset = m.DataPageOffset
					m.DataPageOffset = int64(len(out))
				}
			}
			first := m.DataPageOffset
			if m.DictionaryPageOffset > 0 {
				first = m.DictionaryPageOffset
			}
			m.TotalCompressedSize = int64(len(out)) - first
			group.Columns = append(group.Columns, format.ColumnChunk{MetaData: m})
		}
		meta.RowGroups = append(meta.RowGroups, group)
	}
	if c.alter != nil {
		c.alter(&meta)
	}
	footer := marshal(t, &meta)
	out = append(out, footer...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(footer)))
	return append(out, "PAR1"...)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := pqthrift.Marshal(new(pqthrift.CompactProtocol), v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prefixedLevels is a run of one level in front of a version 1 page.
func prefixedLevels(n int, level byte) []byte {
	run := append(binary.AppendUvarint(nil, uint64(n)<<1), level)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(run))), run...)
}

func plainInt64s(values ...int64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func plainText(values ...string) []byte {
	var b []byte
	for _, v := range values {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return b
}

// compressed returns b in a codec.
func compressed(t testing.TB, codec format.CompressionCodec, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch codec {
	case format.Snappy:
		return snappy.Encode(nil, b)
	case format.Gzip:
		w := gzip.NewWriter(&out)
		_, err = w.Write(b)
		_ = w.Close()
	case format.Brotli:
		w := brotli.NewWriter(&out)
		_, err = w.Write(b)
		_ = w.Close()
	case format.Zstd:
		w, werr := zstd.NewWriter(nil)
		if werr != nil {
			t.Fatal(werr)
		}
		return w.EncodeAll(b, nil)
	case format.Lz4Raw, format.Lz4:
		block := make([]byte, lz4.CompressBlockBound(len(b)))
		n, lerr := lz4.CompressBlock(b, block, nil)
		if err = lerr; codec == format.Lz4 {
			out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
			out.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
		}
		out.Write(block[:n])
	default:
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
