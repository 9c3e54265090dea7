package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/provender-dev/provender/materialize/state"
)

const (
	// presenceTTL is how long a server that is cut off from the registry may go on answering from its last snapshot
	// before runs elsewhere drop what that one needs.
	presenceTTL = 10 * time.Minute
	// presenceEvery is how often a server that sees nothing new says that it lives.
	presenceEvery = time.Minute
)

// presence tells runs, wherever they are, that this server answers lookups, and which swaps of generations it has
// followed: a generation stays until every server has moved on.
type presence struct {
	state  *state.Store
	store  string // the online store's name
	server state.Server
	told   time.Time // zero: not yet
}

func newPresence(records *state.Store, store string) *presence {
	return &presence{state: records, store: store, server: state.Server{ID: rand.Text(), Holder: identity(), Started: time.Now()}}
}

// tell records what the server answers by, where that is new or was last told some time ago.
func (p *presence) tell(ctx context.Context, swap, revision int64) error {
	s := p.server
	s.Swap, s.Revision = swap, revision
	if s == p.server && time.Since(p.told) < presenceEvery {
		return nil
	}
	now := time.Now()
	if err := p.state.Heartbeat(ctx, p.store, s, now, presenceTTL); err != nil {
		return fmt.Errorf("tell what this server has seen: %w", err)
	}
	p.server, p.told = s, now
	return nil
}

// leave says that the server answers no more.
func (p *presence) leave(ctx context.Context) error {
	if p.told.IsZero() {
		return nil
	}
	return p.state.Leave(ctx, p.server.ID, time.Now())
}
