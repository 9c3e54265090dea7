// Package store keeps a project's revisions in a database: SQLite.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// Store implements registry.Store. Safe for concurrent use, by several processes.
type Store struct {
	db   *sql.DB
	path string
	id   string
}

var _ registry.Store = (*Store)(nil)

// Open opens, and where needed creates and migrates, the registry at a URL: "sqlite:///abs/path" or
// "sqlite://path/relative/to/dir". Errors are *problem.Error: Invalid for the URL, Unavailable for a database that is
// locked, damaged or out of reach, Precondition for one that a newer Provender wrote.
func Open(ctx context.Context, url, dir string) (*Store, error) {
	path, err := sqlitePath(url, dir)
	if err != nil {
		return nil, err
	}
	db, err := openSQLite(ctx, path)
	if err != nil {
		return nil, failure("open", path, err)
	}
	s := &Store{db: db, path: path}
	if err := db.QueryRowContext(ctx, `SELECT id FROM registry`).Scan(&s.id); err != nil {
		return nil, failure("open", path, errors.Join(err, db.Close()))
	}
	return s, nil
}

// DB returns the database, for the operations state that lives beside the definitions.
func (s *Store) DB() *sql.DB { return s.db }

// Path returns the database's file.
func (s *Store) Path() string { return s.path }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// ID implements registry.Store.
func (s *Store) ID(context.Context) (string, error) { return s.id, nil }

const columns = `number, digest, applied, applied_by, git_commit, tool, summary`

// Current implements registry.Store.
func (s *Store) Current(ctx context.Context) (registry.Revision, *registry.Definitions, error) {
	rev, defs, err := s.read(s.db.QueryRowContext(ctx,
		`SELECT `+columns+`, definitions, checksum FROM revision ORDER BY number DESC LIMIT 1`))
	if errors.Is(err, sql.ErrNoRows) {
		empty := &registry.Definitions{}
		return registry.Revision{Digest: empty.Digest()}, empty, nil
	}
	if err != nil {
		return registry.Revision{}, nil, failure("read", s.path, err)
	}
	return rev, defs, nil
}

// At implements registry.Store.
func (s *Store) At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	rev, defs, err := s.read(s.db.QueryRowContext(ctx,
		`SELECT `+columns+`, definitions, checksum FROM revision WHERE number = ?`, number))
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Revision{}, nil, &problem.Error{
			Code: problem.NotFound, Message: "no revision " + itoa(number), Suggestion: "provender history lists them",
		}
	}
	if err != nil {
		return registry.Revision{}, nil, failure("read", s.path, err)
	}
	return rev, defs, nil
}

// History implements registry.Store.
func (s *Store) History(ctx context.Context, limit int) ([]registry.Revision, error) {
	if limit <= 0 {
		limit = -1
	}
	rows, err := s.db.QueryContext(ctx, `SELECT `+columns+` FROM revision ORDER BY number DESC LIMIT ?`, limit)
	if err != nil {
		return nil, failure("read", s.path, err)
	}
	defer rows.Close()
	var list []registry.Revision
	for rows.Next() {
		var rev registry.Revision
		if err := rows.Scan(fields(&rev)...); err != nil {
			return nil, failure("read", s.path, err)
		}
		list = append(list, rev)
	}
	if err := rows.Err(); err != nil {
		return nil, failure("read", s.path, err)
	}
	return list, nil
}

// Append implements registry.Store. It sets the revision's number and digest, and its time where that is zero.
func (s *Store) Append(ctx context.Context, base int64, rev registry.Revision, defs *registry.Definitions) (registry.Revision, error) {
	blob, err := json.Marshal(defs)
	if err != nil {
		return registry.Revision{}, problem.New(problem.Invalid, "write revision: %w", err)
	}
	sum := sha256.Sum256(blob)
	rev.Number, rev.Digest = base+1, defs.Digest()
	if rev.Applied.IsZero() {
		rev.Applied = time.Now()
	}
	rev.Applied = rev.Applied.UTC().Truncate(time.Microsecond)

	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return registry.Revision{}, failure("write", s.path, err)
	}
	defer tx.Rollback() // after Commit it does nothing, before it the error below says more
	var current int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM revision`).Scan(&current); err != nil {
		return registry.Revision{}, failure("write", s.path, err)
	}
	if current != base {
		return registry.Revision{}, &problem.Error{
			Code:       problem.Conflict,
			Message:    "the registry has moved to revision " + itoa(current) + " since this change was planned on revision " + itoa(base),
			Suggestion: "run provender plan again",
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO revision (`+columns+`, definitions, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		rev.Number, rev.Digest, rev.Applied.UnixMicro(), rev.By, rev.Commit, rev.Tool, rev.Summary, blob, sum[:]); err != nil {
		return registry.Revision{}, failure("write", s.path, err)
	}
	if err := failpoint.Hit(failpoint.ApplyBeforeCommit); err != nil {
		return registry.Revision{}, err
	}
	if err := tx.Commit(); err != nil {
		return registry.Revision{}, failure("write", s.path, err)
	}
	if err := failpoint.Hit(failpoint.ApplyAfterCommit); err != nil {
		return registry.Revision{}, err
	}
	return rev, nil
}

// errDamaged is the cause of a revision whose bytes are not those that were written.
var errDamaged = errors.New("checksum mismatch")

// read scans one revision with its definitions.
func (s *Store) read(r *sql.Row) (registry.Revision, *registry.Definitions, error) {
	var rev registry.Revision
	var blob, checksum []byte
	if err := r.Scan(append(fields(&rev), &blob, &checksum)...); err != nil {
		return rev, nil, err
	}
	if sum := sha256.Sum256(blob); !bytes.Equal(sum[:], checksum) {
		return rev, nil, errDamaged
	}
	defs := new(registry.Definitions)
	if err := json.Unmarshal(blob, defs); err != nil {
		return rev, nil, err
	}
	return rev, defs, nil
}

// fields returns where Scan puts the columns.
func fields(rev *registry.Revision) []any {
	return []any{&rev.Number, &rev.Digest, (*microTime)(&rev.Applied), &rev.By, &rev.Commit, &rev.Tool, &rev.Summary}
}
