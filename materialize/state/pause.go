package state

import (
	"context"
	"database/sql"
	"time"
)

// Pause is a view whose schedule rests.
type Pause struct {
	View  string
	Since time.Time
	By    string // user@host:pid
}

// Pause lets the schedule of a view into a store rest until Resume. One that rests already stays as it is.
func (s *Store) Pause(ctx context.Context, store string, p Pause) error {
	return s.write(ctx, "record pause in", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pause (view_name, store, since, paused_by) VALUES (?, ?, ?, ?)
			ON CONFLICT (view_name, store) DO NOTHING`, p.View, store, p.Since.UnixMicro(), p.By)
		return err
	})
}

// Resume ends a pause, and reports whether there was one.
func (s *Store) Resume(ctx context.Context, store, view string) (rested bool, err error) {
	err = s.write(ctx, "end pause in", func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `DELETE FROM pause WHERE view_name = ? AND store = ?`, view, store))
		rested = n > 0
		return err
	})
	return rested, err
}

// Pauses returns the views whose schedules into a store rest.
func (s *Store) Pauses(ctx context.Context, store string) (map[string]Pause, error) {
	all, err := list(ctx, s.db, func(rows *sql.Rows) (Pause, error) {
		var p Pause
		var since sql.NullInt64
		err := rows.Scan(&p.View, &since, &p.By)
		p.Since = clock(since)
		return p, err
	}, `SELECT view_name, since, paused_by FROM pause WHERE store = ?`, store)
	if err != nil {
		return nil, failure("read pauses from", err)
	}
	rest := make(map[string]Pause, len(all))
	for _, p := range all {
		rest[p.View] = p
	}
	return rest, nil
}
