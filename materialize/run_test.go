package materialize_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/registry"
)

// last is the T that a run takes by default when now is noon.
var last = noon.Add(-time.Second)

func TestFirstRun(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		if st := w.wantState(materialize.ViewNever); st.PendingFiles != 0 || st.Error == "" {
			t.Errorf("no files: %+v", st)
		}
		keyless := at("x", 5, 9)
		keyless.K = nil
		nothing := at("c", 5, 1)
		nothing.F = nil
		w.write("1.parquet",
			at("a", 60, 1), at("a", 30, 2), at("b", 10, 3), keyless, at("b", 20, 4),
			at("c", 30, 7), nothing,
			at("tie", 30, 1).created(20), at("tie", 30, 2).created(10), at("tie", 30, 3).created(15), at("tie", 30, 4),
			at("old", 7*60, 5), at("older", 13*60, 6),
		)
		w.write("2.parquet", at("b", 10, 3), at("d", -60, 8)) // a duplicate, and a row of the future
		run := w.run(materialize.Request{})
		want := materialize.Run{
			ID: run.ID, View: "v", Revision: 7, Generation: run.Generation, Trigger: "command", By: w.cfg.By,
			State: materialize.RunSucceeded, Full: true, Reason: "first run", T: last, Started: noon, Finished: noon,
			Files: 2, RowsRead: run.RowsRead, Written: 5, Held: 1, NullKeys: 1, Ties: run.Ties, Attempt: 1, Queued: noon,
			BytesRead: w.size("1.parquet", "2.parquet"), BytesWritten: run.BytesWritten, Phases: run.Phases,
			Rejects: []materialize.Reject{{Reason: "null key", Rows: 1, Samples: run.Rejects[0].Samples}},
		}
		if diff := cmp.Diff(want, run); diff != "" {
			t.Error(diff)
		}
		if run.BytesWritten < 5*16 || run.BytesWritten > 5*64 {
			t.Errorf("%d bytes written", run.BytesWritten)
		}
		var phases []string
		for _, p := range run.Phases {
			phases = append(phases, p.Name)
		}
		w.want(strings.Join(phases, " "), "list read write commit")
		w.want(w.values("a", "b", "c", "d", "tie", "old", "older"), "2 20 | 3 30 | null 10 | - | 2 20 | EXPIRED | -")
		if w.changed != 1 {
			t.Errorf("Changed was called %d times", w.changed)
		}
		report := w.clean()
		if report.T != last || report.ReadTime != noon || report.Entities != 6 || report.Cells != 12 {
			t.Errorf("report %+v", report)
		}
		st := w.wantState(materialize.ViewOK)
		if st.Generation != run.Generation || st.Written != 5 || st.T != last || st.NewestEvent != noon.Add(-5*time.Minute) ||
			st.Lag != 5*time.Minute || st.LastRun.ID != run.ID || st.Held != 1 || st.PendingFiles != 0 || st.Error != "" {
			t.Errorf("status %+v", st)
		}
		live, err := w.svc.Live(t.Context())
		check(t, err)
		if live[0].T != last.UnixMicro() || live[0].Digest != w.snap.Views["v"].Digest || len(live[0].Fields) != 2 || live[0].Keys[0].Name != "k" {
			t.Errorf("live %+v", live)
		}
		// Nothing new: nothing is read, T moves.
		w.now = noon.Add(time.Minute)
		if run := w.run(materialize.Request{Trigger: "schedule"}); run.Files != 0 || run.Written != 0 || run.Full || run.Trigger != "schedule" || run.T != w.now.Add(-time.Second) {
			t.Errorf("a run without news: %+v", run)
		}
		runs, err := w.svc.Runs(t.Context(), []string{"v"}, 0)
		check(t, err)
		if len(runs) != 2 || runs[0].Trigger != "schedule" {
			t.Errorf("runs %+v", runs)
		}
		w.clean()
	})
}

// Late data is never lost: a new file is read whatever its event times.
func TestLateRows(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 50, 2))
		w.run(materialize.Request{})
		w.write("0.parquet", at("a", 20, 7), at("b", 40, 8), at("c", 300, 9))
		if st := w.status(); st.PendingFiles != 1 {
			t.Errorf("pending %d", st.PendingFiles)
		}
		run := w.run(materialize.Request{})
		if run.Files != 1 || run.Full || run.Older != 1 || run.Written != 2 {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("a", "b", "c"), "1 10 | 8 80 | 9 90")
		w.clean()
	})
}

// T is inclusive; rows after it are held until a T that covers them, and only then read again.
func TestHeldRows(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		to := func(minutes float64) materialize.Request {
			return materialize.Request{To: noon.Add(-time.Duration(minutes * float64(time.Minute)))}
		}
		micro := at("edge", 60, 2)
		micro.Event++
		w.write("1.parquet", at("a", 90, 1), at("edge", 60, 1), micro, at("a", 40, 2), at("a", 20, 3))
		w.write("2.parquet", at("b", 90, 1))
		run := w.run(to(60))
		if run.Held != 3 || run.Files != 2 {
			t.Errorf("first run %+v", run)
		}
		if st := w.status(); st.Held != 3 {
			t.Errorf("held %d", st.Held)
		}
		if got := w.read(noon.Add(-time.Hour), "edge", "a", "b"); strings.Join(got, " | ") != "1 10 | 1 10 | 1 10" {
			t.Errorf("at T: %v", got)
		}
		w.clean()
		run = w.run(materialize.Request{To: noon.Add(-time.Hour).Add(time.Microsecond)})
		if run.Files != 1 || run.Held != 2 || run.Full {
			t.Errorf("a microsecond later: %+v", run)
		}
		w.want(w.values("edge", "a"), "2 20 | 1 10")
		w.clean()
		if run = w.run(to(41)); run.Files != 0 || run.Held != 0 {
			t.Errorf("no held row is due: %+v", run)
		}
		if st := w.status(); st.Held != 2 || st.PendingFiles != 0 {
			t.Errorf("status %+v", st)
		}
		w.clean()
		if run = w.run(to(40)); run.Files != 1 || run.Held != 1 {
			t.Errorf("one is due: %+v", run)
		}
		w.want(w.values("a"), "2 20")
		w.clean()
		if run = w.run(materialize.Request{}); run.Files != 1 || run.Held != 0 {
			t.Errorf("all are due: %+v", run)
		}
		w.want(w.values("a"), "3 30")
		w.clean()
		if run = w.run(materialize.Request{}); run.Files != 0 || w.status().Held != 0 {
			t.Errorf("nothing is held any more: %+v", run)
		}
	})
}

// A file that a later run reads beside one with held rows is not taken for one that holds rows itself.
func TestHeldIsPerFile(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 10, 1), at("future", -24*60, 1))
	w.run(materialize.Request{})
	for i := range 4 {
		w.now = w.now.Add(time.Minute)
		w.write("new"+string(rune('a'+i))+".parquet", at("b", 9-float64(i), float64(i)))
		if run := w.run(materialize.Request{}); run.Files != 1 {
			t.Errorf("run %d read %d files", i, run.Files)
		}
	}
	if st := w.status(); st.Held != 1 {
		t.Errorf("held %d", st.Held)
	}
	w.now = noon.Add(24*time.Hour + time.Minute)
	if run := w.run(materialize.Request{}); run.Files != 1 || run.Written != 1 {
		t.Errorf("when it is due: %+v", run)
	}
	w.clean()
}

// Equal event time, later created time: the correction reaches serving; an older one does not take it back.
func TestCorrections(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1).created(9), at("b", 10, 1).created(5), at("up", 10, 1), at("down", 10, 2))
		w.run(materialize.Request{})
		w.write("2.parquet", at("a", 10, 2).created(8), at("b", 10, 2).created(6))
		w.run(materialize.Request{})
		w.want(w.values("a", "b"), "2 20 | 1 10")
		w.write("3.parquet", at("a", 10, 5).created(8), at("b", 10, 0), // an exact tie, and a row without created time
			at("up", 10, 2), at("down", 10, 1)) // exact ties: whichever encoding is greater stays
		w.run(materialize.Request{})
		report := w.clean()
		if report.Cells != 8 {
			t.Errorf("report %+v", report)
		}
	})
}

// A changed or deleted file makes the run fill a new generation; the old one serves until the swap and goes later.
func TestRebuild(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 10, 1))
		w.write("2.parquet", at("c", 10, 1))
		first := w.run(materialize.Request{})
		w.write("1.parquet", at("a", 30, 5), at("d", 20, 5)) // a is older now, b has vanished
		if st := w.status(); st.PendingFiles != 1 {
			t.Errorf("pending %d", st.PendingFiles)
		}
		if r := w.verify(materialize.VerifyRequest{}); !strings.Contains(r.Note, "1.parquet") {
			t.Errorf("verify does not tell of the changed file: %+v", r)
		}
		second := w.run(materialize.Request{})
		if !second.Full || second.Reason != "source files changed: 1 changed" || second.Generation <= first.Generation || second.Files != 2 {
			t.Errorf("run %+v", second)
		}
		w.want(w.values("a", "b", "c", "d"), "5 50 | - | 1 10 | 5 50")
		w.clean()
		w.remove("2.parquet")
		w.now = noon.Add(2 * time.Minute)
		third := w.run(materialize.Request{})
		if third.Reason != "source files changed: 1 deleted" || third.Files != 1 {
			t.Errorf("run %+v", third)
		}
		w.want(w.values("a", "c"), "5 50 | -")
		w.clean()
		// The first generation was retired more than a minute ago, the second just now.
		gens, err := w.state.Generations(t.Context(), "v")
		check(t, err)
		if len(gens) != 2 || gens[0].ID != second.Generation || gens[0].Phase != state.Retired || gens[1].ID != third.Generation {
			t.Errorf("generations %+v", gens)
		}
		lost, err := w.store.CheckGenerations(t.Context(), []online.Checkpoint{{ID: first.Generation}, {ID: second.Generation}, {ID: third.Generation}})
		check(t, err)
		if len(lost) != 1 || lost[0] != first.Generation {
			t.Errorf("dropped %v", lost)
		}
		w.now = noon.Add(4 * time.Minute)
		w.run(materialize.Request{})
		if gens, _ := w.state.Generations(t.Context(), "v"); len(gens) != 1 {
			t.Errorf("generations %+v", gens)
		}
		w.clean()
	})
}

// With rewrites: replace a changed file's rows replace stored rows of equal times; what vanished stays, and is told.
func TestReplace(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = snapshot(replace)
		w.write("1.parquet", at("a", 10, 5).created(9), at("b", 10, 5))
		w.write("2.parquet", at("c", 10, 5))
		first := w.run(materialize.Request{})
		w.write("1.parquet", at("a", 10, 1).created(9), at("d", 5, 1)) // a smaller value at equal times; b has vanished
		run := w.run(materialize.Request{})
		if run.Full || run.Generation != first.Generation || run.Files != 1 {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("a", "b", "c", "d"), "1 10 | 5 50 | 5 50 | 1 10")
		w.wantState(materialize.ViewDiverged)
		r := w.verify(materialize.VerifyRequest{Full: true})
		if !strings.Contains(r.Note, "diverged since") || r.Extra != 2 || r.Wrong != 0 || r.Missing != 0 {
			t.Errorf("verify %+v", r)
		}
		// Repeating changes nothing; a deleted file keeps it diverged.
		if run = w.run(materialize.Request{}); run.Files != 0 {
			t.Errorf("run %+v", run)
		}
		w.remove("2.parquet")
		if st := w.status(); st.PendingFiles != 1 {
			t.Errorf("pending %d", st.PendingFiles)
		}
		if run = w.run(materialize.Request{}); run.Full || run.Files != 0 || w.status().PendingFiles != 0 {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("c"), "5 50")
		// A new file is read beside a changed one, and R4 holds between them.
		w.write("1.parquet", at("a", 10, 0).created(9), at("d", 5, 1))
		w.write("3.parquet", at("a", 10, 3).created(9))
		w.run(materialize.Request{})
		w.want(w.values("a"), "3 30")
		w.wantState(materialize.ViewDiverged)
		if run = w.run(materialize.Request{Full: true}); !run.Full || run.Reason != "--full" {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("a", "b", "c", "d"), "3 30 | - | - | 1 10")
		w.wantState(materialize.ViewOK)
		w.clean()
	})
}

func TestT(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("a", -30, 2))
		w.fails(materialize.Request{To: noon.Add(time.Microsecond)}, problem.Invalid, "in the future", "--allow-future")
		w.run(materialize.Request{To: noon})
		w.fails(materialize.Request{To: noon.Add(-time.Microsecond)}, problem.Invalid, "before the last one", "2026-05-01T12:00:00Z")
		w.fails(materialize.Request{To: noon.Add(-time.Microsecond), Full: true}, problem.Invalid, "before the last one")
		if st := w.wantState(materialize.ViewOK); st.T != noon {
			t.Errorf("a refused T is no failure of the view: %+v", st)
		}
		w.run(materialize.Request{To: noon})
		// The default is a second behind now, and never before the last T.
		if run := w.run(materialize.Request{}); run.T != noon {
			t.Errorf("T %v", run.T)
		}
		ahead := noon.Add(time.Hour)
		if run := w.run(materialize.Request{To: ahead, AllowFuture: true}); run.T != ahead || run.Files != 1 {
			t.Errorf("run %+v", run)
		}
		w.clean()
		// A T in the future, or a clock that was set back, does not freeze later runs: new files are still read.
		w.now = noon.Add(-365 * 24 * time.Hour)
		w.write("2.parquet", at("b", 10, 3))
		if run := w.run(materialize.Request{}); run.T != ahead || run.Written != 1 {
			t.Errorf("run %+v", run)
		}
		w.now = noon.Add(365 * 24 * time.Hour)
		if run := w.run(materialize.Request{}); run.T != w.now.Add(-time.Second) {
			t.Errorf("run %+v", run)
		}
		w.clean()
	})
}

// A process that has not seen the latest apply does not undo it.
func TestOlderRevision(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 10, 1))
	older := *w.snap
	w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) {
		v.Features[1].Column = "f"
		v.Features[1].Type = v.Features[0].Type
	})
	w.snap.Revision = older.Revision + 1
	run := w.run(materialize.Request{})
	newer := w.snap
	w.snap = &older
	w.fails(materialize.Request{}, problem.Conflict, "still has revision")
	w.snap = newer
	if again := w.run(materialize.Request{}); again.Generation != run.Generation {
		t.Errorf("run %+v after %+v", again, run)
	}
	w.clean()
}

// A changed definition starts a new generation; the old one serves until then.
func TestDefinitionChanged(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1))
		first := w.run(materialize.Request{})
		w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) {
			v.Features[1].Column = "f"
			v.Features[1].Type = v.Features[0].Type
		})
		w.wantState(materialize.ViewStale)
		if live, err := w.svc.Live(t.Context()); err != nil || live[0].ID != first.Generation {
			t.Errorf("live %+v %v", live, err)
		}
		if r := w.verify(materialize.VerifyRequest{}); !strings.Contains(r.Note, "definition changed") || r.Cells != 0 {
			t.Errorf("verify %+v", r)
		}
		run := w.run(materialize.Request{})
		if run.Reason != "definition changed" || run.Generation == first.Generation {
			t.Errorf("run %+v", run)
		}
		w.wantState(materialize.ViewOK)
		w.clean()
		// What changes no row changes no generation.
		w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) {
			v.Features[1].Column = "f"
			v.Features[1].Type = v.Features[0].Type
			v.Schedule, v.Description = "* * * * *", "other"
		})
		if next := w.run(materialize.Request{}); next.Generation != run.Generation {
			t.Errorf("run %+v", next)
		}
	})
}

// Rows that a shorter ttl had no use for are needed by a longer one.
func TestTTLRaised(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 13*60, 1), at("b", 7*60, 2))
		first := w.run(materialize.Request{})
		w.want(w.values("a", "b"), "- | EXPIRED")
		longer := func(d time.Duration) {
			w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.TTL = d })
		}
		longer(3 * time.Hour)
		if run := w.run(materialize.Request{}); run.Full {
			t.Errorf("a shorter ttl: %+v", run)
		}
		w.clean()
		longer(6 * time.Hour)
		w.wantState(materialize.ViewStale)
		run := w.run(materialize.Request{})
		if run.Reason != "ttl raised" || run.Generation == first.Generation {
			t.Errorf("run %+v", run)
		}
		w.clean()
		longer(0)
		if run = w.run(materialize.Request{}); run.Reason != "ttl raised" {
			t.Errorf("run %+v", run)
		}
		w.want(w.values("a", "b"), "1 10 | 2 20")
		w.clean()
	})
}

// A rehearsal on old data: rows must not expire by the wall clock.
func TestRehearsal(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 60, 2))
		w.now = noon.Add(10 * 365 * 24 * time.Hour)
		w.run(materialize.Request{To: noon})
		if got := strings.Join(w.read(noon, "a", "b"), " | "); got != "1 10 | 2 20" {
			t.Errorf("at T: %s", got)
		}
		w.want(w.values("a"), "NOT_FOUND")
		w.clean()
	})
}

// Rows of the present expire when they can no longer be part of an answer, and not before.
func TestExpiry(t *testing.T) {
	r := onlinetest.StartRedisServer(t)
	w := newWorld(t, backend{URL: r.URL, redis: r})
	w.now = time.Now().UTC()
	event := w.now.Add(-time.Hour)
	w.write("1.parquet", fact{K: new("a"), Event: event.UnixMicro()})
	w.run(materialize.Request{})
	w.clean()
	c := r.Client(t)
	expires := 0
	for _, key := range c.Keys(t.Context(), "*").Val() {
		if at := c.PExpireTime(t.Context(), key).Val(); at > 0 {
			expires++
			until := time.UnixMilli(at.Milliseconds())
			if early, late := event.Add(2*ttl), event.Add(2*ttl+48*time.Hour); until.Before(early) || until.After(late) {
				t.Errorf("key %q expires at %v, want between %v and %v", key, until, early, late)
			}
		}
	}
	if expires != 1 {
		t.Errorf("%d keys expire", expires)
	}
}

func TestNothingToRead(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.fails(materialize.Request{}, problem.CodeOf(w.status0()), "lake:s")
		if st := w.wantState(materialize.ViewFailed); st.Error == "" || st.LastRun == nil || st.LastRun.Error == "" || st.T != (time.Time{}) {
			t.Errorf("status %+v", st)
		}
		w.write("1.parquet")
		run := w.run(materialize.Request{})
		if run.Files != 1 || run.Written != 0 || run.T != last {
			t.Errorf("run %+v", run)
		}
		if st := w.wantState(materialize.ViewOK); !st.NewestEvent.IsZero() || st.Lag != 0 {
			t.Errorf("status %+v", st)
		}
		if r := w.clean(); r.Entities != 0 {
			t.Errorf("report %+v", r)
		}
		w.write("2.parquet", at("a", -60, 1))
		w.run(materialize.Request{})
		w.want(w.values("a"), "-")
		w.clean()
	})
}

func TestWhichViews(t *testing.T) {
	w := one(t)
	w.fails(materialize.Request{Views: []string{"V"}}, problem.NotFound, `did you mean "v"?`)
	if _, err := w.svc.Status(t.Context(), []string{"V"}); problem.CodeOf(err) != problem.NotFound {
		t.Errorf("status: %v", err)
	}
	if _, err := w.svc.Verify(t.Context(), materialize.VerifyRequest{Views: []string{"V"}}, nil); problem.CodeOf(err) != problem.NotFound {
		t.Errorf("verify: %v", err)
	}
	w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.Online = false })
	w.fails(materialize.Request{Views: []string{"v"}}, problem.Invalid, "online: false")
	if runs, err := w.svc.Run(t.Context(), materialize.Request{}, nil); err != nil || len(runs) != 0 {
		t.Errorf("runs %v, %v", runs, err)
	}
	w.wantState(materialize.ViewOffline)
	if r := w.verify(materialize.VerifyRequest{Views: []string{"v"}}); r.Note != "online: false" {
		t.Errorf("verify %+v", r)
	}
}

// One view that fails does not stop the others.
func TestOtherViewsGoOn(t *testing.T) {
	w := one(t)
	defs := definitions(nil)
	broken, src := *defs.Views[0], *defs.Sources[0]
	broken.Name, broken.Source, src.Name, src.Parquet = "a", "broken", "broken", []string{"lake:none/**"}
	defs.Views = append(defs.Views, &broken)
	defs.Sources = append(defs.Sources, &src)
	snap, err := registry.Compile(1, defs)
	check(t, err)
	w.snap = snap
	w.write("1.parquet", at("a", 10, 1))
	runs, err := w.svc.Run(t.Context(), materialize.Request{}, nil)
	if err == nil || !strings.Contains(err.Error(), "view a: ") || len(runs) != 2 || runs[0].State != materialize.RunFailed || runs[1].State != materialize.RunSucceeded {
		t.Errorf("runs %+v, %v", runs, err)
	}
	st, err := w.svc.Status(t.Context(), nil)
	check(t, err)
	if len(st) != 2 || st[0].State != materialize.ViewFailed || st[1].State != materialize.ViewOK {
		t.Errorf("status %+v", st)
	}
}

// A global view has one row for everybody.
func TestGlobalView(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.Entities = nil })
		w.write("1.parquet", at("a", 10, 1), at("b", 5, 2))
		if run := w.run(materialize.Request{}); run.Written != 1 {
			t.Errorf("run %+v", run)
		}
		if r := w.clean(); r.Entities != 1 || r.Cells != 2 {
			t.Errorf("report %+v", r)
		}
	})
}
