// Package state keeps what operations need to remember: stores, keyspaces, generations, ledgers, runs, leases. It is
// not revisioned: a rebuild does not make a reviewed plan stale, a rollback does not resurrect a removed generation.
package state

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/provender-dev/provender/internal/database"
)

//go:embed migrations
var migrations embed.FS

// schema has its version apart from that of the definitions in the same database.
var schema = database.Schema{Name: "registry's operations state", Table: "goose_state", Migrations: migrations, Least: 2}

// NoTime stands for an instant that there is not.
const NoTime = math.MinInt64

// ErrLeaseLost reports that another holder has taken the lease: nothing was committed.
var ErrLeaseLost = errors.New("the lease was taken by another run")

// Store is the operations state in the registry's database. Safe for concurrent use, by several processes. Errors are
// *problem.Error: Unavailable where the database does not answer, besides those that a method names. Instants are
// microseconds UTC.
type Store struct{ db *database.DB }

// Open migrates and returns the state in db. The caller closes db.
func Open(ctx context.Context, db *database.DB) (*Store, error) {
	s := &Store{db: db}
	if err := db.Migrate(ctx, schema); err != nil {
		return nil, s.failure("open", err)
	}
	return s, nil
}

// failure names the operation; a database that does not answer is Unavailable.
func (s *Store) failure(operation string, err error) error {
	if errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrCancelled) {
		return err
	}
	return s.db.Failure(operation+" operations state in", err)
}

// write runs fn in a transaction, again while others stand in its way.
func (s *Store) write(ctx context.Context, operation string, fn func(context.Context, *database.Tx) error) error {
	return s.failure(operation, s.db.Write(ctx, fn))
}

// allocate returns the next number of a counter; none is ever returned twice: others wait for the counter until the
// transaction has ended.
func allocate(ctx context.Context, tx *database.Tx, counter string) (int64, error) {
	var next int64
	err := tx.Row(ctx, `UPDATE counter SET next = next + 1 WHERE name = $1 RETURNING next - 1`, counter).Scan(&next)
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
