package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"

	"github.com/provender-dev/provender/internal/problem"
)

// busyTimeout is how long a statement waits for another process's transaction; those take milliseconds.
const busyTimeout = 3 * time.Second

// sqliteFile is the kind of database that is a file.
type sqliteFile struct{ path string }

func openSQLite(path, dir string) (*DB, error) {
	if path == "" || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#\x00") {
		return nil, problem.New(problem.Invalid, "the registry's URL names no file: write sqlite://.provender/registry.db")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, problem.New(problem.Invalid, "find the registry's folder: %w", err)
	}
	db := &DB{kind: sqliteFile{path}}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, db.Failure("open", err)
	}
	// Immediate transactions take the write lock at once: one that reads first and writes later cannot then find that
	// another process wrote in between.
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
			"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		},
	}.Encode()}).String()
	if db.sql, err = sql.Open("sqlite", dsn); err != nil {
		return nil, db.Failure("open", err)
	}
	return db, nil
}

func (f sqliteFile) name() string { return f.path }

func (f sqliteFile) folder() string { return "sqlite" }

func (f sqliteFile) dialect() goose.Dialect { return goose.DialectSQLite3 }

// options are the connection's: see openSQLite.
func (f sqliteFile) options() *sql.TxOptions { return nil }

func (f sqliteFile) tables() string {
	return `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1`
}

func (f sqliteFile) clock() string { return "" }

func (f sqliteFile) product() string { return `SELECT 'SQLite ' || sqlite_version()` }

// integrity ends after some: who needs them all does not want this file.
func (f sqliteFile) integrity() string { return `PRAGMA integrity_check(20)` }

// exclusive takes the advisory lock of the database's folder, which the operating system drops with the file.
func (f sqliteFile) exclusive(ctx context.Context, _ *sql.DB) (done func(), err error) {
	folder, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = folder.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && pause(ctx, 10*time.Millisecond) {
			continue
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errTurn
		}
		return nil, errors.Join(err, folder.Close())
	}
}

// errTurn is that of a process whose turn to migrate does not come.
var errTurn = errors.New("another process is creating it")

func (f sqliteFile) explain(err error) reason {
	if errors.Is(err, errTurn) {
		return reason{why: errTurn.Error(), fix: "try again", retryAfter: time.Second}
	}
	var code *sqlite.Error
	if !errors.As(err, &code) {
		return reason{}
	}
	if code.Code() == sqlitecode.SQLITE_IOERR_SHMSIZE {
		return reason{why: "the disk is full", fix: "free some space"} // where the file of the log's index can't grow
	}
	switch code.Code() & 0xff {
	case sqlitecode.SQLITE_BUSY, sqlitecode.SQLITE_LOCKED:
		return reason{
			why: "another process holds it", fix: "try again when that has finished", retryAfter: time.Second, again: true,
		}
	case sqlitecode.SQLITE_CORRUPT, sqlitecode.SQLITE_NOTADB:
		return reason{why: "it is damaged, or no SQLite database", fix: "restore the file from a backup", damaged: true}
	case sqlitecode.SQLITE_FULL:
		return reason{why: "the disk is full", fix: "free some space"}
	case sqlitecode.SQLITE_READONLY, sqlitecode.SQLITE_CANTOPEN, sqlitecode.SQLITE_PERM:
		return reason{why: "the file or its folder cannot be written", fix: "check their owner and permissions"}
	}
	return reason{}
}
