package materialize

import (
	"context"
	"slices"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
)

// keepFor is how long a rebuild that was cut short waits for a run that goes on with it, since it was begun.
const keepFor = 7 * 24 * time.Hour

// resume makes a rebuild go on with what one before it has done for good, where all of that still holds: the store was
// neither lost nor started again since, and each file whose rows may be there is as it was.
func (j *job) resume(ctx context.Context, gens []state.Generation, files []source.File, t int64) error {
	for _, g := range slices.Backward(gens) {
		if g.Phase != state.Filling || !j.fits(&g) || g.Reached > t {
			continue
		}
		had, err := j.consumedBy(ctx, &g)
		if err != nil {
			return err
		}
		if len(had.ledger) == 0 {
			continue
		}
		settled, err := j.recheck(ctx, had.ledger, files, j.listed)
		if err != nil {
			return err
		}
		d := compare(had, files, t)
		if len(d.changed)+len(d.gone) > 0 {
			continue
		}
		lost, err := j.cfg.Online.CheckGenerations(ctx, []online.Checkpoint{{ID: g.ID}})
		if err != nil {
			return storeFailure("check generations of", err)
		}
		if len(lost) == 0 {
			j.plan.resume(&g, lastRunOf(had.ledger), d, settled)
			return nil
		}
	}
	return nil
}

// fits reports whether a generation that was begun is in this store, which has not been started again since, and can
// become what the view is now.
func (j *job) fits(g *state.Generation) bool {
	return g.Incarnation == j.identity.Incarnation && g.Session == j.identity.Session && outdated(j.view, g) == ""
}

// lastRunOf returns the newest run that has read a file of a ledger.
func lastRunOf(ledger []state.LedgerFile) (run int64) {
	for _, f := range ledger {
		run = max(run, f.Run)
	}
	return run
}

// mayGoOn reports whether a later run may go on with a generation that was begun and is not complete.
func (j *job) mayGoOn(ctx context.Context, g *state.Generation) bool {
	if !j.fits(g) || time.UnixMicro(g.Begun).Add(keepFor).Before(j.cfg.Now()) {
		return false
	}
	ledger, err := j.cfg.State.Ledger(ctx, g.ID)
	return err == nil && len(ledger) > 0
}

// goOnFrom records, between rounds of a rebuild, the files that are done, so that another run can go on from there. Every
// write must have been acknowledged.
func (j *job) goOnFrom(ctx context.Context, done []state.LedgerFile) error {
	if err := j.checkIdentity(ctx); err != nil {
		return err
	}
	err := j.cfg.State.Progress(ctx, j.lease, state.Progress{
		Run: &j.run, TTL: j.view.TTLMicros, Newest: j.newest, Files: done, Session: j.identity.Session, Now: j.cfg.Now(),
	})
	if err != nil {
		return err
	}
	return failpoint.Hit(failpoint.RunAfterProgress)
}

// checkIdentity fails where the store is no longer the one that the run began with.
func (j *job) checkIdentity(ctx context.Context) error {
	id, err := j.cfg.Online.Identity(ctx)
	if err != nil {
		return storeFailure("identify", err)
	}
	if id.Incarnation != j.identity.Incarnation {
		return storeFailure("write to", online.ErrGenerationLost)
	}
	if id.Session != j.identity.Session {
		return problem.New(problem.Unavailable,
			"the online store was restarted, or replaced by a replica, during the run, and may have lost rows: nothing was recorded")
	}
	return nil
}
