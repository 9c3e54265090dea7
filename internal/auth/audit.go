package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Refusals are recorded at this rate at most, beyond a first burst: a flood of them does not fill a disk.
const (
	refusalsPerSecond = 5
	refusalsAtOnce    = 100
)

// Audit is the log of what callers have changed and what they were refused, in lines of JSON. A nil one records nothing.
// Safe for concurrent use.
type Audit struct {
	log    *slog.Logger
	failed func(error) // told of records that could not be written

	mu      sync.Mutex
	file    *os.File // nil where it is no file of its own
	path    string
	room    float64 // for refusals
	at      time.Time
	dropped int64 // refusals since the last that was recorded
}

// NewAudit returns a log to w; failed is told of what can't be written.
func NewAudit(w io.Writer, failed func(error)) *Audit {
	a := &Audit{room: refusalsAtOnce, failed: failed}
	a.log = slog.New(slog.NewJSONHandler(told{w, failed}, nil))
	return a
}

// OpenAudit returns a log that is appended to a file. One that is moved away, as logrotate does, or removed, is made anew.
func OpenAudit(path string, failed func(error)) (*Audit, error) {
	a := &Audit{room: refusalsAtOnce, failed: failed, path: path}
	if err := a.open(); err != nil {
		return nil, err
	}
	a.log = slog.New(slog.NewJSONHandler(told{appending{a}, failed}, nil))
	return a, nil
}

func (a *Audit) open() error {
	if err := os.MkdirAll(filepath.Dir(a.path), 0o755); err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	f, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	if a.file != nil {
		_ = a.file.Close() // every record was written
	}
	a.file = f
	return nil
}

// Close closes the log's file.
func (a *Audit) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// told tells of writes that fail.
type told struct {
	io.Writer
	failed func(error)
}

func (t told) Write(p []byte) (int, error) {
	n, err := t.Writer.Write(p)
	if err != nil {
		t.failed(err)
	}
	return n, err
}

// appending writes to the file that is at the log's path.
type appending struct{ *Audit }

func (a appending) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	here, err := a.file.Stat()
	if err != nil {
		return 0, err
	}
	if there, err := os.Stat(a.path); err != nil || !os.SameFile(here, there) {
		if err := a.open(); err != nil {
			return 0, err
		}
	}
	return a.file.Write(p)
}

// Event is a call that changes something, or was refused.
type Event struct {
	Who     string // "" where it is not proven
	From    string // address
	Call    string
	Request []slog.Attr // what was asked
	Outcome string      // OK, or the name of a class of failure
	Error   string      // "" where there was none
}

func (e *Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("who", e.Who), slog.String("from", e.From), slog.String("call", e.Call)}
	if len(e.Request) > 0 {
		attrs = append(attrs, slog.GroupAttrs("request", e.Request...))
	}
	attrs = append(attrs, slog.String("outcome", e.Outcome))
	if e.Error != "" {
		attrs = append(attrs, slog.String("error", e.Error))
	}
	return attrs
}

// Change records a call that changes something, when it has ended.
func (a *Audit) Change(e Event) {
	if a != nil {
		a.log.LogAttrs(context.Background(), slog.LevelInfo, "change", e.attrs()...)
	}
}

// Refusal records a call that was refused, unless too many were; the next record counts those that were not.
func (a *Audit) Refusal(e Event, now time.Time) {
	if a == nil {
		return
	}
	dropped, ok := a.admit(now)
	if !ok {
		return
	}
	attrs := e.attrs()
	if dropped > 0 {
		attrs = append(attrs, slog.Int64("unrecorded", dropped))
	}
	a.log.LogAttrs(context.Background(), slog.LevelWarn, "refused", attrs...)
}

// admit takes room for a refusal, and returns how many had none before it.
func (a *Audit) admit(now time.Time) (dropped int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() {
		a.room = min(refusalsAtOnce, a.room+refusalsPerSecond*now.Sub(a.at).Seconds())
	}
	a.at = now
	if a.room < 1 {
		a.dropped++
		return 0, false
	}
	a.room--
	dropped, a.dropped = a.dropped, 0
	return dropped, true
}
