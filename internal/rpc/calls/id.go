package calls

import (
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// Header is the header, or the metadata, that ids travel in.
const Header = "x-request-id"

// maxID is the length of the longest id that is taken from a caller.
const maxID = 128

// id is the id of a call: the caller's own, or one that was made here.
type id struct {
	given string
	made  uint64
}

// newID returns the id that a caller gave, else a new one.
func newID(given string) id {
	if sane(given) {
		return id{given: given}
	}
	return id{made: rand.Uint64()}
}

// sane reports whether an id can stand in a header and in a line of a log, and is one.
func sane(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@', c == '~':
		default:
			return false
		}
	}
	return true
}

// String returns the id as it is told.
func (i id) String() string {
	if i.given != "" {
		return i.given
	}
	var b [8]byte
	for k := range b {
		b[k] = byte(i.made >> (8 * k))
	}
	return hex.EncodeToString(b[:])
}

// ID returns the id of the call that ctx belongs to, "" where it belongs to none.
func ID(ctx context.Context) string {
	if c := From(ctx); c != nil {
		return c.id.String()
	}
	return ""
}

// LogHandler returns next, its lines with the ids of the call and of the trace that they belong to.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := ID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if s := trace.SpanContextFromContext(ctx); s.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
