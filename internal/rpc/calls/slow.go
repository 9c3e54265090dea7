package calls

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	// slowLines are logged in slowWindow; the others are counted. A store that hangs makes every call slow.
	slowLines  = 10
	slowWindow = 10 * time.Second
	// sampledKeys is how many keys of a slow call are told, by their hashes.
	sampledKeys = 5
)

// slowLog tells of slow calls. Safe for concurrent use.
type slowLog struct {
	logger *slog.Logger // nil: none

	mu      sync.Mutex
	lines   int // of the window
	left    int // calls of the window that have no line
	slowest time.Duration
}

// log tells of a call, or counts it.
func (l *slowLog) log(c *Call, code codes.Code, took time.Duration, from string) {
	if !l.room(took) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String("method", c.method.name), slog.String("code", codeName(code)), slog.Duration("took", took))
	if from != "" {
		attrs = append(attrs, slog.String("peer", from))
	}
	if c.waited > 0 {
		attrs = append(attrs, slog.Duration("queued", c.waited))
	}
	if done := c.looked.done; done != 0 {
		attrs = c.looked.append(attrs)
		attrs = append(attrs, slog.Duration("before", c.looked.took.Began.Sub(c.began)), slog.Duration("after", took-done.Sub(c.began)))
	}
	l.logger.LogAttrs(c, slog.LevelWarn, "slow request", attrs...)
}

// append appends the parts of a lookup's time, and what it was for.
func (l *looked) append(attrs []slog.Attr) []slog.Attr {
	if l.service != "" {
		attrs = append(attrs, slog.String("service", l.service))
	}
	attrs = append(attrs, slog.Int("features", l.features), slog.Int("entities", l.entities))
	if len(l.keys) > 0 {
		attrs = append(attrs, slog.Any("key_hashes", l.keys))
	}
	part := func(name string, d time.Duration) {
		if d > 0 {
			attrs = append(attrs, slog.Duration(name, d))
		}
	}
	part("lookup", l.took.Ended.Sub(l.took.Began))
	trip := &l.took.Store
	part("store_wait", trip.Waited)
	if trip.Ended != 0 {
		part("store", trip.Ended.Sub(trip.Began))
		part("decode", l.took.Ended.Sub(trip.Ended))
	}
	if trip.Reads > 1 {
		attrs = append(attrs, slog.Int("store_shared_by", trip.Reads))
	}
	return attrs
}

// room reports whether the window has room for another line. The end of one that had not tells how many there were.
func (l *slowLog) room(took time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == 0 {
		time.AfterFunc(slowWindow, l.next)
	}
	if l.lines < slowLines {
		l.lines++
		return true
	}
	l.left, l.slowest = l.left+1, max(l.slowest, took)
	return false
}

// next begins another window.
func (l *slowLog) next() {
	l.mu.Lock()
	left, slowest := l.left, l.slowest
	l.lines, l.left, l.slowest = 0, 0, 0
	l.mu.Unlock()
	if left > 0 {
		l.logger.LogAttrs(context.Background(), slog.LevelWarn, "more slow requests than are told one by one",
			slog.Int("not_told", left), slog.Duration("within", slowWindow), slog.Duration("slowest", slowest))
	}
}
