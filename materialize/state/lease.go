package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// Lease is the right to materialize one view into one store, until it expires or is released.
type Lease struct {
	View, Store string
	Holder      string // user@host:pid
	// Token grows with every holder: what a run records is refused once another token is the lease's.
	Token int64
}

// Acquire takes the lease of a view and store, or refuses with Conflict while another holds it and now is before that
// one's expiry.
func (s *Store) Acquire(ctx context.Context, view, store, holder string, now time.Time, ttl time.Duration) (Lease, error) {
	l := Lease{View: view, Store: store, Holder: holder}
	err := s.write(ctx, "take lease in", func(tx *sql.Tx) error {
		at := now.UnixMicro()
		err := tx.QueryRowContext(ctx, `INSERT INTO lease (view_name, store, token, holder, taken, heartbeat, expires)
			VALUES (?, ?, 1, ?, ?, ?, ?)
			ON CONFLICT (view_name, store) DO UPDATE SET token = lease.token + 1, holder = excluded.holder,
				taken = excluded.taken, heartbeat = excluded.heartbeat, expires = excluded.expires
			WHERE lease.expires <= excluded.taken
			RETURNING token`, view, store, holder, at, at, now.Add(ttl).UnixMicro()).Scan(&l.Token)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var by string
		var taken, expires int64
		if err := tx.QueryRowContext(ctx, `SELECT holder, taken, expires FROM lease WHERE view_name = ? AND store = ?`,
			view, store).Scan(&by, &taken, &expires); err != nil {
			return err
		}
		return &problem.Error{
			Code: problem.Conflict,
			Message: fmt.Sprintf("view %s is being materialized by %s since %s", view, by,
				time.UnixMicro(taken).UTC().Format(time.RFC3339)),
			Suggestion: "wait until that run has ended; if its process has gone, until " +
				time.UnixMicro(expires).UTC().Format(time.RFC3339),
		}
	})
	return l, err
}

// Renew moves a lease's expiry; ErrLeaseLost where another has taken it.
func (s *Store) Renew(ctx context.Context, l Lease, now time.Time, ttl time.Duration) error {
	return s.write(ctx, "renew lease in", func(tx *sql.Tx) error {
		return one(tx.ExecContext(ctx,
			`UPDATE lease SET heartbeat = ?, expires = ? WHERE view_name = ? AND store = ? AND token = ?`,
			now.UnixMicro(), now.Add(ttl).UnixMicro(), l.View, l.Store, l.Token))
	})
}

// Release gives a lease back; one that was lost already is left alone.
func (s *Store) Release(ctx context.Context, l Lease) error {
	return s.write(ctx, "release lease in", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE lease SET expires = 0 WHERE view_name = ? AND store = ? AND token = ?`,
			l.View, l.Store, l.Token)
		return err
	})
}

// fence makes the transaction fail with ErrLeaseLost unless l is still the lease. As a transaction's first statement,
// and a write, it also excludes every other holder until the commit.
func fence(ctx context.Context, tx *sql.Tx, l Lease) error {
	return one(tx.ExecContext(ctx, `UPDATE lease SET heartbeat = heartbeat WHERE view_name = ? AND store = ? AND token = ?`,
		l.View, l.Store, l.Token))
}

// one checks that a statement under a lease found it.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return ErrLeaseLost
}
