package tokens

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/problem"
)

const (
	// readEvery is how long a revoked token may go on.
	readEvery = 2 * time.Second
	// missPause is between two looks for tokens that are not known, so that guessing does not load the database.
	missPause = 100 * time.Millisecond
	// readTimeout bounds one look; a caller waits for it.
	readTimeout = 2 * time.Second
)

// entry is a token as calls need it.
type entry struct {
	principal auth.Principal
	expires   time.Time // zero: never
}

// Keeper knows the valid tokens, for a server. Where the database does not answer, what was known stays valid until it
// expires. Safe for concurrent use.
type Keeper struct {
	store  *Store
	logger *slog.Logger
	known  atomic.Pointer[known]
	turn   chan struct{} // held by the one that reads
}

// known is what one look has found.
type known struct {
	begun  time.Time
	tokens map[hash]*entry
	err    error // why tokens are those of an earlier look
}

// NewKeeper reads the tokens.
func NewKeeper(ctx context.Context, store *Store, logger *slog.Logger) (*Keeper, error) {
	k := &Keeper{store: store, logger: logger, turn: make(chan struct{}, 1)}
	k.known.Store(&known{})
	if now := k.read(ctx); now.err != nil {
		return nil, now.err
	}
	return k, nil
}

// Run keeps up with what others create and revoke, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return
		case k.turn <- struct{}{}:
			before := k.known.Load().err
			if now := k.read(ctx); now.err != nil && before == nil && ctx.Err() == nil {
				k.logger.Warn("tokens can't be read; those that are known stay valid", "error", now.err)
			}
			<-k.turn
		}
	}
}

// read replaces what is known; the caller holds the turn.
func (k *Keeper) read(ctx context.Context) *known {
	now := &known{begun: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if now.tokens, now.err = k.store.valid(ctx); now.err != nil {
		now.tokens = k.known.Load().tokens
	}
	k.known.Store(now)
	return now
}

// Find returns who has a token. Unauthenticated where it is not valid; Unavailable where it is not known and the database
// does not answer.
func (k *Keeper) Find(ctx context.Context, secret string) (auth.Principal, error) {
	h, ok := hashOf(secret)
	if !ok {
		return auth.Principal{}, unknown()
	}
	e, ok := k.known.Load().tokens[h]
	if !ok {
		// It may have just been created.
		now, err := k.again(ctx)
		if err != nil {
			return auth.Principal{}, err
		}
		if e, ok = now.tokens[h]; !ok && now.err != nil {
			return auth.Principal{}, now.err
		} else if !ok {
			return auth.Principal{}, unknown()
		}
	}
	if !e.expires.IsZero() && !time.Now().Before(e.expires) {
		return auth.Principal{}, &problem.Error{
			Code:       problem.Unauthenticated,
			Message:    "token " + e.principal.Name + " has expired at " + e.expires.Format(time.RFC3339),
			Suggestion: "ask an administrator for a new one: provender token create",
		}
	}
	return e.principal, nil
}

// again returns what a look finds that begins from now on. Callers share looks.
func (k *Keeper) again(ctx context.Context) (*known, error) {
	asked := time.Now()
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-k.turn }()
	now := k.known.Load()
	if now.begun.After(asked) {
		return now, nil
	}
	pause := time.NewTimer(missPause - time.Since(now.begun))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// Others wait for this look, whoever has given up.
	return k.read(context.WithoutCancel(ctx)), nil
}

func unknown() error {
	return &problem.Error{
		Code: problem.Unauthenticated, Message: "the token is not valid: it was revoked, or is another project's",
		Suggestion: "provender token list names those that are",
	}
}
