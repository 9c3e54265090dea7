package materialize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// recordFor bounds how long a run that was interrupted still takes to record that.
const recordFor = 5 * time.Second

// job is one run of one view, under its lease.
type job struct {
	*queue
	view     *registry.View
	req      Request
	progress func(Progress)
	lease    state.Lease

	identity online.Identity   // of the store when the run began
	listed   time.Time         // when the files were
	current  *state.Generation // that serves in this incarnation; nil: none, or its rows are lost
	plan     plan
	gen      online.Generation // that the run writes to
	run      Run
	newest   int64 // event time written
	decoded  bool  // rows have been decoded
	dry      bool  // nothing may be written
	phases   phases
}

// run takes a view's lease and does the run that is queued for it. A run that is turned away, or was asked for in a way
// that can't be, leaves no record.
func (q *queue) run(
	ctx context.Context, snap *registry.Snapshot, v *registry.View, queued Run, req Request, progress func(Progress),
) (Run, error) {
	j := &job{queue: q, view: v, req: req, progress: progress, newest: state.NoTime, run: queued}
	j.run.Started = q.cfg.Now().UTC()
	ctx, end := j.traced(ctx)
	defer end()
	var err error
	if j.lease, err = q.cfg.State.Acquire(ctx, v.StoredName(), q.cfg.StoreName, q.cfg.By, q.cfg.Now(), q.cfg.LeaseTTL); err != nil {
		return j.run, j.failed(ctx, err)
	}
	ctx, release := q.hold(ctx, j.lease, j.run.ID)
	defer release()
	if err := q.checkRevision(ctx, snap, v); err != nil {
		return j.run, j.failed(ctx, err)
	}
	if req.Confirm != nil {
		if err := req.Confirm(ctx); err != nil {
			return j.run, j.failed(ctx, err)
		}
	}
	if err := j.do(ctx); err != nil {
		err = j.failed(ctx, err)
		if problem.CodeOf(err) != problem.Unavailable {
			j.sweep(ctx)
		}
		return j.run, err
	}
	q.cfg.Changed()
	j.sweep(ctx)
	return j.run, nil
}

// checkRevision refuses a run by definitions older than those of the view's last run: a process that has not yet seen
// an apply must not rebuild what it replaced.
func (s *Service) checkRevision(ctx context.Context, snap *registry.Snapshot, v *registry.View) error {
	last, err := s.cfg.State.LastRuns(ctx, s.cfg.StoreName, s.cfg.Now())
	of := last[v.StoredName()]
	if err != nil || of == nil || of.Revision <= snap.Revision {
		return err
	}
	return &problem.Error{
		Code: problem.Conflict,
		Message: fmt.Sprintf("view %s was last run by revision %d of the definitions; this process still has revision %d",
			v.Name, of.Revision, snap.Revision),
		Suggestion: "repeat the run in a moment",
	}
}

// lookEvery is how often a run looks whether its end was asked for.
const lookEvery = time.Second

// hold keeps a lease alive until release is called; ctx ends when the lease is lost, or somebody cancels the run.
func (s *Service) hold(parent context.Context, lease state.Lease, run int64) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	// What the run still records after it was interrupted needs the lease.
	own, stop := context.WithCancel(context.WithoutCancel(parent))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(min(s.cfg.LeaseTTL/3, lookEvery))
		defer ticker.Stop()
		renewed := time.Now()
		for {
			select {
			case <-own.Done():
				return
			case <-ticker.C:
			}
			if time.Since(renewed) > s.cfg.LeaseTTL/4 {
				err := s.cfg.State.Renew(own, lease, s.cfg.Now(), s.cfg.LeaseTTL)
				switch {
				case err == nil:
					renewed = time.Now()
				case errors.Is(err, state.ErrLeaseLost), time.Since(renewed) > s.cfg.LeaseTTL:
					cancel(err)
					return
				}
			}
			if err := s.cfg.State.CancelAsked(own, run); errors.Is(err, state.ErrCancelled) {
				cancel(err)
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		stop()
		<-done
		cancel(nil)
		brief, end := context.WithTimeout(context.WithoutCancel(parent), recordFor)
		defer end()
		if err := s.cfg.State.Release(brief, lease); err != nil {
			s.cfg.Logger.Warn("release lease", "view", lease.View, "error", err)
		}
	})
}

// do runs the steps up to and including the commit.
func (j *job) do(ctx context.Context) (err error) {
	j.report("list", 0, 0)
	j.phases.enter(phaseList)
	if j.identity, err = j.claim(ctx); err != nil {
		return err
	}
	gens, err := j.cfg.State.Generations(ctx, j.view.StoredName())
	if err != nil {
		return err
	}
	if err := j.survey(ctx, gens); err != nil {
		return err
	}
	if err := j.begin(ctx); err != nil {
		return err
	}
	files, err := j.consume(ctx)
	if err != nil {
		return err
	}
	if j.plan.full && j.plan.left == nil && j.run.RowsRead == 0 && j.run.Held == 0 {
		j.cfg.Logger.Warn("the source has files but no rows", "view", j.view.Name, "files", j.run.Files)
	}
	j.phases.enter(phaseCommit)
	// Acknowledged writes may have been lost since, by a failover or a restart: then nothing is recorded.
	if err := j.checkStore(ctx); err != nil {
		return err
	}
	return j.commit(ctx, files)
}

// survey finds out what there is besides the store and its generations, and plans what must be done: T, files, and what
// must be read. It writes nothing.
func (j *job) survey(ctx context.Context, gens []state.Generation) error {
	reason, err := j.findCurrent(ctx, gens)
	if err != nil {
		return err
	}
	j.listed = time.Now()
	files, err := j.cfg.Files.List(ctx, j.view.Source.Parquet)
	if err != nil {
		return err
	}
	had, err := j.consumedBy(ctx, j.current)
	if err != nil {
		return err
	}
	settled, err := j.recheck(ctx, had.ledger, files, j.listed)
	if err != nil {
		return err
	}
	t, err := j.instant()
	if err != nil {
		return err
	}
	j.plan = planRun(j.view, j.current, had, files, t)
	if !j.plan.full {
		j.plan.settled = settled
	}
	switch {
	case reason != "":
		j.plan.refill(reason, files)
	case j.req.Full:
		j.plan.refill("--full", files)
	}
	switch {
	case j.plan.full || t >= j.current.Reached:
	case j.req.To.IsZero():
		// It reached ahead of now: its rows are not for now's answers.
		j.plan.refill("a run that did not end well wrote rows of the future", files)
	default:
		return &problem.Error{
			Code:  problem.Invalid,
			Field: "to",
			Message: fmt.Sprintf("T %s is before %s, up to which a run that did not end well may have written rows",
				stamp(time.UnixMicro(t)), stamp(time.UnixMicro(j.current.Reached))),
			Suggestion: "leave --to out, or fill a new generation with --full",
		}
	}
	if j.plan.full {
		if err := j.resume(ctx, gens, files, t); err != nil {
			return err
		}
	}
	j.run.T, j.run.Full, j.run.Reason = time.UnixMicro(t).UTC(), j.plan.full, j.plan.reason
	return nil
}

// consumedBy returns what a generation may hold rows of; nothing for nil.
func (s *Service) consumedBy(ctx context.Context, g *state.Generation) (had consumed, err error) {
	if g == nil {
		return had, nil
	}
	if had.ledger, err = s.cfg.State.Ledger(ctx, g.ID); err != nil {
		return had, err
	}
	had.attempts, err = s.cfg.State.Attempted(ctx, g.ID)
	return had, err
}

// findCurrent sets the generation to continue; without one it tells why.
func (j *job) findCurrent(ctx context.Context, gens []state.Generation) (reason string, err error) {
	reason = "first run"
	for i := range gens {
		g := &gens[i]
		switch {
		case g.Phase != state.Serving:
		case g.Incarnation == j.identity.Incarnation:
			j.current = g
		case g.Store == j.cfg.StoreName:
			reason = "store lost its data"
		case reason == "first run":
			reason = "another store"
		}
	}
	if j.current == nil {
		return reason, nil
	}
	expected := j.current.Checkpoint()
	if j.dry {
		expected.Run = 0 // a marker that is behind would be removed
	}
	lost, err := j.cfg.Online.CheckGenerations(ctx, []online.Checkpoint{expected})
	if err != nil {
		return "", storeFailure("check generations of", err)
	}
	if len(lost) > 0 {
		j.current = nil
		return "store lost its data", nil
	}
	return "", nil
}

// instant returns the run's T. A default T never lies before the last one, so that a clock set back, or a T that was
// allowed to lie in the future, stops no later run. Back from such a T leads --full with --to.
func (j *job) instant() (int64, error) {
	now := j.run.Started.UnixMicro()
	if j.req.To.IsZero() {
		t := j.run.Started.Add(-j.cfg.MaxClockSkew).UnixMicro()
		if j.current == nil {
			return t, nil
		}
		if reached := j.current.Reached; !j.req.Full && reached <= now {
			t = max(t, reached)
		}
		return max(t, j.current.T), nil
	}
	t := j.req.To.UnixMicro()
	ahead := j.current != nil && j.current.T > now
	if j.current != nil && t < j.current.T && !(j.req.Full && ahead) {
		suggestion := "leave --to out; provender get --at shows what history says of an earlier instant"
		if ahead {
			suggestion = "that one lies in the future: leave --to out to go on from there, or add --full to go back"
		}
		return 0, &problem.Error{
			Code:  problem.Invalid,
			Field: "to",
			Message: fmt.Sprintf("T %s is before the last one, %s: what is served never goes back in time",
				stamp(j.req.To), stamp(time.UnixMicro(j.current.T))),
			Suggestion: suggestion,
		}
	}
	return t, nil
}

// begin records the run, and what it may write, before it writes.
func (j *job) begin(ctx context.Context) error {
	start := state.Start{Run: &j.run, Reads: j.plan.reads()}
	switch {
	case j.plan.left != nil:
		j.gen = j.plan.left.Generation
	case j.plan.full:
		keyspace, err := j.cfg.State.Keyspace(ctx, j.view.Entities)
		if err != nil {
			return err
		}
		start.Fresh = &state.Generation{
			Generation: online.Generation{Keyspace: keyspace},
			View:       j.view.StoredName(), Incarnation: j.identity.Incarnation, Digest: j.view.Digest,
			Fields: j.view.Layout.Fields(), Keys: keyFields(j.view), TTL: j.view.TTLMicros,
			Begun: j.run.Started.UnixMicro(),
		}
	default:
		j.gen = j.current.Generation
	}
	j.run.Generation = j.gen.ID
	if err := j.cfg.State.Begin(ctx, j.lease, start); err != nil {
		return err
	}
	j.begun(j.run.ID)
	j.logPlan()
	if start.Fresh == nil {
		return nil
	}
	j.gen = start.Fresh.Generation
	if err := j.cfg.Online.CreateGeneration(ctx, j.gen); err != nil {
		return storeFailure("create a generation in", err)
	}
	return nil
}

// namesLogged bounds how many files of a kind the log names.
const namesLogged = 10

// logPlan tells what the run is about to do, and which files are not as they were.
func (j *job) logPlan() {
	d := &j.plan.diff
	paths := func(files []source.File) (paths []string) {
		for _, f := range files[:min(len(files), namesLogged)] {
			paths = append(paths, f.Path)
		}
		return paths
	}
	j.cfg.Logger.Info("run", "view", j.view.Name, "run", j.run.ID, "generation", j.run.Generation, "full", j.plan.full,
		"reason", j.plan.reason, "new", len(d.fresh), "due", len(d.due), "changed", len(d.changed), "deleted", len(d.gone))
	if len(d.changed)+len(d.gone) > 0 {
		j.cfg.Logger.Warn("files that a run had read are not as they were", "view", j.view.Name, "run", j.run.ID,
			"changed", paths(d.changed), "deleted", d.gone[:min(len(d.gone), namesLogged)])
	}
}

func keyFields(v *registry.View) []row.Field {
	keys := make([]row.Field, 0, len(v.KeyColumns))
	for _, k := range v.KeyColumns {
		f := row.Field{Name: k.Name}
		f.Type.Kind = k.Kind
		keys = append(keys, f)
	}
	return keys
}

// consume reads the planned files, writes their newest rows, and returns what the ledger shall say of the files.
func (j *job) consume(ctx context.Context) ([]state.LedgerFile, error) {
	var ledger []state.LedgerFile
	// Changed files first: where one ties with a row of another file read now, the newest still wins.
	for _, part := range []struct {
		files []source.File
		win   online.Win
	}{{j.plan.replace, online.WinEqual}, {j.plan.read, online.WinNewest}} {
		if len(part.files) == 0 {
			continue
		}
		stats, entries, rounds, err := j.load(ctx, part.files, part.win)
		if err == nil && part.win == online.WinEqual && rounds > 1 {
			// Of rows that tie, and came in several rounds, the last is there: the greatest shall be (R4).
			_, _, _, err = j.load(ctx, part.files, online.WinNewest)
		}
		if err != nil {
			return nil, err
		}
		j.run.Files += int64(len(part.files))
		for _, f := range part.files {
			j.run.BytesRead += f.Size
		}
		j.run.RowsRead += stats.RowsRead
		j.run.Held += stats.Future
		j.run.NullKeys += stats.NullKeys
		j.run.Ties += stats.Ties
		j.reject(stats.Rejected)
		ledger = append(ledger, entries...)
	}
	if err := j.checkRejects(); err != nil {
		return nil, err
	}
	return ledger, j.beforeWrite()
}

// checkStore fails where the store is no longer as the rows were written to it, and marks there that they were.
func (j *job) checkStore(ctx context.Context) error {
	if err := j.checkIdentity(ctx); err != nil {
		return err
	}
	expected := online.Checkpoint{ID: j.gen.ID}
	if !j.plan.full {
		expected = j.current.Checkpoint()
	}
	lost, err := j.cfg.Online.CheckGenerations(ctx, []online.Checkpoint{expected})
	if err != nil {
		return storeFailure("check generations of", err)
	}
	if len(lost) > 0 {
		return storeFailure("write to", online.ErrGenerationLost)
	}
	// Before the commit: a marker may be ahead of what is recorded, not behind.
	if err := j.cfg.Online.Checkpoint(ctx, online.Checkpoint{ID: j.gen.ID, Run: j.run.ID}); err != nil {
		return storeFailure("write to", err)
	}
	return nil
}

func (j *job) commit(ctx context.Context, files []state.LedgerFile) error {
	points := []string{failpoint.RunBeforeCommit}
	after := []string{failpoint.RunAfterCommit}
	if j.plan.full {
		j.report("swap", j.run.Written, j.run.Written)
		points, after = append(points, failpoint.SwapBeforeCommit), append(after, failpoint.SwapAfterCommit)
	}
	for _, p := range points {
		if err := failpoint.Hit(p); err != nil {
			return err
		}
	}
	// A commit is not cut off half-way by an interrupt: its outcome must be known.
	if err := context.Cause(ctx); err != nil {
		return err
	}
	j.run.Phases = j.phases.record()
	err := j.cfg.State.Commit(context.WithoutCancel(ctx), j.lease, state.Commit{
		Run: &j.run, TTL: j.view.TTLMicros, Newest: j.newest, Files: slices.Concat(j.plan.settled, files), Gone: j.plan.gone,
		Diverged: j.plan.diverged, Swap: j.plan.full, Now: j.cfg.Now(),
	})
	if err != nil {
		return err
	}
	for _, p := range after {
		if err := failpoint.Hit(p); err != nil {
			return err
		}
	}
	return nil
}

// failed records a run that ended with err, and returns the error to tell. A run that was turned away before it began is
// the caller's business and no failure of the view.
func (j *job) failed(ctx context.Context, err error) error {
	if j.run.State == RunSucceeded {
		return err // committed: what failed came afterwards
	}
	brief, end := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer end()
	as, err := j.ending(ctx, brief, err)
	if j.run.State == RunQueued && turnedAway(err) {
		j.withdraw(ctx, &j.run)
		return err
	}
	j.run.Finished, j.run.Error, j.run.Phases = j.cfg.Now().UTC(), err.Error(), j.phases.record()
	if failure := j.cfg.State.End(brief, j.lease, &j.run, as); failure != nil {
		return errors.Join(err, failure)
	}
	return err
}

// ending tells what the end of a run with err is, and the error to tell: one that was asked for is no failure.
func (j *job) ending(ctx, brief context.Context, err error) (RunState, error) {
	if cause := context.Cause(ctx); cause != nil {
		switch {
		case errors.Is(cause, state.ErrLeaseLost), errors.Is(cause, state.ErrCancelled):
			err = cause
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, cause):
			return RunCancelled, problem.New(problem.Canceled, "interrupted: %w", cause)
		}
	}
	switch {
	case errors.Is(err, state.ErrCancelled):
		if by := j.cfg.State.CancelAsked(brief, j.run.ID); errors.Is(by, state.ErrCancelled) {
			err = by
		}
		return RunCancelled, problem.New(problem.Canceled, "%w", err)
	case errors.Is(err, state.ErrLeaseLost):
		err = &problem.Error{
			Code: problem.Conflict, Err: err,
			Message: "another run has taken over, because this one gave no sign of life; nothing was recorded",
		}
	}
	return RunFailed, err
}

// turnedAway reports that a run that was not begun can't be: another has the view, or what was asked for can't be.
func turnedAway(err error) bool {
	var told *problem.Error
	return errors.As(err, &told) && (told.Code == problem.Conflict || told.Code == problem.Invalid && told.Field == "to")
}

// sweep drops generations of the view that nothing needs any more. What it can't drop now, the next run will.
func (j *job) sweep(ctx context.Context) {
	if j.identity.Incarnation == "" || ctx.Err() != nil {
		return
	}
	gens, err := j.cfg.State.Generations(ctx, j.view.StoredName())
	if err == nil {
		gens, err = j.withoutNeeded(ctx, gens)
	}
	if err != nil {
		j.cfg.Logger.Warn("list generations to drop", "view", j.view.Name, "error", err)
		return
	}
	servers, err := j.cfg.State.Servers(ctx, j.cfg.StoreName, j.cfg.Now())
	if err != nil {
		j.cfg.Logger.Warn("list servers", "view", j.view.Name, "error", err)
		return
	}
	for _, g := range gens {
		if g.Incarnation != j.identity.Incarnation {
			continue
		}
		switch {
		case g.Phase == state.Retired && j.droppable(&g, servers):
			err = nil
		case g.Phase == state.Filling && (j.plan.full && j.run.State == RunSucceeded || !j.mayGoOn(ctx, &g)):
			// Left behind: under the lease no other run fills a generation of this view.
			err = j.cfg.State.Abandon(ctx, j.lease, g.ID, j.cfg.Now())
		default:
			continue
		}
		if err == nil {
			err = j.drop(ctx, g.Generation, true)
		}
		if err != nil {
			j.cfg.Logger.Warn("drop generation", "view", j.view.Name, "generation", g.ID, "error", err)
		}
	}
}

func (j *job) report(stage string, done, size int64) {
	j.progress(Progress{View: j.view.Name, Stage: stage, Done: done, Size: size})
}
