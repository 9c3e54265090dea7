package materialize_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// prune removes what nothing needs, after telling it, and returns "generation view why" of each.
func (w *world) prune() string {
	w.t.Helper()
	check(w.t, w.svc.Reach(w.t.Context()))
	before, err := w.store.Generations(w.t.Context())
	check(w.t, err)
	told, err := w.svc.Prune(w.t.Context(), true, nil)
	check(w.t, err)
	after, err := w.store.Generations(w.t.Context())
	check(w.t, err)
	if !slices.Equal(before, after) {
		w.t.Errorf("a dry run left %v of %v", after, before)
	}
	done, err := w.svc.Prune(w.t.Context(), false, nil)
	check(w.t, err)
	if !slices.Equal(told, done) {
		w.t.Errorf("told %v, removed %v", told, done)
	}
	if again, err := w.svc.Prune(w.t.Context(), false, nil); err != nil || len(again) > 0 {
		w.t.Errorf("pruned again: %v, %v", again, err)
	}
	return pruned(done)
}

func pruned(all []materialize.Pruned) string {
	var out []string
	for _, p := range all {
		out = append(out, strings.Join(strings.Fields(fmt.Sprint(p.Generation, " ", p.View, " ", p.Why)), " "))
	}
	return strings.Join(out, ", ")
}

// inStore lists the generations that the store has.
func (w *world) inStore() string {
	w.t.Helper()
	found, err := w.store.Generations(w.t.Context())
	check(w.t, err)
	return fmt.Sprint(found)
}

// What no definition and no run needs goes, and nothing else does.
func TestPrune(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.fourFiles()
		w.snap = twoViews(t)
		_, err := w.svc.Run(t.Context(), materialize.Request{}, nil)
		check(t, err)
		w.want(w.prune(), "")
		// A retired generation waits until nobody can be reading it.
		w.run(materialize.Request{Views: []string{"v"}, Full: true})
		w.want(w.prune(), "")
		w.now = w.now.Add(2 * time.Minute)
		w.want(w.prune(), "1 v retired")
		// Of rebuilds that were cut short, one that can be gone on with stays.
		if !w.killed(failpoint.RunAfterWrite, childSpec{Full: true}) {
			t.Fatal("the child was not killed")
		}
		w.cutRebuild(childSpec{Full: true})
		w.want(w.prune(), "4 v abandoned")
		w.now = w.now.Add(8 * 24 * time.Hour)
		w.want(w.prune(), "5 v abandoned")
		// Rows that no record knows, with a marker and without.
		check(t, w.store.CreateGeneration(t.Context(), online.Generation{ID: 777}))
		stray := online.Generation{ID: 888, Keyspace: 1}
		check(t, w.store.CreateGeneration(t.Context(), stray))
		live, err := w.svc.Live(t.Context())
		check(t, err)
		check(t, w.store.Scan(t.Context(), live[0].Generation, func(key, stored []byte) error {
			_, err := w.store.Write(t.Context(), stray, []online.Entry{{Key: slices.Clone(key), Row: slices.Clone(stored)}}, online.WinAlways)
			return err
		}))
		w.want(w.prune(), "777 unknown, 888 unknown")
		w.want(w.inStore(), fmt.Sprint([]online.Generation{{ID: 2, Keyspace: 1}, {ID: 3, Keyspace: 1}}))
		// A view that is offline, and one that is deleted; the other serves on.
		offline := definitions(nil)
		other := *offline.Views[0]
		other.Name, other.Online = "w", false
		offline.Views = append(offline.Views, &other)
		w.snap, err = registry.Compile(8, offline)
		check(t, err)
		w.want(w.prune(), "2 w offline")
		w.snap = twoViews(t)
		_, err = w.svc.Run(t.Context(), materialize.Request{Views: []string{"w"}}, nil)
		check(t, err)
		w.snap, err = registry.Compile(8, definitions(nil))
		check(t, err)
		w.want(w.prune(), "6 w view deleted")
		w.now = w.now.Add(-8 * 24 * time.Hour)
		w.clean()
	})
}

// What others have in the same Redis survives.
func TestPruneSparesOthers(t *testing.T) {
	w := redisWorld(t)
	w.fourFiles()
	w.run(materialize.Request{})
	client := w.backend.redis.Client(t)
	prefix, err := w.state.Prefix(t.Context())
	check(t, err)
	other, err := w.backend.open()
	check(t, err)
	defer other.Close()
	_, err = other.Claim(t.Context(), "somebody-else", "zz")
	check(t, err)
	theirs := online.Generation{ID: 999, Keyspace: 1}
	check(t, other.CreateGeneration(t.Context(), theirs))
	entry := online.Entry{Key: row.AppendStringKey(nil, []byte("a")), Row: w.anyRow()}
	_, err = other.Write(t.Context(), theirs, []online.Entry{entry}, online.WinNewest)
	check(t, err)
	canaries := []string{prefix + "x:1:a", prefix + ":1", prefix + ":junk", prefix + ":x:1", "a:" + prefix + ":1:a"}
	for _, key := range canaries {
		check(t, client.HSet(t.Context(), key, "rr", entry.Row).Err())
	}
	w.run(materialize.Request{Full: true})
	w.now = w.now.Add(time.Hour)
	w.want(w.prune(), "1 v retired")
	for _, key := range canaries {
		if !client.HExists(t.Context(), key, "rr").Val() {
			t.Errorf("canary %q is gone", key)
		}
	}
	if found, err := other.Generations(t.Context()); err != nil || !slices.Equal(found, []online.Generation{theirs}) {
		t.Errorf("the other registry has %v, %v", found, err)
	}
	w.now = noon
	w.clean()
}

// anyRow returns a row of the serving generation.
func (w *world) anyRow() (any []byte) {
	w.t.Helper()
	for _, r := range w.alive() {
		any = r
	}
	return any
}

// A retired generation stays, for runs and prune alike, while a server that lives has not seen the swap.
func TestServersSeeTheSwap(t *testing.T) {
	w := one(t)
	w.fourFiles()
	w.run(materialize.Request{})
	server := state.Server{ID: "s1", Holder: "server:1", Started: noon, Revision: 7}
	beat := func() {
		t.Helper()
		check(t, w.state.Heartbeat(t.Context(), w.cfg.StoreName, server, w.now, 24*time.Hour))
	}
	beat()
	w.run(materialize.Request{Full: true})
	w.now = w.now.Add(time.Hour)
	w.run(materialize.Request{})
	w.want(w.prune(), "")
	w.want(w.inStore(), "[{1 1} {2 1}]")
	var err error
	server.Swap, err = w.state.LastSwap(t.Context())
	check(t, err)
	beat()
	w.run(materialize.Request{})
	w.want(w.inStore(), "[{2 1}]")
	// A view is not deleted while a server answers by definitions that have it, or this process has not seen newer ones.
	w.snap, err = registry.Compile(8, &registry.Definitions{})
	check(t, err)
	if _, err := w.svc.Prune(t.Context(), false, nil); problem.CodeOf(err) != problem.Conflict {
		t.Errorf("prune under an older server: %v", err)
	}
	server.Revision = 9
	beat()
	if _, err := w.svc.Prune(t.Context(), false, nil); problem.CodeOf(err) != problem.Conflict {
		t.Errorf("prune by older definitions: %v", err)
	}
	server.Revision = 8
	beat()
	w.want(w.prune(), "2 v view deleted")
}

// What a run is writing stays, and of a store that lost its data the records go, but for what must be told to be lost.
func TestPruneBesideRuns(t *testing.T) {
	w := one(t)
	w.fourFiles()
	w.run(materialize.Request{})
	s, writing := w.hangs()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := w.inBackground(ctx, w.service(s, nil), materialize.Request{Full: true})
	<-writing
	w.want(w.prune(), "")
	cancel()
	<-done
	w.want(w.prune(), "2 v abandoned")
	w.lose()
	w.now = w.now.Add(time.Hour)
	w.want(w.prune(), "")
	w.wantState(materialize.ViewLost)
	w.run(materialize.Request{})
	w.want(w.prune(), "")
	if w.generations() != 1 {
		t.Errorf("%d generations", w.generations())
	}
	w.wantState(materialize.ViewOK)
}

// A prune that is cut short is gone on with.
func TestPruneAgain(t *testing.T) {
	w := one(t)
	w.fourFiles()
	w.run(materialize.Request{})
	w.run(materialize.Request{Full: true})
	w.now = w.now.Add(time.Hour)
	s := &intercepted{Store: w.store}
	s.before = func(_ context.Context, call string) error {
		if call == "drop" {
			return errCut
		}
		return nil
	}
	if _, err := w.service(s, nil).Prune(t.Context(), false, nil); problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("a store that fails: %v", err)
	}
	w.want(w.prune(), "1 v retired")
}
