package materialize

import (
	"context"
	"fmt"
	"slices"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// Pruned is one generation that was, or would be, removed from the online store.
type Pruned struct {
	Generation online.GenerationID
	View       string // "" where no record is left of it
	Why        string // one of the constants below
}

// Why nothing needs a generation.
const (
	PruneRetired   = "retired"      // another one serves, and every server has seen that
	PruneAbandoned = "abandoned"    // of a run that did not end well, and that none will go on with
	PruneDeleted   = "view deleted" // the definitions have no such view
	PruneOffline   = "offline"      // they have it as online: false
	PruneUnknown   = "unknown"      // rows of ours that no record knows
)

// Prune removes from the online store what no definition needs, at the store's rate, or only tells what (dryRun). A call
// that is cut short is repeated. Of a view that a run is under way for, nothing goes that the run may need.
func (s *Service) Prune(ctx context.Context, dryRun bool, progress func(Progress)) ([]Pruned, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	progress(Progress{Stage: "list"})
	p, err := s.newPruner(ctx)
	if err != nil {
		return nil, err
	}
	useless, err := p.list(ctx)
	if err != nil {
		return nil, err
	}
	if !dryRun {
		if err := p.forget(ctx); err != nil {
			return nil, err
		}
	}
	var done []Pruned
	for i, u := range useless {
		progress(Progress{View: u.view, Stage: "drop", Done: int64(i), Size: int64(len(useless))})
		if !dryRun {
			gone, err := p.remove(ctx, u)
			if err != nil {
				return done, fmt.Errorf("generation %d: %w", u.gen.ID, err)
			}
			if !gone {
				continue
			}
			s.cfg.Logger.Info("removed a generation", "generation", u.gen.ID, "view", u.view, "why", u.why)
		}
		done = append(done, Pruned{Generation: u.gen.ID, View: u.view, Why: u.why})
	}
	return done, nil
}

// useless is a generation that nothing needs.
type useless struct {
	gen    online.Generation
	stored string // name of the view, "" without a record
	view   string // its name of today
	why    string
	phase  state.Phase // "" without a record
}

// pruner is one call of Prune.
type pruner struct {
	*Service
	snap     *registry.Snapshot
	identity online.Identity
	stored   []online.Generation
	gens     []state.Generation
	last     map[string]*Run
	servers  []state.Server
}

func (s *Service) newPruner(ctx context.Context) (p *pruner, err error) {
	p = &pruner{Service: s, snap: s.cfg.Snapshot()}
	if p.identity, err = s.look(ctx); err != nil {
		return nil, err
	}
	if p.identity.Incarnation == "" {
		return nil, storeFailure("identify", online.ErrGenerationLost)
	}
	// The store first: what a run begins meanwhile has its record before it has its marker.
	if p.stored, err = s.cfg.Online.Generations(ctx); err != nil {
		return nil, storeFailure("list generations of", err)
	}
	if p.gens, err = s.cfg.State.Generations(ctx, ""); err != nil {
		return nil, err
	}
	if p.last, err = s.cfg.State.LastRuns(ctx, s.cfg.StoreName, s.cfg.Now()); err != nil {
		return nil, err
	}
	p.servers, err = s.cfg.State.Servers(ctx, s.cfg.StoreName, s.cfg.Now())
	return p, err
}

// list finds what nothing needs: by record, then what no record knows.
func (p *pruner) list(ctx context.Context) ([]useless, error) {
	var out []useless
	known := map[online.GenerationID]bool{}
	for i := range p.gens {
		g := &p.gens[i]
		known[g.ID] = !p.forgettable(g)
		if g.Incarnation != p.identity.Incarnation {
			continue
		}
		why, err := p.why(ctx, g)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, useless{g.Generation, g.View, p.snap.ViewName(g.View), why, g.Phase})
		}
	}
	for _, gen := range p.stored {
		if !known[gen.ID] {
			out = append(out, useless{gen: gen, why: PruneUnknown})
		}
	}
	return out, nil
}

// why tells why nothing needs a generation of this store, "" if something may.
func (p *pruner) why(ctx context.Context, g *state.Generation) (string, error) {
	v, last := p.snap.StoredView(g.View), p.last[g.View]
	running := last != nil && last.State == RunRunning
	switch {
	case g.Phase == state.Retired && g.Run == 0 && p.droppable(g, p.servers):
		return PruneAbandoned, nil
	case g.Phase == state.Retired && p.droppable(g, p.servers):
		return PruneRetired, nil
	case g.Phase == state.Retired, running:
		return "", nil
	case v == nil, !v.Online:
		if err := p.current(p.snap.ViewName(g.View), last); err != nil {
			return "", err
		}
		if v == nil {
			return PruneDeleted, nil
		}
		return PruneOffline, nil
	case g.Phase == state.Filling:
		j := &job{queue: &queue{Service: p.Service}, view: v, identity: p.identity}
		if !j.mayGoOn(ctx, g) {
			return PruneAbandoned, nil
		}
	}
	return "", nil
}

// current refuses to judge a view by definitions that are not the newest, here or in a server: it may be there by now, or
// still be asked for.
func (p *pruner) current(view string, last *Run) error {
	newest := p.snap.Revision
	if last != nil {
		newest = max(newest, last.Revision)
	}
	oldest := p.snap.Revision
	for _, sv := range p.servers {
		newest, oldest = max(newest, sv.Revision), min(oldest, sv.Revision)
	}
	if newest == oldest {
		return nil
	}
	return &problem.Error{
		Code: problem.Conflict,
		Message: fmt.Sprintf("view %s can't be judged: revision %d of the definitions is not everywhere yet, revision %d is still in use",
			view, newest, oldest),
		Suggestion: "repeat it in a moment",
	}
}

// droppable reports whether nobody can be reading a retired generation any more: some time has passed, and every server
// that lives has seen the swap.
func (s *Service) droppable(g *state.Generation, servers []state.Server) bool {
	return g.Retired <= s.cfg.Now().Add(-s.cfg.DropAfter).UnixMicro() &&
		!slices.ContainsFunc(servers, func(sv state.Server) bool { return sv.Swap < g.Swap })
}

// forgettable reports whether a record is of a store of this name that has lost its data, and of no use: what served is
// needed, to tell that it is lost, until another generation serves.
func (p *pruner) forgettable(g *state.Generation) bool {
	if g.Store != p.cfg.StoreName || g.Incarnation == p.identity.Incarnation {
		return false
	}
	return g.Phase != state.Serving || p.snap.StoredView(g.View) == nil || slices.ContainsFunc(p.gens, func(o state.Generation) bool {
		return o.View == g.View && o.Phase == state.Serving && o.Incarnation == p.identity.Incarnation
	})
}

// forget records as dropped what went with the data of the store.
func (p *pruner) forget(ctx context.Context) error {
	for i := range p.gens {
		g := &p.gens[i]
		if !p.forgettable(g) {
			continue
		}
		if err := p.cfg.State.MarkDropped(ctx, g.ID); err != nil {
			return err
		}
		p.cfg.Logger.Info("a generation went with the data of its store", "generation", g.ID, "view", p.snap.ViewName(g.View))
	}
	return nil
}

// remove takes a generation away, and reports false where it is needed after all.
func (p *pruner) remove(ctx context.Context, u useless) (bool, error) {
	if u.phase != state.Filling && u.phase != state.Serving {
		return true, p.drop(ctx, u.gen, u.phase != "")
	}
	lease, err := p.cfg.State.Acquire(ctx, u.stored, p.cfg.StoreName, p.cfg.By, p.cfg.Now(), p.cfg.LeaseTTL)
	if problem.CodeOf(err) == problem.Conflict {
		return false, nil // a run has begun meanwhile
	}
	if err != nil {
		return false, err
	}
	const noRun = 0
	held, release := p.hold(ctx, lease, noRun)
	defer release()
	if same, err := p.same(held, u); err != nil || !same {
		return false, err
	}
	if u.phase == state.Serving {
		return true, p.drop(held, u.gen, true)
	}
	if err := p.cfg.State.Abandon(held, lease, u.gen.ID, p.cfg.Now()); err != nil {
		return false, err
	}
	release() // nothing fills it any more, and runs of the view need not wait
	return true, p.drop(ctx, u.gen, true)
}

// same reports whether a generation is still in the phase that it was found in.
func (p *pruner) same(ctx context.Context, u useless) (bool, error) {
	gens, err := p.cfg.State.Generations(ctx, u.stored)
	return slices.ContainsFunc(gens, func(g state.Generation) bool {
		return g.ID == u.gen.ID && g.Phase == u.phase
	}), err
}

// drop removes a generation from the store, then its record.
func (s *Service) drop(ctx context.Context, gen online.Generation, recorded bool) error {
	if err := s.cfg.Online.DropGeneration(ctx, gen); err != nil {
		return storeFailure("drop a generation of", err)
	}
	if !recorded {
		return nil
	}
	return s.cfg.State.MarkDropped(ctx, gen.ID)
}
