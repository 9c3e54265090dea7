package client_test

import (
	"context"
	"io"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/sdk/client"
)

func (r *recorded) Pause(_ context.Context, views []string) ([]string, error) {
	r.views = views
	return []string{"a", "b"}, nil
}

func (r *recorded) Resume(_ context.Context, views []string) ([]string, error) {
	r.views = views
	if len(views) == 0 {
		return nil, &problem.Error{Code: problem.Invalid, Field: "views", Message: "view b has no schedule"}
	}
	return views, nil
}

func TestPause(t *testing.T) {
	ops := new(recorded)
	c := dial(t, rpc.Services{Operations: ops}, io.Discard)
	views, err := c.Pause(t.Context(), []string{"b", "a"})
	must(t, err)
	same(t, []string{"a", "b"}, views)
	same(t, []string{"b", "a"}, ops.views)
	views, err = c.Resume(t.Context(), []string{"a"})
	must(t, err)
	same(t, []string{"a"}, views)
	_, err = c.Resume(t.Context(), nil)
	if e := asError(t, err); e.Code != client.CodeInvalid || e.Field != "views" {
		t.Errorf("%+v", e)
	}
}
