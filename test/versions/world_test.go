package versions

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/load"
	"github.com/provender-dev/provender/test/project"
)

const drivers = 400

// site is what two programs share: source files, registry, online store.
type site struct {
	t                *testing.T
	registry, online string
	lake             *project.Project // whose folder data both read
	base             time.Time
	files            map[string][]int // version per driver in each file; 0: it has no row of that one
	version          int              // the last that was written
	servers          []*server
}

func newSite(t *testing.T, registry, online string) *site {
	t.Helper()
	s := &site{t: t, registry: registry, online: online, base: time.Now().Add(-24 * time.Hour).Truncate(time.Second), files: map[string][]int{}}
	s.lake = project.New(t, online)
	s.put("all", 0, drivers)
	return s
}

// forRegistries runs a test on each kind of registry, with a Redis.
func forRegistries(t *testing.T, test func(t *testing.T, s *site)) {
	for kind, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "registry.db") },
		"postgres": func(t *testing.T) string { return postgres.Database(t) },
	} {
		t.Run(kind, func(t *testing.T) {
			test(t, newSite(t, url(t), onlinetest.StartRedis(t)+project.Patient))
		})
	}
}

// put writes a file of the source, or writes it anew: the next version of some drivers, which every value tells.
func (s *site) put(name string, from, to int) {
	s.t.Helper()
	s.version++
	have := make([]int, drivers)
	rows := make([]project.Row, 0, to-from)
	for d := from; d < to; d++ {
		have[d] = s.version
		row := project.Row{
			Driver: int64(d), At: s.base.Add(time.Duration(s.version) * time.Minute), Written: s.base, Trips: load.Trips(d, s.version),
		}
		if rating, ok := load.Rating(s.version); ok {
			row.Rating = &rating
		}
		rows = append(rows, row)
	}
	for _, server := range s.servers {
		server.history.Put(s.version, from, to)
	}
	s.lake.Put(name, rows)
	s.files[name] = have
}

// newest is the version that the files have of every driver.
func (s *site) newest() []int {
	newest := make([]int, drivers)
	for _, have := range s.files {
		for d, v := range have {
			newest[d] = max(newest[d], v)
		}
	}
	return newest
}

// side is a program at work in a folder of its own.
type side struct {
	*project.Project
	site *site
	name string
}

func (s *site) side(name, binary string) *side {
	s.t.Helper()
	p := project.New(s.t, s.online)
	p.Binary = binary
	p.Write("provender.yaml", fmt.Sprintf("version: 1\nproject: test\nregistry: %s\nonline: %s\nroots: {lake: %s}\nmaterialize: {memory: 1MiB}\n",
		s.registry, s.online, filepath.Join(s.lake.Dir, "data")))
	x := &side{p, s, name}
	x.define(0, false)
	return x
}

// with is the same folder with another program at work in it.
func (x *side) with(other *side) *side {
	p := *x.Project
	p.Binary = other.Binary
	return &side{&p, x.site, other.name}
}

// define writes definitions with a ttl of many days, and one feature more or not.
func (x *side) define(days int, more bool) {
	x.site.t.Helper()
	text := strings.Replace(project.Definitions, "data/**", `"lake:**"`, 1)
	text = strings.Replace(text, "entities: [driver]\n", fmt.Sprintf("entities: [driver]\nttl: %dd\n", 100+days), 1)
	if more {
		text = strings.Replace(text, "{name: trips, type: int64}", "{name: trips, type: int64}, {name: journeys, column: trips, type: int64}", 1)
	}
	x.Write("definitions.yaml", text)
}

// sound checks that one more run succeeds, and that all that is stored is what it should be, to this program.
func (x *side) sound() {
	x.site.t.Helper()
	x.Must("materialize")
	x.Must("verify", "--full")
	x.Must("registry", "check")
	want := x.site.newest()
	entities := "driver\n"
	for d := range drivers {
		entities += fmt.Sprintln(d)
	}
	x.Write("entities.csv", entities)
	var answer struct {
		Rows []struct {
			Features struct {
				Trips struct {
					Value  int64
					Status string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(x.Must("get", "--features", "stats:trips", "--entities", "entities.csv", "-o", "json")), &answer); err != nil {
		x.site.t.Fatal(err)
	}
	for d, r := range answer.Rows {
		if got := r.Features.Trips; got.Status != "PRESENT" || got.Value != load.Trips(d, want[d]) {
			x.site.t.Fatalf("%s: driver %d is %+v, want version %d", x.name, d, got, want[d])
		}
	}
	if len(answer.Rows) != drivers {
		x.site.t.Fatalf("%s: %d rows", x.name, len(answer.Rows))
	}
}

// server is a server of a side, asked all the time through both of its doors.
type server struct {
	*project.Server
	side    *side
	ask     load.Ask
	history *load.History
	load    *load.Load
}

func (x *side) serve() *server {
	t := x.site.t
	t.Helper()
	s := &server{side: x, Server: x.Serve(""), history: load.NewHistory(drivers)}
	for d, version := range x.site.newest() {
		s.history.Put(version, d, d+1)
	}
	x.site.servers = append(x.site.servers, s)
	c, err := client.Dial(t.Context(), s.GRPC, client.WithoutRepeats())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s.ask = load.Client(c)
	s.load = load.Start(load.Config{
		History: s.history, Asks: []load.Ask{s.ask, load.HTTP(http.DefaultClient, "http://"+s.HTTP)},
		Drivers: 100, Deadline: time.Minute, Pace: 100, // the machine has others to serve
	})
	t.Cleanup(func() { s.load.Stop() })
	return s
}

// follows waits until lookups are answered with what the files have, as they are from then on.
func (s *server) follows() {
	t := s.side.site.t
	t.Helper()
	ids, rows := make([]int64, drivers), make([]load.Row, drivers)
	for d := range ids {
		ids[d] = int64(d)
	}
	want := s.side.site.newest()
	testenv.Until(t, "the "+s.side.name+" server answers with what the files have", func() bool {
		if err := s.ask(t.Context(), ids, rows); err != nil {
			t.Fatalf("the %s server: %v", s.side.name, err)
		}
		for d := range rows {
			if rows[d].Trips != load.Trips(d, want[d]) {
				return false
			}
		}
		return true
	})
	s.history.Settle()
}

// end ends the asking and the server, and tells what was wrong.
func (s *server) end() {
	t := s.side.site.t
	t.Helper()
	testenv.Until(t, "the "+s.side.name+" server has answered", func() bool {
		answers, failures := s.load.Counts()
		return answers+failures > 0
	})
	told := s.load.Stop()
	t.Logf("the %s server: %v", s.side.name, &told)
	if told.Wrong > 0 || told.Missing > 0 || told.Failed() > 0 || told.Answers == 0 {
		t.Errorf("the %s server: %d rows wrong, %d missing, %+v: %s", s.side.name, told.Wrong, told.Missing, told.Refusals,
			strings.Join(told.Examples, "; "))
	}
	s.Signal(syscall.SIGTERM)
	if r := s.Wait(); r.Code != 0 {
		t.Errorf("the %s server ended with %+v", s.side.name, r)
	}
}
