// Package problem has the one error type that crosses layers towards a user: a code that says what kind of failure it
// is, a message that says what to do. internal/rpc turns codes into gRPC's; nothing else knows gRPC's.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// Code is a class of failure.
type Code uint8

// The classes. An error without a Code is Internal: logged in full, shown without detail.
const (
	Internal        Code = iota
	Invalid              // the request is wrong and stays so; Field names the part
	NotFound             // the named thing does not exist
	Conflict             // the state moved since it was read; read again and retry
	Precondition         // right request, wrong state: materialize or apply first
	Unavailable          // a store does not answer or has lost its data; retry after RetryAfter
	Exhausted            // a limit was reached; the message names it
	Canceled             // interrupted, or past its deadline
	Unauthenticated      // who calls is not proven
	Denied               // who calls may not do this
)

// Error is a failure that a user can act on.
type Error struct {
	Code       Code
	Message    string
	Field      string        // the request field at fault, "" if none
	Suggestion string        // "did you mean …" or the command that mends it; "" if none
	RetryAfter time.Duration // for Unavailable, and Exhausted that passes; 0: no advice
	Err        error         // the cause, already told in Message; may be nil
}

// Error returns the message and the suggestion; the message includes the cause's text where that helps.
func (e *Error) Error() string {
	s := e.Message
	if e.Suggestion != "" {
		s += " (" + e.Suggestion + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of a class with a formatted message; a %w operand is the cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf returns the class of err: Internal where it has none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
