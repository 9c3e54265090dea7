// Package serving answers lookups: a service compiled once per revision and generation into a plan, one round trip to
// the store for all of a request's views, rows decoded straight into the answer's columns.
package serving

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// Options are settings of a Server. The zero value means the defaults.
type Options struct {
	MaxEntities int              // per request; default 10,000
	MaxFeatures int              // per request; default 1,000
	Now         func() time.Time // default time.Now
	Fixed       bool             // Now is fixed (--now): a read before a view's T is refused, not moved to T
}

// Server answers lookups for one project. Safe for concurrent use; Update swaps what it knows atomically.
type Server struct{}

// New returns a server that knows nothing yet: every lookup is Unavailable until Update.
func New(store online.Reader, opts Options) *Server { panic("unwritten") }

// Update compiles plans for a revision and the generations that serve, and swaps them in. Requests under way finish on
// what they began with.
func (s *Server) Update(snapshot *registry.Snapshot, live []online.Live) { panic("unwritten") }

// Request is one lookup. Service or Features, not both.
type Request struct {
	Service  string
	Features []string // "view:feature"
	// Keys has one vector per distinct name; all of one length, the number of rows.
	KeyNames []string
	Keys     []*columnar.Vector
	// Events asks for event times.
	Events bool
}

// Answer is the columns of a lookup. Release returns its memory.
type Answer struct {
	ReadTime int64 // microseconds
	Fixed    bool  // the read time was fixed by --now
	Revision int64
	Names    []string // of the outputs, shared: do not change
	Columns  []*columnar.Vector
	Status   [][]columnar.Status // per output, per row
	Views    []ViewAnswer        // per read of the service
	Outputs  []registry.Output   // per output, which read it comes from; shared: do not change
}

// ViewAnswer tells which data answered for one view.
type ViewAnswer struct {
	View       string
	Generation online.GenerationID
	T          int64   // microseconds
	Events     []int64 // per row, math.MinInt64 for none; nil unless asked for
}

// Lookup answers a request. Errors are *problem.Error: NotFound (service, view), Invalid with Field (feature, key,
// type), Precondition (never materialized; a generation that lacks what the service needs), Unavailable (store does
// not answer, or lost its data), Exhausted (a limit).
func (s *Server) Lookup(ctx context.Context, req *Request) (*Answer, error) { panic("unwritten") }

// Release returns the answer's memory; nothing of it may be used afterwards.
func (a *Answer) Release() { panic("unwritten") }
