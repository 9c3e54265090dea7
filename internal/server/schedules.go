package server

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/schedule"
	"github.com/provender-dev/provender/registry"
)

const (
	// pausesEvery is how often a server looks for schedules that were paused or resumed.
	pausesEvery = time.Second
	// recentRuns is how many runs of a view are looked through for those of its schedule.
	recentRuns = 200
)

// schedules runs the views of every snapshot by their cron expressions. Of several servers one runs a tick; which one,
// the view's lease and its records decide. Safe for concurrent use.
type schedules struct {
	ops       *materialize.Service
	scheduler *schedule.Scheduler
	attempts  attempts
	webhook   *webhook // nil: nobody is told
	logger    *slog.Logger
	now       func() time.Time

	mu       sync.Mutex // one update at a time
	snapshot *registry.Snapshot
	paused   map[string]materialize.Pause
	entries  map[string]schedule.Entry // by view, as the scheduler has them
}

// startSchedules begins to run schedules, until ctx ends.
func (s *server) startSchedules(ctx context.Context, group *errgroup.Group) {
	settings := &s.project.Config.Materialize
	sch := &schedules{
		ops: s.ops, attempts: attempts{retries: settings.Retries, backoff: settings.Backoff}, logger: s.logger, now: time.Now,
	}
	if settings.Webhook != "" {
		sch.webhook = newWebhook(settings.Webhook, s.project.Config.Project, s.project.Config.Environment, s.logger)
		group.Go(func() error { sch.webhook.run(ctx); return nil })
	}
	sch.scheduler = schedule.New(schedule.Config{
		Fire: sch.fire, Now: sch.now, Concurrency: int(settings.Concurrency), Jitter: settings.Jitter,
	})
	s.scheduler.Store(sch.scheduler)
	s.follow.changed = func(snapshot *registry.Snapshot) { sch.update(ctx, snapshot) }
	sch.lookForPauses(ctx)
	sch.update(ctx, s.follow.snapshot.Load())
	group.Go(func() error { sch.followPauses(ctx); return nil })
	group.Go(func() error { return sch.scheduler.Run(ctx) })
}

// fire runs a view for a tick, unless records say that this was done or is being done; see schedule.Config.
func (s *schedules) fire(ctx context.Context, call schedule.Call) time.Duration {
	logger := s.logger.With("view", call.View, "tick", call.Tick)
	before, err := s.scheduledRuns(ctx, call.View)
	if err != nil {
		return s.later(ctx, logger, err)
	}
	next := s.attempts.next(before, call.Tick, s.now())
	if next.done || next.wait > 0 {
		logger.Debug("not run again: another server has, or is about to", "look_after", next.wait)
		return next.wait
	}
	runs, err := s.ops.Run(ctx, materialize.Request{
		Views: []string{call.View}, Trigger: materialize.TriggerSchedule, Attempt: next.attempt, RetryOf: next.retryOf,
		Confirm: func(ctx context.Context) error { return s.confirm(ctx, call.View, next.after) },
	}, nil)
	if len(runs) == 0 {
		return s.later(ctx, logger, err)
	}
	run := &runs[0]
	s.tell(failures(before), run)
	logger = logger.With("run", run.ID, "attempt", run.Attempt)
	switch {
	case err == nil:
		logger.Info("scheduled run", "t", run.T, "files", run.Files, "written", run.Written, "took", run.Finished.Sub(run.Started))
		return 0
	case run.State == materialize.RunCancelled:
		logger.Info("scheduled run was cancelled", "reason", err)
		if run.CancelAsked.IsZero() && ctx.Err() == nil {
			return s.attempts.look()
		}
		return 0
	}
	// The run's record, and status, tell its failure; here it is logged.
	again := s.attempts.retry(run.Attempt)
	logger.Error("scheduled run failed", "error", err, "retry_after", again)
	return again
}

// later tells why a tick was not run, of which there is no record, and when to look at it again.
func (s *schedules) later(ctx context.Context, logger *slog.Logger, err error) time.Duration {
	switch code := problem.CodeOf(err); {
	case ctx.Err() != nil, code == problem.NotFound: // the view has gone
		return 0
	case code == problem.Conflict:
		logger.Debug("not run now: the view is being run", "error", err)
	default:
		logger.Error("scheduled run could not begin", "error", err)
	}
	return s.attempts.look()
}

// confirm fails where another server has run a view since its newest scheduled run was looked up.
func (s *schedules) confirm(ctx context.Context, view string, newest int64) error {
	runs, err := s.scheduledRuns(ctx, view)
	if err != nil {
		return err
	}
	if len(runs) > 0 && runs[0].ID != newest {
		return problem.New(problem.Conflict, "run %d of view %s has been made meanwhile", runs[0].ID, view)
	}
	return nil
}

// scheduledRuns returns the runs of a view that schedules began, newest first.
func (s *schedules) scheduledRuns(ctx context.Context, view string) ([]materialize.Run, error) {
	runs, err := s.recent(ctx, view)
	return slices.DeleteFunc(runs, func(r materialize.Run) bool { return r.Trigger != materialize.TriggerSchedule }), err
}

// recent returns the newest runs of a view that are not queued.
func (s *schedules) recent(ctx context.Context, view string) ([]materialize.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	runs, err := s.ops.Runs(ctx, []string{view}, recentRuns)
	return slices.DeleteFunc(runs, func(r materialize.Run) bool { return r.State == materialize.RunQueued }), err
}

// tell sends what a run has changed to the webhook.
func (s *schedules) tell(failures int64, run *materialize.Run) {
	if event := s.attempts.event(failures, run); event != "" && s.webhook != nil {
		s.webhook.send(event, run)
	}
}

// update takes the schedules of a snapshot.
func (s *schedules) update(ctx context.Context, snapshot *registry.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = snapshot
	s.reschedule(ctx)
}

// followPauses looks for pauses until ctx ends.
func (s *schedules) followPauses(ctx context.Context) {
	tick := time.NewTicker(pausesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.lookForPauses(ctx)
		}
	}
}

// lookForPauses takes the pauses as they are now. Where the database does not answer they stay as they are known; the
// follower tells that.
func (s *schedules) lookForPauses(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	paused, err := s.ops.Pauses(within)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	same := len(paused) == len(s.paused)
	for view, p := range paused {
		if before, ok := s.paused[view]; !ok || !before.Since.Equal(p.Since) {
			same = false
			s.logger.Info("schedule is paused", "view", view, "by", p.By)
		}
	}
	for view := range s.paused {
		if _, ok := paused[view]; !ok {
			s.logger.Info("schedule is resumed", "view", view)
		}
	}
	s.paused = paused
	if !same && s.snapshot != nil {
		s.reschedule(ctx)
	}
}

// reschedule gives the scheduler what it is to do. Ticks that were missed since a view was last served are made up for.
func (s *schedules) reschedule(ctx context.Context) {
	known := s.entries
	s.entries = map[string]schedule.Entry{}
	var entries []schedule.Entry
	for _, v := range s.snapshot.Definitions.Views {
		if v.Schedule == "" || !v.Online {
			continue
		}
		pause, paused := s.paused[v.Name]
		e, ok := known[v.Name]
		if !ok || e.Spec != v.Schedule || e.Zone != v.ScheduleTimezone {
			e = schedule.Entry{View: v.Name, Spec: v.Schedule, Zone: v.ScheduleTimezone, Since: s.since(ctx, v.Name)}
			if e.Since.IsZero() {
				e.Since = pause.Since
			}
		}
		e.Paused = paused
		s.entries[v.Name] = e
		entries = append(entries, e)
	}
	if err := s.scheduler.Update(entries); err != nil {
		s.logger.Error("some views have no schedule", "error", err)
	}
}

// since returns when a view was last served by its schedule, or else when it was last run at all.
func (s *schedules) since(ctx context.Context, view string) time.Time {
	runs, err := s.recent(ctx, view)
	if err != nil {
		s.logger.Warn("ticks missed before now are not made up for", "view", view, "error", err)
		return time.Time{}
	}
	var last time.Time
	if all := past(runs, s.now()); len(all) > 0 {
		last = all[0].Started
	}
	runs = slices.DeleteFunc(runs, func(r materialize.Run) bool { return r.Trigger != materialize.TriggerSchedule })
	if since := s.attempts.since(runs, s.now()); !since.IsZero() {
		return since
	}
	return last
}
