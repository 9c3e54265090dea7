package state

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/online"
)

// prefixLen letters of base32 tell a million registries apart that share a store.
const prefixLen = 4

// Prefix returns the registry's short id in stores that are shared: made once, random, never changed.
func (s *Store) Prefix(ctx context.Context) (string, error) {
	var prefix string
	err := s.write(ctx, "read prefix from", func(ctx context.Context, tx *database.Tx) error {
		fresh := strings.ToLower(rand.Text()[:prefixLen])
		if _, err := tx.Exec(ctx,
			`INSERT INTO prefix (only_row, prefix) VALUES (1, $1) ON CONFLICT (only_row) DO NOTHING`, fresh); err != nil {
			return err
		}
		return tx.Row(ctx, `SELECT prefix FROM prefix`).Scan(&prefix)
	})
	return prefix, err
}

// Keyspace returns the id of a set of entities, in whatever order, allocating it the first time.
func (s *Store) Keyspace(ctx context.Context, entities []string) (online.KeyspaceID, error) {
	names := strings.Join(slices.Sorted(slices.Values(entities)), ",")
	var id online.KeyspaceID
	err := s.write(ctx, "allocate keyspace in", func(ctx context.Context, tx *database.Tx) error {
		const look = `SELECT id FROM keyspace WHERE entities = $1`
		err := tx.Row(ctx, look, names).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		// Whoever else allocates one meanwhile waits for the other here; the second finds that of the first.
		next, err := allocate(ctx, tx, "keyspace")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO keyspace (id, entities) VALUES ($1, $2) ON CONFLICT (entities) DO NOTHING`,
			next, names); err != nil {
			return err
		}
		return tx.Row(ctx, look, names).Scan(&id)
	})
	return id, err
}

// Saw records that a store, known by its address without secrets, was found with an incarnation.
func (s *Store) Saw(ctx context.Context, store, incarnation string, now time.Time) error {
	return s.write(ctx, "record store in", func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO incarnation (incarnation, store, seen) VALUES ($1, $2, $3)
			ON CONFLICT (incarnation) DO UPDATE SET store = excluded.store, seen = excluded.seen`,
			incarnation, store, now.UnixMicro())
		return err
	})
}
