package state

import (
	"context"
	"crypto/rand"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/online"
)

// prefixLen letters of base32 tell a million registries apart that share a store.
const prefixLen = 4

// Prefix returns the registry's short id in stores that are shared: made once, random, never changed.
func (s *Store) Prefix(ctx context.Context) (string, error) {
	var prefix string
	err := s.write(ctx, "read prefix from", func(tx *sql.Tx) error {
		fresh := strings.ToLower(rand.Text()[:prefixLen])
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO prefix (only_row, prefix) VALUES (1, ?) ON CONFLICT (only_row) DO NOTHING`, fresh); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT prefix FROM prefix`).Scan(&prefix)
	})
	return prefix, err
}

// Keyspace returns the id of a set of entities, in whatever order, allocating it the first time.
func (s *Store) Keyspace(ctx context.Context, entities []string) (online.KeyspaceID, error) {
	names := strings.Join(slices.Sorted(slices.Values(entities)), ",")
	var id online.KeyspaceID
	err := s.write(ctx, "allocate keyspace in", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM keyspace WHERE entities = ?`, names).Scan(&id)
		if err != sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
			return err
		}
		next, err := allocate(ctx, tx, "keyspace")
		if err != nil {
			return err
		}
		id = online.KeyspaceID(next)
		_, err = tx.ExecContext(ctx, `INSERT INTO keyspace (id, entities) VALUES (?, ?)`, next, names)
		return err
	})
	return id, err
}

// Saw records that a store, known by its address without secrets, was found with an incarnation.
func (s *Store) Saw(ctx context.Context, store, incarnation string, now time.Time) error {
	return s.write(ctx, "record store in", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO incarnation (incarnation, store, seen) VALUES (?, ?, ?)
			ON CONFLICT (incarnation) DO UPDATE SET store = excluded.store, seen = excluded.seen`,
			incarnation, store, now.UnixMicro())
		return err
	})
}
