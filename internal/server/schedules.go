package server

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/schedule"
	"github.com/provender-dev/provender/registry"
)

const (
	// schedulesEvery is how often a server looks for definitions and pauses that have changed.
	schedulesEvery = time.Second
	// recentRuns is how many runs of a view are looked through for those of its schedule.
	recentRuns = 200
)

// schedules runs the views of the current snapshot by their cron expressions. Of several servers one runs a tick; which
// one, the view's lease and its records decide.
type schedules struct {
	ops       *materialize.Service
	scheduler *schedule.Scheduler
	attempts  attempts
	webhook   *webhook // nil: nobody is told
	snapshot  func() *registry.Snapshot
	logger    *slog.Logger
	now       func() time.Time

	// What the scheduler has.
	taken   *registry.Snapshot // nil: not all of it
	paused  map[string]materialize.Pause
	entries map[string]schedule.Entry // by view
}

// startSchedules begins to run schedules, until ctx ends.
func (s *server) startSchedules(ctx context.Context, group *errgroup.Group) {
	settings := &s.project.Config.Materialize
	sch := &schedules{
		ops: s.ops, attempts: attempts{retries: settings.Retries, backoff: settings.Backoff},
		snapshot: s.follow.snapshot.Load, logger: s.logger, now: time.Now,
	}
	if settings.Webhook != "" {
		sch.webhook = newWebhook(settings.Webhook, s.project.Config.Project, s.project.Config.Environment, s.logger)
		group.Go(func() error { sch.webhook.run(ctx); return nil })
	}
	sch.scheduler = schedule.New(schedule.Config{
		Fire: sch.fire, Now: sch.now, Concurrency: int(settings.Concurrency), Jitter: settings.Jitter,
	})
	s.scheduler.Store(sch.scheduler)
	group.Go(func() error { sch.follow(ctx); return nil })
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
	return ofSchedule(runs), err
}

func ofSchedule(runs []materialize.Run) []materialize.Run {
	return slices.DeleteFunc(runs, func(r materialize.Run) bool { return r.Trigger != materialize.TriggerSchedule })
}

// recent returns the newest runs of a view that are not queued, newest first.
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

// follow keeps the scheduler up with definitions and pauses until ctx ends.
func (s *schedules) follow(ctx context.Context) {
	tick := time.NewTicker(schedulesEvery)
	defer tick.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look takes what has changed. While the database is away, which the follower tells, pauses stay as they were.
func (s *schedules) look(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	paused, err := s.ops.Pauses(within)
	if err != nil {
		paused = s.paused
	}
	snapshot := s.snapshot()
	if snapshot == s.taken && samePauses(paused, s.paused) {
		return
	}
	before := s.paused
	s.paused, s.taken = paused, nil
	if s.reschedule(ctx, snapshot) {
		s.taken = snapshot
	}
	s.tellPauses(before)
}

// tellPauses logs what has changed since before; it holds already.
func (s *schedules) tellPauses(before map[string]materialize.Pause) {
	for view, p := range s.paused {
		if _, already := before[view]; !already {
			s.logger.Info("schedule is paused", "view", view, "by", p.By)
		}
	}
	for view := range before {
		if _, still := s.paused[view]; !still {
			s.logger.Info("schedule is resumed", "view", view)
		}
	}
}

func samePauses(a, b map[string]materialize.Pause) bool {
	return maps.EqualFunc(a, b, func(a, b materialize.Pause) bool { return a.Since.Equal(b.Since) })
}

// reschedule gives the scheduler what it is to do; false where a view had to be left out for now. Ticks that were
// missed since a view was last served are made up for.
func (s *schedules) reschedule(ctx context.Context, snapshot *registry.Snapshot) (complete bool) {
	known := s.entries
	s.entries = map[string]schedule.Entry{}
	complete = true
	var entries []schedule.Entry
	for _, v := range snapshot.Definitions.Views {
		if v.Schedule == "" || !v.Online {
			continue
		}
		pause, paused := s.paused[v.Name]
		e, ok := known[v.Name]
		if !ok || e.Spec != v.Schedule || e.Zone != v.ScheduleTimezone {
			since, err := s.since(ctx, v.Name)
			if err != nil {
				s.logger.Debug("the last run is not known", "view", v.Name, "error", err)
				complete = false
				continue
			}
			if since.IsZero() {
				since = pause.Since
			}
			e = schedule.Entry{View: v.Name, Spec: v.Schedule, Zone: v.ScheduleTimezone, Since: since}
		}
		e.Paused = paused
		s.entries[v.Name] = e
		entries = append(entries, e)
	}
	if err := s.scheduler.Update(entries); err != nil {
		s.logger.Error("some views have no schedule", "error", err)
	}
	return complete
}

// since returns when a view was last served by its schedule, or else when it was last run at all; zero for never.
func (s *schedules) since(ctx context.Context, view string) (time.Time, error) {
	runs, err := s.recent(ctx, view)
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	if all := past(runs, s.now()); len(all) > 0 {
		last = all[0].Started
	}
	if since := s.attempts.since(ofSchedule(runs), s.now()); !since.IsZero() {
		return since, nil
	}
	return last, nil
}
