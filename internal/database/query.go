package database

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// busyFor is how long a transaction is tried again while others, or the database's own start, stand in its way.
const busyFor = 10 * time.Second

// Tx is a transaction under way.
type Tx struct {
	tx    *sql.Tx
	alive *time.Timer // ends the transaction; every statement puts it off
}

// Write runs fn in a transaction, again while others stand in its way, or the connection is lost before the commit. fn
// uses the context it is given. The pauses differ by chance: two that met would meet again.
func (db *DB) Write(ctx context.Context, fn func(context.Context, *Tx) error) error {
	begun := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		committing, err := db.try(ctx, fn)
		if err == nil || time.Since(begun) > busyFor {
			return err
		}
		// A connection that is lost during the commit does not tell whether it was done.
		if r := db.kind.explain(err); !r.again && (!r.lost || committing) || !pause(ctx, wait/2+rand.N(wait)) {
			return err
		}
	}
}

// Try is Write, once.
func (db *DB) Try(ctx context.Context, fn func(context.Context, *Tx) error) error {
	_, err := db.try(ctx, fn)
	return err
}

func (db *DB) try(ctx context.Context, fn func(context.Context, *Tx) error) (committing bool, err error) {
	ctx, alive, end := watch(ctx)
	defer end()
	tx, err := db.sql.BeginTx(ctx, db.kind.options())
	if err != nil {
		return false, told(ctx, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := fn(ctx, &Tx{tx, alive}); err != nil {
		return false, told(ctx, err)
	}
	if !alive.Stop() { // the commit would be cut off, and nobody knew whether it was done
		return false, errSilent
	}
	alive.Reset(patience)
	return true, told(ctx, tx.Commit())
}

// Exec runs a statement and returns how many rows it changed.
func (t *Tx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	t.alive.Reset(patience)
	res, err := t.tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Row asks for one row; its Scan says sql.ErrNoRows where there is none.
func (t *Tx) Row(ctx context.Context, query string, args ...any) *sql.Row {
	t.alive.Reset(patience)
	return t.tx.QueryRowContext(ctx, query, args...)
}

// Row is one row that was asked for outside of a transaction.
type Row struct {
	row *sql.Row
	ctx context.Context
	end func()
}

// Row asks for one row; its Scan, which must be called, says sql.ErrNoRows where there is none.
func (db *DB) Row(ctx context.Context, query string, args ...any) Row {
	ctx, _, end := watch(ctx)
	return Row{db.sql.QueryRowContext(ctx, query, args...), ctx, end}
}

// Scan reads the row's columns.
func (r Row) Scan(columns ...any) error {
	defer r.end()
	return told(r.ctx, r.row.Scan(columns...))
}

// Querier is a DB or a Tx.
type Querier interface {
	each(ctx context.Context, query string, args []any, row func(*sql.Rows) error) error
}

// List returns the rows of a query, each read by scan.
func List[T any](ctx context.Context, q Querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	var list []T
	err := q.each(ctx, query, args, func(rows *sql.Rows) error {
		one, err := scan(rows)
		list = append(list, one)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (db *DB) each(ctx context.Context, query string, args []any, row func(*sql.Rows) error) error {
	ctx, alive, end := watch(ctx)
	defer end()
	rows, err := db.sql.QueryContext(ctx, query, args...)
	if err == nil {
		err = scanAll(rows, alive, row)
	}
	return told(ctx, err)
}

func (t *Tx) each(ctx context.Context, query string, args []any, row func(*sql.Rows) error) error {
	t.alive.Reset(patience)
	rows, err := t.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, t.alive, row)
}

// HasTable reports whether there is a table, for those who read and make none.
func (db *DB) HasTable(ctx context.Context, name string) (bool, error) {
	var n int
	err := db.Row(ctx, db.kind.tables(), name).Scan(&n)
	return n > 0, err
}

// Clock returns the time of the database's server, false where that is this machine's.
func (db *DB) Clock(ctx context.Context) (at time.Time, own bool, err error) {
	query := db.kind.clock()
	if query == "" {
		return time.Time{}, false, nil
	}
	var micros int64
	err = db.Failure("ask for the time", db.Row(ctx, query).Scan(&micros))
	return time.UnixMicro(micros), true, err
}

// Product returns the name and version of the database's software.
func (db *DB) Product(ctx context.Context) (string, error) {
	var name string
	err := db.Row(ctx, db.kind.product()).Scan(&name)
	return name, db.Failure("ask for the version of", err)
}

// Version returns the version that a schema has.
func (db *DB) Version(ctx context.Context, s Schema) (version int64, err error) {
	err = db.Row(ctx, `SELECT max(version_id) FROM `+s.Table).Scan(&version)
	return version, db.Failure("ask for the schema version of", err)
}

// Integrity looks for damage to the database's own structures, where the kind of database can, and returns what it finds.
func (db *DB) Integrity(ctx context.Context) (found []string, err error) {
	query := db.kind.integrity()
	if query == "" {
		return nil, nil
	}
	ctx, alive, end := watch(ctx)
	defer end()
	alive.Reset(migrationPatience) // it reads everything before it says anything
	rows, err := db.sql.QueryContext(ctx, query)
	if err == nil {
		err = scanAll(rows, alive, func(rows *sql.Rows) error {
			var text string
			err := rows.Scan(&text)
			if err == nil && text != "ok" {
				found = append(found, text)
			}
			return err
		})
	}
	return found, told(ctx, err)
}

func scanAll(rows *sql.Rows, alive *time.Timer, row func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		alive.Reset(patience)
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// watch returns a context that ends unless alive is put off time and again.
func watch(parent context.Context) (ctx context.Context, alive *time.Timer, end func()) {
	ctx, cancel := context.WithCancelCause(parent)
	alive = time.AfterFunc(patience, func() { cancel(errSilent) })
	return ctx, alive, func() {
		alive.Stop()
		cancel(nil)
	}
}

// told is err, or why ctx has ended where err only hints at it.
func told(ctx context.Context, err error) error {
	switch {
	case err != nil && context.Cause(ctx) == errSilent: //nolint:errorlint // it is put there bare
		return errSilent
	case errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil: // database/sql rolls back as ctx ends
		return ctx.Err()
	default:
		return err
	}
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

// Text is s as every database can keep it: what is no UTF-8, and zero bytes, are replaced.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// batch is how many rows a statement of Insert has: many enough for few round trips, few enough for SQLite's and
// Postgres's bounds on parameters.
const batch = 500

// Insert puts rows into a table's columns, many in a statement; conflict is what to do where there is such a row, as
// "ON CONFLICT …", "" for an error. Where it updates, no two rows may be one.
func (t *Tx) Insert(ctx context.Context, table string, columns []string, rows [][]any, conflict string) error {
	for len(rows) > 0 {
		part := rows[:min(batch, len(rows))]
		rows = rows[len(part):]
		args := make([]any, 0, len(part)*len(columns))
		var s strings.Builder
		s.WriteString("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES ")
		for i, row := range part {
			if i > 0 {
				s.WriteString(", ")
			}
			s.WriteString("(" + Parameters(len(args)+1, len(row)) + ")")
			args = append(args, row...)
		}
		if _, err := t.Exec(ctx, s.String()+" "+conflict, args...); err != nil {
			return err
		}
	}
	return nil
}

// Parameters returns n parameters with commas between, numbered from first.
func Parameters(first, n int) string {
	var s strings.Builder
	for i := range n {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString("$" + strconv.Itoa(first+i))
	}
	return s.String()
}
