// Package store keeps a project's revisions in a database: SQLite or Postgres.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

//go:embed migrations
var migrations embed.FS

// schema has its version apart from that of the operations state in the same database.
var schema = database.Schema{Name: "registry", Table: "goose_registry", Migrations: migrations, Least: 1}

// Store implements registry.Store. Safe for concurrent use, by several processes.
type Store struct {
	db *database.DB
	id string
}

var _ registry.Store = (*Store)(nil)

// Open opens, and where needed creates and migrates, the registry at a URL: "sqlite:///abs/path",
// "sqlite://path/relative/to/dir" or "postgres://…". Errors are *problem.Error: Invalid for the URL, Unavailable for a
// database that is locked, damaged or out of reach, Precondition for one that a newer Provender wrote.
func Open(ctx context.Context, url, dir string) (*Store, error) {
	db, err := database.Open(url, dir)
	if err != nil {
		return nil, err
	}
	return OpenIn(ctx, db)
}

// OpenIn is Open for a database that is open. The store closes it, also where this fails.
func OpenIn(ctx context.Context, db *database.DB) (*Store, error) {
	s := &Store{db: db}
	if err := db.Migrate(ctx, schema); err != nil {
		return nil, s.failure("open", errors.Join(err, db.Close()))
	}
	if err := db.Row(ctx, `SELECT id FROM registry`).Scan(&s.id); err != nil {
		return nil, s.failure("open", errors.Join(err, db.Close()))
	}
	return s, nil
}

func (s *Store) failure(operation string, err error) error {
	return s.db.Failure(operation+" registry", err)
}

// DB returns the database, for the operations state that lives beside the definitions.
func (s *Store) DB() *database.DB { return s.db }

// SchemaVersion returns the version of the registry's tables.
func (s *Store) SchemaVersion(ctx context.Context) (int64, error) { return s.db.Version(ctx, schema) }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// ID implements registry.Store.
func (s *Store) ID(context.Context) (string, error) { return s.id, nil }

// columns are what lists have of a revision.
const (
	columns = `number, digest, applied, applied_by, git_commit, tool, summary, rollback_of`
	content = `definitions, checksum`
	planned = `plan, seal`

	everything = `SELECT ` + columns + `, ` + content + `, ` + planned + ` FROM revision`
)

// Current implements registry.Store.
func (s *Store) Current(ctx context.Context) (registry.Revision, *registry.Definitions, error) {
	rev, defs, err := read(s.db.Row(ctx, `SELECT `+columns+`, `+content+`, NULL, NULL FROM revision ORDER BY number DESC LIMIT 1`))
	if errors.Is(err, sql.ErrNoRows) {
		empty := &registry.Definitions{}
		return registry.Revision{Digest: empty.Digest()}, empty, nil
	}
	if err != nil {
		return registry.Revision{}, nil, s.failure("read", err)
	}
	return rev, defs, nil
}

// At implements registry.Store.
func (s *Store) At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	rev, defs, err := read(s.db.Row(ctx, everything+` WHERE number = $1`, number))
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Revision{}, nil, &problem.Error{
			Code: problem.NotFound, Message: "no revision " + itoa(number), Suggestion: "provender history lists them",
		}
	}
	if err != nil {
		return registry.Revision{}, nil, s.failure("read", err)
	}
	return rev, defs, nil
}

// History implements registry.Store.
func (s *Store) History(ctx context.Context, limit int) ([]registry.Revision, error) {
	return s.HistoryBefore(ctx, 0, limit)
}

// HistoryBefore lists the revisions with a lesser number than before (0: all), newest first, at most limit (0: all).
func (s *Store) HistoryBefore(ctx context.Context, before int64, limit int) ([]registry.Revision, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	if limit <= 0 {
		limit = math.MaxInt32
	}
	list, err := database.List(ctx, s.db, func(rows *sql.Rows) (registry.Revision, error) {
		var rev registry.Revision
		err := rows.Scan(fields(&rev)...)
		return rev, err
	}, `SELECT `+columns+` FROM revision WHERE number < $1 ORDER BY number DESC LIMIT $2`, before, limit)
	return list, s.failure("read", err)
}

// Append implements registry.Store. It sets the revision's number and digest, and its time where that is zero.
func (s *Store) Append(ctx context.Context, base int64, rev registry.Revision, defs *registry.Definitions) (registry.Revision, error) {
	blob, err := json.Marshal(defs)
	if err != nil {
		return registry.Revision{}, problem.New(problem.Invalid, "write revision: %w", err)
	}
	if rev.Plan, err = compact(rev.Plan); err != nil {
		return registry.Revision{}, problem.New(problem.Invalid, "write revision: its plan: %w", err)
	}
	rev.Number, rev.Digest = base+1, defs.Digest()
	if rev.Applied.IsZero() {
		rev.Applied = time.Now()
	}
	rev.Applied = rev.Applied.UTC().Truncate(time.Microsecond)
	rev.By, rev.Commit, rev.Summary = database.Text(rev.By), database.Text(rev.Commit), database.Text(rev.Summary)

	err = s.db.Try(ctx, func(ctx context.Context, tx *database.Tx) error {
		// Whoever else appends waits here until this one is done, and then finds that the base has moved.
		if _, err := tx.Exec(ctx, `UPDATE registry SET id = id`); err != nil {
			return err
		}
		var current int64
		if err := tx.Row(ctx, `SELECT coalesce(max(number), 0) FROM revision`).Scan(&current); err != nil {
			return err
		}
		if current != base {
			return &problem.Error{
				Code:       problem.Conflict,
				Message:    "the registry has moved to revision " + itoa(current) + " since this change was planned on revision " + itoa(base),
				Suggestion: "run provender plan again",
			}
		}
		if err := insert(ctx, tx, &rev, blob); err != nil {
			return err
		}
		return failpoint.Hit(failpoint.ApplyBeforeCommit)
	})
	if err != nil {
		return registry.Revision{}, s.failure("write", err)
	}
	if err := failpoint.Hit(failpoint.ApplyAfterCommit); err != nil {
		return registry.Revision{}, err
	}
	rev.Plan = nil
	return rev, nil
}

// insert writes a revision, its definitions and its plan.
func insert(ctx context.Context, tx *database.Tx, rev *registry.Revision, blob []byte) error {
	r := record{Revision: *rev, definitions: blob}
	seal, err := r.sum()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO revision (`+columns+`, `+content+`, `+planned+`) VALUES (`+database.Parameters(1, 12)+`)`,
		rev.Number, rev.Digest, rev.Applied.UnixMicro(), rev.By, rev.Commit, rev.Tool, rev.Summary,
		sql.NullInt64{Int64: rev.RollbackOf, Valid: rev.RollbackOf != 0}, blob, checksum(blob), rev.Plan, seal)
	return err
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// compact returns JSON without white space, nil for none.
func compact(raw []byte) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	var b bytes.Buffer
	err := json.Compact(&b, raw)
	return b.Bytes(), err
}

// record is a revision as the database has it.
type record struct {
	registry.Revision
	definitions, checksum []byte
	seal                  []byte
}

// scan reads columns, content and plan.
func (r *record) scan(row interface{ Scan(columns ...any) error }) error {
	return row.Scan(append(fields(&r.Revision), &r.definitions, &r.checksum, &r.Plan, &r.seal)...)
}

// intact reports whether the definitions are what was written, and, where the seal was read, everything else.
func (r *record) intact() bool {
	return bytes.Equal(checksum(r.definitions), r.checksum) && r.sealed()
}

func (r *record) sealed() bool {
	if r.seal == nil {
		return true
	}
	sum, err := r.sum()
	return err == nil && bytes.Equal(sum, r.seal)
}

// sum returns what the seal must be.
func (r *record) sum() ([]byte, error) {
	raw, err := encode(r.export())
	return checksum(raw), err
}

// read scans one revision with its definitions.
func read(row database.Row) (registry.Revision, *registry.Definitions, error) {
	var r record
	if err := r.scan(row); err != nil {
		return r.Revision, nil, err
	}
	if !r.intact() {
		return r.Revision, nil, database.ErrDamaged
	}
	defs := new(registry.Definitions)
	if err := strict(r.definitions, defs); err != nil {
		return r.Revision, nil, &problem.Error{
			Code: problem.Precondition, Err: err,
			Message:    fmt.Sprintf("revision %d has definitions that this Provender does not know: %v", r.Number, err),
			Suggestion: "use the newer Provender that applied them",
		}
	}
	return r.Revision, defs, nil
}

// fields returns where Scan puts the columns.
func fields(rev *registry.Revision) []any {
	return []any{
		&rev.Number, &rev.Digest, (*microTime)(&rev.Applied), &rev.By, &rev.Commit, &rev.Tool, &rev.Summary, (*optional)(&rev.RollbackOf),
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

// optional scans an integer, 0 for NULL.
type optional int64

// Scan implements sql.Scanner.
func (n *optional) Scan(v any) error {
	var scanned sql.NullInt64
	err := scanned.Scan(v)
	*n = optional(scanned.Int64)
	return err
}
