// Package calls sees every call of the API from its beginning to its end, over gRPC and over HTTP: it counts them, gives
// them ids, tells of those that were slow, and traces them.
package calls

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online/serving"
)

// Meter counts calls; *metrics.Metrics does.
type Meter interface {
	// Method returns what counts the calls of one method by the code of their answer, a number for a name in codes.
	Method(name string, codes []string) func(code uint32, took time.Duration)
}

// codeNames are the codes of gRPC by number.
var codeNames = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

func codeName(code codes.Code) string {
	if int(code) < len(codeNames) {
		return codeNames[code]
	}
	return codeNames[codes.Unknown]
}

// Options are settings of a Watcher. The zero value watches nothing but ids.
type Options struct {
	Meter  Meter         // nil: calls are not counted
	Slow   time.Duration // calls that took as long are logged; zero or negative: none
	Logger *slog.Logger  // of slow calls; nil: none are logged
	// Sample returns hashes of the keys of some rows of a request, at most so many.
	Sample func(req *serving.Request, most int) []string
	Tracer trace.Tracer // nil: calls are not traced
}

// Watcher sees the calls of one server. A nil one gives them ids alone. Safe for concurrent use.
type Watcher struct {
	Options
	slow    slowLog
	streams sync.Map // of *Method, by full name
}

// New returns a watcher.
func New(o Options) *Watcher {
	w := &Watcher{Options: o}
	if o.Slow > 0 {
		w.slow.logger = o.Logger
	}
	return w
}

// Method is one method of the API.
type Method struct {
	watcher *Watcher
	name    string
	traced  traced
	count   func(code uint32, took time.Duration)
	lookup  bool    // each moment counts: an id that was made here is told where something went wrong alone
	long    bool    // takes as long as its work, or its caller, wants
	each    *Method // of a stream: one message
}

// method returns a method by its short name.
func (w *Watcher) method(name string, t traced) *Method {
	m := &Method{watcher: w, name: name, traced: t}
	if w == nil {
		m.watcher = &Watcher{}
	}
	if m.watcher.Meter != nil {
		m.count = m.watcher.Meter.Method(name, codeNames)
	}
	return m
}

// Call is a call on its way, and the context of what is done for it.
type Call struct {
	context.Context //nolint:containedctx // it is one
	method          *Method
	began           clock.Instant
	id              id
	span            trace.Span // nil: there is nobody to send it to
	looked          looked
	waited          time.Duration // for its turn
	parted          atomic.Bool   // into messages, which are counted each
}

// begin begins a call with the id that its caller gave, "" for none.
func (m *Method) begin(ctx context.Context, given string) *Call {
	return &Call{Context: ctx, method: m, began: clock.Now(), id: newID(given)}
}

// Waited notes that the call that ctx belongs to has waited for its turn, until now.
func Waited(ctx context.Context, d time.Duration) {
	c := From(ctx)
	if c == nil {
		return
	}
	c.waited = d
	if c.span != nil && c.span.IsRecording() {
		now := clock.Now()
		c.part("queue", now-clock.Instant(d), now)
	}
}

type callKey struct{}

// Value implements context.Context.
func (c *Call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// From returns the call that ctx belongs to, nil for none.
func From(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// looked is what is known of a call's lookup.
type looked struct {
	done     clock.Instant // 0: there was none
	service  string
	features int
	entities int
	revision int64
	took     serving.Took
	keys     []string // hashes, where it was slow
}

// noteLookup notes a lookup of the call, and what came of it: a nil for an error.
func (c *Call) noteLookup(req *serving.Request, a *serving.Answer) {
	l := &c.looked
	l.service, l.features, l.took = req.Service, len(req.Features), req.Took
	if len(req.Keys) > 0 {
		l.entities = req.Keys[0].Len()
	}
	if a != nil {
		l.features, l.entities, l.revision = len(a.Columns), a.Rows, a.Revision
	}
	if c.span != nil {
		c.traceLookup(a)
	}
	if l.done = clock.Now(); c.slow(l.done.Sub(c.began)) && c.method.watcher.Sample != nil {
		l.keys = c.method.watcher.Sample(req, sampledKeys)
	}
}

func (c *Call) slow(took time.Duration) bool {
	w := c.method.watcher
	return w.slow.logger != nil && took >= w.Slow && !c.method.long
}

// end ends a call. from tells its caller's address.
func (c *Call) end(code codes.Code, from func(*Call) string) {
	took := c.began.Since()
	if c.method.count != nil {
		c.method.count(uint32(code), took)
	}
	if c.span != nil {
		c.endSpan(code)
	}
	if c.slow(took) {
		c.method.watcher.slow.log(c, code, took, from(c))
	}
}
