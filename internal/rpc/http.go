package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/rpc/feast"
)

// httpTime bounds one call over HTTP, whose clients have no way to tell their deadline but to go away.
const httpTime = time.Minute

const contentJSON = "application/json"

// HTTPOptions are settings of Handler.
type HTTPOptions struct {
	MaxBody int64 // bytes of a request's body (limits.request_message); zero or negative: 16 MiB
	Gate    *Gate // nil: everybody may call
	Logger  *slog.Logger
}

// endpoint is one call over HTTP. A path has one method.
type endpoint struct {
	method, path string
	query        []string // parameters that it takes
	// call answers w, or returns the error to answer, having written nothing.
	call func(w http.ResponseWriter, r *http.Request) error
}

// web is the API over HTTP.
type web struct {
	Services
	HTTPOptions
	bodies, chunks sync.Pool // of *bytes.Buffer, *chunks
}

// Handler serves the same calls over HTTP, as JSON, and their OpenAPI document. A call whose part of s is nil is not
// there. Errors, those of paths and methods too, are google.rpc.Status in JSON.
func Handler(s Services, opts HTTPOptions) http.Handler {
	if opts.MaxBody <= 0 {
		opts.MaxBody = 16 << 20
	}
	if s.Lookups != nil {
		s.Lookups = calls.Watched(s.Lookups)
	}
	h := &web{Services: s, HTTPOptions: opts}
	other := s.Calls.HTTP("", "")
	mux := http.NewServeMux()
	paths := make([]string, 0, 16)
	for _, e := range h.endpoints() {
		paths = append(paths, e.path)
		pattern := e.method + " " + e.path
		mux.Handle(pattern, h.serve(s.Calls.HTTP(e.method, e.path), e.query, h.Gate.call(pattern, e.call)))
		mux.Handle(e.path, h.serve(other, nil, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Allow", e.method)
			return &httpError{http.StatusMethodNotAllowed, &problem.Error{
				Code: problem.Invalid, Message: "the method of " + r.URL.Path + " is " + e.method + ", not " + r.Method,
			}}
		}))
	}
	mux.Handle("/", h.serve(other, nil, func(_ http.ResponseWriter, r *http.Request) error {
		err := &problem.Error{Code: problem.NotFound, Message: "nothing is at " + strconv.Quote(r.URL.Path)}
		if err.Suggestion = diag.Suggest(r.URL.Path, paths); err.Suggestion == "" {
			err.Suggestion = "GET " + openAPIPath + " tells what there is"
		}
		return err
	}))
	return mux
}

// endpoints lists the calls.
func (h *web) endpoints() []endpoint {
	all := []endpoint{{http.MethodGet, openAPIPath, nil, openAPI}}
	if h.Lookups != nil {
		all = append(all,
			endpoint{http.MethodPost, "/v1/features:get", nil, h.getFeatures},
			endpoint{http.MethodPost, "/get-online-features", []string{"status"}, feast.Handler(h.Lookups, h.Admission, h.MaxBody)})
	}
	if h.Snapshot != nil {
		all = append(all,
			endpoint{http.MethodGet, "/v1/services", nil, h.listServices},
			endpoint{http.MethodGet, "/v1/services/{name}", nil, h.getService})
	}
	if h.Revisions != nil {
		s := &registryService{revisions: h.Revisions, snapshot: h.Snapshot}
		all = append(all,
			reading(h, "/v1/definitions", s.ListDefinitions),
			reading(h, "/v1/definitions/{kind}/{name}", s.GetDefinition),
			reading(h, "/v1/revisions", s.ListRevisions))
	}
	if h.Operations != nil {
		s := &operationsService{operations: h.Operations, definitions: h.Definitions}
		all = append(all, reading(h, "/v1/runs", s.ListRuns), reading(h, "/v1/status", s.GetStatus))
	}
	return all
}

// httpError is an error with another HTTP status than its class has.
type httpError struct {
	status int
	error
}

func (e *httpError) Unwrap() error { return e.error }

// serve runs a call: its query is checked, its time bounded, its error answered, its panic logged.
func (h *web) serve(m *calls.Method, query []string, call func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), httpTime)
		defer cancel()
		watched, r := m.BeginHTTP(w, r.WithContext(ctx))
		answer := &begun{ResponseWriter: w}
		err := guarded(answer, r, query, call)
		defer func() { watched.EndHTTP(r, codeOf(err)) }()
		if err != nil {
			if answer.begun { // too late to tell
				logHidden(r.Context(), h.Logger, newReference(), r.URL.Path, err)
				panic(http.ErrAbortHandler)
			}
			WriteError(w, r, h.Logger, err)
		}
	})
}

// begun is a response that knows whether its status was sent.
type begun struct {
	http.ResponseWriter
	begun bool
}

func (b *begun) WriteHeader(status int) {
	b.begun = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.ResponseWriter.Write(p)
}

// guarded makes a panic of a call its error.
func guarded(w http.ResponseWriter, r *http.Request, query []string, call func(http.ResponseWriter, *http.Request) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &problem.Error{Code: problem.Invalid, Message: "the query can't be read: " + err.Error(), Err: err}
	}
	for name := range given {
		if !slices.Contains(query, name) {
			return unknownName("query parameter", name, name, query)
		}
	}
	return call(w, r)
}

// unknownName tells that a name is none of those that may stand in its place.
func unknownName(what, field, name string, known []string) error {
	err := &problem.Error{Code: problem.Invalid, Message: "unknown " + what + " " + strconv.Quote(name), Field: field}
	switch err.Suggestion = diag.Suggest(name, known); {
	case err.Suggestion != "":
	case len(known) == 0:
		err.Suggestion = "there are none here"
	default:
		err.Suggestion = "there are " + strings.Join(known, ", ")
	}
	return err
}

// maxPooledBody bounds the memory that is kept for the next request's body.
const maxPooledBody = 64 << 10

// readBody calls enter with a request's body, which is bounded, then use with the same where it is valid JSON. Both must not
// keep it. An error of either is its own.
func (h *web) readBody(w http.ResponseWriter, r *http.Request, enter, use func(body []byte) error) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != contentJSON {
		return &httpError{http.StatusUnsupportedMediaType, &problem.Error{
			Code:       problem.Invalid,
			Message:    "the body's Content-Type is " + strconv.Quote(r.Header.Get("Content-Type")) + ", not " + contentJSON,
			Suggestion: "curl: --json, or -H 'Content-Type: application/json'", Field: "Content-Type",
		}}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &httpError{http.StatusUnsupportedMediaType, &problem.Error{
			Code: problem.Invalid, Message: "the body's Content-Encoding is " + strconv.Quote(encoding), Suggestion: "send it as it is",
			Field: "Content-Encoding",
		}}
	}
	if r.ContentLength > h.MaxBody {
		return h.tooLarge()
	}
	body, _ := h.bodies.Get().(*bytes.Buffer)
	if body == nil {
		body = new(bytes.Buffer)
	}
	defer func() {
		if body.Cap() <= maxPooledBody {
			body.Reset()
			h.bodies.Put(body)
		}
	}()
	var large *http.MaxBytesError
	switch _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, h.MaxBody)); {
	case errors.As(err, &large):
		return h.tooLarge()
	case r.Context().Err() != nil:
		return r.Context().Err()
	case err != nil:
		return problem.New(problem.Invalid, "the body did not come whole: %w", err)
	case len(bytes.TrimSpace(body.Bytes())) == 0:
		return problem.New(problem.Invalid, "the body is empty")
	}
	if err := enter(body.Bytes()); err != nil {
		return err
	}
	if err := checkJSON(body.Bytes()); err != nil {
		return err
	}
	return use(body.Bytes())
}

func (h *web) tooLarge() error {
	return &problem.Error{
		Code: problem.Exhausted, Field: "body",
		Message:    fmt.Sprintf("the body is larger than %s bytes (limits.request_message)", humanize.Comma(h.MaxBody)),
		Suggestion: "send several requests, or raise the limit in provender.yaml",
	}
}

const (
	chunkBytes    = 64 << 10  // of an answer are sent at once
	maxPooledText = 256 << 10 // of an answer's memory are kept for the next
	// patientTurn is how long an answer that is sent in chunks keeps its lookup's turn: a client that reads them takes less.
	patientTurn = 100 * time.Millisecond
)

// chunks is an answer's text, sent as it grows.
type chunks struct {
	w    io.Writer
	text []byte
	err  error // of sending; nothing is sent after it
	// leave ends the lookup's turn, and can be called again. timer calls it, from the first chunk on.
	leave func()
	timer *time.Timer
}

// answer sends what write appends, as JSON with status 200, and calls leave, unless it is nil, when it is made, or takes
// long to send. Errors of sending are those of a client that has gone.
func (h *web) answer(w http.ResponseWriter, leave func(), write func(c *chunks)) {
	c, _ := h.chunks.Get().(*chunks)
	if c == nil {
		c = new(chunks)
	}
	if leave == nil {
		leave = func() {}
	}
	c.w, c.err, c.leave = w, nil, leave
	w.Header().Set("Content-Type", contentJSON)
	write(c)
	c.text = append(c.text, '\n')
	if b, ok := w.(*begun); ok && !b.begun {
		w.Header().Set("Content-Length", strconv.Itoa(len(c.text)))
	}
	leave()
	c.send()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.w, c.leave, c.timer = nil, nil, nil
	if cap(c.text) <= maxPooledText {
		h.chunks.Put(c)
	}
}

// grown sends the text where there is enough of it.
func (c *chunks) grown() {
	if len(c.text) >= chunkBytes {
		if c.timer == nil {
			c.timer = time.AfterFunc(patientTurn, c.leave)
		}
		c.send()
	}
}

func (c *chunks) send() {
	if c.err == nil {
		_, c.err = c.w.Write(c.text)
	}
	c.text = c.text[:0]
}
