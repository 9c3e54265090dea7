package materialize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// expiryGrace is how much longer than it can be part of an answer a row stays in the store, and how far behind now a T
// may lie for its rows to expire at all: rows of a rehearsal on old data must stay.
const expiryGrace = 24 * time.Hour

// Config is what a Service works with. For durations and numbers zero means the default.
type Config struct {
	State      *state.Store
	Online     online.Store
	RegistryID string // registry.Store.ID
	// StoreName is the online store's address without secrets. Leases and runs are kept by it, and a store of this name
	// with another incarnation is one that lost its data.
	StoreName string
	Files     *source.Files
	Limits    parquet.Limits            // of the files
	Snapshot  func() *registry.Snapshot // the current revision
	Now       func() time.Time          // default time.Now
	// MaxClockSkew is how far behind now a default T stays; default 1 s, negative: none.
	MaxClockSkew time.Duration
	By           string // user@host:pid, for records and leases
	Logger       *slog.Logger
	Tracer       trace.Tracer // of runs; nil: they are not traced
	// Changed is called after a generation began to serve or its T moved; may be nil.
	Changed func()
	// NextRun tells when the schedule runs a view next, zero for never; may be nil.
	NextRun func(view string) time.Time

	Workers     int           // that decode files; default GOMAXPROCS, half of it with a Rate, so that serving has the rest
	Memory      int64         // bytes of the entities that a run holds at once; default asof's
	RoundRows   int64         // rows after which a rebuild records how far it is; default asof's
	Writers     int           // batches on their way to the store at once; default 3
	BatchRows   int           // rows of a batch; default 4,096
	Rate        int64         // rows per second that a run writes; 0: as fast as it can
	MaxRejected float64       // share of rows that can't be used before the run fails
	MaxNullKeys float64       // share of rows with a null key or event time before the run fails; default 1, negative: none
	LeaseTTL    time.Duration // without a heartbeat; default 30 s
	DropAfter   time.Duration // from a generation's retirement until a run drops it; default 1 min, negative: at once
}

func (c *Config) setDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.NextRun == nil {
		c.NextRun = func(string) time.Time { return time.Time{} }
	}
	c.MaxClockSkew = orDefault(c.MaxClockSkew, time.Second)
	c.DropAfter = orDefault(c.DropAfter, time.Minute)
	if c.Workers == 0 && c.Rate > 0 {
		c.Workers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	c.Writers = max(1, orDefault(c.Writers, 3))
	c.BatchRows = max(1, orDefault(c.BatchRows, 4096))
	c.MaxNullKeys = orDefault(c.MaxNullKeys, 1)
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = 30 * time.Second
	}
}

// orDefault returns d for zero, and zero for what is negative.
func orDefault[T int | float64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return max(v, 0)
}

// Service runs, records and checks materializations. Safe for concurrent use.
type Service struct {
	cfg Config

	mu      sync.Mutex
	claimed bool // the store was claimed by this service

	footers footers
}

// New returns a service; it touches nothing yet.
func New(cfg Config) *Service {
	cfg.setDefaults()
	return &Service{cfg: cfg}
}

// Run materializes views one after another, each under its lease, and returns the record of each; the error joins
// those of the views that failed.
func (s *Service) Run(ctx context.Context, req Request, progress func(Progress)) ([]Run, error) {
	snap := s.cfg.Snapshot()
	views, err := s.wanted(snap, req)
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	req.Trigger = cmp.Or(req.Trigger, TriggerCommand)
	q, err := s.enqueue(ctx, snap, views, req)
	if err != nil {
		return nil, err
	}
	defer q.close()
	var runs []Run
	var errs []error
	done := func(all ...Run) {
		for _, run := range all {
			run.View = snap.ViewName(run.View)
			runs = append(runs, run)
		}
	}
	for i, v := range views {
		if ctx.Err() != nil {
			err := problem.New(problem.Canceled, "not begun: %w", context.Cause(ctx))
			done(q.cancel(ctx, i, err)...)
			errs = append(errs, fmt.Errorf("view %s: %w", v.Name, err))
			break
		}
		var run Run
		if q.others[i] {
			run, err = q.ended(ctx, q.runs[i])
		} else {
			run, err = q.run(ctx, snap, v, q.runs[i], req, progress)
		}
		if run.ID != 0 {
			done(run)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("view %s: %w", v.Name, err))
		}
	}
	return runs, errors.Join(errs...)
}

// wanted returns the views that a request is for.
func (s *Service) wanted(snap *registry.Snapshot, req Request) ([]*registry.View, error) {
	views, err := pick(snap, req.Views)
	if err != nil {
		return nil, err
	}
	if len(req.Views) == 0 {
		views = slices.DeleteFunc(views, func(v *registry.View) bool { return !v.Online })
	}
	for _, v := range views {
		if !v.Online {
			return nil, &problem.Error{
				Code:       problem.Invalid,
				Field:      "views",
				Message:    fmt.Sprintf("view %s is for training only: it says online: false", v.Name),
				Suggestion: "remove that line from its definition and apply it",
			}
		}
	}
	if now := s.cfg.Now(); req.To.After(now) && !req.AllowFuture {
		return nil, &problem.Error{
			Code:  problem.Invalid,
			Field: "to",
			Message: fmt.Sprintf("T %s is in the future: rows dated until then would be served before their time; now is %s",
				stamp(req.To), stamp(now)),
			Suggestion: "leave --to out, or add --allow-future if that is meant",
		}
	}
	return views, nil
}

// Live returns the generations that serve in this service's store. Where the store has lost a view's generation, or
// does not answer, that generation is returned all the same: lookups then say that its rows are gone, not that there
// are none.
func (s *Service) Live(ctx context.Context) ([]online.Live, error) {
	gens, err := s.cfg.State.Generations(ctx, "")
	if err != nil {
		return nil, err
	}
	incarnation, _ := s.identify(ctx) // Reach tells why not
	serving := s.serving(gens, incarnation)
	live := make([]online.Live, 0, len(serving))
	for _, name := range slices.Sorted(maps.Keys(serving)) {
		live = append(live, serving[name].Live())
	}
	return live, nil
}

// Reach reports whether the online store answers and is this registry's, which it may be without its data.
func (s *Service) Reach(ctx context.Context) error {
	_, err := s.identify(ctx)
	return err
}

// serving returns by view, under its stored name, the generation that serves in an incarnation of this store, or else the one that served in
// the store until it lost its data.
func (s *Service) serving(gens []state.Generation, incarnation string) map[string]*state.Generation {
	serving := map[string]*state.Generation{}
	for i := range gens {
		g := &gens[i]
		if g.Phase != state.Serving || g.Store != s.cfg.StoreName && g.Incarnation != incarnation {
			continue
		}
		// gens are sorted by id: the later one is the newer one.
		if have := serving[g.View]; have == nil || have.Incarnation != incarnation {
			serving[g.View] = g
		}
	}
	return serving
}

// claim makes the store ours.
func (s *Service) claim(ctx context.Context) (online.Identity, error) {
	prefix, err := s.cfg.State.Prefix(ctx)
	if err != nil {
		return online.Identity{}, err
	}
	id, err := s.cfg.Online.Claim(ctx, s.cfg.RegistryID, prefix)
	if err != nil {
		return id, storeFailure("claim", err)
	}
	s.mu.Lock()
	s.claimed = true
	s.mu.Unlock()
	return id, s.cfg.State.Saw(ctx, s.cfg.StoreName, id.Incarnation, s.cfg.Now())
}

// identify returns the store's incarnation without writing to a store that lost its marker.
func (s *Service) identify(ctx context.Context) (string, error) {
	id, err := s.look(ctx)
	return id.Incarnation, err
}

// look is identify with all that the store tells of itself.
func (s *Service) look(ctx context.Context) (online.Identity, error) {
	s.mu.Lock()
	claimed := s.claimed
	s.mu.Unlock()
	if !claimed {
		return s.claim(ctx)
	}
	id, err := s.cfg.Online.Identity(ctx)
	switch {
	case errors.Is(err, online.ErrGenerationLost):
		return online.Identity{}, nil // no incarnation: nothing that we wrote is there
	case err != nil:
		return online.Identity{}, storeFailure("identify", err)
	}
	return id, nil
}

// storeFailure gives an error of the online store its class.
func storeFailure(operation string, err error) error {
	var known *problem.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, online.ErrForeignStore):
		return &problem.Error{
			Code: problem.Precondition, Err: err,
			Message:    "the online store's prefix belongs to another registry",
			Suggestion: "give this registry a store, or a database of it, of its own",
		}
	case errors.Is(err, online.ErrGenerationLost):
		return &problem.Error{
			Code: problem.Unavailable, Err: err,
			Message:    "the online store has lost its data",
			Suggestion: "run provender materialize: it writes everything again",
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Canceled, "%s online store: %w", operation, err)
	}
	e := problem.New(problem.Unavailable, "%s online store: %w", operation, err)
	e.RetryAfter = time.Second
	return e
}

// pick resolves names of views; none means all, by name.
func pick(snap *registry.Snapshot, wanted []string) ([]*registry.View, error) {
	if len(wanted) == 0 {
		wanted = slices.Sorted(maps.Keys(snap.Views))
	}
	views := make([]*registry.View, 0, len(wanted))
	for _, name := range wanted {
		v := snap.Views[name]
		if v == nil {
			_, err := snap.FeatureView(name)
			return nil, err
		}
		if !slices.Contains(views, v) {
			views = append(views, v)
		}
	}
	return views, nil
}

// stamp is an instant as messages have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
