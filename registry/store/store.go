// Package store keeps a project's revisions in a database: SQLite.
package store

import (
	"context"
	"database/sql"
)

// Store implements registry.Store.
type Store struct{ db *sql.DB }

// Open opens, and where needed creates and migrates, the registry at a URL: "sqlite:///abs/path" or
// "sqlite://path/relative/to/dir".
func Open(ctx context.Context, url, dir string) (*Store, error) { panic("unwritten") }

// DB returns the database, for the operations state that lives beside the definitions.
func (s *Store) DB() *sql.DB { return s.db }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }
