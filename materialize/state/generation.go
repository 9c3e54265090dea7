package state

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// Phase is where a generation is in its life.
type Phase string

// The phases, in order.
const (
	Filling Phase = "filling"
	Serving Phase = "serving"
	Retired Phase = "retired"
	Dropped Phase = "dropped"
)

// Generation is the record of one complete set of a view's rows in one incarnation of a store.
type Generation struct {
	online.Generation
	View        string // its stored name, here and in what else this package keeps
	Incarnation string
	Store       string // the address under which the incarnation was seen last
	Digest      string // registry.View.Digest when it was begun
	Fields      []row.Field
	Keys        []row.Field
	TTL         int64 // least ttl that its runs read with, microseconds: older rows were left out; 0: none were
	Phase       Phase
	Run         int64 // last complete run, 0 for none; the store's marker is from then or later
	T           int64 // greatest T of its complete runs; NoTime for none
	Reached     int64 // greatest T of runs that may have written, complete or not; NoTime for none
	Newest      int64 // newest event time written; NoTime for none
	Rows        int64 // stored by its runs
	Diverged    int64 // since when rows of changed or deleted files may remain; NoTime: not
	Begun       int64
	Retired     int64 // NoTime until then
	// Session is online.Identity.Session under which a rebuild that was cut short wrote what its ledger has; "" for none.
	Session string
	Swap    int64 // the number of the swap that retired it; 0: none has
}

// Live returns what serving needs to know.
func (g *Generation) Live() online.Live {
	return online.Live{
		View: g.View, Generation: g.Generation, Fields: g.Fields, Keys: g.Keys, Digest: g.Digest, T: g.T, Run: g.Run,
	}
}

// Checkpoint returns what the store's marker must have reached.
func (g *Generation) Checkpoint() online.Checkpoint { return online.Checkpoint{ID: g.ID, Run: g.Run} }

// Generations returns those of a view ("": of every view) that are not dropped, in every store, oldest first.
func (s *Store) Generations(ctx context.Context, view string) ([]Generation, error) {
	gens, err := database.List(ctx, s.db, scanGeneration, `SELECT g.id, g.keyspace, g.view_name, g.incarnation, i.store, g.digest,
			g.fields, g.join_keys, g.ttl, g.state, g.last_run, g.t, g.reached, g.newest_event, g.row_count, g.diverged, g.begun, g.retired,
			g.session, g.swap
		FROM generation g JOIN incarnation i ON i.incarnation = g.incarnation
		WHERE g.state <> 'dropped' AND (g.view_name = $1 OR $1 = '') ORDER BY g.id`, view)
	return gens, s.failure("read generations from", err)
}

func scanGeneration(rows *sql.Rows) (Generation, error) {
	var g Generation
	var fields, keys string
	var t, reached, newest, diverged, retired sql.NullInt64
	err := rows.Scan(&g.ID, &g.Keyspace, &g.View, &g.Incarnation, &g.Store, &g.Digest,
		&fields, &keys, &g.TTL, &g.Phase, &g.Run, &t, &reached, &newest, &g.Rows, &diverged, &g.Begun, &retired,
		&g.Session, &g.Swap)
	if err != nil {
		return g, err
	}
	g.T, g.Reached, g.Newest, g.Diverged, g.Retired =
		instant(t), instant(reached), instant(newest), instant(diverged), instant(retired)
	if err := json.Unmarshal([]byte(fields), &g.Fields); err != nil {
		return g, fmt.Errorf("fields of generation %d: %w", g.ID, err)
	}
	if err := json.Unmarshal([]byte(keys), &g.Keys); err != nil {
		return g, fmt.Errorf("keys of generation %d: %w", g.ID, err)
	}
	return g, nil
}

// insertGeneration allocates g's id and records it as filling.
func insertGeneration(ctx context.Context, tx *database.Tx, g *Generation) error {
	id, err := allocate(ctx, tx, "generation")
	if err != nil {
		return err
	}
	fields, err := json.Marshal(g.Fields)
	if err != nil {
		return err
	}
	keys, err := json.Marshal(g.Keys)
	if err != nil {
		return err
	}
	g.ID, g.Phase = online.GenerationID(id), Filling
	g.T, g.Reached, g.Newest, g.Diverged, g.Retired = NoTime, NoTime, NoTime, NoTime, NoTime
	_, err = tx.Exec(ctx, `INSERT INTO generation
		(id, view_name, incarnation, keyspace, digest, fields, join_keys, ttl, state, begun)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		id, g.View, g.Incarnation, g.Keyspace, g.Digest, string(fields), string(keys), g.TTL, Filling, g.Begun)
	return err
}

// Abandon retires a generation that an earlier holder of the lease began to fill: nothing will fill or serve it any
// more. ErrLeaseLost where l is no longer the lease, and a later holder may be filling it.
func (s *Store) Abandon(ctx context.Context, l Lease, id online.GenerationID, now time.Time) error {
	return s.write(ctx, "retire generation in", func(ctx context.Context, tx *database.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE generation SET state = $1, retired = $2 WHERE id = $3 AND state = $4`,
			Retired, now.UnixMicro(), id, Filling)
		return err
	})
}

// MarkDropped records that a retired generation's rows are gone from its store.
func (s *Store) MarkDropped(ctx context.Context, id online.GenerationID) error {
	return s.write(ctx, "record dropped generation in", func(ctx context.Context, tx *database.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE generation SET state = $1 WHERE id = $2`, Dropped, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM attempt WHERE generation = $1`, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM ledger WHERE generation = $1`, id)
		return err
	})
}

// LedgerFile is one file that a generation has consumed.
type LedgerFile struct {
	Path     string
	Size     int64
	Identity string
	Run      int64 // that read it last
	ReadAt   int64
	Held     int64  // rows dated after that run's T
	HeldFrom int64  // least event time of those; NoTime for none
	Footer   string // digest of the file's footer, "" where it was not taken
	// Unsettled: the file was modified so shortly before it was listed that it may have changed since without showing it.
	Unsettled bool
}

// Ledger returns the files that a generation has consumed, by path.
func (s *Store) Ledger(ctx context.Context, id online.GenerationID) ([]LedgerFile, error) {
	files, err := database.List(ctx, s.db, func(rows *sql.Rows) (LedgerFile, error) {
		var f LedgerFile
		var from sql.NullInt64
		err := rows.Scan(&f.Path, &f.Size, &f.Identity, &f.Run, &f.ReadAt, &f.Held, &from, &f.Footer, &f.Unsettled)
		f.HeldFrom = instant(from)
		return f, err
	}, `SELECT path, size, identity, run, read_at, held, held_from, footer, unsettled FROM ledger WHERE generation = $1`, id)
	slices.SortFunc(files, byPath) // databases order text in ways of their own
	return files, s.failure("read ledger from", err)
}

func byPath(a, b LedgerFile) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Identity, b.Identity), cmp.Compare(a.Size, b.Size))
}

// Attempted returns path, size and identity of the files, as they were then, whose rows unfinished runs may have
// written since the last complete run.
func (s *Store) Attempted(ctx context.Context, id online.GenerationID) ([]LedgerFile, error) {
	files, err := database.List(ctx, s.db, func(rows *sql.Rows) (LedgerFile, error) {
		f := LedgerFile{HeldFrom: NoTime}
		err := rows.Scan(&f.Path, &f.Size, &f.Identity)
		return f, err
	}, `SELECT path, size, identity FROM attempt WHERE generation = $1`, id)
	slices.SortFunc(files, byPath)
	return files, s.failure("read attempts from", err)
}

// Commit is what a complete run changes, all at once.
type Commit struct {
	Run      *Run // with its counts; becomes succeeded
	TTL      int64
	Newest   int64        // newest event time written; NoTime for none
	Files    []LedgerFile // read by this run
	Gone     []string     // paths of the ledger that are no more
	Diverged bool
	Swap     bool // the run's generation serves from now on, and retires the one that does
	Now      time.Time
}

// Progress is what a rebuild has done for good: where it is cut short, another run goes on from there.
type Progress struct {
	Run     *Run
	TTL     int64
	Newest  int64        // newest event time written; NoTime for none
	Files   []LedgerFile // whose rows are all in the generation
	Session string       // of the store, under which they were written
	Now     time.Time
}

// Progress records what a rebuild has done so far, in one transaction; ErrLeaseLost, and nothing done, where l is no
// longer the lease. Every write must have been acknowledged.
func (s *Store) Progress(ctx context.Context, l Lease, p Progress) error {
	return s.write(ctx, "record progress in", func(ctx context.Context, tx *database.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		if err := writeLedger(ctx, tx, p.Run, p.Files, p.Now); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE generation SET session = $1, `+leastTTL("$2")+`, `+newestEvent("$3")+`
			WHERE id = $4 AND state = $5`, p.Session, p.TTL, nullable(p.Newest), p.Run.Generation, Filling)
		return err
	})
}

// Commit records a complete run: its files, the generation's T, the swap, in one transaction; ErrLeaseLost, and
// nothing done, where l is no longer the lease.
func (s *Store) Commit(ctx context.Context, l Lease, c Commit) error {
	done := *c.Run
	done.State, done.Finished = RunSucceeded, c.Now
	err := s.write(ctx, "commit run to", func(ctx context.Context, tx *database.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		if err := deleteLedger(ctx, tx, done.Generation, c.Gone); err != nil {
			return err
		}
		if err := writeLedger(ctx, tx, &done, c.Files, c.Now); err != nil {
			return err
		}
		// The run has dealt with what unfinished ones left.
		if _, err := tx.Exec(ctx, `DELETE FROM attempt WHERE generation = $1`, done.Generation); err != nil {
			return err
		}
		now := c.Now.UnixMicro()
		if c.Swap {
			swap, err := allocate(ctx, tx, "swap")
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `UPDATE generation SET state = $1, retired = $2, swap = $3
				WHERE view_name = $4 AND state = $5 AND incarnation = (SELECT incarnation FROM generation WHERE id = $6)`,
				Retired, now, swap, done.View, Serving, done.Generation); err != nil {
				return err
			}
		}
		diverged := sql.NullInt64{Int64: now, Valid: c.Diverged}
		if _, err := tx.Exec(ctx, `UPDATE generation SET state = $1, last_run = $2, t = $3, row_count = row_count + $4,
				`+leastTTL("$5")+`, `+newestEvent("$6")+`, diverged = coalesce(diverged, $7)
			WHERE id = $8`, Serving, done.ID, done.T.UnixMicro(), done.Written,
			c.TTL, nullable(c.Newest), diverged, done.Generation); err != nil {
			return err
		}
		return updateRun(ctx, tx, &done)
	})
	if err == nil {
		*c.Run = done
	}
	return err
}

// leastTTL sets a generation's ttl to that of a run, a parameter, where it is less: 0 is none.
func leastTTL(run string) string {
	return `ttl = CASE WHEN ttl = 0 THEN ` + run + ` WHEN CAST(` + run + ` AS BIGINT) = 0 OR ttl < ` + run + ` THEN ttl ELSE ` + run + ` END`
}

// newestEvent sets a generation's newest event to that of a run, a parameter, where it is newer.
func newestEvent(run string) string {
	return `newest_event = CASE WHEN newest_event > ` + run + ` THEN newest_event ELSE coalesce(` + run + `, newest_event) END`
}

// deleteLedger removes paths from a generation's ledger.
func deleteLedger(ctx context.Context, tx *database.Tx, id online.GenerationID, paths []string) error {
	for part := range slices.Chunk(paths, 1000) {
		args := []any{id}
		for _, path := range part {
			args = append(args, path)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM ledger WHERE generation = $1 AND path IN (`+database.Parameters(2, len(part))+`)`,
			args...); err != nil {
			return err
		}
	}
	return nil
}

// writeLedger records files that a run has read in full.
func writeLedger(ctx context.Context, tx *database.Tx, run *Run, files []LedgerFile, now time.Time) error {
	rows := make([][]any, len(files))
	for i, f := range files {
		rows[i] = []any{
			run.Generation, f.Path, f.Size, f.Identity, run.ID, now.UnixMicro(), f.Held, nullable(f.HeldFrom), f.Footer, f.Unsettled,
		}
	}
	return tx.Insert(ctx, "ledger",
		[]string{"generation", "path", "size", "identity", "run", "read_at", "held", "held_from", "footer", "unsettled"}, rows,
		`ON CONFLICT (generation, path) DO UPDATE SET size = excluded.size, identity = excluded.identity,
			run = excluded.run, read_at = excluded.read_at, held = excluded.held, held_from = excluded.held_from,
			footer = excluded.footer, unsettled = excluded.unsettled`)
}
