package materialize_test

import (
	"slices"
	"testing"
	"time"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
)

// A generation stays while a server that lives has not seen the swap that retired it.
func TestServersMoveOn(t *testing.T) {
	w := one(t)
	w.cfg.DropAfter = -1
	w.svc = materialize.New(w.cfg)
	w.write("1.parquet", at("a", 10, 1))
	sees := func(id, store string, swap int64, ttl time.Duration) {
		t.Helper()
		check(t, w.state.Heartbeat(t.Context(), store, state.Server{ID: id, Started: w.now, Swap: swap}, w.now, ttl))
	}
	last := func() int64 {
		t.Helper()
		n, err := w.svc.LastSwap(t.Context())
		check(t, err)
		return n
	}
	left := func(want ...online.GenerationID) {
		t.Helper()
		gens, err := w.state.Generations(t.Context(), "v")
		check(t, err)
		var ids []online.GenerationID
		for _, g := range gens {
			ids = append(ids, g.ID)
		}
		if !slices.Equal(ids, want) {
			t.Fatalf("generations %v, want %v", ids, want)
		}
	}
	first := w.run(materialize.Request{}).Generation
	sees("one", w.cfg.StoreName, last(), time.Hour)
	sees("two", w.cfg.StoreName, last(), time.Hour)
	sees("dead", w.cfg.StoreName, last(), time.Minute)
	sees("elsewhere", "redis://other", last(), 10*time.Hour)

	second := w.run(materialize.Request{Full: true}).Generation
	left(first, second)
	sees("one", w.cfg.StoreName, last(), 2*time.Hour)
	w.now = w.now.Add(2 * time.Minute) // "dead" has given no sign of life since
	w.run(materialize.Request{})
	left(first, second) // "two" has not seen it
	sees("two", w.cfg.StoreName, last(), 2*time.Hour)
	w.run(materialize.Request{})
	left(second)

	third := w.run(materialize.Request{Full: true}).Generation
	left(second, third)
	check(t, w.state.Leave(t.Context(), "one", w.now))
	w.run(materialize.Request{})
	left(second, third)
	check(t, w.state.Leave(t.Context(), "two", w.now))
	w.run(materialize.Request{})
	left(third)
	w.clean()
}
