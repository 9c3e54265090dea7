package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/sdk/client"
)

// errLeft is the cause of the end of a local server whose stdin has ended.
var errLeft = errors.New("nobody is left to answer for")

// serveLocal answers for the process at the other end of stdin, and ends with it: that is why it tells on stdout, as JSON
// and one line, where it listens, or why it does not.
func (a *app) serveLocal(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, a.Stdin) // an error is an end, too
		cancel(errLeft)
	}()
	told := false
	err := a.withProject(func(p *server.Project) error {
		return server.ServeLocal(ctx, p, a.logger(slog.LevelWarn), func(at server.Local) error {
			told = true
			return a.line(&localReport{Socket: at.Socket, Started: at.Started})
		})
	})
	switch {
	case err == nil || told:
		return err
	case errors.Is(context.Cause(ctx), errLeft) && stopped(err):
		return nil
	default:
		return errors.Join(err, a.line(&localReport{Error: newLocalFailure(err)}))
	}
}

// stopped reports whether an error says that its context has ended, by the context's error or by its cause.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, errLeft) || problem.CodeOf(err) == problem.Canceled
}

// line prints a report as JSON on a line of its own.
func (a *app) line(r *localReport) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

type localReport struct {
	Version formatVersion `json:"version"`
	Socket  string        `json:"socket,omitempty"`
	Started bool          `json:"started,omitempty"`
	Error   *localFailure `json:"error,omitempty"`
}

// localFailure is why nobody answers for a project.
type localFailure struct {
	Code     string   `json:"code"` // as a client has it
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"`
	Problems diag.Set `json:"problems,omitempty"`
}

var codeNames = [...]string{
	problem.Internal: client.CodeInternal, problem.Invalid: client.CodeInvalid, problem.NotFound: client.CodeNotFound,
	problem.Conflict: client.CodeConflict, problem.Precondition: client.CodePrecondition, problem.Unavailable: client.CodeUnavailable,
	problem.Exhausted: client.CodeExhausted, problem.Canceled: client.CodeCanceled,
	problem.Unauthenticated: client.CodeUnauthenticated, problem.Denied: client.CodePermissionDenied,
}

func newLocalFailure(err error) *localFailure {
	f := &localFailure{Code: codeNames[problem.CodeOf(err)], Message: err.Error(), Fix: suggestionOf(err)}
	if errors.As(err, &f.Problems) {
		f.Code = client.CodeInvalid
	}
	return f
}
