// Package serving answers lookups: a service compiled once per revision and generation into a plan, one round trip to
// the store for all of a request's views, rows decoded straight into the answer's columns.
package serving

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// The defaults of Options.
const (
	DefaultMaxEntities    = 10_000
	DefaultMaxFeatures    = 1_000
	DefaultMaxStoredBytes = 64 << 20
)

// retryAfter is the advice to callers of a store that does not answer.
const retryAfter = time.Second

// Options are settings of a Server. Zero or negative limits mean the defaults.
type Options struct {
	MaxEntities    int              // per request; default 10,000
	MaxFeatures    int              // per request; default 1,000
	MaxStoredBytes int              // of stored rows behind one answer; default 64 MiB
	Now            func() time.Time // default time.Now
	Fixed          bool             // Now is fixed (--now): a read before a view's T is refused, not moved to T
	KeySecret      []byte           // of the hashes that keys are told by: who has them alone can't find a key by trying
	Logger         *slog.Logger     // of damaged rows; default slog.Default
}

// Server answers lookups for one project. Safe for concurrent use; Update swaps what it knows atomically.
type Server struct {
	store online.Reader
	opts  Options
	plans atomic.Pointer[planSet]

	// When a damaged row was last told, in Unix seconds; how many were not, since; how many there were.
	damaged struct{ logged, since, total atomic.Int64 }
}

// New returns a server that knows nothing yet: every lookup is Unavailable until Update.
func New(store online.Reader, opts Options) *Server {
	if opts.MaxEntities <= 0 {
		opts.MaxEntities = DefaultMaxEntities
	}
	if opts.MaxFeatures <= 0 {
		opts.MaxFeatures = DefaultMaxFeatures
	}
	if opts.MaxStoredBytes <= 0 {
		opts.MaxStoredBytes = DefaultMaxStoredBytes
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Server{store: store, opts: opts}
}

// Update compiles plans for a revision and the generations that serve, and swaps them in. Requests under way finish on
// what they began with.
func (s *Server) Update(snapshot *registry.Snapshot, live []online.Live) {
	s.plans.Store(newPlanSet(snapshot, live))
}

// Request is one lookup. Service or Features, not both.
type Request struct {
	Service  string
	Features []string // "view:feature"
	// FullNames asks for names with their view before them, registry.FullName.
	FullNames bool
	// Keys has one vector per distinct name; all of one length, the number of rows. Without request keys (every view is
	// global) the answer has one row.
	KeyNames []string
	Keys     []*columnar.Vector
	// Events asks for event times.
	Events bool
	// ReadTime fixes the read time of this request as Options.Fixed does for all; zero: Options.Now decides.
	ReadTime time.Time
	// Took tells how the lookup went, of one that failed too. Lookup sets it.
	Took Took
}

// Took is where the time of a lookup went, for those who watch.
type Took struct {
	Began, Ended clock.Instant
	Store        online.Trip
}

// Answer is the columns of a lookup. Release returns its memory.
type Answer struct {
	ReadTime int64 // microseconds
	Fixed    bool  // the read time was fixed, by --now or by the request
	Revision int64
	Rows     int
	Names    []string // of the outputs, shared: do not change
	Columns  []*columnar.Vector
	Status   [][]columnar.Status // per output, per row
	Views    []ViewAnswer        // per read of the service
	Outputs  []registry.Output   // per output, which read it comes from; shared: do not change
	// Cells counts the cells by their status.
	Cells [columnar.Statuses]int

	scratch
}

// ViewAnswer tells which data answered for one view.
type ViewAnswer struct {
	View       string
	Generation online.GenerationID
	T          int64   // microseconds
	Events     []int64 // per row, math.MinInt64 for none; nil unless asked for
}

// Lookup answers a request. Errors are *problem.Error: NotFound (service, view), Invalid with Field (feature, key,
// type), Precondition (never materialized; a generation that lacks what the service needs; a fixed read time before a
// view's T), Unavailable (store does not answer, or lost its data), Exhausted (a limit), Canceled (ctx).
func (s *Server) Lookup(ctx context.Context, req *Request) (*Answer, error) {
	req.Took = Took{Began: clock.Now()}
	a, err := s.lookup(ctx, req)
	req.Took.Ended = clock.Now()
	return a, err
}

func (s *Server) lookup(ctx context.Context, req *Request) (*Answer, error) {
	p, revision, err := s.plan(req)
	if err != nil {
		return nil, err
	}
	at, fixed, err := s.readTime(p, req)
	if err != nil {
		return nil, err
	}
	a := p.newAnswer()
	if a.Names = p.names; req.FullNames {
		a.Names = p.fullNames
	}
	a.ReadTime, a.Fixed, a.Revision = at, fixed, revision
	if err := s.answer(ctx, p, req, a); err != nil {
		a.Release()
		return nil, err
	}
	return a, nil
}

// plan returns how a request is answered now, and by which revision.
func (s *Server) plan(req *Request) (p *plan, revision int64, err error) {
	plans := s.plans.Load()
	if plans == nil {
		return nil, 0, &problem.Error{
			Code:       problem.Unavailable,
			Message:    "the server has not loaded the definitions yet",
			RetryAfter: retryAfter,
		}
	}
	p, err = plans.find(req, s.opts.MaxFeatures)
	return p, plans.snapshot.Revision, err
}

// readTime returns the instant that ttl is judged at. A clock behind a view's T, set by another machine's, is moved
// to it: rows of up to T have already replaced what was true before. A fixed time is refused instead.
func (s *Server) readTime(p *plan, req *Request) (at int64, fixed bool, err error) {
	now := req.ReadTime
	fixed = s.opts.Fixed || !now.IsZero()
	if now.IsZero() {
		now = s.opts.Now()
	}
	at = now.UnixMicro()
	if at >= p.maxT {
		return at, fixed, nil
	}
	if !fixed {
		return p.maxT, false, nil
	}
	t := formatMicros(p.maxT)
	return 0, false, &problem.Error{
		Code: problem.Precondition,
		Message: "the read time " + formatMicros(at) + " is before " + t + ", up to which view " + quote(p.maxView) +
			" is materialized: what was online then has been replaced",
		Field:      "read_time",
		Suggestion: "read at " + t + " or later, or ask history with `provender get --at`",
	}
}

func (s *Server) answer(ctx context.Context, p *plan, req *Request, a *Answer) error {
	if err := a.bind(p, req, s.opts.MaxEntities); err != nil {
		return err
	}
	a.groups = p.appendGroups(a.groups[:0], a)
	if a.Rows == 0 {
		a.rows.Reset(a.groups)
	} else if err := s.read(ctx, req, a); err != nil {
		return storeError(ctx, err)
	}
	if stored := a.stored(p); stored > s.opts.MaxStoredBytes {
		return limitError("bytes of stored rows", "limits.request_stored", stored, s.opts.MaxStoredBytes, "keys")
	}
	a.decode(p, req.Events, s.logDamaged)
	return nil
}

func (s *Server) read(ctx context.Context, req *Request, a *Answer) error {
	err := s.store.Read(ctx, a.groups, &a.rows)
	req.Took.Store = a.rows.Trip
	return err
}

// Damaged returns how many damaged rows lookups have met.
func (s *Server) Damaged() int64 { return s.damaged.total.Load() }

// logDamaged tells of a row that can't be decoded, at most once a second. Keys are people: a hash of the key's encoding
// tells them apart.
func (s *Server) logDamaged(r *read, key []byte) {
	s.damaged.total.Add(1)
	now := time.Now().Unix()
	last := s.damaged.logged.Load()
	if last == now || !s.damaged.logged.CompareAndSwap(last, now) {
		s.damaged.since.Add(1)
		return
	}
	s.opts.Logger.Error("a stored row is damaged: its cells are answered as ERROR; `provender verify --repair` writes it anew",
		"view", r.generation.View, "generation", uint64(r.generation.ID), "key_hash", s.hashKey(key),
		"not_told", s.damaged.since.Swap(0))
}

// storeError tells a store's failure as the caller's problem.
func storeError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return &problem.Error{Code: problem.Canceled, Message: "the lookup ended early: " + ctx.Err().Error(), Err: ctx.Err()}
	case errors.Is(err, context.DeadlineExceeded) && pastDeadline(ctx): // of a connection, a moment before ctx's timer
		return &problem.Error{Code: problem.Canceled, Message: "the lookup ended early: the deadline has passed", Err: err}
	case errors.Is(err, online.ErrGenerationLost):
		return lost()
	default:
		return &problem.Error{
			Code:       problem.Unavailable,
			Message:    "the online store does not answer: " + err.Error(),
			RetryAfter: retryAfter,
			Err:        err,
		}
	}
}

func pastDeadline(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ok && !time.Now().Before(at)
}

// limitError tells that a request exceeds a limit.
func limitError(what, setting string, have, limit int, field string) error {
	return &problem.Error{
		Code:       problem.Exhausted,
		Message:    "the request has " + group(have) + " " + what + ", the limit is " + group(limit) + " (" + setting + ")",
		Field:      field,
		Suggestion: "send several requests, or raise the limit in provender.yaml",
	}
}

func lost() error {
	return &problem.Error{
		Code:       problem.Unavailable,
		Message:    "the online store has lost its data",
		Suggestion: "the next run of each view fills it again; `provender materialize` does it now",
		RetryAfter: retryAfter,
		Err:        online.ErrGenerationLost,
	}
}
