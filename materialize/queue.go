package materialize

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
)

// queue is the runs of one call. They are recorded as queued at first; for those that have not begun it gives signs of
// life.
type queue struct {
	*Service
	runs []Run // of the call's views
	// others tells of each whether an earlier call of the same request made it: it is not this one's to run.
	others []bool

	mu      sync.Mutex
	waiting []int64
	stop    context.CancelFunc
	stopped chan struct{}
}

// enqueue records a run of each view, unless the request has made it before. The caller takes them one after another, and
// calls close.
func (s *Service) enqueue(ctx context.Context, snap *registry.Snapshot, views []*registry.View, req Request) (*queue, error) {
	q := &queue{Service: s, stopped: make(chan struct{})}
	for _, v := range views {
		run := Run{
			View: v.StoredName(), Revision: snap.Revision, Trigger: req.Trigger, By: s.cfg.By, Queued: s.cfg.Now().UTC(),
			Asked:   state.Asked{To: req.To.UTC(), Full: req.Full, AllowFuture: req.AllowFuture},
			Attempt: req.Attempt, RetryOf: req.RetryOf, RequestID: req.RequestID,
		}
		earlier, err := s.cfg.State.Enqueue(ctx, s.cfg.StoreName, &run, s.cfg.LeaseTTL)
		if err == nil && earlier > 0 {
			run, err = s.same(ctx, earlier, &run)
		}
		if err != nil {
			for _, id := range q.waiting {
				s.withdraw(ctx, &Run{ID: id})
			}
			return nil, err
		}
		q.runs, q.others = append(q.runs, run), append(q.others, earlier > 0)
		if earlier == 0 {
			q.waiting = append(q.waiting, run.ID)
		}
	}
	ctx, q.stop = context.WithCancel(context.WithoutCancel(ctx))
	go q.await(ctx)
	return q, nil
}

// await gives signs of life until ctx ends.
func (q *queue) await(ctx context.Context) {
	defer close(q.stopped)
	ticker := time.NewTicker(q.cfg.LeaseTTL / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		q.mu.Lock()
		waiting := slices.Clone(q.waiting)
		q.mu.Unlock()
		for _, id := range waiting {
			// The run sees for itself that it was cancelled. A database that is away is asked again.
			err := q.cfg.State.Await(ctx, id, q.cfg.Now(), q.cfg.LeaseTTL)
			if err != nil && !errors.Is(err, state.ErrCancelled) && ctx.Err() == nil {
				q.cfg.Logger.Warn("sign of life of a queued run", "run", id, "error", err)
			}
		}
	}
}

// begun reports that a run waits no longer.
func (q *queue) begun(id int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(w int64) bool { return w == id })
}

// cancel records this call's runs from i on as cancelled before they began, and returns them.
func (q *queue) cancel(ctx context.Context, i int, why error) []Run {
	brief, end := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer end()
	var cancelled []Run
	for k, run := range q.runs {
		if k < i || q.others[k] {
			continue
		}
		run.Started, run.Finished, run.Error = run.Queued, q.cfg.Now().UTC(), why.Error()
		if err := q.cfg.State.End(brief, state.Lease{}, &run, RunCancelled); err != nil {
			q.cfg.Logger.Warn("record a run that was not begun", "run", run.ID, "error", err)
		}
		cancelled = append(cancelled, run)
	}
	return cancelled
}

func (q *queue) close() {
	q.stop()
	<-q.stopped
}

// withdraw forgets a queued run that has nothing to tell.
func (s *Service) withdraw(ctx context.Context, run *Run) {
	brief, end := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer end()
	if err := s.cfg.State.Withdraw(brief, run.ID); err != nil {
		s.cfg.Logger.Warn("withdraw a queued run", "run", run.ID, "error", err)
	}
	*run = Run{}
}

// Runs is RunsBefore for the newest.
func (s *Service) Runs(ctx context.Context, views []string, limit int) ([]Run, error) {
	return s.RunsBefore(ctx, views, 0, limit)
}

// RunsBefore lists the runs of views (none: all) with a lesser id than before (0: all), newest first, at most limit (0: all).
// Those of a view that was renamed since have its name of today.
func (s *Service) RunsBefore(ctx context.Context, views []string, before int64, limit int) ([]Run, error) {
	snap := s.cfg.Snapshot()
	of := state.Selection{Views: snap.StoredViews(views), Before: before, Limit: limit}
	runs, err := s.cfg.State.Runs(ctx, s.cfg.StoreName, of, s.cfg.Now())
	for i := range runs {
		runs[i].View = snap.ViewName(runs[i].View)
	}
	return runs, err
}

// GetRun returns one run; NotFound where there is none.
func (s *Service) GetRun(ctx context.Context, id int64) (Run, error) {
	run, err := s.cfg.State.Run(ctx, s.cfg.StoreName, id, s.cfg.Now())
	run.View = s.cfg.Snapshot().ViewName(run.View)
	return run, err
}

// Cancel asks for the end of a run: from the address of whoever asks over a network, "" for one on this machine. A run
// that is queued is cancelled at once, one that is running within seconds. Precondition where it is over.
func (s *Service) Cancel(ctx context.Context, id int64, from string) (Run, error) {
	by := s.cfg.By
	if from != "" {
		by = from + " through " + by
	}
	run, err := s.cfg.State.Cancel(ctx, s.cfg.StoreName, id, by, s.cfg.Now())
	run.View = s.cfg.Snapshot().ViewName(run.View)
	return run, err
}

// Retry runs again what a run was asked for that failed or was cancelled; requestID is as of Request.
func (s *Service) Retry(ctx context.Context, id int64, requestID string, progress func(Progress)) ([]Run, error) {
	run, err := s.GetRun(ctx, id)
	if err != nil {
		return nil, err
	}
	if run.State != RunFailed && run.State != RunCancelled {
		e := problem.New(problem.Precondition, "run %d can't be retried: it is %s", id, run.State)
		e.Suggestion = "a run that failed or was cancelled can; for another one: provender materialize " + run.View
		return nil, e
	}
	first := run.RetryOf
	if first == 0 {
		first = run.ID
	}
	return s.Run(ctx, Request{
		Views: []string{run.View}, To: run.Asked.To, Full: run.Asked.Full, AllowFuture: run.Asked.AllowFuture,
		Trigger: TriggerRetry, Attempt: run.Attempt + 1, RetryOf: first, RequestID: requestID,
	}, progress)
}
