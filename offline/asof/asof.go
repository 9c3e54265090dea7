// Package asof is the point-in-time kernel: which row answers each spine row (R2–R8), without sorting feature data.
// Feature rows stream once; memory is bounded by the spine (Join) or by the entities (Latest).
package asof

import (
	"context"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
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
	Workers  int                          // default GOMAXPROCS
	Progress func(rowsDone int64)         // may be nil; called from several goroutines
	Rejected func(reason string, n int64) // source rows dropped: "null key", …; may be nil; called from one goroutine
}

// Spine is the rows to answer, under one binding of the view's join keys.
type Spine struct {
	Times []int64            // microseconds
	Keys  []*columnar.Vector // in the view's KeyColumns order; none for a global view
}

// Stats counts what a call saw.
type Stats struct {
	Files, RowGroups, RowsRead int64 // read, not skipped
	RowsSkipped                int64 // in row groups that statistics ruled out
	NullKeys                   int64 // source rows dropped for a null key (R7)
	Future                     int64 // source rows after Cutoff
	Ties                       int64 // pairs of rows equal in entity, event and created time that were candidates (R4)
	NewestEvent                int64 // greatest event time seen, math.MinInt64 for none
}

// Result answers a spine for one view. Immutable.
type Result struct {
	// Status is per spine row Present, Expired or NotFound; a cell of a Present row is Null where its value is.
	Status []columnar.Status
	// Event is per spine row the event time of the row found (Present or Expired), else math.MinInt64.
	Event []int64
	Stats Stats
}

// Cells appends to dst feature f (an index into the features asked for) of the spine rows [lo, hi): the value where
// the row is Present, else a null.
func (r *Result) Cells(f, lo, hi int, dst *columnar.Vector) { panic("unwritten") }

// Where returns the file (index into Input.Files) and row within the file that answered spine row i; ok is false for
// NotFound.
func (r *Result) Where(i int) (file int, position int64, ok bool) { panic("unwritten") }

// Join answers every row of the spine. features are indexes into the view's Features.
func Join(ctx context.Context, spine Spine, in Input, features []int, opts Options) (*Result, error) {
	panic("unwritten")
}

// Batch is some entities and their newest rows. Valid during the callback.
type Batch struct {
	Keys     []*columnar.Vector // in the view's KeyColumns order
	Event    []int64
	Created  []int64            // row.NoCreated for none
	Features []*columnar.Vector // all of the view's
}

// Latest calls fn, from one goroutine, with the newest row (R4) of every entity that has one with event time in
// [since, in.Cutoff]; each entity once.
func Latest(ctx context.Context, in Input, since int64, opts Options, fn func(*Batch) error) (Stats, error) {
	panic("unwritten")
}
