package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// createdBy has the form that readers parse to recognise writers with known bugs.
const createdBy = "provender version 1.0.0"

var magic = []byte("PAR1")

// Writer writes a Parquet file from encoded chunks. The bytes depend on the values alone: not on time, workers or
// machine. Every page carries a checksum. Not safe for concurrent use; its
// chunks may be encoded anywhere.
type Writer struct {
	w      io.Writer
	schema *Schema
	offset int64
	rows   int64
	groups []format.RowGroup
	buf    []byte // for what is read back
}

// NewWriter begins a file. The caller closes w after Close.
func NewWriter(w io.Writer, schema *Schema) (*Writer, error) {
	out := &Writer{w: w, schema: schema}
	return out, out.write(magic)
}

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.offset += int64(n)
	return err
}

// Rows returns the rows written so far.
func (w *Writer) Rows() int64 { return w.rows }

// Size returns the bytes written so far.
func (w *Writer) Size() int64 { return w.offset }

// WriteRowGroup appends a row group: one encoded chunk of the same rows per leaf of the schema, in order.
func (w *Writer) WriteRowGroup(chunks []*Encoded) error {
	if len(chunks) != len(w.schema.leaves) || len(chunks) == 0 {
		return fmt.Errorf("row group of %d columns in a file of %d", len(chunks), len(w.schema.leaves))
	}
	if len(w.groups) > math.MaxInt16 {
		return fmt.Errorf("more than %d row groups", math.MaxInt16+1)
	}
	group := format.RowGroup{
		Columns:    make([]format.ColumnChunk, len(chunks)),
		NumRows:    int64(chunks[0].rows),
		FileOffset: w.offset,
		Ordinal:    int16(len(w.groups)),
	}
	for i, c := range chunks {
		if int64(c.rows) != group.NumRows {
			return fmt.Errorf("column %s has %d rows of a row group of %d", w.schema.leaves[i].name(), c.rows, group.NumRows)
		}
		meta := c.meta
		meta.DataPageOffset = w.offset + c.dictionary
		if c.dictionary > 0 {
			meta.DictionaryPageOffset = w.offset
		}
		if w.buf == nil && c.from != nil {
			w.buf = make([]byte, copyBytes)
		}
		if err := c.writeTo(w.write, w.buf); err != nil {
			return err
		}
		group.Columns[i].MetaData = meta
		group.TotalByteSize += meta.TotalUncompressedSize
		group.TotalCompressedSize += meta.TotalCompressedSize
	}
	w.groups = append(w.groups, group)
	w.rows += group.NumRows
	return nil
}

// Close writes the footer.
func (w *Writer) Close() error {
	meta := format.FileMetaData{
		Version:          2,
		Schema:           w.schema.withRoot(),
		NumRows:          w.rows,
		RowGroups:        w.groups,
		KeyValueMetadata: w.schema.keyValues(),
		CreatedBy:        createdBy,
	}
	for range w.schema.leaves {
		meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	if meta.RowGroups == nil {
		meta.RowGroups = []format.RowGroup{}
	}
	footer, err := pqthrift.Marshal(new(pqthrift.CompactProtocol), &meta)
	if err != nil {
		return fmt.Errorf("encode footer: %w", err)
	}
	if len(footer) > math.MaxInt32 {
		return fmt.Errorf("footer of %d bytes", len(footer))
	}
	if err := w.write(footer); err != nil {
		return err
	}
	return w.write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), magic...))
}
