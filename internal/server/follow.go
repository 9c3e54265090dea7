package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
)

const (
	followEvery    = time.Second
	refreshTimeout = 5 * time.Second
	// checkTimeout bounds a look at the store: whether it answers is to be known soon.
	checkTimeout = 3 * time.Second
	// evictionEvery is how often the store is asked whether it may drop rows.
	evictionEvery = 15 * time.Second
)

// follower keeps a server's compiled plans up with the registry and with the generations that serve. Where the
// registry does not answer, the last snapshot stays. Safe for concurrent use.
type follower struct {
	registry registry.Store
	ops      *materialize.Service
	serving  *serving.Server
	online   online.Store
	logger   *slog.Logger
	// presence is told what lookups are answered by; nil where this process is no server. Set before run.
	presence *presence
	// observe is called after every look at the store; may be nil. Set before run.
	observe func()

	snapshot      atomic.Pointer[registry.Snapshot]
	registryState condition
	storeState    condition

	eviction atomic.Pointer[bool] // whether the store may drop rows; nil: it does not tell
	asked    time.Time            // when it was asked for that; of lookAtStore

	answered atomic.Int64 // when the registry answered last, in microseconds; 0: never

	refreshing sync.Mutex // one refresh at a time
	begun      time.Time  // when the last refresh that succeeded began

	mu     sync.Mutex // held for no more than an update: the store is looked after while the registry hangs
	serves []online.Live
	swap   int64 // the last that serves shows
	lost   []online.GenerationID
}

// refresh reads the current revision and the generations that serve, and swaps new plans in where they differ from
// what is known.
func (f *follower) refresh(ctx context.Context) error {
	asked := time.Now()
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	if f.begun.After(asked) {
		return nil // another caller's, while this one waited
	}
	begun := time.Now()
	swap, err := f.ops.LastSwap(ctx)
	if err != nil {
		return err
	}
	snapshot, err := f.latest(ctx)
	if err != nil {
		return err
	}
	live, err := f.ops.Live(ctx)
	if err != nil {
		return err
	}
	f.begun = begun
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swap = swap
	f.mark(live)
	f.answered.Store(begun.UnixMicro())
	known := f.snapshot.Load()
	if snapshot == known && slices.EqualFunc(live, f.serves, sameLive) {
		return nil
	}
	f.serves = live
	f.serving.Update(snapshot, live)
	if snapshot != known {
		f.snapshot.Store(snapshot)
	}
	return nil
}

// latest returns the newest snapshot, the one at hand where the revision is still the same.
func (f *follower) latest(ctx context.Context) (*registry.Snapshot, error) {
	known := f.snapshot.Load()
	if known != nil {
		newest, err := f.registry.History(ctx, 1)
		if err != nil {
			return nil, err
		}
		if len(newest) == 0 || newest[0].Number == known.Revision {
			return known, nil
		}
	}
	rev, defs, err := f.registry.Current(ctx)
	if err != nil {
		return nil, err
	}
	return registry.Compile(rev.Number, defs)
}

// mark notes which of the generations the store has lost, as far as is known.
func (f *follower) mark(live []online.Live) {
	for i := range live {
		live[i].Lost = slices.Contains(f.lost, live[i].ID)
	}
}

func sameLive(a, b online.Live) bool {
	return a.View == b.View && a.ID == b.ID && a.T == b.T && a.Run == b.Run && a.Digest == b.Digest && a.Lost == b.Lost
}

// current returns the newest snapshot for a run, the last known where the registry does not answer.
func (f *follower) current() *registry.Snapshot {
	f.poke()
	return f.snapshot.Load()
}

// poke refreshes now, so that what this process has just done is seen by its next call.
func (f *follower) poke() {
	ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
	defer cancel()
	f.registryState.set(f.logger, f.refresh(ctx))
}

// run looks at the registry and at the store, each every second, until ctx ends.
func (f *follower) run(ctx context.Context) {
	var looking sync.WaitGroup
	for _, look := range []func(context.Context){f.lookAtRegistry, f.lookAtStore} {
		looking.Go(func() {
			tick := time.NewTicker(followEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				look(ctx)
			}
		})
	}
	looking.Wait()
}

// look looks at both once.
func (f *follower) look(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() { f.lookAtRegistry(ctx) })
	looking.Go(func() { f.lookAtStore(ctx) })
	looking.Wait()
}

func (f *follower) lookAtRegistry(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	err := f.refresh(within)
	if err == nil && f.presence != nil {
		err = f.tell(within)
	}
	if ctx.Err() == nil {
		f.registryState.set(f.logger, err)
	}
}

func (f *follower) lookAtStore(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := f.check(within)
	if ctx.Err() != nil {
		return
	}
	f.storeState.set(f.logger, err)
	if err == nil {
		f.lookAtEviction(within)
	}
	if f.observe != nil {
		f.observe()
	}
}

// lookAtEviction asks the store now and then whether it may drop rows: somebody may change its settings.
func (f *follower) lookAtEviction(ctx context.Context) {
	store, ok := f.online.(online.Evicting)
	if !ok || time.Since(f.asked) < evictionEvery {
		return
	}
	f.asked = time.Now()
	evicts, known := store.Evicts(ctx)
	if !known {
		f.eviction.Store(nil)
		return
	}
	f.eviction.Store(&evicts)
}

// evicts reports what the store told of that last.
func (f *follower) evicts() (evicts, known bool) {
	if e := f.eviction.Load(); e != nil {
		return *e, true
	}
	return false, false
}

// tell says that this server lives, and what its lookups are answered by.
func (f *follower) tell(ctx context.Context) error {
	f.mu.Lock()
	swap := f.swap
	f.mu.Unlock()
	return f.presence.tell(ctx, swap, f.snapshot.Load().Revision)
}

// check asks the store for the markers of the generations that serve, and tells those that it has lost: their lookups
// are Unavailable until a run has filled them again.
func (f *follower) check(ctx context.Context) error {
	if err := f.ops.Reach(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	serves := f.serves
	f.mu.Unlock()
	expected := make([]online.Checkpoint, len(serves))
	for i, l := range serves {
		expected[i] = online.Checkpoint{ID: l.ID, Run: l.Run}
	}
	lost, err := f.online.CheckGenerations(ctx, expected)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range serves {
		if slices.Contains(lost, l.ID) && !slices.Contains(f.lost, l.ID) {
			f.logger.Error("the online store has lost the values of a feature view; materialize it again",
				"view", f.snapshot.Load().ViewName(l.View), "generation", uint64(l.ID))
		}
	}
	f.lost = lost
	marked := slices.Clone(f.serves)
	if f.mark(marked); !slices.EqualFunc(marked, f.serves, sameLive) {
		f.serves = marked
		f.serving.Update(f.snapshot.Load(), marked)
	}
	return nil
}

// condition is whether something works, told when that changes, once for each outage. Safe for concurrent use.
type condition struct {
	name     string
	failure  atomic.Pointer[error] // nil: it works
	since    atomic.Int64          // when that changed, in microseconds; 0: never
	answered atomic.Int64          // when it worked last, in microseconds; 0: never
}

func (c *condition) set(logger *slog.Logger, err error) {
	now := time.Now().UnixMicro()
	if err == nil {
		c.answered.Store(now)
		if c.failure.Swap(nil) != nil {
			began := c.since.Swap(now)
			logger.Info(c.name+" answers again", "after", time.Duration(now-began)*time.Microsecond)
		}
		return
	}
	before := c.failure.Swap(&err)
	if before == nil {
		c.since.Store(now)
	}
	if before == nil || outageOf(*before) != outageOf(err) {
		logger.Warn(c.name+" does not answer", "error", err)
	}
}

// outage is what the failures of one have in common, whose texts differ: by ports, or by how a connection ended.
type outage struct {
	code   problem.Code
	passes bool // by itself, maybe
}

func outageOf(err error) outage {
	var p *problem.Error
	switch {
	case errors.As(err, &p):
		return outage{p.Code, p.RetryAfter > 0}
	case errors.Is(err, context.DeadlineExceeded):
		return outage{problem.Unavailable, true}
	}
	return outage{}
}

// err returns the failure, nil where it works.
func (c *condition) err() error {
	if e := c.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// times returns since when it has worked, or not, and when it worked last; zero for ever and never.
func (c *condition) times() (since, answered time.Time) {
	of := func(micros int64) time.Time {
		if micros == 0 {
			return time.Time{}
		}
		return time.UnixMicro(micros)
	}
	return of(c.since.Load()), of(c.answered.Load())
}

// freshLookups looks at the registry again before it tells a caller that something is not there: it may have been
// applied or materialized by another process a moment ago.
type freshLookups struct {
	*serving.Server
	follow *follower
}

// Lookup implements rpc.Lookups.
func (l freshLookups) Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error) {
	answer, err := l.Server.Lookup(ctx, req)
	if l.refreshed(ctx, err) {
		return l.Server.Lookup(ctx, req)
	}
	return answer, err
}

// KeyKinds implements rpc.Lookups.
func (l freshLookups) KeyKinds(ctx context.Context, req *serving.Request) ([]columnar.Kind, error) {
	kinds, err := l.Server.KeyKinds(ctx, req)
	if l.refreshed(ctx, err) {
		return l.Server.KeyKinds(ctx, req)
	}
	return kinds, err
}

// refreshed reports whether a failure may be another after the registry was looked at again, which it has been.
func (l freshLookups) refreshed(ctx context.Context, err error) bool {
	switch problem.CodeOf(err) {
	case problem.NotFound, problem.Invalid, problem.Precondition:
		// One that is known not to answer would make the caller wait for what it has already.
		return l.follow.registryState.err() == nil && l.follow.refresh(ctx) == nil
	}
	return false
}
