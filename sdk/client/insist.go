package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How often a call whose connection was lost is made again, and how long it waits before: twice as long each time.
const (
	repeats     = 4
	repeatAfter = 500 * time.Millisecond
)

// insist makes a call that may be repeated, and makes it again where the connection is lost before its end. It returns the
// runs of the last call that had any, and the error of the last.
func (c *Client) insist(ctx context.Context, call func() ([]Run, error)) (runs []Run, err error) {
	for pause, n := repeatAfter, 0; ; pause, n = 2*pause, n+1 {
		got, err := call()
		if len(got) > 0 {
			runs = got
		}
		if c.once || n == repeats || !lost(err) {
			return runs, err
		}
		select {
		case <-ctx.Done():
			return runs, err
		case <-time.After(pause):
		}
	}
}

// lost reports that a call ended without the server's own answer: that has details.
func lost(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.err == nil {
		return false
	}
	s := status.Convert(e.err)
	return s.Code() == codes.Unavailable && len(s.Details()) == 0
}
