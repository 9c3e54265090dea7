// Package table has the Parquet files of workloads.
package table

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Files look as Arrow's libraries write them by default, but for zstd: dictionaries up to 1 MiB, pages of 1 MiB, row
// groups of 1 Mi rows.
const (
	dictionaryBytes = 1 << 20
	pageBytes       = 1 << 20
	groupRows       = 1 << 20
	batchRows       = 1 << 13
)

// Instant is the type of times.
func Instant() pq.Node { return pq.Timestamp(pq.Microsecond) }

// Table writes rows to a Parquet file; it holds a batch of them at a time.
type Table struct {
	f       *os.File
	w       *pq.GenericWriter[any]
	columns []*pq.ColumnWriter
	batch   [][]pq.Value
	rows    int
}

// Create begins a file; the order of its columns is that of their names.
func Create(path string, nodes pq.Group) (*Table, error) {
	for name, node := range nodes {
		nodes[name] = pq.Encoded(node, &pq.RLEDictionary)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := pq.NewGenericWriter[any](f, pq.NewSchema("schema", nodes), pq.Compression(&zstd.Codec{}), pq.DataPageVersion(1),
		pq.DictionaryMaxBytes(dictionaryBytes), pq.PageBufferSize(pageBytes))
	columns := w.ColumnWriters()
	return &Table{f: f, w: w, columns: columns, batch: make([][]pq.Value, len(columns))}, nil
}

// Column returns the position of a column.
func (t *Table) Column(name string) int {
	leaf, _ := t.w.Schema().Lookup(name)
	return leaf.ColumnIndex
}

// Set gives the row that is being made its value.
func (t *Table) Set(column int, v pq.Value) {
	t.batch[column] = append(t.batch[column], v.Level(0, 0, column))
}

// SetOptional is Set for a column that may be null.
func (t *Table) SetOptional(column int, v pq.Value) {
	level := 1
	if v.IsNull() {
		level = 0
	}
	t.batch[column] = append(t.batch[column], v.Level(0, level, column))
}

// EndRow is called once every column has its value.
func (t *Table) EndRow() error {
	t.rows++
	if t.rows%batchRows == 0 {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if t.rows%groupRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *Table) flush() error {
	for i, values := range t.batch {
		if _, err := t.columns[i].WriteRowValues(values); err != nil {
			return fmt.Errorf("write %s: %w", t.f.Name(), err)
		}
		t.batch[i] = values[:0]
	}
	return nil
}

// Close ends the file and closes it, whatever became of writing it.
func (t *Table) Close() error {
	err := t.flush()
	if err == nil {
		err = t.w.Close()
	}
	if closeErr := t.f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Warm brings the files below a folder into the page cache.
func Warm(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".parquet" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
}
