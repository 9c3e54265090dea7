package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

// ErrCancelled reports that somebody asked to cancel the run.
var ErrCancelled = errors.New("the run was cancelled")

// RunState is where a run is.
type RunState string

// The states of a run.
const (
	RunQueued    RunState = "queued"
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
	RunCancelled RunState = "cancelled"
)

// Ended reports whether a run in this state is over.
func (s RunState) Ended() bool { return s != RunQueued && s != RunRunning }

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

	Asked        Asked
	Attempt      int64     // 1 for the first
	RetryOf      int64     // the run of attempt 1, 0 where this is it
	Queued       time.Time // zero where it did not wait
	BytesRead    int64     // of the files read, their whole size
	BytesWritten int64     // of keys and rows sent to the store
	Rejects      []Reject
	Phases       []PhaseTime // in order, complete once it has ended
	CancelAsked  time.Time   // zero: nobody asked
	CancelBy     string
	RequestID    string // of the request that made it, "" where that had none
}

// Asked is what was asked of a run, for those who repeat it.
type Asked struct {
	To          time.Time `json:"to,omitzero"`
	Full        bool      `json:"full,omitempty"`
	AllowFuture bool      `json:"allow_future,omitempty"`
}

// Reject is rows that could not be used, for one reason.
type Reject struct {
	Reason  string   `json:"reason"` // "null key", "key out of range", "time out of range", "value"
	Rows    int64    `json:"rows"`
	Samples []string `json:"samples,omitempty"` // the first few: file, row group, row, what
}

// PhaseTime is how long one part of a run took.
type PhaseTime struct {
	Name string        `json:"name"` // "list", "read", "write", "commit"
	Took time.Duration `json:"took"` // nanoseconds
}

// Enqueue records a run as queued, with its id, for this process, which must Await it before ttl is over. Where the view
// has a run of the same request, nothing is recorded, and its id returned as earlier; else that is 0.
func (s *Store) Enqueue(ctx context.Context, store string, run *Run, ttl time.Duration) (earlier int64, err error) {
	queued := *run
	queued.State = RunQueued
	err = s.write(ctx, "record run in", func(ctx context.Context, tx *database.Tx) (err error) {
		if earlier, err = requested(ctx, tx, store, &queued); err != nil || earlier > 0 {
			return err
		}
		return insertRun(ctx, tx, Lease{Store: store}, &queued, queued.Queued.Add(ttl))
	})
	if err == nil && earlier == 0 {
		*run = queued
	}
	return earlier, err
}

// requested returns the run of r's view that r's request has made, 0 for none. Until the transaction has ended, others that
// look wait.
func requested(ctx context.Context, tx *database.Tx, store string, r *Run) (id int64, err error) {
	if r.RequestID == "" {
		return 0, nil
	}
	if _, err := tx.Exec(ctx, `UPDATE counter SET next = next WHERE name = 'run'`); err != nil {
		return 0, err
	}
	err = tx.Row(ctx, `SELECT id FROM run WHERE store = $1 AND view_name = $2 AND request_id = $3 AND request_id <> ''`,
		store, r.View, r.RequestID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// Await gives a sign of life of this process for a queued run. ErrCancelled where it is queued no more.
func (s *Store) Await(ctx context.Context, id int64, now time.Time, ttl time.Duration) error {
	return s.write(ctx, "await run in", func(ctx context.Context, tx *database.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE run SET expires = $1 WHERE id = $2 AND state = $3`,
			now.Add(ttl).UnixMicro(), id, RunQueued)
		if err == nil && n == 0 {
			return ErrCancelled
		}
		return err
	})
}

// Withdraw removes a queued run that turned out to have nothing to do. One that is queued no more stays.
func (s *Store) Withdraw(ctx context.Context, id int64) error {
	return s.write(ctx, "withdraw run from", func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM run WHERE id = $1 AND state = $2`, id, RunQueued)
		return err
	})
}

// Start is what must be known of a run before it writes a row.
type Start struct {
	Run   *Run
	Fresh *Generation  // the new generation that it fills; nil: it continues Run.Generation
	Reads []LedgerFile // path, size and identity of the files whose rows it may write
}

// Begin records a run as running, with its id unless it was queued, in one transaction with how far it may reach. Runs
// that an earlier holder of the lease left running become interrupted. ErrLeaseLost where l is no longer the lease,
// ErrCancelled where the run was queued and is no more.
func (s *Store) Begin(ctx context.Context, l Lease, start Start) error {
	begun := *start.Run
	begun.State = RunRunning
	err := s.write(ctx, "record run in", func(ctx context.Context, tx *database.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE run SET state = $1, error = $2, finished = $3
			WHERE store = $4 AND view_name = $5 AND state = $6 AND token < $7`,
			RunFailed, Interrupted, begun.Started.UnixMicro(), l.Store, l.View, RunRunning, l.Token); err != nil {
			return err
		}
		if start.Fresh != nil {
			if err := insertGeneration(ctx, tx, start.Fresh); err != nil {
				return err
			}
			begun.Generation = start.Fresh.ID
		}
		if _, err := tx.Exec(ctx, `UPDATE generation SET reached = $1 WHERE id = $2 AND (reached IS NULL OR reached < $1)`,
			begun.T.UnixMicro(), begun.Generation); err != nil {
			return err
		}
		if err := insertAttempts(ctx, tx, begun.Generation, start.Reads); err != nil {
			return err
		}
		if begun.ID == 0 {
			return insertRun(ctx, tx, l, &begun, time.Time{})
		}
		n, err := tx.Exec(ctx, `UPDATE run SET state = $1, token = $2, generation = $3, revision = $4, is_full = $5,
				reason = $6, t = $7, started = $8 WHERE id = $9 AND state = $10`,
			begun.State, l.Token, begun.Generation, begun.Revision, begun.Full,
			begun.Reason, nullableTime(begun.T), begun.Started.UnixMicro(), begun.ID, RunQueued)
		if err == nil && n == 0 {
			return ErrCancelled
		}
		return err
	})
	if err == nil {
		*start.Run = begun
	}
	return err
}

func insertAttempts(ctx context.Context, tx *database.Tx, id online.GenerationID, files []LedgerFile) error {
	rows := make([][]any, len(files))
	for i, f := range files {
		rows[i] = []any{id, f.Path, f.Size, f.Identity}
	}
	return tx.Insert(ctx, "attempt", []string{"generation", "path", "size", "identity"}, rows, `ON CONFLICT DO NOTHING`)
}

// End records that a run ended as failed or cancelled, with run.Error, at run.Finished, whether or not it was begun. One
// that was meanwhile recorded as interrupted stays that.
func (s *Store) End(ctx context.Context, l Lease, run *Run, as RunState) error {
	ended := *run
	ended.State = as
	err := s.write(ctx, "record ended run in", func(ctx context.Context, tx *database.Tx) error {
		if ended.ID == 0 {
			return insertRun(ctx, tx, l, &ended, time.Time{})
		}
		return updateRun(ctx, tx, &ended)
	})
	if err == nil {
		*run = ended
	}
	return err
}

// Cancel asks for the end of a run: one that is queued ends at once, one that is running when its process looks
// (CancelAsked). NotFound, and Precondition for a run that is over.
func (s *Store) Cancel(ctx context.Context, store string, id int64, by string, now time.Time) (Run, error) {
	err := s.write(ctx, "cancel run in", func(ctx context.Context, tx *database.Tx) error {
		at := now.UnixMicro()
		if _, err := tx.Exec(ctx, `UPDATE run SET cancel_asked = $1, cancel_by = $2
			WHERE id = $3 AND store = $4 AND state IN ($5, $6) AND cancel_asked IS NULL`,
			at, database.Text(by), id, store, RunQueued, RunRunning); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE run SET state = $1, finished = $2, started = $3, error = $4 WHERE id = $5 AND store = $6 AND state = $7`,
			RunCancelled, at, at, "cancelled by "+database.Text(by), id, store, RunQueued)
		return err
	})
	if err != nil {
		return Run{}, err
	}
	run, err := s.Run(ctx, store, id, now)
	if err == nil && run.State.Ended() && run.CancelAsked.IsZero() {
		return run, &problem.Error{
			Code: problem.Precondition, Message: fmt.Sprintf("run %d is over: it has %s", id, run.State), Suggestion: "see provender runs",
		}
	}
	return run, err
}

// CancelAsked returns ErrCancelled, with who asked in its text, where the end of a run was asked for.
func (s *Store) CancelAsked(ctx context.Context, id int64) error {
	var by string
	err := s.db.Row(ctx, `SELECT cancel_by FROM run WHERE id = $1 AND cancel_asked IS NOT NULL`, id).Scan(&by)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return s.failure("read run from", err)
	}
	return fmt.Errorf("%w by %s", ErrCancelled, by)
}

// insertRun allocates r's id and records it; expires is for queued ones.
func insertRun(ctx context.Context, tx *database.Tx, l Lease, r *Run, expires time.Time) error {
	id, err := allocate(ctx, tx, "run")
	if err != nil {
		return err
	}
	r.ID, r.Attempt = id, max(r.Attempt, 1)
	started := r.Started
	if started.IsZero() {
		started = r.Queued
	}
	asked, err := json.Marshal(r.Asked)
	if err != nil {
		return err
	}
	var until int64
	if !expires.IsZero() {
		until = expires.UnixMicro()
	}
	if _, err = tx.Exec(ctx, `INSERT INTO run (id, store, view_name, token, state, generation, revision, cause, run_by,
			is_full, reason, t, started, queued, expires, process, attempt, retry_of, asked, request_id,
			files, rows_read, written, older, held, null_keys, ties, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 0, 0, 0, 0, 0, 0, 0, '')`,
		id, l.Store, r.View, l.Token, r.State, r.Generation, r.Revision, r.Trigger, r.By,
		r.Full, r.Reason, nullableTime(r.T), started.UnixMicro(), nullableTime(r.Queued), until, self().String(), r.Attempt,
		r.RetryOf, string(asked), r.RequestID); err != nil || !r.State.Ended() {
		return err
	}
	return setCounts(ctx, tx, r)
}

// updateRun records how a run that is not yet over goes on.
func updateRun(ctx context.Context, tx *database.Tx, r *Run) error {
	n, err := tx.Exec(ctx, `UPDATE run SET state = $1 WHERE id = $2 AND state IN ($3, $4)`,
		r.State, r.ID, RunQueued, RunRunning)
	if err != nil || n == 0 {
		return err
	}
	return setCounts(ctx, tx, r)
}

func setCounts(ctx context.Context, tx *database.Tx, r *Run) error {
	rejects, err := json.Marshal(r.Rejects)
	if err != nil {
		return err
	}
	phases, err := json.Marshal(r.Phases)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE run SET started = $1, finished = $2, t = $3, is_full = $4, reason = $5, files = $6,
			rows_read = $7, bytes_read = $8, written = $9, bytes_written = $10, older = $11, held = $12, null_keys = $13,
			ties = $14, rejects = $15, phases = $16, error = $17
		WHERE id = $18`, r.Started.UnixMicro(), nullableTime(r.Finished), nullableTime(r.T), r.Full, database.Text(r.Reason), r.Files,
		r.RowsRead, r.BytesRead, r.Written, r.BytesWritten, r.Older, r.Held, r.NullKeys,
		r.Ties, string(rejects), string(phases), database.Text(r.Error), r.ID)
	return err
}

// selectRuns takes the present instant first, for runs whose lease has ended without them and for queued ones that
// nobody awaits.
const selectRuns = `SELECT r.id, r.view_name, r.revision, r.generation, r.cause, r.run_by, r.state, r.is_full, r.reason, r.t,
		r.started, r.finished, r.files, r.rows_read, r.written, r.older, r.held, r.null_keys, r.ties, r.error,
		r.queued, r.attempt, r.retry_of, r.asked, r.bytes_read, r.bytes_written, r.rejects, r.phases, r.cancel_asked, r.cancel_by, r.request_id,
		r.state = 'running' AND (l.token IS NULL OR l.token <> r.token OR l.expires <= $1)
			OR r.state = 'queued' AND r.expires <= $1 AS gone,
		CASE r.state WHEN 'running' THEN coalesce(l.process, '') WHEN 'queued' THEN r.process ELSE '' END
	FROM run r LEFT JOIN lease l ON l.view_name = r.view_name AND l.store = r.store
	`

// Selection is which runs a list has.
type Selection struct {
	Views  []string // stored names; empty: all
	Before int64    // the greatest id that it has not; 0: it has all
	Limit  int      // at most so many; 0: all
}

// Runs lists runs into a store, newest first. A run whose lease has ended without it, or whose process is gone, counts as
// interrupted.
func (s *Store) Runs(ctx context.Context, store string, of Selection, now time.Time) ([]Run, error) {
	query := selectRuns + `WHERE r.store = $2`
	args := []any{now.UnixMicro(), store}
	if len(of.Views) > 0 {
		query += ` AND r.view_name IN (` + database.Parameters(len(args)+1, len(of.Views)) + `)`
		for _, v := range of.Views {
			args = append(args, v)
		}
	}
	if of.Before > 0 {
		args = append(args, of.Before)
		query += ` AND r.id < ` + database.Parameters(len(args), 1)
	}
	query += ` ORDER BY r.id DESC`
	if of.Limit > 0 {
		args = append(args, of.Limit)
		query += ` LIMIT ` + database.Parameters(len(args), 1)
	}
	runs, err := database.List(ctx, s.db, scanRun, query, args...)
	return runs, s.failure("read runs from", err)
}

// Run returns one run, as Runs does; NotFound where there is none into this store.
func (s *Store) Run(ctx context.Context, store string, id int64, now time.Time) (Run, error) {
	runs, err := database.List(ctx, s.db, scanRun, selectRuns+`WHERE r.store = $2 AND r.id = $3`, now.UnixMicro(), store, id)
	if err != nil {
		return Run{}, s.failure("read run from", err)
	}
	if len(runs) == 0 {
		return Run{}, problem.New(problem.NotFound, "there is no run %d; see provender runs", id)
	}
	return runs[0], nil
}

// LastRuns returns the newest run of each view into a store that is not queued.
func (s *Store) LastRuns(ctx context.Context, store string, now time.Time) (map[string]*Run, error) {
	runs, err := database.List(ctx, s.db, scanRun, selectRuns+`
		WHERE r.id IN (SELECT max(id) FROM run WHERE store = $2 AND state <> 'queued' GROUP BY view_name)`,
		now.UnixMicro(), store)
	if err != nil {
		return nil, s.failure("read runs from", err)
	}
	last := make(map[string]*Run, len(runs))
	for i := range runs {
		last[runs[i].View] = &runs[i]
	}
	return last, nil
}

func scanRun(rows *sql.Rows) (Run, error) {
	var r Run
	var t, started, finished, queued, cancel sql.NullInt64
	var gone bool
	var by, asked, rejects, phases string
	err := rows.Scan(&r.ID, &r.View, &r.Revision, &r.Generation, &r.Trigger, &r.By, &r.State, &r.Full, &r.Reason, &t,
		&started, &finished, &r.Files, &r.RowsRead, &r.Written, &r.Older, &r.Held, &r.NullKeys, &r.Ties, &r.Error,
		&queued, &r.Attempt, &r.RetryOf, &asked, &r.BytesRead, &r.BytesWritten, &rejects, &phases, &cancel, &r.CancelBy, &r.RequestID,
		&gone, &by)
	if err != nil {
		return r, err
	}
	r.T, r.Started, r.Finished, r.Queued, r.CancelAsked = clock(t), clock(started), clock(finished), clock(queued), clock(cancel)
	if r.State == RunQueued {
		r.Started = time.Time{}
	}
	for _, part := range []struct {
		text string
		into any
	}{{asked, &r.Asked}, {rejects, &r.Rejects}, {phases, &r.Phases}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return r, fmt.Errorf("run %d: %w", r.ID, err)
		}
	}
	if gone || parseProcess(by).gone() {
		r.State, r.Error = RunFailed, Interrupted
	}
	return r, nil
}
