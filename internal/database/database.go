// Package database is the SQL database of a registry, SQLite or Postgres: what differs between them is in here.
// Statements number their parameters, $1, $2, which both understand, and say what both understand.
//
// Postgres runs transactions as READ COMMITTED: a statement sees what was committed before it began. A transaction that
// decides by what it reads takes a row's lock first, by an UPDATE of it, and reads afterwards: whoever comes second waits
// there, and then sees what the first one did. In SQLite the same transaction has the whole database for itself.
package database

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/provender-dev/provender/internal/problem"
)

// patience is how long a statement may take to answer. It may wait for transactions of others; those take milliseconds, or
// seconds where files are many.
const patience = 10 * time.Second

// migrationPatience is how long a migration may take: one may rewrite every row there is.
const migrationPatience = 10 * time.Minute

// DB is an open database. Safe for concurrent use; the database, by several processes.
type DB struct {
	sql    *sql.DB
	kind   kind
	parted func(ctx context.Context) error // by PartFromOlder; nil: Migrate does not
}

// kind is what differs.
type kind interface {
	// name is where the database is, without user, password and parameters.
	name() string
	// folder is that of the migrations in this kind's SQL.
	folder() string
	dialect() goose.Dialect
	// exclusive waits until ctx ends for its turn among the processes that migrate, makes what the tables live in, and
	// returns what ends the turn, as the end of the process does. Its errors are told.
	exclusive(ctx context.Context, db *sql.DB) (done func(), err error)
	// options are those of a transaction.
	options() *sql.TxOptions
	// explain tells what err means.
	explain(err error) reason
	// tables is the query that counts the tables of a name, the parameter.
	tables() string
	// clock is the query of the server's time, in microseconds; "" where there is no server.
	clock() string
	// product is the query of the database's name and version.
	product() string
	// integrity is the query that looks for damage, whose rows are what it finds, or ok; "" where there is none.
	integrity() string
}

// reason is why a database did not do what it was asked.
type reason struct {
	why, fix   string
	retryAfter time.Duration
	// again: others stood in the way, nothing was done, and the same transaction may succeed now.
	again bool
	// lost: the connection, or there was none.
	lost bool
	// damaged: what is there is not what was written.
	damaged bool
}

// errSilent is a statement's that was not answered in time.
var errSilent = errors.New("no answer in time")

// ErrDamaged is a cause of failures by content that is not what was written.
var ErrDamaged = errors.New("checksum mismatch")

// Open opens the database at a URL: "sqlite:///abs/path", "sqlite://path/relative/to/dir", or "postgres://…" as psql takes
// it. Errors are *problem.Error, as Failure has them, and Invalid for a bad URL; they never repeat it: it may hold a
// password. A Postgres that does not answer is found out by the first use.
func Open(url, dir string) (*DB, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	switch {
	case !ok:
		return nil, problem.New(problem.Invalid, "the registry's URL has no scheme: write sqlite://.provender/registry.db")
	case scheme == "sqlite":
		return openSQLite(rest, dir)
	case scheme == "postgres" || scheme == "postgresql":
		return openPostgres(url)
	}
	return nil, problem.New(problem.Invalid, "the registry's URL has the scheme %q: this version knows sqlite:// and postgres://", scheme)
}

// Name is where the database is, a file or postgres://host/database, without secrets.
func (db *DB) Name() string { return db.kind.name() }

// Close closes the database.
func (db *DB) Close() error { return db.sql.Close() }

// Failure turns what the database says into an error that tells what to do: Unavailable, or Canceled where the caller
// gave up. What is a *problem.Error already stays as it is.
func (db *DB) Failure(operation string, err error) error {
	var known *problem.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return problem.New(problem.Canceled, "%s %s: %w", operation, db.Name(), err)
	}
	r := reason{why: err.Error()}
	switch {
	case errors.Is(err, ErrDamaged): // by whoever read it
		r = reason{why: "it is damaged: " + err.Error(), fix: "restore it from a backup"}
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded):
		r = reason{why: "it did not answer in time", retryAfter: time.Second}
	default:
		if told := db.kind.explain(err); told.why != "" {
			r = told
		}
		if r.damaged {
			err = errors.Join(err, ErrDamaged)
		}
	}
	return &problem.Error{
		Code: problem.Unavailable, Err: err, RetryAfter: r.retryAfter, Suggestion: r.fix,
		Message: operation + " " + db.Name() + ": " + r.why,
	}
}
