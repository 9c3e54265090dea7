package fault

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/link"
	"github.com/provender-dev/provender/test/project"
)

func newLink(t *testing.T, target string) *link.Link {
	t.Helper()
	l, err := link.New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// TestLinkFails stops a run when its first batch is acknowledged, does harm to the link, and lets the run go on.
func TestLinkFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		harm       func(*link.Link)
		parameters string // of the store's URL
		fails      bool   // the run, surely
		silent     bool   // nobody gets an answer meanwhile
	}{
		{"severed", (*link.Link).Sever, project.Patient, true, true},
		{"connections reset", (*link.Link).Lose, project.Patient, false, false},
		{"hangs", (*link.Link).Hang, "", true, true},
		{"slow", func(l *link.Link) { l.Slow(20 * time.Millisecond) }, project.Patient, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLink(t, onlinetest.StartRedisServer(t).Addr)
			store := "redis://" + l.Addr + c.parameters
			w := newWorld(t, store)
			w.addBeside(store)
			w.Must("materialize")
			s := w.serve("")
			r := s.read()
			r.answered()
			before := w.status()
			w.put("second", 2, 0, drivers)
			run := w.Start(stop(failpoint.RunAfterWrite), "materialize", "--env", beside)
			run.AwaitStop()
			c.harm(l)
			if c.silent {
				r.refused()
			}
			got := run.Resume()
			if c.fails || got.Code != 0 {
				w.failed(got, "online store")
				l.Restore()
				r.answered()
				w.recordedNothing(before)
			}
			l.Restore()
			r.answered()
			w.clean()
			r.check()
		})
	}
}

// TestCutAnywhere severs the link after so many bytes of a run, at first or later, in the middle of a command or not.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testenv.Long() {
		rounds = 200
	}
	rnd := testenv.Rand(t)
	l := newLink(t, onlinetest.StartRedisServer(t).Addr)
	w := newWorld(t, "redis://"+l.Addr+project.Patient)
	w.Must("materialize")
	failures := 0
	for round := range rounds {
		w.put("again", 2+round, 0, drivers)
		args := []string{"materialize"}
		if rnd.IntN(3) == 0 {
			args = append(args, "--full")
		}
		before := w.status()
		l.SeverAfter(rnd.IntN(600_000))
		r := w.Run(args...)
		l.Restore()
		if r.Code != 0 {
			failures++
			w.failed(r)
			w.recordedNothing(before)
		}
		w.clean()
	}
	t.Logf("%d of %d runs failed", failures, rounds)
}

// TestOutOfMemory: a Redis that takes no more rows fails the run, and goes on to answer for those it has.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	server := onlinetest.StartRedisServer(t, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
	w := newWorld(t, server.URL+project.Patient)
	w.Must("materialize")
	before := w.status()
	r := w.serve("").read()
	w.put("many", 2, 0, 14*drivers)
	for range 2 {
		w.fails([]string{"no memory left"}, "materialize")
		if st := w.recordedNothing(before); st.State != "failed" || !strings.Contains(st.Error, "no memory left") {
			t.Errorf("status %+v", st)
		}
	}
	r.answered()
	configure(t, server, "maxmemory", "0")
	w.clean()
	r.check()
	if _, refusals := r.counts(); refusals > 0 {
		t.Errorf("%d lookups were refused: %s", refusals, r.last)
	}
}

func configure(t *testing.T, server *onlinetest.Redis, setting, value string) {
	t.Helper()
	if err := server.Client(t).ConfigSet(t.Context(), setting, value).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestEviction: a Redis that evicts loses rows in silence. Provender warns of it, finds what is gone, and never has a
// wrong value for one.
func TestEviction(t *testing.T) {
	t.Parallel()
	server := onlinetest.StartRedisServer(t, "--maxmemory-policy", "allkeys-lru")
	w := newWorld(t, server.URL+project.Patient)
	w.Must("materialize")
	if doctor := w.Run("doctor"); !strings.Contains(doctor.Stdout, "allkeys-lru") {
		t.Errorf("doctor: %+v", doctor)
	}
	s := w.serve("")
	evicts := func(want float64) {
		t.Helper()
		testenv.Until(t, "the metric tells the policy", func() bool { return s.Metric("provender_store_eviction") == want })
	}
	evicts(1)
	configure(t, server, "maxmemory-policy", "noeviction")
	evicts(0)
	configure(t, server, "maxmemory-policy", "allkeys-lru")
	s.Signal(syscall.SIGTERM)
	s.Wait()
	configure(t, server, "maxmemory", "8mb")
	w.put("many", 2, 0, 14*drivers)
	run := w.Run("materialize") // may notice that the rows' marker was evicted
	configure(t, server, "maxmemory-policy", "noeviction")
	configure(t, server, "maxmemory", "0")
	if run.Code != 0 {
		w.failed(run)
	}
	lost := w.status().State == "lost"
	switch verify := w.Run("verify", "--full", "-o", "json"); verify.Code {
	case 3:
		var r struct {
			Views []struct{ Wrong, Missing, Extra int }
		}
		w.decode(verify.Stdout, &r)
		if v := r.Views[0]; v.Wrong > 0 || v.Missing == 0 || v.Extra > 0 {
			t.Errorf("verify: %+v", v)
		}
	case 1:
		if !lost {
			t.Errorf("verify: %+v", verify)
		}
	default:
		t.Errorf("verify: %+v", verify)
	}
	if !lost {
		missing := 0
		for d, got := range w.get(0, drivers) {
			switch {
			case got.Trips.Status == "NOT_FOUND":
				missing++
			case got.Trips.Status != "PRESENT" || string(got.Trips.Value) != fmt.Sprint(trips(d, 2)):
				t.Errorf("driver %d: %s", d, got)
			}
		}
		t.Logf("%d of %d drivers are missing", missing, drivers)
	}
	w.Must("materialize", "--full")
	w.equal()
}

// TestStoreLoses: a store that loses everything, between runs or in the middle of one. Lookups are refused until the
// next run has filled it anew; nobody is told that a driver is absent, or what was true earlier.
func TestStoreLoses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(*testing.T, *onlinetest.Redis)
	}{
		{"FLUSHALL", func(t *testing.T, server *onlinetest.Redis) {
			if err := server.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}},
		{"restart without a snapshot", func(t *testing.T, server *onlinetest.Redis) {
			server.Kill()
			server.Restart(t)
		}},
		{"restart from an older snapshot", func(t *testing.T, server *onlinetest.Redis) {
			server.Kill()
			server.Restart(t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := onlinetest.StartRedisServer(t, "--dir", t.TempDir())
			w := newWorld(t, server.URL+project.Patient)
			w.addBeside(server.URL + project.Patient)
			w.Must("materialize")
			if strings.Contains(c.name, "older") {
				if err := server.Client(t).Save(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			w.put("second", 2, 0, drivers)
			w.Must("materialize")
			s := w.serve("")
			r := s.read()
			r.answered()

			// Between runs.
			r.mayGoBack(true)
			c.lose(t, server)
			r.lost()
			r.mayGoBack(false)
			if st := w.status(); st.State != "lost" {
				t.Errorf("status %+v", st)
			}
			if verify := w.Run("verify", "--full"); verify.Code != 1 {
				t.Errorf("verify: %+v", verify)
			}
			w.clean()
			r.answered()

			// In the middle of one: of an incremental run, then of a full one.
			for i, args := range [][]string{{}, {"--full"}} {
				w.put(fmt.Sprint("mid", i), 4+i, 0, drivers)
				before := w.status()
				run := w.Start(stop(failpoint.RunAfterWrite), append([]string{"materialize", "--env", beside}, args...)...)
				run.AwaitStop()
				r.mayGoBack(true)
				c.lose(t, server)
				w.failed(run.Resume())
				r.lost()
				w.recordedNothing(before)
				w.clean()
				r.mayGoBack(false)
				r.answered()
			}
			r.check()
		})
	}
}

// TestPromotedReplica: a replica that was cut off becomes the primary, and has not what was acknowledged since.
func TestPromotedReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		point string // at which the run stands when the replica is promoted; "": the run is over
	}{
		{"between runs", ""},
		{"in mid-run", failpoint.RunAfterWrite},
		{"before the commit", failpoint.RunBeforeCommit},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			primary, replica := onlinetest.StartRedisServer(t, "--dir", t.TempDir()), onlinetest.StartRedisServer(t, "--dir", t.TempDir())
			replication, address := newLink(t, primary.Addr), newLink(t, primary.Addr)
			follow(t, replica, replication.Addr)
			w := newWorld(t, "redis://"+address.Addr+project.Patient)
			w.addBeside("redis://" + address.Addr + project.Patient)
			w.Must("materialize")
			caughtUp(t, primary)
			r := w.serve("").read()
			r.answered()
			before := w.status()

			replication.Sever()
			w.put("second", 2, 0, drivers)
			var run *project.Process
			if c.point == "" {
				w.Must("materialize", "--env", beside)
			} else {
				run = w.Start(stop(c.point), "materialize", "--env", beside)
				run.AwaitStop()
			}
			primary.Kill()
			r.refused()
			promote(t, replica)
			r.mayGoBack(true)
			address.Lead(replica.Addr)
			switch c.point {
			case "":
				r.lost()
				if st := w.status(); st.State != "lost" {
					t.Errorf("status %+v", st)
				}
			case failpoint.RunAfterWrite:
				w.failed(run.Resume())
				w.recordedNothing(before)
			default:
				run.Resume() // it has seen the store for the last time: what it records the next run finds lost
			}
			w.clean()
			r.mayGoBack(false)
			r.answered()
			r.check()
		})
	}
}

// follow makes a server the replica of another, and waits until it is in step.
func follow(t *testing.T, replica *onlinetest.Redis, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	client := replica.Client(t)
	if err := client.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "the replica follows", func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
}

// caughtUp waits until the primary's replica has all that was written.
func caughtUp(t *testing.T, primary *onlinetest.Redis) {
	t.Helper()
	client := primary.Client(t)
	// WAIT is about what this connection wrote: so it writes.
	if err := client.Set(t.Context(), "canary", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "the replica has caught up", func() bool { return client.Wait(t.Context(), 1, time.Second).Val() == 1 })
}

// promote makes a replica a primary.
func promote(t *testing.T, replica *onlinetest.Redis) {
	t.Helper()
	if err := replica.Client(t).ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
}
