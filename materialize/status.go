package materialize

import (
	"context"
	"slices"
	"time"

	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// Status tells the state of views (empty: all). What can't be found out of one view, because its source or the store
// does not answer, is in its Error and stops nothing else.
func (s *Service) Status(ctx context.Context, views []string) ([]ViewStatus, error) {
	picked, err := pick(s.cfg.Snapshot(), views)
	if err != nil {
		return nil, err
	}
	gens, err := s.cfg.State.Generations(ctx, "")
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	last, err := s.cfg.State.LastRuns(ctx, s.cfg.StoreName, now)
	if err != nil {
		return nil, err
	}
	queued, err := s.queued(ctx, len(picked), now)
	if err != nil {
		return nil, err
	}
	pauses, err := s.cfg.State.Pauses(ctx, s.cfg.StoreName)
	if err != nil {
		return nil, err
	}
	incarnation, storeErr := s.identify(ctx)
	serving := s.serving(gens, incarnation)
	lost, err := s.lost(ctx, serving)
	if storeErr == nil {
		storeErr = err
	}
	statuses := make([]ViewStatus, 0, len(picked))
	for _, v := range picked {
		st := ViewStatus{View: v.Name, State: ViewOffline}
		if v.Online {
			stored := v.StoredName()
			g := serving[stored]
			st.LastRun, st.NextRun = last[stored], s.cfg.NextRun(v.Name)
			st.Paused, st.PausedBy = pauses[stored].Since, pauses[stored].By
			st.describe(g, now)
			if st.Failures, err = s.failures(ctx, st.LastRun, now); err != nil {
				return nil, err
			}
			if err := s.files(ctx, v, g, now, &st); err != nil {
				st.Error = err.Error()
			}
			st.State = stateOf(v, g, situation{
				last: st.LastRun, queued: queued[stored], unknown: storeErr != nil, lost: g != nil && slices.Contains(lost, g.ID),
			})
			switch {
			case st.State == ViewUnknown:
				st.Error = storeErr.Error()
			case st.State == ViewFailed:
				st.Error = st.LastRun.Error
			}
			if st.LastRun != nil {
				st.LastRun.View = v.Name
			}
		}
		statuses = append(statuses, st)
	}
	return statuses, nil
}

// lost returns those of the serving generations whose rows are gone.
func (s *Service) lost(ctx context.Context, serving map[string]*state.Generation) ([]online.GenerationID, error) {
	expected := make([]online.Checkpoint, 0, len(serving))
	for _, g := range serving {
		expected = append(expected, g.Checkpoint())
	}
	if len(expected) == 0 {
		return nil, nil
	}
	lost, err := s.cfg.Online.CheckGenerations(ctx, expected)
	if err != nil {
		return nil, storeFailure("check generations of", err)
	}
	return lost, nil
}

// queued returns the views that a run waits for, by stored names.
func (s *Service) queued(ctx context.Context, views int, now time.Time) (map[string]bool, error) {
	// Runs do not wait for long: those that do are among the newest.
	recent, err := s.cfg.State.Runs(ctx, s.cfg.StoreName, state.Selection{Limit: 100 + 2*views}, now)
	if err != nil {
		return nil, err
	}
	queued := map[string]bool{}
	for _, r := range recent {
		if r.State == state.RunQueued {
			queued[r.View] = true
		}
	}
	return queued, nil
}

// failures counts the runs of a view that failed since the last that succeeded.
func (s *Service) failures(ctx context.Context, last *Run, now time.Time) (failed int64, err error) {
	if last == nil || last.State == RunSucceeded {
		return 0, nil
	}
	for limit := 16; ; limit *= 8 {
		runs, err := s.cfg.State.Runs(ctx, s.cfg.StoreName, state.Selection{Views: []string{last.View}, Limit: limit}, now)
		if err != nil {
			return 0, err
		}
		failed = 0
		for _, r := range runs {
			switch r.State {
			case RunSucceeded:
				return failed, nil
			case RunFailed:
				failed++
			}
		}
		if len(runs) < limit {
			return failed, nil
		}
	}
}

// situation is what a view's state depends on, beside its generation.
type situation struct {
	last                  *Run
	queued, unknown, lost bool
}

func stateOf(v *registry.View, g *state.Generation, s situation) string {
	switch {
	case s.unknown:
		return ViewUnknown
	case s.lost:
		return ViewLost
	case s.last != nil && s.last.State == RunRunning:
		return ViewRunning
	case s.last != nil && s.last.State == RunFailed:
		return ViewFailed
	case s.queued:
		return ViewQueued
	case g == nil:
		return ViewNever
	case outdated(v, g) != "":
		return ViewStale
	case g.Diverged != state.NoTime:
		return ViewDiverged
	}
	return ViewOK
}

// describe tells what is known of the serving generation.
func (st *ViewStatus) describe(g *state.Generation, now time.Time) {
	if g == nil {
		return
	}
	st.Generation, st.Written, st.T = g.ID, g.Rows, time.UnixMicro(g.T).UTC()
	if g.Newest != state.NoTime {
		st.NewestEvent = time.UnixMicro(g.Newest).UTC()
		st.Lag = now.Sub(st.NewestEvent)
	}
	if g.Diverged != state.NoTime {
		st.Diverged = time.UnixMicro(g.Diverged).UTC()
	}
}

// files tells what the source has that the generation has not.
func (s *Service) files(ctx context.Context, v *registry.View, g *state.Generation, now time.Time, st *ViewStatus) error {
	had, err := s.consumedBy(ctx, g)
	if err != nil {
		return err
	}
	for _, f := range had.ledger {
		st.Held += f.Held
	}
	files, err := s.cfg.Files.List(ctx, v.Source.Parquet)
	if err != nil {
		return err
	}
	d := compare(had, files, now.UnixMicro())
	st.PendingFiles = d.pending()
	newest, err := s.newestInSource(ctx, v, g, files, &d, now)
	if err == nil && newest != state.NoTime {
		st.NewestInSource = time.UnixMicro(newest).UTC()
	}
	return err
}
