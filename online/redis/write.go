package redis

import (
	"cmp"
	"context"
	_ "embed" // the script
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

//go:embed write.lua
var writeSource string

var writeScript = newScript(writeSource)

const (
	rowsPerCall  = 100 // a script holds the server for about 0.2 ms
	callsPerPipe = 64  // and this many go out before their answers are read
)

var winNames = [...]string{online.WinNewest: "newest", online.WinEqual: "equal", online.WinAlways: "always"}

// Write stores the entries that win, rowsPerCall at a time.
func (s *Store) Write(ctx context.Context, gen online.Generation, entries []online.Entry, win online.Win) (done online.WriteResult, err error) {
	o, err := s.begin(ctx)
	if err != nil {
		return done, err
	}
	if int(win) >= len(winNames) {
		return done, fmt.Errorf("online store: no such way to win: %d", win)
	}
	if err := s.mustExist(ctx, o, gen.ID); err != nil {
		return done, err
	}
	for rest := entries; len(rest) > 0; {
		n := min(len(rest), rowsPerCall*callsPerPipe)
		result, err := s.writePipe(ctx, o, gen, rest[:n], win)
		done.Add(result)
		if err != nil {
			return done, err
		}
		rest = rest[n:]
	}
	if len(entries) > 0 {
		err = s.mustExist(ctx, o, gen.ID)
	}
	return done, err
}

// writePipe writes up to one pipeline of entries. Repeating a call is harmless, so all of them may be tried twice.
func (s *Store) writePipe(ctx context.Context, o *owner, gen online.Generation, entries []online.Entry, win online.Win) (done online.WriteResult, err error) {
	args := newWriteArgs(o, gen, entries, win)
	calls := args.calls(s.cluster != nil)
	var failed error
	for try := 0; len(calls) > 0; try++ {
		sent := make([][]any, len(calls))
		for i, c := range calls {
			sent[i] = args.of(c)
		}
		var again []writeCall
		for i, answer := range s.evaluate(ctx, writeScript, sent) {
			result, err := answer.Result()
			switch c := calls[i]; {
			case err == nil && len(result) >= 2:
				done.Written += result[0]
				done.Older += result[1]
				if len(result) > 2 && failed == nil {
					failed = problem.New(problem.Precondition,
						"online store: the key %q of Redis at %s is not a hash: something else writes under our prefix %s",
						args.keys[c.rows[result[2]-1]], s.name, o.prefix)
				}
			case isRedirect(err) && try < moveTries:
				// The slot is moving, and the keys of the call are on both sides: one by one they are found. What shared the
				// pipeline with such a call may come back half redirected.
				for row := range c.rows {
					again = append(again, writeCall{c.rows[row : row+1]})
				}
			case err == nil:
				return done, s.failure(ctx, "write rows", errProtocol)
			default:
				return done, s.failure(ctx, "write rows", err)
			}
		}
		calls = again
	}
	return done, failed
}

// moveTries is how often calls are tried again, one by one, because slots move.
const moveTries = 5

// isRedirect reports whether a node refused keys because their slot is elsewhere, or on its way.
func isRedirect(err error) bool {
	return redis.HasErrorPrefix(err, "TRYAGAIN") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED")
}

// writeArgs are the entries of one pipeline as arguments of script calls. Pointers into a few slices keep it from one
// allocation per row.
type writeArgs struct {
	win, field any
	keys       []string
	rows       []string
	expire     []int64
}

// writeCall is one call of the script: which entries it writes.
type writeCall struct{ rows []int }

func newWriteArgs(o *owner, gen online.Generation, entries []online.Entry, win online.Win) *writeArgs {
	w := &writeArgs{
		win: winNames[win], field: field(gen.ID),
		keys:   make([]string, len(entries)),
		rows:   make([]string, len(entries)),
		expire: make([]int64, len(entries)),
	}
	space := o.keyspace(gen.Keyspace)
	size := 0
	for i := range entries {
		size += len(space) + len(entries[i].Key) + len(entries[i].Row)
	}
	var b strings.Builder
	b.Grow(size) // never moved, so the strings below stay
	cut := func(from int) string { return b.String()[from:] }
	for i := range entries {
		at := b.Len()
		b.WriteString(space)
		b.Write(entries[i].Key)
		w.keys[i] = cut(at)
		at = b.Len()
		b.Write(entries[i].Row)
		w.rows[i] = cut(at)
		if e := entries[i].Expire; e > 0 {
			w.expire[i] = (e + 999) / 1000
		}
	}
	return w
}

// calls cuts the entries into calls of up to rowsPerCall, in their order; in a cluster the keys of a call are of one slot.
func (w *writeArgs) calls(bySlot bool) []writeCall {
	order := make([]int, len(w.keys))
	for i := range order {
		order[i] = i
	}
	var slot []uint16
	if bySlot {
		slot = make([]uint16, len(w.keys))
		for i, key := range w.keys {
			slot[i] = slotOf(key)
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(slot[a], slot[b]) })
	}
	calls := make([]writeCall, 0, len(order)/rowsPerCall+1)
	for from, i := 0, 1; i <= len(order); i++ {
		if i == len(order) || i-from == rowsPerCall || bySlot && slot[order[i]] != slot[order[from]] {
			calls = append(calls, writeCall{order[from:i]})
			from = i
		}
	}
	return calls
}

// of returns the arguments of a call, with room for the script's name.
func (w *writeArgs) of(c writeCall) []any {
	args := make([]any, 0, 5+3*len(c.rows))
	args = append(args, nil, nil, len(c.rows))
	for _, i := range c.rows {
		args = append(args, &w.keys[i])
	}
	args = append(args, w.win, w.field)
	for _, i := range c.rows {
		args = append(args, &w.rows[i], &w.expire[i])
	}
	return args
}

// Delete removes rows of one generation by key.
func (s *Store) Delete(ctx context.Context, gen online.Generation, keys [][]byte) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if err := s.mustExist(ctx, o, gen.ID); err != nil {
		return err
	}
	space, name := o.keyspace(gen.Keyspace), field(gen.ID)
	for rest := keys; len(rest) > 0; {
		n := min(len(rest), scanCount)
		pipe := s.client.Pipeline()
		for _, key := range rest[:n] {
			pipe.HDel(ctx, space+string(key), name)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return s.failure(ctx, "delete rows", err)
		}
		rest = rest[n:]
	}
	return nil
}
