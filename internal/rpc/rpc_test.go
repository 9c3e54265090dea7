package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/problem"
)

func TestStatusOf(t *testing.T) {
	invalid := &problem.Error{Code: problem.Invalid, Message: "m", Field: "f", Suggestion: "s"}
	for _, tt := range []struct {
		err    error
		code   codes.Code
		text   string // the message, or its beginning where it ends in a space
		hidden bool
	}{
		{invalid, codes.InvalidArgument, "m (s)", false},
		{problem.New(problem.NotFound, "m"), codes.NotFound, "m", false},
		{problem.New(problem.Conflict, "m"), codes.Aborted, "m", false},
		{problem.New(problem.Precondition, "m"), codes.FailedPrecondition, "m", false},
		{problem.New(problem.Unavailable, "m"), codes.Unavailable, "m", false},
		{problem.New(problem.Exhausted, "m"), codes.ResourceExhausted, "m", false},
		{problem.New(problem.Canceled, "m: %w", context.Canceled), codes.Canceled, "m: context canceled", false},
		{problem.New(problem.Canceled, "m: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "m: context deadline exceeded", false},
		{fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "the call was canceled", false},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "the deadline has passed", false},
		{status.Error(codes.Unimplemented, "m"), codes.Unimplemented, "m", false},

		{errors.New("secret"), codes.Internal, "internal error; ", true},
		{problem.New(problem.Internal, "secret"), codes.Internal, "internal error; ", true},
		{&problem.Error{Code: 200, Message: "secret"}, codes.Internal, "internal error; ", true},
		{fmt.Errorf("x: %w", status.Error(codes.NotFound, "secret")), codes.Internal, "internal error; ", true},

		{fmt.Errorf("view v: %w", invalid), codes.InvalidArgument, "view v: m (s)", false},
		{fmt.Errorf("%w: %w", errors.New("x"), invalid), codes.InvalidArgument, "x: m (s)", false},
		{errors.Join(problem.New(problem.NotFound, "a"), invalid), codes.NotFound, "a\nm (s)", false},
		{errors.Join(errors.New("secret"), errors.Join(invalid)), codes.InvalidArgument, "internal error; ", true},
	} {
		var reference string
		s := statusOf(tt.err, func(r string, err error) {
			reference = r
			if !strings.Contains(err.Error(), "secret") {
				t.Errorf("%v: the log gets %v", tt.err, err)
			}
		})
		prefix := strings.HasSuffix(tt.text, " ")
		if s.Code() != tt.code || s.Message() != tt.text && !(prefix && strings.HasPrefix(s.Message(), tt.text)) {
			t.Errorf("%v: %s: %s", tt.err, s.Code(), s.Message())
		}
		if tt.hidden != (reference != "") || !strings.Contains(s.Message(), reference) || strings.Contains(s.Message(), "secret") {
			t.Errorf("%v: reference %q: %s", tt.err, reference, s.Message())
		}
		retries := false
		for _, d := range s.Details() {
			if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() == defaultRetry {
				retries = true
			}
		}
		if retries != (tt.code == codes.Unavailable) {
			t.Errorf("%v: retry advice %v", tt.err, retries)
		}
	}
}

// TestStatusText: a message fits a header, whatever is quoted in it.
func TestStatusText(t *testing.T) {
	long := "\xff" + strings.Repeat("é", maxMessage)
	s := statusOf(&problem.Error{Code: problem.Invalid, Message: long, Field: long, Suggestion: long, RetryAfter: time.Hour}, nil)
	if len(s.Message()) > maxMessage+4 || !utf8.ValidString(s.Message()) || s.Code() != codes.InvalidArgument || len(s.Details()) != 2 {
		t.Errorf("%d bytes, %d details", len(s.Message()), len(s.Details()))
	}
}
