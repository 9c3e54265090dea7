// Package state keeps what operations need to remember: stores, keyspaces, generations, ledgers, runs, leases. It is
// not revisioned: a rebuild does not make a reviewed plan stale, a rollback does not resurrect a removed generation.
package state

import (
	"context"
	"database/sql"
)

// Store is the operations state in the registry's database. Safe for concurrent use, by several processes.
type Store struct{ db *sql.DB }

// Open migrates and returns the state in db (SQLite).
func Open(ctx context.Context, db *sql.DB) (*Store, error) { panic("unwritten") }
