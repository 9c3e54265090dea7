package redis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/online"
)

// Read fills out by one HMGET per key in one pipeline, which reads that come at the same time share, and looks for
// markers only where a row is absent.
func (s *Store) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	out.Reset(groups)
	if len(out.Cells) == 0 {
		return nil
	}
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = &call{seat: newSeat()}
	}
	if c.ask(o, groups, out.Scratch); c.commands > 0 {
		left, err := s.reads.do(ctx, c)
		if left {
			out.Scratch = nil // what is still under way may yet write there
			return s.failure(ctx, "read rows", err)
		}
		if err != nil {
			s.release(c)
			return s.failure(ctx, "read rows", err)
		}
	}
	out.Scratch = c.replies.b
	s.release(c)
	absent, err := parseReplies(groups, out)
	if err != nil {
		return s.failure(ctx, "read rows", err)
	}
	return s.mustExist(ctx, o, absent...)
}

// call is one Read on its way: its commands, and the replies as they come.
type call struct {
	seat
	commands int // of asked, in use
	asked    []*command
	keys     []byte
	replies  replies
}

// command is one HMGET. Its arguments are kept from call to call; what changes are the key and, now and then, a field.
type command struct {
	key    string
	fields []online.GenerationID // of args
	args   []any
	cmd    *redis.RawWriteToCmd
}

// A released call that holds more than this is not kept for the next.
const maxPooledCommands = 4096

// release keeps c for another Read.
func (s *Store) release(c *call) {
	c.replies.b = nil
	if len(c.asked) <= maxPooledCommands {
		s.calls.Put(c)
	}
}

// ask makes the commands of a read whose replies go to buf.
func (c *call) ask(o *owner, groups []online.Group, buf []byte) {
	c.commands, c.keys, c.replies.b, c.err = 0, c.keys[:0], buf[:0], nil
	for g := range groups {
		space := o.keyspace(groups[g].Keyspace)
		for _, key := range groups[g].Keys {
			if key != nil {
				c.keys = append(append(c.keys, space...), key...)
			}
		}
	}
	keys := string(c.keys)
	for g := range groups {
		group := &groups[g]
		space := len(o.keyspace(group.Keyspace))
		for _, key := range group.Keys {
			if key == nil {
				continue
			}
			n := space + len(key)
			if len(group.Generations) > 0 {
				c.hmget(keys[:n], group.Generations)
			}
			keys = keys[n:]
		}
	}
}

// hmget adds a command.
func (c *call) hmget(key string, fields []online.GenerationID) {
	if c.commands == len(c.asked) {
		c.asked = append(c.asked, new(command))
	}
	h := c.asked[c.commands]
	c.commands++
	h.key = key
	if len(h.fields) != len(fields) {
		h.args = append(h.args[:0], "hmget", &h.key)
		for range fields {
			h.args = append(h.args, nil)
		}
		h.fields = make([]online.GenerationID, len(fields))
		for i := range h.fields {
			h.fields[i] = fields[i] + 1 // another
		}
		h.cmd = redis.NewRawWriteToCmd(context.Background(), &c.replies, h.args...)
	}
	for i, id := range fields {
		if h.fields[i] != id {
			h.fields[i], h.args[2+i] = id, field(id)
		}
	}
	h.cmd.SetErr(nil)
}

// exchange sends the commands of some reads in one pipeline, and takes their replies.
func (s *Store) exchange(ctx context.Context, calls []*call) error {
	for try := 0; ; try++ {
		pipe := s.client.Pipeline()
		for _, c := range calls {
			c.replies.b = c.replies.b[:0]
			for _, h := range c.asked[:c.commands] {
				_ = pipe.Process(ctx, h.cmd)
			}
		}
		_, err := pipe.Exec(ctx)
		// A connection from the pool may have died unnoticed, with its server.
		if err == nil || try > 0 || !isBroken(err) {
			return err
		}
		for _, c := range calls {
			for _, h := range c.asked[:c.commands] {
				h.cmd.SetErr(nil)
			}
		}
	}
}

func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
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

// wrongType is the cell of a key that is no hash: bytes that no decoder takes.
var wrongType = []byte{}

// parseReplies cuts the cells out of out.Scratch, and returns the generations of which a row is absent.
func parseReplies(groups []online.Group, out *online.Rows) (absent []online.GenerationID, err error) {
	rest := out.Scratch
	for g := range groups {
		group := &groups[g]
		width := len(group.Generations)
		if width == 0 {
			continue
		}
		for k, key := range group.Keys {
			if key == nil {
				continue
			}
			cells := out.Cells[out.Starts[g]+k*width:][:width]
			if rest, err = parseReply(rest, cells); err != nil {
				return nil, err
			}
			for f, cell := range cells {
				if cell == nil && !slices.Contains(absent, group.Generations[f]) {
					absent = append(absent, group.Generations[f])
				}
			}
		}
	}
	return absent, nil
}

// parseReply reads one answer to HMGET: an array of bulk strings and nulls, or an error.
func parseReply(b []byte, cells [][]byte) (rest []byte, err error) {
	line, b, ok := cutLine(b)
	switch {
	case !ok:
		return nil, errProtocol
	case line[0] == '-' && bytes.HasPrefix(line, []byte("-WRONGTYPE")):
		for i := range cells {
			cells[i] = wrongType
		}
		return b, nil
	case line[0] == '-':
		return nil, replyError(line[1:])
	case line[0] != '*' || !isCount(line[1:], len(cells)):
		return nil, errProtocol
	}
	for i := range cells {
		if line, b, ok = cutLine(b); !ok || line[0] != '$' {
			return nil, errProtocol
		}
		n, err := strconv.Atoi(string(line[1:]))
		if err != nil || n >= 0 && n > len(b)-2 {
			return nil, errProtocol
		}
		if n >= 0 {
			cells[i], b = b[:n:n], b[n+2:]
		}
	}
	return b, nil
}

func isCount(digits []byte, n int) bool {
	got, err := strconv.Atoi(string(digits))
	return err == nil && got == n
}

// cutLine takes one line, which is not empty, off b.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(b, []byte("\r\n"))
	return line, rest, ok && len(line) > 0
}

var errProtocol = errors.New("unexpected reply")

// replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks the error as the server's, as go-redis marks its own.
func (replyError) RedisError() {}

var _ redis.Error = replyError("")
