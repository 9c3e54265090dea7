package main

import (
	"fmt"
	"os"

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

var instant = pq.Timestamp(pq.Microsecond)

// table writes rows to a Parquet file; it holds a batch of them at a time.
type table struct {
	f       *os.File
	w       *pq.GenericWriter[any]
	columns []*pq.ColumnWriter
	batch   [][]pq.Value
	rows    int
}

// newTable begins a file; the order of its columns is that of their names.
func newTable(path string, nodes pq.Group) (*table, error) {
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
	return &table{f: f, w: w, columns: columns, batch: make([][]pq.Value, len(columns))}, nil
}

// column returns the position of a column.
func (t *table) column(name string) int {
	leaf, _ := t.w.Schema().Lookup(name)
	return leaf.ColumnIndex
}

// set gives the row that is being made its value.
func (t *table) set(column int, v pq.Value) {
	t.batch[column] = append(t.batch[column], v.Level(0, 0, column))
}

// setOptional is set for a column that may be null.
func (t *table) setOptional(column int, v pq.Value) {
	level := 1
	if v.IsNull() {
		level = 0
	}
	t.batch[column] = append(t.batch[column], v.Level(0, level, column))
}

// endRow is called once every column has its value.
func (t *table) endRow() error {
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

func (t *table) flush() error {
	for i, values := range t.batch {
		if _, err := t.columns[i].WriteRowValues(values); err != nil {
			return fmt.Errorf("write %s: %w", t.f.Name(), err)
		}
		t.batch[i] = values[:0]
	}
	return nil
}

// close ends the file and closes it, whatever became of writing it.
func (t *table) close() error {
	err := t.flush()
	if err == nil {
		err = t.w.Close()
	}
	if closeErr := t.f.Close(); err == nil {
		err = closeErr
	}
	return err
}
