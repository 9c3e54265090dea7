package offline

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/apache/arrow-go/v18/arrow"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/arrowipc"
)

// Row groups of a temporary Parquet file, of which one is in memory.
const (
	tempRows  = 122_880
	tempBytes = 64 << 20
)

// spineTemp is a Parquet file that a spine of another format becomes. It has no name, and is gone when it is closed.
type spineTemp struct {
	file   *os.File
	buffer *bufio.Writer
	schema *arrow.Schema
	w      *pqarrow.FileWriter
}

// newSpineTemp begins a file for batches of a schema. original is the user's schema, which readers of Arrow's family
// give back; nil: the columns have no types but Parquet's own.
func newSpineTemp(schema, original *arrow.Schema) (_ *spineTemp, err error) {
	file, err := createTemp()
	if err != nil {
		return nil, err
	}
	t := &spineTemp{file: file, buffer: bufio.NewWriterSize(file, 1<<20), schema: schema}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	properties := pq.NewWriterProperties(
		pq.WithVersion(pq.V2_LATEST), pq.WithCompression(compress.Codecs.Snappy),
		pq.WithDictionaryDefault(false), pq.WithStats(false), pq.WithMaxRowGroupLength(tempRows), pq.WithCreatedBy(createdBy),
	)
	if t.w, err = pqarrow.NewFileWriter(schema, t.buffer, properties, pqarrow.DefaultWriterProps()); err != nil {
		return nil, err
	}
	if original == nil {
		return t, nil
	}
	text, err := arrowipc.FormatSchema(original)
	if err != nil {
		return nil, err
	}
	return t, t.w.AppendKeyValueMetadata(arrowipc.SchemaKey, text)
}

const createdBy = "provender"

// createTemp returns a file without a name.
func createTemp() (*os.File, error) {
	file, err := os.CreateTemp("", "provender-spine-*")
	if err != nil {
		return nil, tempProblem(err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(tempProblem(err), file.Close())
	}
	return file, nil
}

// write appends a batch.
func (t *spineTemp) write(batch arrow.RecordBatch) error {
	if t.w.RowGroupTotalBytesWritten() > tempBytes {
		if err := t.w.NewBufferedRowGroupChecked(); err != nil {
			return tempProblem(err)
		}
	}
	return tempProblem(t.w.WriteBuffered(batch))
}

// finish ends the file and returns it to be read.
func (t *spineTemp) finish() (spineParquet, error) {
	if err := errors.Join(t.w.Close(), t.buffer.Flush()); err != nil {
		return spineParquet{}, tempProblem(err)
	}
	info, err := t.file.Stat()
	if err != nil {
		return spineParquet{}, tempProblem(err)
	}
	return spineParquet{File: t.file, size: info.Size()}, nil
}

// tempProblem explains a failure to write; nil for nil.
func tempProblem(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &problem.Error{
			Code:       problem.Exhausted,
			Message:    fmt.Sprintf("write a temporary file in %s: %v", os.TempDir(), err),
			Suggestion: "free some space, or name a folder with more in the environment variable TMPDIR",
			Err:        err,
		}
	}
	return fmt.Errorf("write a temporary file in %s: %w", os.TempDir(), err)
}
