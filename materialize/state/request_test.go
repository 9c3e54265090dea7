package state_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/materialize/state"
)

// A request makes one run of a view into a store, however often and from wherever it comes at once.
func TestRequests(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		w := world{t, t.Context(), open(t, at)}
		const times = 8
		made, earlier := make([]int64, times), make([]int64, times)
		var all, together sync.WaitGroup
		together.Add(times)
		for i := range times {
			s := open(t, at)
			all.Go(func() {
				together.Done()
				together.Wait()
				run := &state.Run{View: "v", Trigger: "command", Queued: noon, RequestID: "once"}
				var err error
				if earlier[i], err = s.Enqueue(t.Context(), shop, run, time.Minute); err != nil {
					t.Error(err)
				}
				made[i] = run.ID
			})
		}
		all.Wait()
		id := must[[]state.Run](t)(w.s.Runs(w.ctx, shop, state.Selection{}, noon))[0].ID
		for i := range times {
			if made[i]+earlier[i] != id || made[i] > 0 && earlier[i] > 0 {
				t.Errorf("made %d, earlier %d; there is %d", made[i], earlier[i], id)
			}
		}
		if runs := must[[]state.Run](t)(w.s.Runs(w.ctx, shop, state.Selection{}, noon)); len(runs) != 1 || runs[0].RequestID != "once" {
			t.Fatalf("runs %+v", runs)
		}

		enqueue := func(store, view, request string) int64 {
			run := &state.Run{View: view, Trigger: "command", Queued: noon, RequestID: request}
			return must[int64](t)(w.s.Enqueue(w.ctx, store, run, time.Minute))
		}
		for _, other := range [][3]string{{shop, "v", "twice"}, {shop, "w", "once"}, {"elsewhere", "v", "once"}, {shop, "v", ""}, {shop, "v", ""}} {
			if got := enqueue(other[0], other[1], other[2]); got != 0 {
				t.Errorf("%v: run %d", other, got)
			}
		}
		check(t, w.s.Withdraw(w.ctx, id))
		if got := enqueue(shop, "v", "once"); got != 0 {
			t.Errorf("after the run was withdrawn: run %d", got)
		}
	})
}

// A list of runs goes on before an id.
func TestRunsBefore(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		w := newWorld(t, fresh)
		var ids []int64
		for range 5 {
			ids = append(ids, w.enqueue(noon).ID)
		}
		for _, c := range []struct {
			of   state.Selection
			want []int64
		}{
			{state.Selection{Before: ids[3]}, []int64{ids[2], ids[1], ids[0]}},
			{state.Selection{Before: ids[3], Limit: 2, Views: []string{"v"}}, []int64{ids[2], ids[1]}},
			{state.Selection{Before: ids[3], Views: []string{"w"}}, nil},
			{state.Selection{Before: ids[0]}, nil},
		} {
			var got []int64
			for _, r := range must[[]state.Run](t)(w.s.Runs(w.ctx, shop, c.of, noon)) {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", c.of, diff)
			}
		}
	})
}
