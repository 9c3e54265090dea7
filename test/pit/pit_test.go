package pit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

// stores are the online stores that every case runs on.
var stores = []struct {
	name string
	open func(t *testing.T) online.Store
}{
	{"embedded", func(t *testing.T) online.Store {
		s, err := embedded.Open(filepath.Join(t.TempDir(), "online"), embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}},
	{"redis", func(t *testing.T) online.Store {
		s, err := redis.Open(onlinetest.StartRedis(t), redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}},
}

// TestRules runs the cases of testdata.
func TestRules(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.pit")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, c := range cases {
			seen[strings.Fields(c.Name)[0]] = true
			t.Run(c.Name, func(t *testing.T) { check(t, c, 1) })
		}
	}
	for n := 1; n <= 12; n++ {
		if !seen[fmt.Sprint("R", n)] {
			t.Errorf("no case for R%d", n)
		}
	}
}

// TestRandom runs random cases. A failure prints the seed: PROVENDER_SEED=n repeats it.
func TestRandom(t *testing.T) {
	first, count := seeds(t, 80)
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			c := random(rand.New(rand.NewPCG(seed, 0)))
			check(t, c, seed)
			if t.Failed() {
				t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestRandom\n%s", seed, c.text())
			}
		})
	}
}

// seeds returns the first seed of random cases and how many there are: few, or many with PROVENDER_TEST_LONG, or the one of
// PROVENDER_SEED.
func seeds(t *testing.T, few int) (first uint64, count int) {
	t.Helper()
	if s := os.Getenv("PROVENDER_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n, 1
	}
	if testenv.Long() {
		return rand.Uint64N(1 << 32), 12 * few
	}
	return 1, few
}

// check runs a case through the reference, the kernel and both stores.
func check(t *testing.T, c *Case, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Run("offline", func(t *testing.T) { c.offline(t, newProject(t, &c.View, rng)) })
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Run("asks", func(t *testing.T) { c.asksOnline(t, newProject(t, &c.View, rng).live(t, s.open(t))) })
			if slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Run != nil }) {
				t.Run("runs", func(t *testing.T) { c.runs(t, newProject(t, &c.View, rng).live(t, s.open(t))) })
			}
		})
	}
}

// spines groups the asks between which no file changes: the steps of each group see the same rows.
func (c *Case) spines() (at []int, asks [][]*Ask) {
	open := false
	for n, s := range c.Steps {
		switch {
		case s.Ask != nil && open:
			asks[len(asks)-1] = append(asks[len(asks)-1], s.Ask)
		case s.Ask != nil:
			at, asks, open = append(at, n), append(asks, []*Ask{s.Ask}), true
		case s.Row != nil || s.Delete != "":
			open = false
		}
	}
	return at, asks
}

func (c *Case) offline(t *testing.T, p *project) {
	at, spines := c.spines()
	for i, asks := range spines {
		p.sync(t, p.deal(c.Files(at[i])))
		c.compare(t, "export", c.Rows(at[i]), NoCutoff, asks, p.export(t, asks))
	}
}

// asksOnline materializes up to the time of every ask in turn, and looks it up then.
func (c *Case) asksOnline(t *testing.T, l *live) {
	at, spines := c.spines()
	for i, asks := range spines {
		l.sync(t, l.deal(c.Files(at[i])))
		byTime := map[int64][]*Ask{}
		var times []int64
		for _, a := range asks {
			m := floorMicros(a.At)
			if byTime[m] == nil {
				times = append(times, m)
			}
			byTime[m] = append(byTime[m], a)
		}
		slices.Sort(times)
		if i > 0 {
			// The clock of an earlier spine may have been ahead: T never goes back, a rebuild may begin anywhere.
			l = l.project.live(t, l.store)
		}
		for _, m := range times {
			group := byTime[m]
			l.run(t, &Run{To: Instant(m * 1000)})
			c.compare(t, "online", c.Rows(at[i]), Instant(m*1000), group, l.lookup(t, group[0].At, group))
		}
	}
}

// runs plays the case's runs and lookups in order on one store.
func (c *Case) runs(t *testing.T, l *live) {
	stock := &Stock{View: &c.View}
	var rows []Row
	var last Instant
	for n, s := range c.Steps {
		switch {
		case s.Run != nil:
			l.sync(t, c.Files(n))
			l.run(t, s.Run)
			stock.Run(c.Files(n), s.Run)
			rows, last = c.Rows(n), s.Run.To
			want := materialize.ViewOK
			if stock.Diverged {
				rows, want = stock.Rows, materialize.ViewDiverged
			} else {
				l.verify(t, last)
			}
			if got := l.state(t); got != want {
				t.Errorf("line %d: status says %s, want %s", s.Line, got, want)
			}
		case s.Online != nil:
			asks := []*Ask{s.Online}
			c.compare(t, "online", rows, last, asks, l.lookup(t, s.Online.At, asks))
		}
	}
}

// compare checks answers against what the case expects, and both against the reference.
func (c *Case) compare(t *testing.T, engine string, rows []Row, cutoff Instant, asks []*Ask, got []answer) {
	t.Helper()
	for r, a := range asks {
		want := c.View.Answer(rows, a.Keys, a.At, cutoff)
		same(t, &c.View, fmt.Sprintf("line %d, the reference", a.Line), want, a.Want)
		same(t, &c.View, fmt.Sprintf("line %d, %s", a.Line, engine), got[r].own, want)
		same(t, &c.View, fmt.Sprintf("line %d, %s under the other binding", a.Line, engine), got[r].other,
			c.View.Answer(rows, other(asks, r).Keys, a.At, cutoff))
	}
}

func same(t *testing.T, v *View, who string, got, want []Cell) {
	t.Helper()
	for i := range want {
		if !got[i].Equal(want[i]) {
			t.Errorf("%s: %s is %+v, want %+v", who, v.Features[i].Name, got[i], want[i])
		}
	}
}
