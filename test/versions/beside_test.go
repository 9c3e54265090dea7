package versions

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/load"
	"github.com/provender-dev/provender/test/project"
)

const busy = "is being materialized by"

// TestBeside has the version before and this one serve side by side on one registry and one Redis, in both orders of
// coming, while both apply definitions, run and rebuild. Through both, no answer is wrong, and both find all in order.
func TestBeside(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, s *site) {
		t.Parallel()
		was, is := s.side("old", old(t)), s.side("new", "")
		for _, sides := range [][2]*side{{was, is}, {is, was}} {
			beside(t, s, sides[0], sides[1])
		}
	})
}

func beside(t *testing.T, s *site, first, second *side) {
	t.Helper()
	days := s.version
	first.define(days, false)
	second.define(days, false)
	first.Must("apply", "--yes")
	first.Must("materialize")
	a := first.serve()
	b := second.serve()
	both := func() {
		t.Helper()
		a.follows()
		b.follows()
	}
	both()
	for i, x := range []*side{second, first} {
		other := []*side{first, second}[i]
		s.put(fmt.Sprint("late", i), 100*i, 300)
		x.Must("materialize")
		both()
		s.put("all", 0, drivers) // changed: a rebuild
		x.Must("materialize")
		both()
		other.Must("verify", "--full")

		// Definitions that need no new generation, then some that do, and back.
		days++
		x.define(days, false)
		x.Must("apply", "--yes")
		other.define(days, true)
		other.Must("apply", "--yes")
		s.put("more", 200, drivers)
		x.Must("materialize")
		both()
		for _, through := range []*server{a, b} {
			out := x.Must("get", "--server", through.GRPC, "--features", "stats:journeys", "--entity", "driver=350")
			if want := fmt.Sprint(load.Trips(350, s.version)); !strings.Contains(out, want) {
				t.Errorf("%s asks %s: no %s in %s", x.name, through.side.name, want, out)
			}
		}
		x.Must("rollback", fmt.Sprint(revision(t, x)-1), "--yes")
		other.Must("materialize")
		other.Must("verify", "--full")

		// Both at once.
		s.put("once", 0, 250)
		runs := []*project.Process{first.Start("", "materialize"), second.Start("", "materialize")}
		for _, run := range runs {
			if r := run.Wait(); r.Code != 0 && !strings.Contains(r.Stderr, busy) {
				t.Errorf("%+v", r)
			}
		}
		both()
	}
	first.sound()
	second.sound()
	a.end() // one by one, as in an upgrade
	s.put("last", 0, drivers)
	second.Must("materialize", "--full")
	b.follows()
	b.end()
	second.sound()
	first.sound()
}

func revision(t *testing.T, x *side) (number int) {
	t.Helper()
	out := x.Must("show", "view", "stats", "-o", "json")
	if _, err := fmt.Sscan(strings.SplitN(strings.SplitN(out, `"revision": `, 2)[1], ",", 2)[0], &number); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return number
}

// TestTakenOver kills runs and rebuilds of one version at each step; the other one makes good what was left.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, s *site) {
		t.Parallel()
		was, is := s.side("old", old(t)), s.side("new", "")
		was.Must("apply", "--yes")
		was.Must("materialize")
		for _, sides := range [][2]*side{{was, is}, {is, was}} {
			dies, heir := sides[0], sides[1]
			for _, step := range []struct {
				point string
				args  []string
			}{
				{failpoint.RunAfterWrite, nil},
				{failpoint.RunAfterCommit, nil},
				{failpoint.RunAfterWrite, []string{"--full"}},
				{failpoint.SwapBeforeCommit, []string{"--full"}},
				{failpoint.SwapAfterCommit, []string{"--full"}},
			} {
				s.put("late", 0, 300)
				if !dies.Killed(step.point+"=kill", 0, append([]string{"materialize"}, step.args...)...) {
					t.Fatalf("%s: not killed", step.point)
				}
				heir.sound()
			}
			dies.sound()
		}
	})
}

// TestEmbeddedInTurn has both work on one folder in turn, as who upgrades and goes back does, and the commands of one
// ask the server of the other.
func TestEmbeddedInTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "sqlite://.provender/registry.db", project.Embedded)
	is := s.side("new", "")
	was := is.with(s.side("old", old(t)))
	was.Must("apply", "--yes")
	was.sound()
	for turn, sides := range [][2]*side{{is, was}, {was, is}, {is, was}} {
		server, asks := sides[0], sides[1]
		running := server.serve()
		s.put(fmt.Sprint("turn", turn), 50*turn, drivers)
		asks.Must("materialize") // by the server
		running.follows()
		asks.define(turn+1, turn%2 == 0)
		asks.Must("apply", "--yes")
		asks.Must("materialize", "--full")
		asks.sound()
		for _, args := range [][]string{{"status"}, {"runs"}, {"list", "views"}, {"history"}, {"plan"}, {"doctor"}, {"prune"}} {
			asks.Must(args...)
		}
		running.end()
		server.sound()
		asks.sound()
	}
}

// TestFiles: what one version writes for later, the other one reads: plans, exports of registries, manifests.
func TestFiles(t *testing.T) {
	t.Parallel()
	site := newSite(t, "sqlite://.provender/registry.db", onlinetest.StartRedis(t)+project.Patient)
	is := site.side("new", "")
	was := is.with(site.side("old", old(t)))
	path := func(name string) string { return filepath.Join(is.Dir, name) }
	for i, sides := range [][2]*side{{was, is}, {is, was}} {
		writes, reads := sides[0], sides[1]
		writes.define(i, false)
		writes.Must("plan", "--out", "the.plan")
		reads.Must("apply", "the.plan", "--yes")
		writes.Must("registry", "export", "--out", "written.jsonl")
		reads.Must("registry", "export", "--out", "again.jsonl")
		same(t, path("written.jsonl"), path("again.jsonl"))
		reads.Must("registry", "import", "written.jsonl")

		spine := "driver,at\n1,2035-01-01T00:00:00Z\n7," + site.base.Add(72e9*60).Format("2006-01-02T15:04:05Z") + "\n"
		writes.Write("spine.csv", spine)
		export := []string{"--features", "stats:trips,stats:rating", "--spine", "spine.csv", "--time", "at"}
		writes.Must(append([]string{"export", "--out", "set.parquet"}, export...)...)
		reads.Must("export", "--from-manifest", "set.parquet.manifest.json", "--out", "again.parquet")
		same(t, path("set.parquet"), path("again.parquet"))
	}
}

func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Errorf("%s and %s differ", a, b)
	}
}
