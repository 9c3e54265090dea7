// Package state keeps what operations need to remember: stores, keyspaces, generations, ledgers, runs, leases. It is
// not revisioned: a rebuild does not make a reviewed plan stale, a rollback does not resurrect a removed generation.
package state

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/provender-dev/provender/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable keeps the schema's version apart from that of the definitions in the same database.
const versionTable = "goose_state"

// busyFor is how long a transaction is tried again while another process holds the database.
const busyFor = 10 * time.Second

// NoTime stands for an instant that there is not.
const NoTime = math.MinInt64

// ErrLeaseLost reports that another holder has taken the lease: nothing was committed.
var ErrLeaseLost = errors.New("the lease was taken by another run")

// Store is the operations state in the registry's database. Safe for concurrent use, by several processes. Errors are
// *problem.Error: Unavailable where the database does not answer, besides those that a method names. Instants are
// microseconds UTC.
type Store struct{ db *sql.DB }

// Open migrates and returns the state in db (SQLite). The caller closes db.
func Open(ctx context.Context, db *sql.DB) (*Store, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, failure("open", err)
	}
	return &Store{db: db}, nil
}

// migrate brings the schema up to date. Of processes that do so at once all but one fail, and find it done when they
// look again.
func migrate(ctx context.Context, db *sql.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, sub,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	step := func() error {
		have, known, err := provider.GetVersions(ctx)
		if err != nil {
			return err
		}
		if have > known {
			return &problem.Error{
				Code:       problem.Precondition,
				Message:    fmt.Sprintf("the registry's operations state has schema version %d, this Provender knows %d", have, known),
				Suggestion: "use the newer Provender that wrote it",
			}
		}
		if have < known {
			_, err = provider.Up(ctx)
		}
		return err
	}
	for range 5 {
		if err = step(); err == nil || problem.CodeOf(err) == problem.Precondition || !pause(ctx, 20*time.Millisecond) {
			return err
		}
	}
	return err
}

// failure names the operation; a database that does not answer is Unavailable.
func failure(operation string, err error) error {
	var known *problem.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, ErrLeaseLost):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Canceled, "%s operations state: %w", operation, err)
	}
	e := problem.New(problem.Unavailable, "%s operations state: %w", operation, err)
	e.RetryAfter = time.Second
	return e
}

// write runs fn in a transaction, again while another process holds the database.
func (s *Store) write(ctx context.Context, operation string, fn func(*sql.Tx) error) error {
	begun := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := s.once(ctx, fn)
		if err == nil || !busy(err) || time.Since(begun) > busyFor || !pause(ctx, wait) {
			return failure(operation, err)
		}
	}
}

func (s *Store) once(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// busy reports whether err says that another connection holds the database.
func busy(err error) bool {
	const sqliteBusy, sqliteLocked = 5, 6
	var e interface{ Code() int }
	return errors.As(err, &e) && (e.Code()&0xff == sqliteBusy || e.Code()&0xff == sqliteLocked)
}

// pause waits, and reports false where ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// list returns the rows of a query, each read by scan.
func list[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, rows.Err()
}

// allocate returns the next number of a counter; none is ever returned twice.
func allocate(ctx context.Context, tx *sql.Tx, counter string) (int64, error) {
	var next int64
	err := tx.QueryRowContext(ctx, `UPDATE counter SET next = next + 1 WHERE name = ? RETURNING next - 1`, counter).Scan(&next)
	if err != nil {
		return 0, fmt.Errorf("allocate %s id: %w", counter, err)
	}
	return next, nil
}

// nullable is an instant as the database has it: NULL for NoTime.
func nullable(us int64) sql.NullInt64 { return sql.NullInt64{Int64: us, Valid: us != NoTime} }

// instant is the reverse of nullable.
func instant(v sql.NullInt64) int64 {
	if !v.Valid {
		return NoTime
	}
	return v.Int64
}

// nullableTime is nullable of a time, NULL for the zero time.
func nullableTime(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// clock is the reverse of nullableTime.
func clock(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64).UTC()
}
