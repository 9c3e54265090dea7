package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
)

// Lease is the right to materialize one view into one store, until it expires or is released.
type Lease struct {
	View, Store string
	Holder      string // user@host:pid
	// Token grows with every holder: what a run records is refused once another token is the lease's.
	Token int64
}

// Acquire takes the lease of a view and store for this process, or refuses with Conflict while another holds it: until
// that one's expiry, or until its process is gone where it ran on this machine.
func (s *Store) Acquire(ctx context.Context, view, store, holder string, now time.Time, ttl time.Duration) (Lease, error) {
	l := Lease{View: view, Store: store, Holder: holder}
	err := s.write(ctx, "take lease in", func(ctx context.Context, tx *database.Tx) error {
		const none = 0 // tokens begin at 1
		held, err := l.take(ctx, tx, now, ttl, none)
		if err != nil || held == nil {
			return err
		}
		if held.process.gone() {
			_, err = l.take(ctx, tx, now, ttl, held.token)
			return err
		}
		return &problem.Error{
			Code: problem.Conflict,
			Message: fmt.Sprintf("it is being materialized by %s since %s", held.holder,
				time.UnixMicro(held.taken).UTC().Format(time.RFC3339)),
			Suggestion: "wait until that run has ended; if its process has gone, until " +
				time.UnixMicro(held.expires).UTC().Format(time.RFC3339),
		}
	})
	return l, err
}

// held is a lease as another holds it.
type held struct {
	token, taken, expires int64
	holder                string
	process               process
}

// take makes l the lease where there is none, where it has expired, or where its token is that of a holder who is
// known to be gone; else it returns the lease that there is.
func (l *Lease) take(ctx context.Context, tx *database.Tx, now time.Time, ttl time.Duration, from int64) (*held, error) {
	err := tx.Row(ctx, `INSERT INTO lease (view_name, store, token, holder, process, taken, heartbeat, expires)
		VALUES ($1, $2, 1, $3, $4, $5, $5, $6)
		ON CONFLICT (view_name, store) DO UPDATE SET token = lease.token + 1, holder = excluded.holder,
			process = excluded.process, taken = excluded.taken, heartbeat = excluded.heartbeat, expires = excluded.expires
		WHERE lease.expires <= excluded.taken OR lease.token = $7
		RETURNING token`, l.View, l.Store, l.Holder, self().String(), now.UnixMicro(), now.Add(ttl).UnixMicro(), from).Scan(&l.Token)
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	var h held
	var by string
	err = tx.Row(ctx, `SELECT token, holder, process, taken, expires FROM lease WHERE view_name = $1 AND store = $2`,
		l.View, l.Store).Scan(&h.token, &h.holder, &by, &h.taken, &h.expires)
	h.process = parseProcess(by)
	return &h, err
}

// Renew moves a lease's expiry; ErrLeaseLost where another has taken it.
func (s *Store) Renew(ctx context.Context, l Lease, now time.Time, ttl time.Duration) error {
	return s.write(ctx, "renew lease in", func(ctx context.Context, tx *database.Tx) error {
		return one(tx.Exec(ctx,
			`UPDATE lease SET heartbeat = $1, expires = $2 WHERE view_name = $3 AND store = $4 AND token = $5`,
			now.UnixMicro(), now.Add(ttl).UnixMicro(), l.View, l.Store, l.Token))
	})
}

// Release gives a lease back; one that was lost already is left alone.
func (s *Store) Release(ctx context.Context, l Lease) error {
	return s.write(ctx, "release lease in", func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE lease SET expires = 0 WHERE view_name = $1 AND store = $2 AND token = $3`,
			l.View, l.Store, l.Token)
		return err
	})
}

// fence makes the transaction fail with ErrLeaseLost unless l is still the lease. As a transaction's first statement,
// and a write, it also excludes every other holder until the commit: who would take the lease waits for its row.
func fence(ctx context.Context, tx *database.Tx, l Lease) error {
	return one(tx.Exec(ctx, `UPDATE lease SET heartbeat = heartbeat WHERE view_name = $1 AND store = $2 AND token = $3`,
		l.View, l.Store, l.Token))
}

// one checks that a statement under a lease found it.
func one(rows int64, err error) error {
	if err == nil && rows != 1 {
		return ErrLeaseLost
	}
	return err
}
