package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// Policy bounds requests and their retries.
type Policy struct {
	Tries   int           // of one request, the first included
	Pause   time.Duration // before the second try; each later pause is twice as long. A random part of it is waited
	Longest time.Duration // pause, whatever the store asks for
	Dial    time.Duration // for a connection to be made
	Idle    time.Duration // without a byte in either direction after which a try is given up
	Page    int           // most keys of one page of a listing; the stores have 1000 at most
}

// DefaultPolicy waits about five seconds for a store that fails at once, and three minutes for one that hangs.
var DefaultPolicy = Policy{Tries: 6, Pause: 200 * time.Millisecond, Longest: 20 * time.Second, Dial: 10 * time.Second, Idle: 30 * time.Second, Page: 1000}

// progressBytes is how much must arrive for a broken body to count as a new request.
const progressBytes = 1 << 20

var errStalled = errors.New("no byte came or went for too long")

// temporary reports whether another try may succeed, under a context that has not ended: package net calls its own
// timeouts context.DeadlineExceeded too.
func temporary(err error) bool {
	var ended *finalError
	if errors.As(err, &ended) {
		return false
	}
	var answer *Error
	if errors.As(err, &answer) {
		return answer.Kind == Temporary
	}
	var refused *refusedError
	var config *ConfigError
	switch {
	case errors.As(err, &refused), errors.As(err, &config):
		return false
	case errors.Is(err, errStalled), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return true
	case errors.Is(err, context.Canceled):
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false
	}
	var network net.Error
	var op *net.OpError
	var malformed *malformedError
	return errors.As(err, &network) || errors.As(err, &op) || errors.As(err, &malformed) || isReset(err)
}

// Retry calls try until it succeeds, fails for good, or has failed p.Tries times.
func (p Policy) Retry(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return nil
		}
		if err := p.wait(ctx, n, err); err != nil {
			return err
		}
	}
}

// wait pauses after the n-th failure, or returns the error that ends the tries.
func (p Policy) wait(ctx context.Context, n int, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	if !temporary(err) {
		return err
	}
	if n >= p.Tries {
		return &finalError{err, n}
	}
	pause := min(p.Pause<<(n-1), p.Longest)
	pause = pause/2 + rand.N(pause/2+1) //nolint:gosec // jitter needs no secrecy
	var asked *askedError
	if errors.As(err, &asked) {
		pause = max(pause, min(asked.after, p.Longest))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx, err)
	case <-timer.C:
		return nil
	}
}

// ended is the error of tries that a context has ended; last is what was wrong until then.
func ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(last, cause) || errors.Is(last, ctx.Err()) {
		return cause
	}
	return &endedError{cause, last}
}

// endedError is a context's end among failures.
type endedError struct{ cause, last error }

func (e *endedError) Error() string { return fmt.Sprintf("%v; the last try: %v", e.cause, e.last) }
func (e *endedError) Unwrap() error { return e.cause }

// finalError is the last failure of all tries.
type finalError struct {
	error
	tries int
}

func (e *finalError) Error() string {
	return fmt.Sprintf("given up after %d tries: %v", e.tries, e.error)
}
func (e *finalError) Unwrap() error { return e.error }

// askedError is a failure with the time after which the store wants to be asked again.
type askedError struct {
	error
	after time.Duration
}

func (e *askedError) Unwrap() error { return e.error }

// malformedError is an answer that can't be read as what it should be, most likely cut or garbled on its way.
type malformedError struct{ error }

func (e *malformedError) Unwrap() error { return e.error }

// Malformed marks an answer as unreadable: it is asked for again.
func Malformed(err error) error {
	return &malformedError{fmt.Errorf("the answer can't be read: %w", err)}
}

// ConfigError is a setting of the environment or a URL that can't be used. It holds no secret.
type ConfigError struct{ Message string }

func (e *ConfigError) Error() string { return e.Message }
