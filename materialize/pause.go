package materialize

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
)

// Pause is a view whose schedule rests.
type Pause = state.Pause

// Pause lets the schedules of views (empty: all that have one) rest, in every server, until Resume; runs that somebody
// asks for go on. It returns the views whose schedules rest now. Invalid where one of the views has no schedule.
func (s *Service) Pause(ctx context.Context, views []string) ([]string, error) {
	snap := s.cfg.Snapshot()
	picked, err := pick(snap, views)
	if err != nil {
		return nil, err
	}
	if len(views) == 0 {
		picked = slices.DeleteFunc(picked, func(v *registry.View) bool { return !scheduled(v) })
	}
	for _, v := range picked {
		if !scheduled(v) {
			return nil, unscheduled(v)
		}
	}
	names := make([]string, 0, len(picked))
	for _, v := range picked {
		p := Pause{View: v.StoredName(), Since: s.cfg.Now(), By: s.cfg.By}
		if err := s.cfg.State.Pause(ctx, s.cfg.StoreName, p); err != nil {
			return nil, err
		}
		names = append(names, v.Name)
	}
	return names, nil
}

// Resume ends the rest of the schedules of views (empty: all that rest), and returns the views whose schedules go on. A
// view that is gone, or has lost its schedule, can be named while it rests; else one without a schedule is Invalid.
func (s *Service) Resume(ctx context.Context, views []string) ([]string, error) {
	paused, err := s.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	if len(views) == 0 {
		views = slices.Sorted(maps.Keys(paused))
	}
	snap := s.cfg.Snapshot()
	for _, name := range views {
		if _, rests := paused[name]; rests {
			continue
		}
		picked, err := pick(snap, []string{name})
		if err != nil {
			return nil, err
		}
		if !scheduled(picked[0]) {
			return nil, unscheduled(picked[0])
		}
	}
	var names []string
	for _, name := range views {
		if slices.Contains(names, name) {
			continue
		}
		if _, err := s.cfg.State.Resume(ctx, s.cfg.StoreName, snap.StoredViews([]string{name})[0]); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// Pauses returns, by view, the schedules that rest. One of a view that is gone is left out where another has its name now.
func (s *Service) Pauses(ctx context.Context) (map[string]Pause, error) {
	stored, err := s.cfg.State.Pauses(ctx, s.cfg.StoreName)
	if err != nil {
		return nil, err
	}
	snap := s.cfg.Snapshot()
	paused := make(map[string]Pause, len(stored))
	for name, p := range stored {
		p.View = snap.ViewName(name)
		if v := snap.Views[p.View]; v == nil || v.StoredName() == name {
			paused[p.View] = p
		}
	}
	return paused, nil
}

func scheduled(v *registry.View) bool { return v.Online && v.Schedule != "" }

func unscheduled(v *registry.View) error {
	e := &problem.Error{
		Code: problem.Invalid, Field: "views", Message: fmt.Sprintf("view %s has no schedule", v.Name),
		Suggestion: `give it one in its definition, such as schedule: "*/15 * * * *", and apply it`,
	}
	if v.Schedule != "" {
		e.Message = fmt.Sprintf("the schedule of view %s has no effect: it says online: false", v.Name)
		e.Suggestion = "remove that line from its definition and apply it"
	}
	return e
}
