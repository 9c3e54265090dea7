package state

import (
	"context"
	"database/sql"
	"time"
)

// Server is a process that answers lookups from a store.
type Server struct {
	ID       string // random, of its start
	Holder   string // user@host:pid
	Started  time.Time
	Expires  time.Time // unless it gives a sign of life; for Servers to return
	Swap     int64     // the last swap that it has seen (LastSwap, read before the generations)
	Revision int64     // of the definitions that it answers by
}

// LastSwap returns the number of the last swap of generations; generations read afterwards show it.
func (s *Store) LastSwap(ctx context.Context) (int64, error) {
	var next int64
	err := s.db.QueryRowContext(ctx, `SELECT next FROM counter WHERE name = 'swap'`).Scan(&next)
	return next - 1, failure("read swaps from", err)
}

// Heartbeat records that a server lives, and what it has seen, for ttl from now.
func (s *Store) Heartbeat(ctx context.Context, store string, sv Server, now time.Time, ttl time.Duration) error {
	return s.write(ctx, "record server in", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO server (id, store, holder, process, started, expires, swap, revision)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, swap = excluded.swap, revision = excluded.revision`,
			sv.ID, store, sv.Holder, self().String(), sv.Started.UnixMicro(), now.Add(ttl).UnixMicro(), sv.Swap, sv.Revision)
		return err
	})
}

// Leave removes a server that stops, and those that have long given no sign of life.
func (s *Store) Leave(ctx context.Context, id string, now time.Time) error {
	return s.write(ctx, "remove server from", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM server WHERE id = ? OR expires < ?`, id, now.Add(-24*time.Hour).UnixMicro())
		return err
	})
}

// Servers returns those that live and answer from a store.
func (s *Store) Servers(ctx context.Context, store string, now time.Time) ([]Server, error) {
	type found struct {
		Server
		process process
	}
	all, err := list(ctx, s.db, func(rows *sql.Rows) (found, error) {
		var f found
		var started, expires sql.NullInt64
		var by string
		err := rows.Scan(&f.ID, &f.Holder, &by, &started, &expires, &f.Swap, &f.Revision)
		f.Started, f.Expires, f.process = clock(started), clock(expires), parseProcess(by)
		return f, err
	}, `SELECT id, holder, process, started, expires, swap, revision FROM server WHERE store = ? AND expires > ? ORDER BY id`,
		store, now.UnixMicro())
	if err != nil {
		return nil, failure("read servers from", err)
	}
	var live []Server
	for _, f := range all {
		if !f.process.gone() {
			live = append(live, f.Server)
		}
	}
	return live, nil
}
