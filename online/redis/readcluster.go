package redis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online"
)

// readCluster is Read in a cluster: one HMGET per key, the pipelines of the nodes side by side. Nodes answer at the same
// time, so every key has a buffer of its own. What a node answers for a slot that is elsewhere by now, or not ready yet,
// is asked again by commands that the client redirects.
func (s *Store) readCluster(ctx context.Context, o *owner, groups []online.Group, out *online.Rows) error {
	asked := askedKeys(o, groups, out)
	replies := carve(out, len(asked))
	pipe := s.client.Pipeline()
	args := make([]any, 0, 2*len(asked)+len(out.Cells))
	for i := range asked {
		a := &asked[i]
		from := len(args)
		args = append(append(args, "hmget", &a.key), a.fields...)
		_ = pipe.Process(ctx, redis.NewRawWriteToCmd(ctx, &replies[i], args[from:len(args):len(args)]...))
	}
	trip := &out.Trip
	trip.Began, trip.Reads = clock.Now(), 1
	cmds, err := pipe.Exec(ctx) // each command has its error
	trip.Ended = clock.Now()
	s.opts.Watch(outcomeOf(err), trip.Ended.Sub(trip.Began))
	var again []int
	for i, a := range asked {
		err := cmds[i].Err()
		if err == nil {
			err = parseReply(replies[i].b, a.cells)
		}
		switch {
		case err == nil:
		case isReply(err) || isBroken(err) || isDial(err):
			clear(a.cells)
			again = append(again, i)
		default:
			return s.failure(ctx, "read rows", err)
		}
	}
	if len(again) > 0 {
		began := clock.Now()
		err := s.readRedirected(ctx, asked, again)
		trip.Ended = clock.Now()
		s.opts.Watch(outcomeOf(err), trip.Ended.Sub(began))
		if err != nil {
			return s.failure(ctx, "read rows", err)
		}
	}
	var absent []online.GenerationID
	for _, a := range asked {
		for f, cell := range a.cells {
			if cell == nil && !slices.Contains(absent, a.generations[f]) {
				absent = append(absent, a.generations[f])
			}
		}
	}
	return s.behind(ctx, o, groups, out, absent)
}

// askedKey is one key of a read and the cells of its answer.
type askedKey struct {
	key         string
	fields      []any
	generations []online.GenerationID
	cells       [][]byte
}

func askedKeys(o *owner, groups []online.Group, out *online.Rows) []askedKey {
	var asked []askedKey
	for g := range groups {
		group := &groups[g]
		width := len(group.Generations)
		if width == 0 {
			continue
		}
		space := o.keyspace(group.Keyspace)
		fields := make([]any, width)
		for f, id := range group.Generations {
			fields[f] = field(id)
		}
		for k, key := range group.Keys {
			if key != nil {
				cells := out.Cells[out.Starts[g]+k*width:][:width]
				asked = append(asked, askedKey{space + string(key), fields, group.Generations, cells})
			}
		}
	}
	return asked
}

// carve returns n buffers, out of what the last answer took.
func carve(out *online.Rows, n int) []replies {
	buffers := make([]replies, n)
	if n == 0 {
		return buffers
	}
	const least = 256
	if cap(out.Scratch) < n*least {
		out.Scratch = make([]byte, n*least)
	}
	share := cap(out.Scratch) / n
	all := out.Scratch[:share*n]
	for i := range buffers {
		buffers[i].b = all[i*share : i*share : (i+1)*share]
	}
	return buffers
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// readRedirected asks for some of the keys by commands that follow slots.
func (s *Store) readRedirected(ctx context.Context, asked []askedKey, which []int) error {
	s.cluster.ReloadState(ctx)
	pipe := s.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(which))
	for i, k := range which {
		cmds[i] = redis.NewSliceCmd(ctx, append([]any{"hmget", asked[k].key}, asked[k].fields...)...)
		_ = pipe.Process(ctx, cmds[i])
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	for i, k := range which {
		values, err := cmds[i].Result()
		cells := asked[k].cells
		switch {
		case err != nil && isWrongType(err):
			for f := range cells {
				cells[f] = noRow
			}
			continue
		case err != nil:
			return err
		case len(values) != len(cells):
			return errProtocol
		}
		for f, value := range values {
			if text, ok := value.(string); ok {
				cells[f] = []byte(text)
			}
		}
	}
	return nil
}

// replies collects raw replies.
type replies struct{ b []byte }

func (r *replies) Write(p []byte) (int, error) {
	r.b = append(r.b, p...)
	return len(p), nil
}

// ReadFrom takes what io.CopyN hands on, without a buffer between.
func (r *replies) ReadFrom(from io.Reader) (int64, error) {
	limited, ok := from.(*io.LimitedReader)
	if !ok {
		n, err := io.Copy(struct{ io.Writer }{r}, from)
		return n, err
	}
	at := len(r.b)
	r.b = slices.Grow(r.b, int(limited.N))[:at+int(limited.N)]
	n, err := io.ReadFull(limited, r.b[at:])
	r.b = r.b[:at+n]
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return int64(n), err
}

// parseReply cuts the cells out of one raw reply to HMGET.
func parseReply(b []byte, cells [][]byte) error {
	line, b, ok := cutLine(b)
	switch {
	case !ok:
		return errProtocol
	case bytes.HasPrefix(line, []byte("-WRONGTYPE")):
		for i := range cells {
			cells[i] = noRow
		}
		return nil
	case line[0] == '-':
		return replyError(line[1:])
	}
	if n, ok := count(line, '*'); !ok || n != len(cells) {
		return errProtocol
	}
	for i := range cells {
		if line, b, ok = cutLine(b); !ok {
			return errProtocol
		}
		n, ok := count(line, '$')
		if !ok || n >= 0 && n > len(b)-2 {
			return errProtocol
		}
		if n >= 0 {
			cells[i], b = b[:n:n], b[n+2:]
		}
	}
	return nil
}

// cutLine takes one line, which is not empty, off b.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(b, []byte("\r\n"))
	return line, rest, ok && len(line) > 0
}
