package materialize

import (
	"context"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// same returns the run that a request made before; Invalid where that was another request than the one that want is of.
func (s *Service) same(ctx context.Context, id int64, want *Run) (Run, error) {
	had, err := s.earlier(ctx, id)
	if err != nil {
		return Run{}, err
	}
	if had.Trigger != want.Trigger || had.RetryOf != want.RetryOf || !had.Asked.To.Equal(want.Asked.To) ||
		had.Asked.Full != want.Asked.Full || had.Asked.AllowFuture != want.Asked.AllowFuture {
		return Run{}, &problem.Error{
			Code: problem.Invalid, Field: "request_id",
			Message:    fmt.Sprintf("the request id is that of run %d, which was asked for otherwise", id),
			Suggestion: "give each request an id of its own",
		}
	}
	return had, nil
}

// earlier returns a run that another call has made.
func (s *Service) earlier(ctx context.Context, id int64) (Run, error) {
	run, err := s.cfg.State.Run(ctx, s.cfg.StoreName, id, s.cfg.Now())
	if problem.CodeOf(err) == problem.NotFound {
		return Run{}, &problem.Error{
			Code: problem.Conflict, Err: err,
			Message: "the run of an earlier request with the same id was turned away", Suggestion: "ask again",
		}
	}
	return run, err
}

// ended waits for the end of a run that another call has made, and returns its record; where that is no success, also an
// error.
func (s *Service) ended(ctx context.Context, run Run) (Run, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !run.State.Ended() {
		select {
		case <-ctx.Done():
			return run, problem.New(problem.Canceled, "interrupted: %w", context.Cause(ctx))
		case <-look.C:
		}
		now, err := s.earlier(ctx, run.ID)
		if err != nil {
			return Run{}, err
		}
		run = now
	}
	switch run.State {
	case RunFailed:
		return run, &problem.Error{
			Code: problem.Precondition, Message: run.Error, Suggestion: fmt.Sprintf("to run it again: provender runs retry %d", run.ID),
		}
	case RunCancelled:
		return run, problem.New(problem.Canceled, "%s", run.Error)
	}
	return run, nil
}
