package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"

	"github.com/provender-dev/provender/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable keeps the schema's version apart from that of the operations state in the same database.
const versionTable = "goose_registry"

// busyTimeout is how long a statement waits for another process's transaction; those take milliseconds.
const busyTimeout = 3 * time.Second

// sqlitePath returns the file of a registry URL. Errors never repeat the URL: it may hold a password.
func sqlitePath(raw, dir string) (string, error) {
	scheme, path, ok := strings.Cut(raw, "://")
	switch {
	case !ok:
		return "", problem.New(problem.Invalid, "the registry's URL has no scheme: write sqlite://.provender/registry.db")
	case scheme != "sqlite":
		return "", problem.New(problem.Invalid, "the registry's URL has the scheme %q: this version knows sqlite://", scheme)
	case path == "" || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#\x00"):
		return "", problem.New(problem.Invalid, "the registry's URL names no file: write sqlite://.provender/registry.db")
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	}
	abs, err := filepath.Abs(filepath.Join(dir, path))
	if err != nil {
		return "", problem.New(problem.Invalid, "find the registry's folder: %w", err)
	}
	return abs, nil
}

// openSQLite returns the migrated database at path.
func openSQLite(ctx context.Context, path string) (*sql.DB, error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
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
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, db, folder); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// migrate brings the schema up to date. The folder is locked meanwhile, because two
// processes that create one registry would otherwise both create its tables.
func migrate(ctx context.Context, db *sql.DB, folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockFolder(ctx, f); err != nil {
		return err
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, sub,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, known, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > known {
		return &problem.Error{
			Code:       problem.Precondition,
			Message:    fmt.Sprintf("the registry has schema version %d, this Provender knows %d", have, known),
			Suggestion: "use the newer Provender that wrote it",
		}
	}
	if have == known {
		return nil
	}
	_, err = provider.Up(ctx)
	return err
}

// lockFolder takes the folder's advisory lock, which the operating system drops with the file, also of a killed process.
func lockFolder(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return errLocked
		case <-time.After(10 * time.Millisecond):
		}
	}
}

var errLocked = errors.New("another process is creating it")

// failure turns what the database says into an error that tells what to do.
func failure(operation, path string, err error) error {
	var known *problem.Error
	if errors.As(err, &known) {
		return err
	}
	unavailable := func(what, fix string, retry time.Duration) error {
		return &problem.Error{
			Code: problem.Unavailable, Err: err, RetryAfter: retry, Suggestion: fix,
			Message: fmt.Sprintf("%s registry %s: %s", operation, path, what),
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return problem.New(problem.Canceled, "%s registry %s: %w", operation, path, err)
	}
	if errors.Is(err, errLocked) {
		return unavailable(err.Error(), "try again", time.Second)
	}
	const restore = "restore the file from a backup"
	if errors.Is(err, errDamaged) {
		return unavailable("it is damaged: "+err.Error(), restore, 0)
	}
	var code *sqlite.Error
	if !errors.As(err, &code) {
		return unavailable(err.Error(), "", 0)
	}
	switch code.Code() & 0xff {
	case sqlitecode.SQLITE_BUSY, sqlitecode.SQLITE_LOCKED:
		return unavailable("another process holds it", "try again when that has finished", time.Second)
	case sqlitecode.SQLITE_CORRUPT, sqlitecode.SQLITE_NOTADB:
		return unavailable("it is damaged, or no SQLite database", restore, 0)
	case sqlitecode.SQLITE_FULL:
		return unavailable("the disk is full", "free some space", 0)
	case sqlitecode.SQLITE_READONLY, sqlitecode.SQLITE_CANTOPEN, sqlitecode.SQLITE_PERM:
		return unavailable("the file or its folder cannot be written", "check their owner and permissions", 0)
	default:
		return unavailable(err.Error(), "", 0)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// microTime scans microseconds since 1970 into a time.
type microTime time.Time

// Scan implements sql.Scanner.
func (t *microTime) Scan(v any) error {
	us, ok := v.(int64)
	if !ok {
		return fmt.Errorf("scan %T as a time", v)
	}
	*t = microTime(time.UnixMicro(us).UTC())
	return nil
}
