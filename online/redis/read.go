package redis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/online"
)

// Read fills out by one HMGET per key in one pipeline, and looks for markers only where a row is absent.
func (s *Store) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	out.Reset(groups)
	if len(out.Cells) == 0 {
		return nil
	}
	if s.cluster != nil {
		return s.readCluster(ctx, o, groups, out)
	}
	for try := 0; ; try++ {
		err := s.readPipe(ctx, o, groups, out)
		if err == nil {
			break
		}
		// A connection from the pool may have died unnoticed, with its server.
		if try > 0 || !isBroken(err) {
			return s.failure(ctx, "read rows", err)
		}
	}
	absent, err := parseReplies(groups, out)
	if err != nil {
		return s.failure(ctx, "read rows", err)
	}
	return s.markerFailure(ctx, s.markers.behind(ctx, o, groups, out, absent))
}

func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// readPipe asks for all groups and leaves the replies, as they came, in out.Scratch.
func (s *Store) readPipe(ctx context.Context, o *owner, groups []online.Group, out *online.Rows) error {
	var text strings.Builder
	count, size, nargs := 0, 0, 0
	for g := range groups {
		for _, key := range groups[g].Keys {
			if key != nil && len(groups[g].Generations) > 0 {
				count++
				size += len(o.prefix) + 12 + len(key)
				nargs += 2 + len(groups[g].Generations)
			}
		}
	}
	if count == 0 {
		return nil
	}
	text.Grow(size) // never moved, so the keys cut from it stay
	keys := make([]string, 0, count)
	args := make([]any, 0, nargs)
	buf := &replies{b: out.Scratch[:0]}
	pipe := s.client.Pipeline()
	for g := range groups {
		group := &groups[g]
		if len(group.Generations) == 0 {
			continue
		}
		space := o.keyspace(group.Keyspace)
		fields := make([]any, len(group.Generations))
		for f, id := range group.Generations {
			fields[f] = field(id)
		}
		for _, key := range group.Keys {
			if key == nil {
				continue
			}
			at := text.Len()
			text.WriteString(space)
			text.Write(key)
			keys = append(keys, text.String()[at:])
			from := len(args)
			args = append(args, "hmget", &keys[len(keys)-1])
			args = append(args, fields...)
			_ = pipe.Process(ctx, redis.NewRawWriteToCmd(ctx, buf, args[from:len(args):len(args)]...))
		}
	}
	_, err := pipe.Exec(ctx)
	out.Scratch = buf.b
	return err
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
