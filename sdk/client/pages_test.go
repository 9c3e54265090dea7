package client_test

import (
	"context"
	"io"
	"testing"

	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/sdk/client"
)

// manyRuns is operations with so many runs.
type manyRuns struct {
	rpc.Operations
	runs int
	most int // that were asked for at once
}

func (m *manyRuns) RunsBefore(_ context.Context, _ []string, before int64, limit int) ([]materialize.Run, error) {
	m.most = max(m.most, limit)
	if before == 0 {
		before = int64(m.runs) + 1
	}
	var runs []materialize.Run
	for id := before - 1; id > 0 && len(runs) < limit; id-- {
		runs = append(runs, materialize.Run{ID: id})
	}
	return runs, nil
}

// TestLongLists: a list longer than an answer comes in several, and is as long as it was asked to be.
func TestLongLists(t *testing.T) {
	const there = 2500
	m := &manyRuns{runs: there}
	c := dial(t, rpc.Services{Operations: m}, io.Discard)
	for limit, want := range map[int]int{
		0: there, 1: 1, 999: 999, 1000: 1000, 1001: 1001, 2000: 2000, 2499: 2499, there: there, there + 1: there, 1 << 40: there,
	} {
		runs, err := c.Runs(t.Context(), nil, limit)
		must(t, err)
		if len(runs) != want {
			t.Fatalf("at most %d: %d", limit, len(runs))
		}
		for i, r := range runs {
			if r.ID != int64(there-i) {
				t.Fatalf("at most %d: run %d in place %d", limit, r.ID, i)
			}
		}
	}
	if m.most != 1001 {
		t.Errorf("%d at once", m.most)
	}
	if _, err := c.Runs(t.Context(), nil, -1); failure(t, err).Code != client.CodeInvalid {
		t.Error(err)
	}
}
