package server

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/schedule"
	"github.com/provender-dev/provender/registry"
)

// triggerSchedule marks the runs that a schedule began.
const triggerSchedule = "schedule"

// startSchedules runs the views of every snapshot by their cron expressions until ctx ends.
func (s *server) startSchedules(ctx context.Context, group *errgroup.Group) {
	scheduler := schedule.New(schedule.Config{Fire: func(ctx context.Context, view string) {
		// The run's record, and status, tell its failure; here it is logged.
		runs, err := s.ops.Run(ctx, materialize.Request{Views: []string{view}, Trigger: triggerSchedule}, nil)
		if err != nil {
			s.logger.Error("scheduled run failed", "view", view, "error", err)
			return
		}
		for _, r := range runs {
			s.logger.Info("scheduled run", "view", r.View, "run", r.ID, "t", r.T, "files", r.Files,
				"written", r.Written, "took", r.Finished.Sub(r.Started))
		}
	}})
	s.scheduler.Store(scheduler)
	s.follow.changed = func(snapshot *registry.Snapshot) { s.reschedule(ctx, snapshot) }
	s.reschedule(ctx, s.follow.snapshot.Load())
	group.Go(func() error { return scheduler.Run(ctx) })
}

// reschedule takes the schedules of a snapshot. A tick that was missed since a view's last run is made up for.
func (s *server) reschedule(ctx context.Context, snapshot *registry.Snapshot) {
	var entries []schedule.Entry
	for _, v := range snapshot.Definitions.Views {
		if v.Schedule == "" || !v.Online {
			continue
		}
		e := schedule.Entry{View: v.Name, Spec: v.Schedule, Zone: v.ScheduleTimezone}
		last, err := s.ops.Runs(ctx, []string{v.Name}, 1)
		if err != nil {
			s.logger.Warn("ticks missed before now are not made up for", "view", v.Name, "error", err)
		} else if len(last) > 0 {
			e.Since = last[0].Started
		}
		entries = append(entries, e)
	}
	if err := s.scheduler.Load().Update(entries); err != nil {
		s.logger.Error("some views have no schedule", "error", err)
	}
}
