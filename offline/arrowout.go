package offline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/provender-dev/provender/offline/arrowipc"
)

// arrowOptions say how writeArrow writes.
type arrowOptions struct {
	Stream      bool   // an IPC stream; else an IPC file, which is also what Feather V2 is
	Compression string // of buffers: zstd, lz4; none or ""
	BatchRows   int    // the greatest number of rows in a batch; 0: groupRows
}

// writeArrow writes the columns and rows of a finished Parquet output as Arrow IPC, batch by batch: in memory is one
// batch, and the dictionaries of columns that have one. Columns have the types that the Parquet's ARROW:schema gives
// them, else those that its own schema does. The bytes depend on the Parquet and the options alone.
func writeArrow(ctx context.Context, in io.ReaderAt, size int64, w io.Writer, o arrowOptions) (err error) {
	// What a spine holds comes through here, and Arrow's library panics over some of it.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write Arrow: %v", r)
		}
	}()
	if o.BatchRows == 0 {
		o.BatchRows = groupRows
	}
	c, err := newArrowConversion(in, size, o)
	if err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	defer c.close()
	if err := c.collectDictionaries(ctx); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	schema := c.schema()
	out, err := newArrowWriter(w, schema, o)
	if err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	if err := c.write(ctx, schema, out.Write); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	return nil
}

// arrowConversion reads Parquet as Arrow batches.
type arrowConversion struct {
	batchRows int
	file      *pqfile.Reader
	reader    *pqarrow.FileReader
	fields    []arrow.Field
	metadata  arrow.Metadata
	dresses   []arrowDress // per field
}

func newArrowConversion(in io.ReaderAt, size int64, o arrowOptions) (*arrowConversion, error) {
	c := &arrowConversion{batchRows: o.BatchRows}
	kept, err := c.open(in, size)
	if err != nil {
		return nil, err
	}
	original, keys, values := (*arrow.Schema)(nil), []string(nil), []string(nil)
	for _, kv := range kept {
		if kv.Key == arrowipc.SchemaKey {
			// Where it can't be read, the file is complete without it.
			original, _ = arrowipc.ReadSchema(kv.GetValue())
			continue
		}
		keys, values = append(keys, kv.Key), append(values, kv.GetValue())
	}
	plain, err := c.reader.Schema()
	if err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	c.fields, c.metadata = plain.Fields(), arrow.NewMetadata(keys, values)
	if original != nil && original.NumFields() != len(c.fields) {
		original = nil
	}
	for i := range c.fields {
		f := &c.fields[i]
		f.Metadata = withoutFieldID(f.Metadata)
		to := f.Type
		if original != nil {
			to = original.Field(i).Type
			if m := original.Field(i).Metadata; m.Len() > 0 {
				f.Metadata = m
			}
		}
		c.dresses = append(c.dresses, newArrowDress(f.Type, to))
	}
	return c, nil
}

// open opens a file and returns its metadata.
func (c *arrowConversion) open(in io.ReaderAt, size int64) (metadata.KeyValueMetadata, error) {
	file, err := pqfile.NewParquetReader(io.NewSectionReader(in, 0, size))
	if err != nil {
		return nil, err
	}
	// The library restores fewer types than there are, and fails on others.
	kept := file.MetaData().KeyValueMetadata()
	file.MetaData().FileMetaData.KeyValueMetadata = nil
	reader, err := pqarrow.NewFileReader(file, pqarrow.ArrowReadProperties{BatchSize: int64(c.batchRows)}, memory.DefaultAllocator)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c.file, c.reader = file, reader
	return kept, nil
}

// reopen opens another file, with the same columns.
func (c *arrowConversion) reopen(in io.ReaderAt, size int64) error {
	if err := c.file.Close(); err != nil {
		return err
	}
	_, err := c.open(in, size)
	return err
}

func (c *arrowConversion) close() {
	for _, dress := range c.dresses {
		for _, d := range dictionariesOf(dress) {
			d.release()
		}
	}
	_ = c.file.Close()
}

func (c *arrowConversion) schema() *arrow.Schema {
	fields := make([]arrow.Field, len(c.fields))
	for i, f := range c.fields {
		fields[i] = f
		fields[i].Type = c.dresses[i].dataType()
	}
	return arrow.NewSchema(fields, &c.metadata)
}

// collectDictionaries reads the columns that have dictionaries once.
func (c *arrowConversion) collectDictionaries(ctx context.Context) error {
	var leaves []int
	var fields []int
	for i, dress := range c.dresses {
		if len(dictionariesOf(dress)) > 0 {
			fields = append(fields, i)
			leaves = appendLeaves(leaves, &c.reader.Manifest.Fields[i])
		}
	}
	if len(fields) == 0 {
		return nil
	}
	err := c.batches(ctx, leaves, func(batch arrow.RecordBatch) error {
		for i, field := range fields {
			column, err := c.dresses[field].dress(ctx, batch.Column(i))
			if err != nil {
				return fmt.Errorf("column %q: %w", c.fields[field].Name, err)
			}
			column.Release()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, field := range fields {
		for _, d := range dictionariesOf(c.dresses[field]) {
			if err := d.collected(ctx); err != nil {
				return fmt.Errorf("column %q: %w", c.fields[field].Name, err)
			}
		}
	}
	return nil
}

func appendLeaves(leaves []int, f *pqarrow.SchemaField) []int {
	if f.IsLeaf() {
		return append(leaves, f.ColIndex)
	}
	for i := range f.Children {
		leaves = appendLeaves(leaves, &f.Children[i])
	}
	return leaves
}

// write calls out with all rows, batch by batch, in the types of schema.
func (c *arrowConversion) write(ctx context.Context, schema *arrow.Schema, out func(arrow.RecordBatch) error) error {
	return c.batches(ctx, nil, func(batch arrow.RecordBatch) error {
		columns := make([]arrow.Array, len(c.dresses))
		defer func() {
			for _, column := range columns {
				if column != nil {
					column.Release()
				}
			}
		}()
		for i, dress := range c.dresses {
			var err error
			if columns[i], err = dress.dress(ctx, batch.Column(i)); err != nil {
				return fmt.Errorf("column %q: %w", c.fields[i].Name, err)
			}
		}
		dressed := array.NewRecordBatch(schema, columns, batch.NumRows())
		defer dressed.Release()
		return out(dressed)
	})
}

// batches calls f with the rows of some leaf columns, of all where leaves is nil. No batch spans row groups, whose rows are
// few where they are wide.
func (c *arrowConversion) batches(ctx context.Context, leaves []int, f func(arrow.RecordBatch) error) error {
	for group := range c.file.NumRowGroups() {
		if err := c.batchesOf(ctx, group, leaves, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *arrowConversion) batchesOf(ctx context.Context, group int, leaves []int, f func(arrow.RecordBatch) error) error {
	r, err := c.reader.GetRecordReader(ctx, leaves, []int{group})
	if err != nil {
		return err
	}
	defer r.Release()
	for r.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(r.RecordBatch()); err != nil {
			return err
		}
	}
	return r.Err()
}

// arrowWriter is what ipc's writers of files and streams have in common.
type arrowWriter interface {
	Write(arrow.RecordBatch) error
	Close() error
}

func newArrowWriter(w io.Writer, schema *arrow.Schema, o arrowOptions) (arrowWriter, error) {
	options := []ipc.Option{ipc.WithSchema(schema)}
	switch o.Compression {
	case "", "none":
	case "zstd":
		options = append(options, ipc.WithZstd())
	case "lz4":
		options = append(options, ipc.WithLZ4())
	default:
		return nil, fmt.Errorf("unknown compression %q", o.Compression)
	}
	if o.Stream {
		return ipc.NewWriter(w, options...), nil
	}
	return ipc.NewFileWriter(w, options...)
}
