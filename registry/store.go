package registry

import (
	"context"
	"time"
)

// Revision is the record of one apply.
type Revision struct {
	Number  int64
	Digest  string
	Applied time.Time
	By      string // user@host
	Commit  string // Git commit of the definitions, "" if unknown
	Tool    string // Provender's version
	Summary string // "2 added, 1 changed"
	// RollbackOf is the earlier revision that this one was made equal to, 0 for none.
	RollbackOf int64
	// Plan is what made it, as a plan file has it, without white space. At alone returns it; nil for revisions of older
	// versions.
	Plan []byte
}

// Store keeps revisions. Implementations: registry/store. Errors are *problem.Error: NotFound for a revision that
// does not exist, Conflict from Append where the base has moved, Unavailable where the database does not answer.
type Store interface {
	// ID is the registry's own identity, made when it was created, never changed.
	ID(ctx context.Context) (string, error)
	// Current returns the newest revision, number 0 with empty definitions where nothing was applied yet.
	Current(ctx context.Context) (Revision, *Definitions, error)
	// At returns one revision, with its plan.
	At(ctx context.Context, number int64) (Revision, *Definitions, error)
	// History lists revisions, newest first, at most limit (0: all).
	History(ctx context.Context, limit int) ([]Revision, error)
	// Append commits defs as revision base+1 in one transaction, or refuses with Conflict if base is no longer current. What
	// it returns has no plan.
	Append(ctx context.Context, base int64, rev Revision, defs *Definitions) (Revision, error)
}
