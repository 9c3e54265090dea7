package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The codes of Error. Others, in gRPC's spelling, come from proxies and older servers alone.
const (
	CodeInvalid          = "invalid"           // the request is wrong and stays so; Field names the part
	CodeNotFound         = "not_found"         // the named thing does not exist
	CodeConflict         = "conflict"          // the state moved since it was read; read again and retry
	CodePrecondition     = "precondition"      // right request, wrong state: materialize or apply first
	CodeUnavailable      = "unavailable"       // the server or its store does not answer; retry after RetryAfter
	CodeExhausted        = "exhausted"         // a limit was reached; Message names it
	CodeUnauthenticated  = "unauthenticated"   // who calls is not proven: no token, or one that is not valid
	CodePermissionDenied = "permission_denied" // who calls may not do this
	CodeCanceled         = "canceled"          // the call was canceled
	CodeDeadlineExceeded = "deadline_exceeded" // the call's deadline has passed
	CodeUnimplemented    = "unimplemented"     // the server does not offer the call
	CodeInternal         = "internal"          // a defect; Message has a reference to the server's log
)

var codeNames = map[codes.Code]string{
	codes.InvalidArgument:    CodeInvalid,
	codes.NotFound:           CodeNotFound,
	codes.Aborted:            CodeConflict,
	codes.FailedPrecondition: CodePrecondition,
	codes.Unavailable:        CodeUnavailable,
	codes.ResourceExhausted:  CodeExhausted,
	codes.Unauthenticated:    CodeUnauthenticated,
	codes.PermissionDenied:   CodePermissionDenied,
	codes.Canceled:           CodeCanceled,
	codes.DeadlineExceeded:   CodeDeadlineExceeded,
	codes.Unimplemented:      CodeUnimplemented,
	codes.Internal:           CodeInternal,
}

// Error is the failure of a call. Every error of this package's calls is one.
type Error struct {
	Code       string        // one of the Code constants
	Message    string        // what is wrong and what to do, for people
	Field      string        // the part of the request at fault: "service", "features[2]", "keys.origin"; "" if none
	Suggestion string        // the part of Message that says what to do, "" if none
	RetryAfter time.Duration // how long to wait before a retry; 0: no advice
	err        error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the gRPC error, or the cause of a failure to connect.
func (e *Error) Unwrap() error { return e.err }

// Is reports a canceled call as context.Canceled, and one past its deadline as context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	return e.Code == CodeCanceled && target == context.Canceled ||
		e.Code == CodeDeadlineExceeded && target == context.DeadlineExceeded
}

// ownLimit is how gRPC tells of an answer over maxAnswer.
var ownLimit = fmt.Sprintf("vs. %d)", maxAnswer)

// ErrorOf returns the *Error of a call on Client.Conn that failed, nil for nil.
func ErrorOf(err error) error { return errorOf(err) }

// errorOf returns the *Error of a failed call, nil for nil.
func errorOf(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return &Error{Code: codeOfContext(err), Message: err.Error(), err: err}
	}
	e := &Error{Code: codeNames[s.Code()], Message: s.Message(), err: err}
	if e.Code == "" {
		e.Code = s.Code().String()
	}
	if e.Code == CodeExhausted && strings.Contains(e.Message, "larger than max") && !strings.Contains(e.Message, ownLimit) {
		// gRPC refuses a message before the server's own code sees it.
		e.Suggestion = "send several requests, or raise the server's limits.request_message"
		e.Message += " (" + e.Suggestion + ")"
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Suggestion = d.GetMetadata()["suggestion"]
		case *errdetails.BadRequest:
			if v := d.GetFieldViolations(); len(v) > 0 {
				e.Field = v[0].GetField()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return e
}

func codeOfContext(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	case errors.Is(err, io.ErrUnexpectedEOF):
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// unencrypted is the failure of a call whose token would leave this machine in plain sight.
func unencrypted(addr string) error {
	return status.Error(codes.Unauthenticated, "the token is not sent to "+addr+", as the connection is not encrypted (use "+
		secureScheme+addr+")")
}

// malformed is the error of an answer that contradicts itself.
func malformed(what string) error {
	return &Error{Code: CodeInternal, Message: "malformed answer: " + what + "; is the server of another version?"}
}
