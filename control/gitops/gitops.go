// Package gitops keeps a registry as a Git repository, or a folder, has it: it looks at an interval and when it is told
// to, plans what has changed, and applies it, unless that would break somebody.
package gitops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// By is who has made the revisions that were applied here.
const By = "gitops"

const (
	// lookTime bounds one look at the origin, roundTime what follows from it as well.
	lookTime  = 2 * time.Minute
	roundTime = 10 * time.Minute
	// firstRetry is the pause after a round that failed, doubled for each further one up to the interval.
	firstRetry = time.Second
	// tries is how often a plan is made anew because the registry has moved.
	tries = 3
	// recent is how many revisions are looked through for those that were applied here.
	recent = 1000
)

// Config is what a Reconciler works with.
type Config struct {
	Control       *control.Service
	Origin        definition.Origin
	Dir           string // what a relative path is relative to
	Interval      time.Duration
	AllowBreaking bool
	Changed       func() // is called after an apply; may be nil
	Logger        *slog.Logger
}

// Reconciler applies what an origin has. What was done by hand, a rollback above all, stays until the origin changes.
// Safe for concurrent use.
type Reconciler struct {
	Config
	origin origin
	asked  chan struct{}

	// What Run alone knows.
	tree    *tree              // the state of the origin seen last; its files only until it is settled
	settled bool               // nothing is left to do for tree
	digest  string             // of the definitions that the registry had when it was settled; "": not yet, since the start
	last    *registry.Revision // the newest that was applied here, by whichever server

	mu     sync.Mutex
	status Status
}

// New returns a Reconciler.
func New(c Config) *Reconciler {
	return &Reconciler{
		Config: c, origin: open(c.Origin, c.Dir), asked: make(chan struct{}, 1),
		status: Status{Source: c.Origin.String(), State: Starting},
	}
}

// Ask has the origin looked at soon. Of several calls at once one is enough.
func (r *Reconciler) Ask() {
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// Run reconciles until ctx ends.
func (r *Reconciler) Run(ctx context.Context) {
	for failures := 0; ; {
		err := r.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; err == nil {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
		case <-time.After(pause(failures, r.Interval)):
		}
	}
}

// pause is how long to wait after so many rounds in a row that failed. Servers that failed together don't come back
// together.
func pause(failures int, interval time.Duration) time.Duration {
	d := interval
	if failures > 0 {
		d = min(interval, firstRetry<<min(failures-1, 20))
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// round looks once, and does what is to be done. The error is one that time may mend.
func (r *Reconciler) round(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	out, err := r.look(within)
	if err != nil {
		out = outcome{state: Failed, message: err.Error()}
	}
	if ctx.Err() == nil {
		r.tell(out)
	}
	return err
}

// outcome is what came of a round.
type outcome struct {
	state   State
	message string
	details []string
}

func (r *Reconciler) look(ctx context.Context) (outcome, error) {
	known := ""
	if r.tree != nil {
		known = r.tree.id
	}
	found, err := r.lookAt(ctx, known)
	if err != nil {
		return outcome{}, err
	}
	if found != nil {
		r.see(found)
	}
	r.mu.Lock()
	r.status.Checked = time.Now()
	r.mu.Unlock()
	if r.settled {
		return r.compare(ctx)
	}
	for try := 1; ; try++ {
		out, err := r.reconcile(ctx)
		if problem.CodeOf(err) != problem.Conflict || try == tries {
			return out, err
		}
	}
}

// lookAt asks the origin, for so long.
func (r *Reconciler) lookAt(ctx context.Context, known string) (*tree, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found, err := r.origin.look(ctx, known)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, problem.New(problem.Unavailable, "%s does not answer within %v", r.Origin, lookTime)
	}
	return found, err
}

// see takes note of a new state of the origin.
func (r *Reconciler) see(found *tree) {
	if r.tree != nil && found.time.Before(r.tree.time) {
		r.Logger.Warn("the commit is older than the one before it: history was rewritten", "commit", found.id, "before", r.tree.id)
	}
	r.tree, r.settled = found, false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Seen, r.status.SeenAt = found.id, time.Now()
}

// reconcile brings the registry to what the tree has. Conflict where it has moved meanwhile.
func (r *Reconciler) reconcile(ctx context.Context) (outcome, error) {
	history, err := r.Control.Registry.History(ctx, recent)
	if err != nil {
		return outcome{}, err
	}
	last := lastOf(history, func(rev *registry.Revision) bool { return rev.By == By })
	r.last = last
	if last != nil && last.Commit == r.tree.id {
		return r.settle(ctx, last.Digest)
	}
	if len(r.tree.files) == 0 && r.tree.unread == nil {
		return outcome{state: Invalid, message: "there are no definition files; what is applied stays"}, nil
	}
	if r.tree.unread != nil {
		return invalid(r.tree.unread)
	}
	made, _, err := r.Control.Plan(ctx, r.tree.files, 0)
	if err != nil {
		return invalid(err)
	}
	switch breaks := breaking(made); {
	case made.Empty():
		return r.settle(ctx, made.BaseDigest)
	case r.digest == "" && last != nil && made.TargetDigest == last.Digest:
		// Commits that change no definition leave no revision: after a start, the registry can't tell them from new ones.
		return r.settle(ctx, last.Digest)
	case len(breaks) > 0 && !r.AllowBreaking:
		return outcome{
			state: Refused, message: "it breaks what is used: " + made.Summary() +
				"; apply it by hand with --allow-breaking, or set definitions.allow_breaking", details: breaks,
		}, nil
	}
	if back := lastOf(history, func(rev *registry.Revision) bool { return rev.Commit == r.tree.id }); back != nil {
		r.Logger.Warn("the branch goes back to a commit that was applied before", "commit", r.tree.id, "revision", back.Number)
	}
	rev, err := r.Control.Apply(ctx, made, control.ApplyOptions{AllowBreaking: r.AllowBreaking, By: By, Commit: r.tree.id})
	switch problem.CodeOf(err) {
	case problem.Precondition, problem.Invalid:
		return outcome{state: Refused, message: err.Error()}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	r.Logger.Info("definitions are applied", "commit", r.tree.id, "revision", rev.Number, "summary", rev.Summary)
	if r.Changed != nil {
		r.Changed()
	}
	r.last = &rev
	return r.settle(ctx, rev.Digest)
}

// lastOf returns the newest revision of some kind, nil where there is none.
func lastOf(history []registry.Revision, is func(*registry.Revision) bool) *registry.Revision {
	for i := range history {
		if is(&history[i]) {
			return &history[i]
		}
	}
	return nil
}

// breaking lists what a plan breaks.
func breaking(p *plan.Plan) []string {
	var all []string
	for _, c := range p.Changes {
		for _, h := range c.Hazards {
			if h.Breaking {
				all = append(all, c.Kind+" "+c.Name+": "+h.Code+": "+h.Message)
			}
		}
	}
	return all
}

// invalid is the outcome of files with problems; any other error is returned.
func invalid(err error) (outcome, error) {
	var set diag.Set
	if !errors.As(err, &set) {
		return outcome{}, err
	}
	out := outcome{state: Invalid, message: "the files have problems"}
	for _, d := range set {
		out.details = append(out.details, d.String())
	}
	return out, nil
}

// settle notes that nothing is left to do for the tree.
func (r *Reconciler) settle(ctx context.Context, digest string) (outcome, error) {
	r.settled, r.digest, r.tree.files = true, digest, nil
	return r.compare(ctx)
}

// compare tells whether the registry still has what it had when the tree was settled.
func (r *Reconciler) compare(ctx context.Context) (outcome, error) {
	newest, err := r.Control.Registry.History(ctx, 1)
	if err != nil {
		return outcome{}, err
	}
	if len(newest) == 0 || newest[0].Digest == r.digest {
		return outcome{state: Applied}, nil
	}
	rev := &newest[0]
	if rev.By == By && rev.Commit != r.tree.id {
		// Another server is ahead, or this one's repository is behind.
		return outcome{state: Kept, message: revisionText(rev) + " has another commit: " + short(rev.Commit)}, nil
	}
	return outcome{state: Kept, message: revisionText(rev) + " differs; it stays until the next change at the source"}, nil
}

func revisionText(rev *registry.Revision) string {
	return fmt.Sprintf("revision %d by %s", rev.Number, rev.By)
}

// tell publishes what came of a round, and logs what is new.
func (r *Reconciler) tell(out outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	fresh := s.State != out.state || s.Message != out.message || !slices.Equal(s.Details, out.details)
	s.State, s.Message, s.Details = out.state, out.message, out.details
	if r.last != nil {
		s.Applied, s.AppliedAt, s.Revision = r.last.Commit, r.last.Applied, r.last.Number
	}
	s.Failures++
	if out.state != Failed {
		s.Failures = 0
	}
	if !fresh {
		return
	}
	attrs := []any{"source", s.Source, "commit", s.Seen}
	if out.message != "" {
		attrs = append(attrs, "reason", out.message)
	}
	if len(out.details) > 0 {
		attrs = append(attrs, "details", out.details)
	}
	switch out.state {
	case Applied:
		r.Logger.Info("the registry is as the source has it", attrs...)
	case Kept:
		r.Logger.Warn("the registry differs from the source, by hand", attrs...)
	default:
		r.Logger.Error("definitions are not applied", attrs...)
	}
}
