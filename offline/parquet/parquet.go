// Package parquet reads Parquet files into columnar vectors: binding by name, exact conversion (R1, R10), pages,
// pruning, guards against hostile bytes. Every error names file, row group and column. It never panics.
package parquet

import (
	"context"
	"io"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// Limits bound what a file may ask for. The zero value means the defaults.
type Limits struct {
	PageBytes   int64 // one page after decompression; default 256 MiB
	ValueBytes  int64 // one string; default 16 MiB
	FooterBytes int64 // default 64 MiB
}

// Rounding is what becomes of a time finer than a microsecond (R1).
type Rounding uint8

// The ways of R1.
const (
	Exact     Rounding = iota // values: a rest is an error
	RoundUp                   // event and created times
	RoundDown                 // spine times
)

// Column is what a caller wants of a file.
type Column struct {
	Name string        // dotted for nested fields; a hive partition's name where the file has no such column
	Type columnar.Type // what the vector shall be; the file's type widens to it or binding fails
	// For timestamps:
	Location  *time.Location // of naive timestamps; nil: UTC
	Ambiguous registry.Ambiguous
	At        registry.DayEnd // for DATE columns and partitions; "" makes those an error
	Round     Rounding
	Required  bool // a null is an error that names row group and row (spine times)
	// Optional: where the file lacks the column, all its values are null.
	Optional bool
}

// File is an open Parquet file whose footer has been read and checked.
type File struct{}

// Open reads and checks the footer.
func Open(ctx context.Context, r io.ReaderAt, file source.File, limits Limits) (*File, error) {
	panic("unwritten")
}

// ColumnInfo describes a leaf column as the file has it.
type ColumnInfo struct {
	Name     string        // dotted
	Physical string        // as the file has it, for messages: "INT64 timestamp[ns]"
	Type     columnar.Type // the natural type, Invalid where Provender has none
	Reason   string        // why Type is Invalid
	Naive    bool          // a timestamp without zone
	Date     bool
}

// Columns lists the file's leaf columns, then its partitions.
func (f *File) Columns() []ColumnInfo { panic("unwritten") }

// NumRows returns the rows of the file.
func (f *File) NumRows() int64 { panic("unwritten") }

// Bind resolves columns against the file and checks their types.
func (f *File) Bind(columns []Column) (*Reader, error) { panic("unwritten") }

// Reader reads bound columns, by their index in Bind's argument. Different row groups may be read concurrently.
type Reader struct{}

// RowGroups returns the number of row groups.
func (r *Reader) RowGroups() int { panic("unwritten") }

// Rows returns the rows of a row group.
func (r *Reader) Rows(group int) int { panic("unwritten") }

// Bounds returns the least and greatest value of an int64 or timestamp column from the row group's statistics, after
// conversion; ok is false where the file does not say or what it says can't be trusted.
func (r *Reader) Bounds(group, column int) (least, greatest int64, ok bool) { panic("unwritten") }

// Read appends all values of a row group to dst.
func (r *Reader) Read(ctx context.Context, group, column int, dst *columnar.Vector) error {
	panic("unwritten")
}

// Page is a run of rows. Valid until the callback returns, except that Values of a dictionary stays the same vector
// from page to page of one row group, so that a caller can map it once.
type Page struct {
	Rows   int
	Values *columnar.Vector // with Index: the dictionary; without: Rows values
	Index  []int32          // per row the position in Values, -1 for a null; nil: not a dictionary page
}

// Pages calls fn for every page of a row group's column, in order, stopping at fn's error.
func (r *Reader) Pages(ctx context.Context, group, column int, fn func(Page) error) error {
	panic("unwritten")
}

// Gather appends to dst the values at rows, which are ascending positions in the row group without repeats. Pages
// without a wanted row are not decoded.
func (r *Reader) Gather(ctx context.Context, group, column int, rows []int32, dst *columnar.Vector) error {
	panic("unwritten")
}
