// Package servers runs several of the real servers on one registry in Postgres and one Redis, as an operator does.
package servers

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

func TestMain(m *testing.M) { project.Main(m) }

const drivers = 300

// machine is a project folder, as each machine has one; all share files, registry and online store.
type machine struct{ *project.Project }

// site is what machines share.
type site struct {
	t        *testing.T
	registry string
	online   string
	lake     *project.Project // whose folder data all read
	base     time.Time
}

func newSite(t *testing.T, registry string) *site {
	t.Helper()
	s := &site{t: t, registry: registry, online: onlinetest.StartRedis(t), base: time.Now().Add(-24 * time.Hour).Truncate(time.Second)}
	s.lake = project.New(t, s.online)
	s.put(1)
	return s
}

func (s *site) machine() machine {
	s.t.Helper()
	p := project.New(s.t, s.online)
	p.Write("provender.yaml", fmt.Sprintf("version: 1\nproject: test\nregistry: %s\nonline: %s\nroots: {lake: %s}\n",
		s.registry, s.online, filepath.Join(s.lake.Dir, "data")))
	p.Write("definitions.yaml", strings.Replace(project.Definitions, "data/**", `"lake:**"`, 1))
	return machine{p}
}

// put replaces the one file of the source by another version, which every value tells.
func (s *site) put(version int) {
	s.t.Helper()
	rows := make([]project.Row, drivers)
	for d := range rows {
		rows[d] = project.Row{
			Driver: int64(d), At: s.base.Add(time.Duration(version) * time.Minute), Written: s.base,
			Trips: int64(version*drivers + d), Rating: new(float64(version)),
		}
	}
	s.lake.Put("all", rows)
}

// server is a server on a machine, with a reader that looks every driver up, time and again.
type server struct {
	*project.Server
	t      *testing.T
	client *client.Client

	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	answers int
	version int
	wrong   []string
}

func (m machine) serve(t *testing.T, failpoints string) *server {
	t.Helper()
	s := &server{t: t, stop: make(chan struct{}), Server: m.Serve(failpoints)}
	var err error
	if s.client, err = client.Dial(t.Context(), s.GRPC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	ids := make([]int64, drivers)
	for d := range ids {
		ids[d] = int64(d)
	}
	request := client.Request{Features: []string{"stats:trips", "stats:rating"}, Keys: []client.Key{client.Int64s("driver", ids...)}}
	s.done.Go(func() {
		pause := time.NewTicker(3 * time.Millisecond) // the machine has others to serve
		defer pause.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-pause.C:
				s.take(s.client.GetFeatures(t.Context(), request))
			}
		}
	})
	t.Cleanup(s.quiet)
	return s
}

// quiet ends the reader.
func (s *server) quiet() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.done.Wait()
}

// take judges an answer: every value is there, all are of one version, and none is older than one that was seen before.
func (s *server) take(answer *client.Response, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers++
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		return
	}
	trips, rating := answer.Columns[0], answer.Columns[1]
	version := int(trips.Int64(0)) / drivers
	if version < s.version {
		s.wrong = append(s.wrong, fmt.Sprintf("version %d after %d", version, s.version))
	}
	s.version = version
	for d := range drivers {
		if trips.Status(d) != client.Present || rating.Status(d) != client.Present ||
			trips.Int64(d) != int64(version*drivers+d) || rating.Float64(d) != float64(version) {
			s.wrong = append(s.wrong, fmt.Sprintf("driver %d in version %d: %s %d, %s %v", d, version,
				trips.Status(d), trips.Int64(d), rating.Status(d), rating.Float64(d)))
			return
		}
	}
}

// follows waits until lookups are answered with a version.
func (s *server) follows(version int) {
	s.t.Helper()
	testenv.Until(s.t, fmt.Sprintf("the server answers with version %d", version), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.version == version
	})
}

// goesOn waits for many more answers.
func (s *server) goesOn() {
	s.t.Helper()
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.answers
	}
	from := count()
	testenv.Until(s.t, "lookups are answered", func() bool { return count() > from+50 })
}

// check ends the reader, and the server if it lives, and returns what that one wrote.
func (s *server) check() string {
	s.t.Helper()
	s.quiet()
	if len(s.wrong) > 0 {
		s.t.Errorf("%d of %d answers are wrong: %s", len(s.wrong), s.answers, strings.Join(s.wrong[:min(len(s.wrong), 3)], "; "))
	}
	if !s.Ended() {
		s.Signal(syscall.SIGTERM)
	}
	r := s.Wait()
	if r.Code != 0 && r.Signal != syscall.SIGKILL {
		s.t.Errorf("the server ended with %+v", r)
	}
	if strings.Contains(r.Stdout+r.Stderr, postgres.Password) {
		s.t.Errorf("the password is in %s%s", r.Stdout, r.Stderr)
	}
	return r.Stderr
}

// Two servers follow five rebuilds by the command line elsewhere: no answer mixes generations, none lacks a value.
func TestSwaps(t *testing.T) {
	t.Parallel()
	s := newSite(t, postgres.Database(t))
	command := s.machine()
	command.Must("apply", "--yes")
	command.Must("materialize")
	a, b := s.machine().serve(t, ""), s.machine().serve(t, "")
	for version := 2; version <= 6; version++ {
		s.put(version)
		command.Must("materialize", "--full")
		a.follows(version)
		b.follows(version)
	}
	command.Must("verify", "--full")
	db, err := database.Open(s.registry, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	servers := func(want int) func() bool {
		return func() bool {
			var all, current int
			if err := db.Row(t.Context(), `SELECT count(*), count(CASE WHEN swap = (SELECT next - 1 FROM counter WHERE name = 'swap') THEN 1 END)
				FROM server`).Scan(&all, &current); err != nil {
				t.Fatal(err)
			}
			return all == want && current == want
		}
	}
	testenv.Until(t, "both servers tell that they have seen the last swap", servers(2))
	a.check()
	b.check()
	testenv.Until(t, "both servers have left", servers(0))
}

// The server that runs is killed in the middle; another one does the work, and both follow.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, postgres.Database(t))
	first, second := s.machine(), s.machine()
	first.Must("apply", "--yes")
	first.Must("materialize")
	for i, point := range []string{failpoint.RunAfterWrite, failpoint.RunBeforeCommit, failpoint.RunAfterCommit} {
		version := 2 + i
		a, b := first.serve(t, point+"=kill"), second.serve(t, "")
		s.put(version)
		run := first.Start("", "materialize", "--full")
		if end := a.Wait(); end.Signal != syscall.SIGKILL {
			t.Fatalf("%s: %+v", point, end)
		}
		a.quiet()
		testenv.Until(t, "another server runs", func() bool { return second.Run("materialize").Code == 0 })
		run.Wait() // it has done the same by itself, or was refused
		b.follows(version)
		again := first.serve(t, "")
		again.follows(version)
		second.Must("verify", "--full")
		again.check()
		b.check()
	}
}

// Runs by both servers and the command line at once: a lease decides, and the values are right.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, postgres.Database(t))
	machines := []machine{s.machine(), s.machine(), s.machine()}
	machines[0].Must("apply", "--yes")
	machines[0].Must("materialize")
	a, b := machines[0].serve(t, ""), machines[1].serve(t, "")
	for version := 2; version <= 4; version++ {
		s.put(version)
		var runs []*project.Process
		for _, m := range machines {
			runs = append(runs, m.Start("", "materialize"))
		}
		succeeded := 0
		for _, x := range runs {
			r := x.Wait()
			if r.Code == 0 {
				succeeded++
			} else if !strings.Contains(r.Stderr, "is being materialized by") {
				t.Errorf("%+v", r)
			}
		}
		if succeeded == 0 {
			t.Error("no run succeeded")
		}
		a.follows(version)
		b.follows(version)
	}
	machines[2].Must("verify", "--full")
	a.check()
	b.check()
}

// Without the registry servers answer from their last snapshot, commands fail and say why; when it is back, servers
// follow again.
func TestOutage(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	s := newSite(t, db.Database(t))
	command, first := s.machine(), s.machine()
	command.Must("apply", "--yes")
	command.Must("materialize")
	a, b := first.serve(t, ""), s.machine().serve(t, "")
	fails := func(args ...string) {
		t.Helper()
		r := command.Run(args...)
		if r.Code != 1 || !strings.Contains(r.Stderr, "answer") || !strings.Contains(r.Stderr, "postgres://127.0.0.1") ||
			strings.Contains(r.Stdout+r.Stderr, postgres.Password) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	version := 1
	for _, outage := range []struct{ begin, end func(testing.TB) }{{db.Freeze, db.Thaw}, {db.Kill, db.Restart}} {
		outage.begin(t)
		a.goesOn()
		b.goesOn()
		fails("plan")
		fails("apply", "--yes")
		fails("materialize")
		// Through the server, which knows.
		first.Must("get", "--features", "stats:trips", "--entity", "driver=1")
		a.goesOn()
		if !a.Ready() || !b.Ready() {
			t.Error("servers are not ready though they answer")
		}
		outage.end(t)
		version++
		s.put(version)
		testenv.Until(t, "the registry is back", func() bool { return command.Run("materialize").Code == 0 })
		a.follows(version)
		b.follows(version)
		command.Must("verify", "--full")
	}
	for _, server := range []*server{a, b} {
		log := server.check()
		if !strings.Contains(log, "registry does not answer") || !strings.Contains(log, "registry answers again") {
			t.Errorf("the log does not tell of the outage: %s", log)
		}
	}
}
