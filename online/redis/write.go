package redis

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

//go:embed write.lua
var writeSource string

var writeScript = redis.NewScript(writeSource)

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
	var failed error
	for try := range 2 {
		var again []int
		pipe := s.client.Pipeline()
		calls := make([]*redis.IntSliceCmd, len(args.calls))
		for i, a := range args.calls {
			if a == nil {
				continue
			}
			calls[i] = redis.NewIntSliceCmd(ctx, a...)
			_ = pipe.Process(ctx, calls[i])
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		for i, c := range calls {
			if c == nil {
				continue
			}
			result, err := c.Result()
			switch {
			case err == nil:
				done.Written += result[0]
				done.Older += result[1]
				args.calls[i] = nil
				if len(result) > 2 && failed == nil {
					bad := i*rowsPerCall + int(result[2]) - 1
					failed = problem.New(problem.Precondition,
						"online store: the key %q of Redis at %s is not a hash: something else writes under our prefix %s",
						args.keys[bad], s.name, o.prefix)
				}
			case try == 0 && redis.HasErrorPrefix(err, "NOSCRIPT"):
				again = append(again, i)
			default:
				return done, s.failure(ctx, "write rows", err)
			}
		}
		if len(again) == 0 {
			return done, failed
		}
		if err := writeScript.Load(ctx, s.client).Err(); err != nil {
			return done, s.failure(ctx, "load the script", err)
		}
	}
	return done, errors.New("online store: the server forgets scripts")
}

// writeArgs are the arguments of one pipeline of script calls. Pointers into a few slices keep it from one allocation
// per row.
type writeArgs struct {
	calls  [][]any
	keys   []string
	rows   []string
	expire []int64
}

func newWriteArgs(o *owner, gen online.Generation, entries []online.Entry, win online.Win) *writeArgs {
	w := &writeArgs{
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
	var hash, name, id any = writeScript.Hash(), winNames[win], field(gen.ID)
	for from := 0; from < len(entries); from += rowsPerCall {
		n := min(rowsPerCall, len(entries)-from)
		args := make([]any, 0, 5+3*n)
		args = append(args, "evalsha", hash, n)
		for i := from; i < from+n; i++ {
			args = append(args, &w.keys[i])
		}
		args = append(args, name, id)
		for i := from; i < from+n; i++ {
			args = append(args, &w.rows[i], &w.expire[i])
		}
		w.calls = append(w.calls, args)
	}
	return w
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
