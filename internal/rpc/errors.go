package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc/calls"
)

// errorDomain is the ErrorInfo domain of every error that Provender itself answers.
const errorDomain = "provender.dev"

// defaultRetry is the advice for a store that does not answer, where the error has none.
const defaultRetry = time.Second

// maxMessage bounds a status message: it travels in a header, which peers limit to a few KiB.
const maxMessage = 2 << 10

// class is what a problem's code becomes.
type class struct {
	code   codes.Code
	reason string // of ErrorInfo; stable
}

var classes = [...]class{
	problem.Internal:        {codes.Internal, "INTERNAL"},
	problem.Invalid:         {codes.InvalidArgument, "INVALID"},
	problem.NotFound:        {codes.NotFound, "NOT_FOUND"},
	problem.Conflict:        {codes.Aborted, "CONFLICT"},
	problem.Precondition:    {codes.FailedPrecondition, "PRECONDITION"},
	problem.Unavailable:     {codes.Unavailable, "UNAVAILABLE"},
	problem.Exhausted:       {codes.ResourceExhausted, "EXHAUSTED"},
	problem.Canceled:        {codes.Canceled, "CANCELED"},
	problem.Unauthenticated: {codes.Unauthenticated, "UNAUTHENTICATED"},
	problem.Denied:          {codes.PermissionDenied, "DENIED"},
}

// statusOf is the one way from errors to gRPC statuses. A problem keeps its text, and its class, field, suggestion and
// retry delay travel as google.rpc details; of joined problems, the first's. An end of the context is CANCELED or
// DEADLINE_EXCEEDED. A status stays as it is. Anything else is INTERNAL under a reference: hidden is called with it and
// the error, to log what is not shown.
func statusOf(err error, hidden func(reference string, err error)) *status.Status {
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok { // a status deeper down is not ours
		return s.GRPCStatus()
	}
	var first *problem.Error
	var texts []string
	for _, e := range flatten(nil, err) {
		p, text := classify(e)
		if p == nil {
			reference := newReference()
			hidden(reference, e)
			text = "internal error; the server's log has it under reference " + reference
		} else if first == nil {
			first = p
		}
		texts = append(texts, text)
	}
	message := clean(strings.Join(texts, "\n"))
	if first == nil {
		return withDetails(codes.Internal, message, &errdetails.ErrorInfo{Reason: classes[problem.Internal].reason, Domain: errorDomain})
	}
	return problemStatus(first, message)
}

// withRequest returns s with the id of the call where the server's log is to be looked at.
func withRequest(ctx context.Context, s *status.Status) *status.Status {
	if id := calls.ID(ctx); s.Code() == codes.Internal && id != "" {
		if with, err := s.WithDetails(&errdetails.RequestInfo{RequestId: id}); err == nil {
			return with
		}
	}
	return s
}

// codeOf is the code of statusOf.
func codeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return statusOf(err, func(string, error) {}).Code()
}

// classify returns the problem that err is or wraps, and the text to show; nil where err has no class.
func classify(err error) (*problem.Error, string) {
	var p *problem.Error
	switch {
	case errors.As(err, &p) && p.Code != problem.Internal && int(p.Code) < len(classes):
		return p, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return &problem.Error{Code: problem.Canceled, Err: err}, "the deadline has passed"
	case errors.Is(err, context.Canceled):
		return &problem.Error{Code: problem.Canceled, Err: err}, "the call was canceled"
	default:
		return nil, ""
	}
}

func problemStatus(p *problem.Error, message string) *status.Status {
	c := classes[p.Code]
	if p.Code == problem.Canceled && errors.Is(p, context.DeadlineExceeded) {
		c = class{codes.DeadlineExceeded, "DEADLINE_EXCEEDED"}
	}
	info := &errdetails.ErrorInfo{Reason: c.reason, Domain: errorDomain, Metadata: map[string]string{}}
	if p.Field != "" {
		info.Metadata["field"] = clean(p.Field)
	}
	if p.Suggestion != "" {
		info.Metadata["suggestion"] = clean(p.Suggestion)
	}
	details := []protoadapt.MessageV1{info}
	if p.Field != "" {
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: clean(p.Field), Description: clean(p.Error())}},
		})
	}
	if p.Code == problem.Unavailable || p.Code == problem.Exhausted && p.RetryAfter > 0 {
		retry := p.RetryAfter
		if retry <= 0 {
			retry = defaultRetry
		}
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	return withDetails(c.code, message, details...)
}

// flatten appends the parts of what errors.Join made to dst, else err itself.
func flatten(dst []error, err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) // only what is joined at the top is told apart
	if !ok {
		return append(dst, err)
	}
	parts := joined.Unwrap()
	texts := make([]string, len(parts))
	for i, e := range parts {
		texts[i] = e.Error()
	}
	if err.Error() != strings.Join(texts, "\n") {
		return append(dst, err) // fmt.Errorf with several %w: one error, with a text of its own
	}
	for _, e := range parts {
		dst = flatten(dst, e)
	}
	return dst
}

// withDetails returns a status with details; the messages are ours, so that they always marshal.
func withDetails(code codes.Code, text string, details ...protoadapt.MessageV1) *status.Status {
	s := status.New(code, text)
	if detailed, err := s.WithDetails(details...); err == nil {
		return detailed
	}
	return s
}

// clean makes text fit for a header: valid UTF-8, of bounded length.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func newReference() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
