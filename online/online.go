// Package online has the contract of online stores: the newest row of every entity and feature view, by generation.
// Stores hold opaque keys and rows; the only thing they know of a row is the order of row.Compare.
package online

import (
	"context"
	"errors"
	"time"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/internal/row"
)

// GenerationID names one complete set of a view's rows. Allocated once, never reused; small numbers.
type GenerationID uint64

// KeyspaceID names a set of entities (in name order), so that keys of different entities never meet. Allocated once,
// small numbers.
type KeyspaceID uint32

// Errors of a store. Anything else is a failure of the call (unreachable, timed out), and may be retried.
var (
	// ErrGenerationLost: a generation that was created has no marker: the store lost data. Never answered as NOT_FOUND.
	ErrGenerationLost = errors.New("the online store has lost this generation")
	// ErrForeignStore: the prefix is in use by another registry.
	ErrForeignStore = errors.New("the store prefix belongs to another registry")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("online store is closed")
)

// Identity is what a store knows about itself for one registry.
type Identity struct {
	// Incarnation is a random id, made when the marker was written: a store that lost its data has another one.
	Incarnation string
	// Created reports that this call wrote the marker: the store holds nothing of ours yet.
	Created bool
	// Session changes whenever the store may have gone back to an earlier state, as a server does that starts from a
	// snapshot or is replaced by a replica; "" where that can't be or is not told.
	Session string
}

// Group asks for the rows of some generations, all of one keyspace, for each of Keys.
type Group struct {
	Keyspace    KeyspaceID
	Generations []GenerationID
	Keys        [][]byte // row.AppendKey; nil: no key (a null), answered as absent without asking the store
}

// Rows is the answer to a Read. It is reused: Read resets it. Valid until the next Read into it.
type Rows struct {
	// Cells has, per group, per key, per generation, the stored row: nil where absent.
	// Index of group g, key k, generation f: Starts[g] + k*len(groups[g].Generations) + f.
	Cells  [][]byte
	Starts []int
	// Scratch is memory of the store's, kept between calls.
	Scratch []byte
	Trip    Trip
}

// Trip is the round trip that brought rows, for those who watch; zero where none was needed.
type Trip struct {
	Began, Ended clock.Instant
	Waited       time.Duration // for a connection, before
	Reads        int           // that shared it
	ID           int64         // the same for those that shared it; 0 where none ever do
}

// Outcome is how a round trip ended.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota
	Refused          // the store answered that it does not answer
	TimedOut
	Failed // unreachable, or cut off
	Left   // by all who wanted it
)

// String returns an outcome as metrics have it.
func (o Outcome) String() string {
	return [...]string{"ok", "refused", "timeout", "error", "canceled"}[o]
}

// Outcomes are all of them.
var Outcomes = []Outcome{Answered, Refused, TimedOut, Failed, Left}

// OutcomeOf tells how a round trip ended that failed, but for Refused, which a driver knows.
func OutcomeOf(err error) Outcome {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return Answered
	case errors.Is(err, context.Canceled):
		return Left
	case errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	default:
		return Failed
	}
}

// Watch is told of each round trip of a store's Read. It must not wait. A nil one is told nothing.
type Watch func(outcome Outcome, took time.Duration)

// Pool is what a store knows of its connections.
type Pool struct {
	Idle, Used int
	Waits      int64 // of calls for a connection, since the store was opened
	Timeouts   int64 // of those that waited in vain
}

// Pooled is a store that has connections; not every store is one.
type Pooled interface {
	Pool() Pool
}

// Row returns one cell; width is the number of generations of group g.
func (r *Rows) Row(g, k, f, width int) []byte { return r.Cells[r.Starts[g]+k*width+f] }

// Reset prepares r for the answer to groups, every cell nil, keeping its memory.
func (r *Rows) Reset(groups []Group) {
	r.Starts, r.Scratch, r.Trip = r.Starts[:0], r.Scratch[:0], Trip{}
	n := 0
	for _, g := range groups {
		r.Starts = append(r.Starts, n)
		n += len(g.Keys) * len(g.Generations)
	}
	if cap(r.Cells) < n {
		r.Cells = make([][]byte, n)
	}
	r.Cells = r.Cells[:n]
	clear(r.Cells)
}

// Reader answers lookups. Safe for concurrent use.
type Reader interface {
	// Read fills out in one round trip. Where a cell is absent, the marker of its generation has been seen since the
	// call began, or the answer is ErrGenerationLost: an absent row always means that no row was written. Where
	// something that is not ours has taken a key's place, its cells are bytes that no row has, so they decode as
	// row.ErrDamaged and the other keys answer.
	Read(ctx context.Context, groups []Group, out *Rows) error
}

// Entry is one row to write.
type Entry struct {
	Key []byte // row.AppendKey
	Row []byte // row.Layout.AppendRow
	// Expire is when the row can no longer be part of any answer, in microseconds; 0: never. Hygiene alone: a store may
	// keep the row longer, never drop it sooner, and never shortens what another view's row of the entity needs. A time
	// that has passed may remove the row at once.
	Expire int64
}

// Win says which of two rows of one key stays.
type Win uint8

// The ways to win.
const (
	WinNewest Win = iota // greater by row.Compare (R11)
	WinEqual             // also at equal event and created time, whatever the bytes (R12 `rewrites: replace`)
	WinAlways            // whatever is stored: repair alone
)

// WriteResult counts what became of a batch.
type WriteResult struct {
	Written int64 // stored: new, or greater than what was there
	Older   int64 // not greater than what was there, left alone
}

// Add adds another batch's counts.
func (r *WriteResult) Add(o WriteResult) { r.Written += o.Written; r.Older += o.Older }

// Writer loads rows. Safe for concurrent use.
type Writer interface {
	// Write stores the entries that win over what is stored, each atomically, and returns when all are acknowledged
	// (embedded: on disk). On an error some may be stored; repeating is harmless. Entries of one call may repeat a key.
	// ErrGenerationLost where the generation has no marker, before or after.
	Write(ctx context.Context, gen Generation, entries []Entry, win Win) (WriteResult, error)
	// Delete removes rows of one generation by key, for repair.
	Delete(ctx context.Context, gen Generation, keys [][]byte) error
}

// Generation is a generation's id and the keyspace of its rows.
type Generation struct {
	ID       GenerationID
	Keyspace KeyspaceID
}

// Checkpoint names the last run whose writes a generation has in full; 0 before the first.
type Checkpoint struct {
	ID  GenerationID
	Run int64
}

// Store is an online store, claimed for one registry.
type Store interface {
	Reader
	Writer
	// Claim writes or checks the store's marker for a registry. prefix is the registry's short id for stores that are
	// shared. ErrForeignStore where another registry holds it. Called before anything else.
	Claim(ctx context.Context, registryID, prefix string) (Identity, error)
	// Identity reads the marker again: ErrGenerationLost where it is gone.
	Identity(ctx context.Context) (Identity, error)
	// CreateGeneration writes a generation's marker.
	CreateGeneration(ctx context.Context, gen Generation) error
	// Checkpoint records in a generation's marker that the writes of all runs up to c.Run were acknowledged. A later run
	// that the marker has stays. ErrGenerationLost where there is no marker.
	Checkpoint(ctx context.Context, c Checkpoint) error
	// CheckGenerations returns those generations whose marker is gone, or is from before their checkpoint: the store has
	// lost acknowledged writes, by a restart from a snapshot or a failover. Such a marker is removed, so that to every
	// reader the generation is lost.
	CheckGenerations(ctx context.Context, expected []Checkpoint) (lost []GenerationID, err error)
	// DropGeneration removes marker first, then rows, at a bounded rate. Only rows of this generation are touched.
	DropGeneration(ctx context.Context, gen Generation) error
	// Generations returns those that have a marker or a row under our own prefix, by id, found at a bounded rate. Keyspace is
	// 0 where there is a marker alone.
	Generations(ctx context.Context) ([]Generation, error)
	// Scan calls fn with every key and row of a generation, in no order, a key perhaps more than once, stopping at fn's
	// error. The slices are valid during the call only. ErrGenerationLost, after the rows that are left, where the marker
	// is gone.
	Scan(ctx context.Context, gen Generation, fn func(key, stored []byte) error) error
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}

// Advisor is a store that can tell how well its servers are set up; not every store is one.
type Advisor interface {
	// Advise looks at the servers and at the keys under prefix, and writes nothing. It needs no Claim.
	Advise(ctx context.Context, registryID, prefix string) []checkup.Check
}

// Clocked is a store whose servers have clocks of their own; not every store is one.
type Clocked interface {
	// Offsets tells how far they are from now.
	Offsets(ctx context.Context, now func() time.Time) ([]checkup.Offset, error)
}

// Evicting is a store that may be set up to drop rows where it needs the room; not every store is one.
type Evicting interface {
	// Evicts reports whether a server of it is, known false where none tells.
	Evicts(ctx context.Context) (evicts, known bool)
}

// Live is a generation that answers lookups, as the operations state records it: what serving needs to read its rows.
type Live struct {
	View string // its stored name
	Generation
	Fields []row.Field // the generation's layout, under stored names, in declared order
	Keys   []row.Field // join keys in R8's order
	Digest string      // registry.View.Digest when the generation was begun
	T      int64       // greatest T of its complete runs, microseconds (R11)
	Run    int64       // the last of those, for checks
	Lost   bool        // the store has lost rows of it: those that are left may be older ones, and answer nothing
}
