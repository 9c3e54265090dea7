package offline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// arrowOptions say how writeArrow writes.
type arrowOptions struct {
	Stream      bool   // an IPC stream; else an IPC file, which is also what Feather V2 is
	Compression string // of buffers: zstd, lz4; none or ""
	BatchRows   int    // the greatest number of rows in a batch; 0: groupRows
}

// writeArrow writes the columns and rows of a finished Parquet output as Arrow IPC, batch by batch: in memory is one
// batch. Columns have the types that the Parquet's ARROW:schema gives them, else those that its own schema does. The
// bytes depend on the Parquet and the options alone.
func writeArrow(ctx context.Context, parquet io.ReaderAt, size int64, w io.Writer, o arrowOptions) (err error) {
	defer arrowGuard(&err)
	file, err := pqfile.NewParquetReader(io.NewSectionReader(parquet, 0, size))
	if err != nil {
		return fmt.Errorf("read the finished output: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if o.BatchRows == 0 {
		o.BatchRows = groupRows
	}
	reader, err := pqarrow.NewFileReader(file, pqarrow.ArrowReadProperties{BatchSize: int64(o.BatchRows)}, memory.DefaultAllocator)
	if err != nil {
		return fmt.Errorf("read the finished output: %w", err)
	}
	batches, err := reader.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("read the finished output: %w", err)
	}
	defer batches.Release()
	out, err := newArrowWriter(w, batches.Schema(), o)
	if err != nil {
		return err
	}
	for batches.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.Write(batches.RecordBatch()); err != nil {
			return fmt.Errorf("write Arrow: %w", err)
		}
	}
	if err := batches.Err(); err != nil {
		return fmt.Errorf("read the finished output: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	return nil
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
		return nil, fmt.Errorf("write Arrow: unknown compression %q", o.Compression)
	}
	if o.Stream {
		return ipc.NewWriter(w, options...), nil
	}
	file, err := ipc.NewFileWriter(w, options...)
	if err != nil {
		return nil, fmt.Errorf("write Arrow: %w", err)
	}
	return file, nil
}

// arrowGuard turns a panic of Arrow's library over the bytes of a spine into an error.
func arrowGuard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("arrow: %v", r)
	}
}
