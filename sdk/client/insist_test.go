package client

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestInsist: a call is made again only where the connection was lost, a few times, and not after ctx has ended.
func TestInsist(t *testing.T) {
	gone := errorOf(status.Error(codes.Unavailable, "connection refused"))
	answered, err := status.New(codes.Unavailable, "the store is away").WithDetails(&errdetails.ErrorInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		errs  []error // of the calls, the last of all others
		until time.Duration
		calls int
		took  time.Duration
	}{
		"done":            {errs: []error{nil}, calls: 1},
		"gone":            {errs: []error{gone}, calls: 5, took: 7500 * time.Millisecond},
		"back again":      {errs: []error{gone, gone, nil}, calls: 3, took: 1500 * time.Millisecond},
		"lost, then bad":  {errs: []error{gone, errorOf(status.Error(codes.FailedPrecondition, "failed"))}, calls: 2, took: 500 * time.Millisecond},
		"its own answer":  {errs: []error{errorOf(answered.Err())}, calls: 1},
		"canceled":        {errs: []error{errorOf(context.Canceled)}, calls: 1},
		"malformed":       {errs: []error{malformed("x")}, calls: 1},
		"until ctx ends":  {errs: []error{gone}, until: time.Second, calls: 2, took: time.Second},
		"ctx ended first": {errs: []error{gone}, until: time.Nanosecond, calls: 1, took: time.Nanosecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(test.until, time.Hour))
			defer cancel()
			begun, calls := time.Now(), 0
			runs, err := new(Client).insist(ctx, func() ([]Run, error) {
				calls++
				if calls == 1 {
					return []Run{{ID: 7}}, test.errs[0]
				}
				return nil, test.errs[min(calls, len(test.errs))-1]
			})
			last := test.errs[min(calls, len(test.errs))-1]
			if took := time.Since(begun); calls != test.calls || took != test.took || !errors.Is(err, last) || len(runs) != 1 {
				t.Errorf("%s: %d calls in %v, %v, %v", name, calls, took, runs, err)
			}
		})
	}
}

// TestPagesOnce: every page is asked for once, and a list that goes round ends.
func TestPagesOnce(t *testing.T) {
	var asked []string
	next := map[string]string{"": "a", "a": "b"}
	err := pages(func(token string) (string, error) { asked = append(asked, token); return next[token], nil })
	if err != nil || len(asked) != 3 {
		t.Errorf("asked for %q, %v", asked, err)
	}
	next["b"] = "b"
	if err := pages(func(token string) (string, error) { return next[token], nil }); err == nil {
		t.Error("a page that leads to itself")
	}
	if err := pages(func(string) (string, error) { return "a", context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
