package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/metrics"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/tracing"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/schedule"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/plan"
)

// node is a project with its online store open in this process, and the API on top. Its follower keeps it up with the
// registry from start until close.
type node struct {
	project  *Project
	online   online.Store
	serving  *serving.Server
	ops      *materialize.Service
	state    *state.Store
	follow   *follower
	services rpc.Services
	metrics  *metrics.Metrics
	grpc     *grpc.Server
	logger   *slog.Logger
	// scheduler is there while schedules run.
	scheduler atomic.Pointer[schedule.Scheduler]
	// definitions is there where definitions are taken from a repository or folder.
	definitions atomic.Pointer[gitops.Reconciler]

	stop    context.CancelFunc
	running sync.WaitGroup
}

// minStreams is how many calls one connection may have under way whatever the limit of lookups: it has others, too.
const minStreams = 100

// openNode opens what the API needs. Unavailable where another process holds the embedded store. now is the fixed read
// time, zero for the clock's.
func openNode(ctx context.Context, p *Project, now time.Time, d *door, traces *tracing.Tracing, logger *slog.Logger) (_ *node, err error) {
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	id, err := reg.ID(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := state.Open(ctx, reg.DB())
	if err != nil {
		return nil, err
	}
	trips := metrics.NewTrips()
	store, err := p.openOnline(trips.Watch, logger)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	limits := &p.Config.Limits
	opts := serving.Options{
		MaxEntities: int(limits.RequestEntities), MaxFeatures: int(limits.RequestFeatures), MaxStoredBytes: int(limits.RequestStored),
		KeySecret: []byte(id), Logger: logger,
	}
	if !now.IsZero() {
		opts.Now, opts.Fixed = func() time.Time { return now }, true
	}
	n := &node{project: p, online: store, state: ops, serving: serving.New(store, opts), logger: logger}
	n.follow = &follower{registry: reg, serving: n.serving, online: store, logger: logger}
	n.follow.registryState.name, n.follow.storeState.name = "registry", "online store"
	runs := &p.Config.Materialize
	n.ops = materialize.New(materialize.Config{
		State: ops, Online: store, RegistryID: id, StoreName: p.storeName(), Files: p.Files,
		Snapshot: n.follow.current, Changed: n.changed, NextRun: n.nextRun, By: identity(), Logger: logger, Tracer: traces.Tracer(),
		Limits: p.ParquetLimits(), BatchRows: p.batchRows(), Memory: runs.Memory, Writers: int(runs.Writers), Rate: runs.Rate,
		MaxRejected: runs.MaxRejected, MaxNullKeys: noneIfZero(runs.MaxNullKeys),
	})
	n.follow.ops = n.ops
	if err := n.follow.refresh(ctx); err != nil {
		return nil, fmt.Errorf("load definitions: %w", err)
	}
	changes, err := p.Control(ctx)
	if err != nil {
		return nil, err
	}
	admitted := admission.New(admission.Options{Requests: int(limits.Requests), Waited: calls.Waited})
	n.metrics = metrics.New(metrics.Config{
		Operations: n.ops, Store: n.follow.storeState.err, Registry: n.follow.registryState.err,
		Refreshed: func() time.Time { return time.UnixMicro(n.follow.answered.Load()) },
		Revision:  func() int64 { return n.follow.snapshot.Load().Revision },
		Damaged:   n.serving.Damaged, Definitions: n.definitionsStatus, Scheduler: n.schedulerStats,
		Trips: trips, Pool: poolOf(store), Evicts: n.follow.evicts, Certificate: d.tls.expires, Spans: traces.Stats, Admission: admitted.Stats, Logger: logger,
	})
	n.services = rpc.Services{
		Calls: calls.New(calls.Options{
			Meter: n.metrics, Slow: p.Config.Server.SlowRequest, Logger: logger, Sample: n.serving.SampleKeys, Tracer: traces.Tracer(),
		}),
		Lookups:    n.metrics.Count(freshLookups{n.serving, n.follow}),
		Admission:  admitted,
		Operations: n.ops,
		Revisions:  reg,
		Control:    following{changes, n.follow},
		History: &history{
			project: p, snapshot: n.applied, maxEntities: opts.MaxEntities, maxFeatures: opts.MaxFeatures,
		},
		Exports:     rpc.ExportLimits{AtOnce: int(limits.Exports), SpineBytes: limits.SpineBytes},
		Snapshot:    n.follow.snapshot.Load,
		Definitions: n.definitionsStatus,
	}
	if d.store != nil { // who can create tokens while nobody proves who they are could come back with them later
		n.services.Tokens = d.store
	}
	options := append(rpc.ServerOptions(logger, n.services.Calls), rpc.RefuseEarly(logger, n.services.Calls, admitted),
		grpc.MaxRecvMsgSize(int(limits.RequestMessage)), grpc.MaxConcurrentStreams(max(minStreams, uint32(limits.Requests))))
	n.grpc = grpc.NewServer(append(options, d.options()...)...)
	rpc.Register(n.grpc, n.services)
	return n, nil
}

// applied returns the newest definitions that the node knows. Precondition where nothing was applied yet.
func (n *node) applied(ctx context.Context) (*registry.Snapshot, error) {
	n.follow.poke()
	if known := n.follow.snapshot.Load(); known.Revision > 0 {
		return known, nil
	}
	return n.project.Snapshot(ctx)
}

// following lets a node answer at once by what it has applied.
type following struct {
	*control.Service
	follow *follower
}

// Apply implements rpc.Control.
func (f following) Apply(ctx context.Context, saved *plan.Plan, o control.ApplyOptions) (registry.Revision, error) {
	rev, err := f.Service.Apply(ctx, saved, o)
	if err == nil {
		f.follow.poke()
	}
	return rev, err
}

// noneIfZero is a setting of which 0 means none, for a field of which 0 means the default.
func noneIfZero(share float64) float64 {
	if share == 0 {
		return -1
	}
	return share
}

// changed follows what a run of this process has brought.
func (n *node) changed() {
	n.follow.poke()
	n.metrics.News()
}

// nextRun tells when the schedule runs a view next, zero where none does.
func (n *node) nextRun(view string) time.Time {
	if s := n.scheduler.Load(); s != nil {
		return s.Next(view)
	}
	return time.Time{}
}

// schedulerStats tells of the scheduler, false where none runs.
func (n *node) schedulerStats() (schedule.Stats, bool) {
	if s := n.scheduler.Load(); s != nil {
		return s.Stats(), true
	}
	return schedule.Stats{}, false
}

// poolOf returns what tells of a store's connections, nil where it has none.
func poolOf(store online.Store) func() online.Pool {
	if pooled, ok := store.(online.Pooled); ok {
		return pooled.Pool
	}
	return nil
}

// start follows the registry in the background.
func (n *node) start() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.running.Go(func() { n.follow.run(ctx) })
}

// serve answers on l in the background. The end of the listener is no error.
func (n *node) serve(l net.Listener) {
	n.running.Go(func() {
		if err := n.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			n.logger.Error("listener failed", "address", l.Addr().String(), "error", err)
		}
	})
}

// drain lets calls under way finish, until ctx ends; then they are cut off.
func (n *node) drain(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		n.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.grpc.Stop()
		<-done
	}
}

// close ends what start and serve began, after drain, and closes the online store.
func (n *node) close() error {
	n.grpc.Stop()
	if n.stop != nil {
		n.stop()
	}
	n.running.Wait()
	if err := n.online.Close(); err != nil {
		return fmt.Errorf("close online store: %w", err)
	}
	return nil
}
