// Package materialize moves the newest rows from history into an online store: runs, generations, the ledger, verify
// and status. It is where offline and online meet (R11, R12).
package materialize

import (
	"context"
	"time"

	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
)

// Run is the record of one materialization of one view up to an instant.
type Run = state.Run

// RunState is where a run is.
type RunState = state.RunState

// The states of a run.
const (
	RunQueued    = state.RunQueued
	RunRunning   = state.RunRunning
	RunSucceeded = state.RunSucceeded
	RunFailed    = state.RunFailed
	RunCancelled = state.RunCancelled
)

// What begins runs.
const (
	TriggerCommand  = "command"
	TriggerSchedule = "schedule"
	TriggerRetry    = "retry"
)

// Progress is how far a run or a comparison is.
type Progress struct {
	View       string
	Stage      string // "list", "read", "write", "swap"; "compare"; "drop"
	Done, Size int64  // rows, entities for "compare", generations for "drop"; Size 0: not known
}

// Request asks for runs.
type Request struct {
	Views       []string  // empty: every view that is online
	To          time.Time // zero: now less max_clock_skew
	Full        bool
	AllowFuture bool
	Trigger     string // default TriggerCommand
	Attempt     int64  // default 1
	RetryOf     int64  // the run of attempt 1, 0 where this is it
	// RequestID is this request's alone, "" for none: a view whose run it has made before is not run again.
	RequestID string
	// Confirm is called under a view's lease, before its run is begun; its error is the run's. May be nil.
	Confirm func(context.Context) error
}

// The states of a view: a status has the first that holds.
const (
	ViewOffline  = "offline"  // online: false
	ViewUnknown  = "unknown"  // the online store does not answer
	ViewLost     = "lost"     // the online store has lost the rows; the next run writes them again
	ViewRunning  = "running"  // a run is under way
	ViewFailed   = "failed"   // the last run failed
	ViewQueued   = "queued"   // a run waits for its turn
	ViewNever    = "never"    // nothing was materialized yet
	ViewStale    = "stale"    // the definition changed; the next run fills a new generation
	ViewDiverged = "diverged" // rows of files that changed or went may remain until a run with --full (R12)
	ViewOK       = "ok"
)

// ViewStatus is the truth about one view for whoever is on call.
type ViewStatus struct {
	View           string
	State          string // one of the constants above
	Generation     online.GenerationID
	Written        int64         // rows stored by the serving generation's runs, updates of an entity included
	T              time.Time     // of the serving generation
	NewestEvent    time.Time     // newest event time online
	Lag            time.Duration // now less NewestEvent
	NewestInSource time.Time     // that a run could bring online now, by the files' statistics; zero: they do not tell
	LastRun        *Run          // that is not queued
	NextRun        time.Time     // by the schedule; zero without one or without a server
	Failures       int64         // runs that failed since the last that succeeded
	Paused         time.Time     // since when the schedule rests; zero: it does not
	PausedBy       string
	Diverged       time.Time // since when rows of changed or deleted files may remain; zero: not
	Held           int64
	PendingFiles   int64 // files that the ledger has not: new, changed or deleted
	Error          string
}

// VerifyRequest asks to compare online with offline.
type VerifyRequest struct {
	Views  []string
	Sample int       // entities per view; default 1,000
	Full   bool      // every entity, and every stored row
	Now    time.Time // read time; zero: now
	Repair bool      // rewrite what is wrong or missing, remove what is extra
}

// The classes of cells that differ.
const (
	Wrong   = "wrong"
	Missing = "missing" // offline has a value, online has none
	Extra   = "extra"   // online has a value, offline has none
)

// VerifyReport is what a comparison found, per view. Equal, Behind, Wrong, Missing and Extra add up to Cells.
type VerifyReport struct {
	View     string
	T        time.Time
	ReadTime time.Time
	Entities int64
	Cells    int64
	Equal    int64
	Behind   int64 // equal to history as of T, where history has newer rows by now: a run brings them
	Wrong    int64
	Missing  int64
	Extra    int64
	Repaired int64        // entities whose rows were rewritten or removed, before the comparison
	Diffs    []Difference // the first 20 that are wrong, missing or extra
	Note     string       // "diverged since …", "not materialized"
}

// Sound reports whether no cell is wrong, missing or extra.
func (r *VerifyReport) Sound() bool { return r.Wrong+r.Missing+r.Extra == 0 }

// Difference is one cell that is not the same.
type Difference struct {
	Entity          string // "airport=JFK"
	Feature         string
	Online, Offline string // "12.5 PRESENT", "NOT_FOUND"
	Class           string // one of the constants above
}
