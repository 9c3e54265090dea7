// Package asof is the point-in-time kernel: which row answers each spine row (R2–R8), without sorting feature data.
// Feature rows stream once; memory is bounded by the spine (Join) or by the entities (Latest).
package asof

import (
	"math"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// NoCutoff is the Cutoff that lets every row take part.
const NoCutoff = math.MaxInt64

// Input is the history of one view.
type Input struct {
	View   *registry.View
	Source *source.Files
	Files  []source.File
	// Cutoff: rows with a later event time take no part. NoCutoff for training; a run's T for R11.
	Cutoff int64
}

// Options are settings of the kernel. The zero value means the defaults.
type Options struct {
	Workers int // default GOMAXPROCS
	Limits  parquet.Limits
	// Progress tells how many rows were read or skipped, of how many as far as the files opened so far let guess. May be
	// nil; called from several goroutines, late calls with lesser figures.
	Progress func(rowsDone, rowsAbout int64)
	Rejected func(reason string, n int64) // source rows dropped, as Stats.Rejected; may be nil; called by the caller's goroutine
	// For Latest:
	// Tolerate leaves out, and counts in Stats.Rejected, rows whose key, event or created time can't be represented, and those
	// whose values can't and that would be the newest of their entity, up to 1,000 of these. Else such a row is an error.
	Tolerate  bool
	Memory    int64 // bytes that entities and their newest rows may take before a round ends; default 256 MiB
	RoundRows int64 // rows after which a round ends with the file; default 100 million
	// RoundDone is called after the last batch of a round with how many files, from the first, have all their rows in this
	// round or an earlier one. Its error ends the call. May be nil; called by the goroutine that calls fn.
	RoundDone func(files int) error
	// Held tells of rows of in.Files[file] after in.Cutoff, and the least event time of those. May be nil; called from
	// several goroutines, several times for one file.
	Held func(file int, rows, least int64)
}

// Spine is the rows to answer, under one binding of the view's join keys.
type Spine struct {
	Times []int64            // microseconds
	Keys  []*columnar.Vector // in the view's KeyColumns order; none for a global view
}

// Stats counts what a call saw, in all its rounds.
type Stats struct {
	Files, RowGroups, RowsRead int64 // read, not skipped
	RowsSkipped                int64 // in row groups and pages that statistics ruled out
	NullKeys                   int64 // source rows read and dropped for a null key (R7)
	Future                     int64 // source rows after Cutoff, those in skipped row groups included
	Ties                       int64 // rows that equal a candidate that stands in entity, event and created time (R4), within a round
	// NewestEvent is the greatest event time up to Cutoff in row groups read, math.MinInt64 for none: of a row group of which
	// only some rows were read, what its statistics promise.
	NewestEvent int64
	Rejected    []Rejected // rows read and left out
}

// Result answers a spine for one view. What Match found never changes; Gather and Release must not meet Cells or Size.
type Result struct {
	// Status is per spine row Present, Expired or NotFound; a cell of a Present row is Null where its value is.
	Status []columnar.Status
	// Event is per spine row the event time of the row found (Present or Expired), else math.MinInt64.
	Event []int64
	Stats Stats
	// Least and Greatest bound the event times of all rows, read or not, by the statistics of row groups. Least is greater
	// where there is no row, or a row group without statistics.
	Least, Greatest int64
	// Footers has per Input.Files what tells its footer, and with it the sizes and statistics of all its pages, from
	// another's, wherever the file lies: parquet.File.Digest.
	Footers []uint64

	kernel *kernel
	// found has the positions of the rows that answer: first, ascending, the present ones, whose features can be asked
	// for; then those that are Expired wherever they answer.
	found   []int64
	present int
	rows    []int32 // per spine row the index into found, nowhere for none
	columns []gathered
}
