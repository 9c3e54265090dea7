package gitops

import (
	"slices"
	"time"
)

// State is how the registry stands to the origin.
type State string

// The states.
const (
	Starting State = "starting" // the first look is not over
	Applied  State = "applied"  // the registry is as the origin has it
	Kept     State = "kept"     // the registry was changed by hand since
	Refused  State = "refused"  // what is new breaks somebody
	Invalid  State = "invalid"  // what is new has problems
	Failed   State = "failed"   // the origin or the registry does not answer
)

// States are all of them.
var States = []State{Starting, Applied, Kept, Refused, Invalid, Failed}

// Status is what a Reconciler has seen and done. Safe to show: it holds no password.
type Status struct {
	Source    string
	State     State
	Message   string    // why it is not applied, or what differs
	Details   []string  // problems with their positions, or what would break
	Seen      string    // the newest commit, or the digest of a folder; "" before the first look
	SeenAt    time.Time // when it was first seen here
	Checked   time.Time // when the origin answered last
	Applied   string    // the commit of the last revision that was applied from the origin, by whichever server
	AppliedAt time.Time
	Revision  int64 // the number of that one
	Failures  int64 // rounds in a row that failed
}

// Status returns how things stand now.
func (r *Reconciler) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Details = slices.Clone(s.Details)
	return s
}
