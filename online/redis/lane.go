package redis

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// lanes are the connections that reads of a single server go by. Reads are most of what a server does, so their protocol
// is written and read here, without a command object, an argument or a buffer per key; where to connect, and TLS, is
// the client's. Safe for concurrent use.
type lanes struct {
	options *redis.Options // of the client, whose dialer finds a sentinel's master
	maxAge  time.Duration  // of a connection; 0: for ever

	mu   sync.Mutex
	idle []*lane
	done bool
}

// lane is one connection.
type lane struct {
	net.Conn
	in     *bufio.Reader
	out    []byte
	opened time.Time
}

// exchange sends the commands of some reads and takes their replies. A call's own err tells what the server refused of
// it.
func (l *lanes) exchange(ctx context.Context, calls []*call) error {
	for opened := 0; ; {
		c, err := l.take()
		if err == nil && c == nil {
			opened++
			c, err = l.open(ctx)
		}
		if err != nil {
			return err
		}
		if err = c.exchange(ctx, calls, l.options); err == nil {
			l.put(c)
			return nil
		}
		_ = c.Close() // what came last is unknown
		if errors.Is(err, os.ErrDeadlineExceeded) && ended(ctx) == nil {
			l.forget() // what is as old may be as dead, and would cost as much time
		}
		// A connection that waited may have died unnoticed, with its server; a new one breaks by chance, once.
		if opened > 1 || !isBroken(err) {
			return err
		}
	}
}

func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// take returns a connection that waits, nil for none.
func (l *lanes) take() (*lane, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return nil, redis.ErrClosed
	}
	for len(l.idle) > 0 {
		c := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		if l.maxAge == 0 || time.Since(c.opened) < l.maxAge {
			return c, nil
		}
		_ = c.Close() // nothing is on its way
	}
	return nil, nil
}

func (l *lanes) put(c *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		_ = c.Close() // nothing is on its way
		return
	}
	l.idle = append(l.idle, c)
}

// waiting returns how many connections wait.
func (l *lanes) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.idle)
}

// close closes the connections; those in use, once their exchange ends.
func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	l.closeIdle()
}

// forget closes the connections that wait.
func (l *lanes) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeIdle()
}

func (l *lanes) closeIdle() {
	for _, c := range l.idle {
		_ = c.Close() // nothing is on its way
	}
	l.idle = nil
}

// open connects and logs in.
func (l *lanes) open(ctx context.Context) (*lane, error) {
	o := l.options
	dial, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	conn, err := o.Dialer(dial, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	c := &lane{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10), opened: time.Now()}
	if err := c.login(ctx, o); err != nil {
		_ = conn.Close() // nothing is on its way
		return nil, err
	}
	return c, nil
}

func (c *lane) login(ctx context.Context, o *redis.Options) error {
	commands := [][]string{{"CLIENT", "SETNAME", o.ClientName}}
	if o.DB != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(o.DB)})
	}
	switch {
	case o.Username != "":
		commands = append([][]string{{"AUTH", o.Username, o.Password}}, commands...)
	case o.Password != "":
		commands = append([][]string{{"AUTH", o.Password}}, commands...)
	}
	c.out = c.out[:0]
	for _, args := range commands {
		c.out = appendCount(c.out, '*', len(args))
		for _, arg := range args {
			c.out = appendBulk(c.out, []byte(arg))
		}
	}
	if err := c.send(ctx, c.out, o); err != nil {
		return err
	}
	for _, args := range commands {
		line, err := c.line()
		switch {
		case err != nil:
			return err
		case line[0] == '-' && args[0] != "CLIENT": // a user may lack the right to have a name
			return replyError(line[1:])
		}
	}
	return nil
}

// send writes a request, and leaves time for its answer.
func (c *lane) send(ctx context.Context, b []byte, o *redis.Options) error {
	now := time.Now()
	end, bounded := ctx.Deadline()
	by := func(timeout time.Duration) time.Time {
		if at := now.Add(timeout); !bounded || at.Before(end) {
			return at
		}
		return end
	}
	if err := cmp.Or(c.SetWriteDeadline(by(o.WriteTimeout)), c.SetReadDeadline(by(o.ReadTimeout))); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

func (c *lane) exchange(ctx context.Context, calls []*call, o *redis.Options) error {
	b := calls[0].request
	if len(calls) > 1 {
		c.out = c.out[:0]
		for _, call := range calls {
			c.out = append(c.out, call.request...)
		}
		b = c.out
	}
	if err := c.send(ctx, b, o); err != nil {
		return err
	}
	for _, call := range calls {
		call.reset()
		for _, s := range call.shape {
			for range s.commands {
				if err := c.reply(call, s.width); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// reply reads the answer to one HMGET: an array of bulk strings and nulls, or an error.
func (c *lane) reply(to *call, width int) error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if line[0] == '-' {
		size := absent
		if bytes.HasPrefix(line, []byte("-WRONGTYPE")) {
			size = foreign
		} else {
			to.refused = replyError(line[1:])
		}
		for range width {
			to.sizes = append(to.sizes, size)
		}
		return nil
	}
	if n, ok := count(line, '*'); !ok || n != width {
		return errProtocol
	}
	for range width {
		if line, err = c.line(); err != nil {
			return err
		}
		n, ok := count(line, '$')
		if !ok {
			return errProtocol
		}
		to.sizes = append(to.sizes, n)
		if n == absent {
			continue
		}
		if to.values, err = c.value(to.values, n); err != nil {
			return err
		}
	}
	return nil
}

// line reads one line, which is not empty; it is valid until the next read.
func (c *lane) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, errProtocol
	}
	return line[:len(line)-2], nil
}

// value reads n bytes and the end of their line.
func (c *lane) value(dst []byte, n int) ([]byte, error) {
	for n > 0 {
		if c.in.Buffered() == 0 {
			if _, err := c.in.Peek(1); err != nil {
				return dst, err
			}
		}
		part, _ := c.in.Peek(min(n, c.in.Buffered())) // what is buffered
		dst = append(dst, part...)
		n -= len(part)
		_, _ = c.in.Discard(len(part))
	}
	end, err := c.in.Peek(2)
	if err != nil {
		return dst, err
	}
	if end[0] != '\r' || end[1] != '\n' {
		return dst, errProtocol
	}
	_, _ = c.in.Discard(2)
	return dst, nil
}

// What stands for the size of a cell that has no value.
const (
	absent  = -1
	foreign = -2 // the key is no hash
)

// count parses a line that is a kind and a number, absent or from 0 to 512 MiB, the largest value of a server.
func count(line []byte, kind byte) (n int, ok bool) {
	digits := line[1:]
	if line[0] != kind || len(digits) > 9 {
		return 0, false
	}
	if string(digits) == "-1" {
		return absent, true
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, n <= 512<<20 && len(digits) > 0
}

func appendCount(b []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(b, kind), int64(n), 10), "\r\n"...)
}

func appendBulk[T []byte | string](b []byte, parts ...T) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = appendCount(b, '$', n)
	for _, p := range parts {
		b = append(b, p...)
	}
	return append(b, "\r\n"...)
}

var errProtocol = errors.New("unexpected reply")

// replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks the error as the server's, as go-redis marks its own.
func (replyError) RedisError() {}

var _ redis.Error = replyError("")
