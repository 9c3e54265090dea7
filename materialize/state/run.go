package state

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/provender-dev/provender/online"
)

// RunState is where a run is.
type RunState string

// The states of a run.
const (
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
)

// Interrupted is the error of a run whose process ended before it could say why.
const Interrupted = "interrupted: the process that ran it has gone"

// Run is the record of one materialization of one view up to an instant.
type Run struct {
	ID         int64
	View       string
	Revision   int64
	Generation online.GenerationID // 0 where the run failed before it had one
	Trigger    string              // "command" or "schedule"
	By         string              // user@host:pid
	State      RunState
	Full       bool      // filled a new generation
	Reason     string    // why full: "first run", "--full", "source files changed", "definition changed", …
	T          time.Time // zero where the run failed before it had one
	Started    time.Time
	Finished   time.Time // zero while running
	Files      int64     // files read
	RowsRead   int64
	Written    int64
	Older      int64
	Held       int64 // rows dated after T
	NullKeys   int64 // rows dropped for a null key
	Ties       int64
	Error      string
}

// Start is what must be known of a run before it writes a row.
type Start struct {
	Run   *Run
	Fresh *Generation  // the new generation that it fills; nil: it continues Run.Generation
	Reads []LedgerFile // path, size and identity of the files whose rows it may write to a generation that it continues
}

// Begin records a run as running, with its id, in one transaction with how far it may reach. Runs that an earlier
// holder of the lease left running become interrupted. ErrLeaseLost where l is no longer the lease.
func (s *Store) Begin(ctx context.Context, l Lease, start Start) error {
	begun := *start.Run
	begun.State = RunRunning
	err := s.write(ctx, "record run in", func(tx *sql.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE run SET state = ?, error = ?, finished = ?
			WHERE store = ? AND view_name = ? AND state = ? AND token < ?`,
			RunFailed, Interrupted, begun.Started.UnixMicro(), l.Store, l.View, RunRunning, l.Token); err != nil {
			return err
		}
		if start.Fresh != nil {
			if err := insertGeneration(ctx, tx, start.Fresh); err != nil {
				return err
			}
			begun.Generation = start.Fresh.ID
		}
		if _, err := tx.ExecContext(ctx, `UPDATE generation SET reached = ? WHERE id = ? AND (reached IS NULL OR reached < ?)`,
			begun.T.UnixMicro(), begun.Generation, begun.T.UnixMicro()); err != nil {
			return err
		}
		if err := insertAttempts(ctx, tx, begun.Generation, start.Reads); err != nil {
			return err
		}
		return insertRun(ctx, tx, l, &begun)
	})
	if err == nil {
		*start.Run = begun
	}
	return err
}

func insertAttempts(ctx context.Context, tx *sql.Tx, id online.GenerationID, files []LedgerFile) error {
	put, err := tx.PrepareContext(ctx,
		`INSERT INTO attempt (generation, path, size, identity) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer put.Close()
	for _, f := range files {
		if _, err := put.ExecContext(ctx, id, f.Path, f.Size, f.Identity); err != nil {
			return err
		}
	}
	return nil
}

// Fail records that a run ended with run.Error at run.Finished, whether or not it was begun. One that was meanwhile
// recorded as interrupted stays that.
func (s *Store) Fail(ctx context.Context, l Lease, run *Run) error {
	failed := *run
	failed.State = RunFailed
	err := s.write(ctx, "record failed run in", func(tx *sql.Tx) error {
		if failed.ID == 0 {
			return insertRun(ctx, tx, l, &failed)
		}
		return updateRun(ctx, tx, &failed)
	})
	if err == nil {
		*run = failed
	}
	return err
}

func insertRun(ctx context.Context, tx *sql.Tx, l Lease, r *Run) error {
	id, err := allocate(ctx, tx, "run")
	if err != nil {
		return err
	}
	r.ID = id
	_, err = tx.ExecContext(ctx, `INSERT INTO run (id, store, view_name, token, state, generation, revision, cause, run_by,
			is_full, reason, t, started, finished, files, rows_read, written, older, held, null_keys, ties, error)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, l.Store, r.View, l.Token, r.State, r.Generation, r.Revision, r.Trigger, r.By,
		r.Full, r.Reason, nullableTime(r.T), r.Started.UnixMicro(), nullableTime(r.Finished),
		r.Files, r.RowsRead, r.Written, r.Older, r.Held, r.NullKeys, r.Ties, r.Error)
	return err
}

func updateRun(ctx context.Context, tx *sql.Tx, r *Run) error {
	_, err := tx.ExecContext(ctx, `UPDATE run SET state = ?, finished = ?, files = ?, rows_read = ?, written = ?,
			older = ?, held = ?, null_keys = ?, ties = ?, error = ?
		WHERE id = ? AND state = ?`, r.State, nullableTime(r.Finished), r.Files, r.RowsRead, r.Written,
		r.Older, r.Held, r.NullKeys, r.Ties, r.Error, r.ID, RunRunning)
	return err
}

// selectRuns takes the present instant, for runs whose lease has ended without them.
const selectRuns = `SELECT r.id, r.view_name, r.revision, r.generation, r.cause, r.run_by, r.state, r.is_full, r.reason, r.t,
		r.started, r.finished, r.files, r.rows_read, r.written, r.older, r.held, r.null_keys, r.ties, r.error,
		r.state = 'running' AND (l.token IS NULL OR l.token <> r.token OR l.expires <= ?) AS gone,
		CASE WHEN r.state = 'running' THEN coalesce(l.process, '') ELSE '' END
	FROM run r LEFT JOIN lease l ON l.view_name = r.view_name AND l.store = r.store
	`

// Runs lists the runs of views (empty: all) into a store, newest first, at most limit (0: all). A run whose lease has
// ended without it, or whose process is gone, counts as interrupted.
func (s *Store) Runs(ctx context.Context, store string, views []string, limit int, now time.Time) ([]Run, error) {
	query := selectRuns + `WHERE r.store = ?`
	args := []any{now.UnixMicro(), store}
	if len(views) > 0 {
		query += ` AND r.view_name IN (?` + strings.Repeat(`, ?`, len(views)-1) + `)`
		for _, v := range views {
			args = append(args, v)
		}
	}
	query += ` ORDER BY r.id DESC`
	if limit > 0 {
		query += ` LIMIT ?`
		args = append(args, limit)
	}
	runs, err := list(ctx, s.db, scanRun, query, args...)
	return runs, failure("read runs from", err)
}

// LastRuns returns the newest run of each view into a store.
func (s *Store) LastRuns(ctx context.Context, store string, now time.Time) (map[string]*Run, error) {
	runs, err := list(ctx, s.db, scanRun, selectRuns+`
		WHERE r.id IN (SELECT max(id) FROM run WHERE store = ? GROUP BY view_name)`, now.UnixMicro(), store)
	if err != nil {
		return nil, failure("read runs from", err)
	}
	last := make(map[string]*Run, len(runs))
	for i := range runs {
		last[runs[i].View] = &runs[i]
	}
	return last, nil
}

func scanRun(rows *sql.Rows) (Run, error) {
	var r Run
	var t, started, finished sql.NullInt64
	var gone bool
	var by string
	err := rows.Scan(&r.ID, &r.View, &r.Revision, &r.Generation, &r.Trigger, &r.By, &r.State, &r.Full, &r.Reason, &t,
		&started, &finished, &r.Files, &r.RowsRead, &r.Written, &r.Older, &r.Held, &r.NullKeys, &r.Ties, &r.Error, &gone, &by)
	r.T, r.Started, r.Finished = clock(t), clock(started), clock(finished)
	if gone || parseProcess(by).gone() {
		r.State, r.Error = RunFailed, Interrupted
	}
	return r, err
}
