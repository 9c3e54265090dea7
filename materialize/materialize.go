// Package materialize moves the newest rows from history into an online store: runs, generations, the ledger, verify
// and status. It is where offline and online meet (R11, R12).
package materialize

import (
	"time"

	"github.com/provender-dev/provender/online"
)

// RunState is where a run is.
type RunState string

// The states of a run.
const (
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
)

// Run is the record of one materialization of one view up to an instant.
type Run struct {
	ID         int64
	View       string
	Revision   int64
	Generation online.GenerationID
	Trigger    string // "command" or "schedule"
	By         string // user@host:pid
	State      RunState
	Full       bool   // filled a new generation
	Reason     string // why full: "first run", "--full", "source files changed", "definition changed", "store lost its data"
	T          time.Time
	Started    time.Time
	Finished   time.Time // zero while running
	Files      int64     // files read
	RowsRead   int64
	Written    int64
	Older      int64
	Held       int64 // rows dated after T
	NullKeys   int64 // rows dropped for a null key
	Ties       int64
	Error      string
}

// Progress is how far a run is.
type Progress struct {
	View       string
	Stage      string // "list", "read", "write", "swap"
	Done, Size int64  // rows
}

// Request asks for runs.
type Request struct {
	Views       []string  // empty: every view that is online
	To          time.Time // zero: now less max_clock_skew
	Full        bool
	AllowFuture bool
	Trigger     string
}

// ViewStatus is the truth about one view for whoever is on call.
type ViewStatus struct {
	View         string
	State        string // "ok", "never", "running", "failed", "stale" (definition changed), "diverged", "lost", "offline" (online: false)
	Generation   online.GenerationID
	Rows         int64         // stored by the serving generation's runs: first writes of an entity are not told from updates
	T            time.Time     // of the serving generation
	NewestEvent  time.Time     // newest event time online
	Lag          time.Duration // now less NewestEvent
	LastRun      *Run
	NextRun      time.Time // by the schedule; zero without one or without a server
	Held         int64
	PendingFiles int64 // files that the ledger has not: new, changed or deleted
	Error        string
}

// VerifyRequest asks to compare online with offline.
type VerifyRequest struct {
	Views  []string
	Sample int       // entities per view; default 1,000
	Full   bool      // every entity, and every stored row
	Now    time.Time // read time; zero: now
}

// VerifyReport is what a comparison found, per view.
type VerifyReport struct {
	View     string
	T        time.Time
	ReadTime time.Time
	Entities int64
	Cells    int64
	Equal    int64
	Wrong    int64
	Missing  int64        // offline has a value, online has none
	Extra    int64        // online has a value, offline has none
	Diffs    []Difference // the first 20
	Note     string       // "diverged since …", "not materialized"
}

// Difference is one cell that is not the same.
type Difference struct {
	Entity          string // "airport=JFK"
	Feature         string
	Online, Offline string // "12.5 PRESENT", "NOT_FOUND"
}
