package fault

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// TestHistories lets random histories happen to two projects, one on each store: files that are late, out of order, come
// twice, change or go, and runs that are killed on the way. After every step one run, and both answer the same, which
// is what a plain model says, through every door; so does a third project that sees nothing but the rows that there are in the end, in
// other files, another order, and some of them twice. PROVENDER_SEED=n repeats one.
func TestHistories(t *testing.T) {
	t.Parallel()
	histories := uint64(2)
	if testenv.Long() {
		histories = 50
	}
	first := testenv.Seed(t)
	for seed := first; seed < first+histories; seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, rand.New(rand.NewPCG(seed, 6)))
			for range 6 {
				h.step()
			}
			h.retold()
			for _, p := range h.projects {
				h.doors(p)
			}
		})
	}
}

// history is files of random rows, in projects that all have them.
type history struct {
	t        *testing.T
	rnd      *rand.Rand
	base     time.Time
	files    map[string][]project.Row
	projects []*project.Project
	made     int    // files so far
	last     string // file that was written last
}

// people are few, so that their rows meet.
const people = 30

func newHistory(t *testing.T, rnd *rand.Rand) *history {
	h := &history{t: t, rnd: rnd, base: time.Now().Add(-6 * time.Hour).Truncate(time.Microsecond), files: map[string][]project.Row{}}
	rows := h.rows()
	for _, store := range []string{project.Embedded, onlinetest.StartRedis(t) + project.Patient} {
		p := project.New(t, store)
		h.projects = append(h.projects, p)
	}
	h.put("file0", rows)
	for _, p := range h.projects {
		p.Must("apply", "--yes")
	}
	return h
}

func (h *history) put(name string, rows []project.Row) {
	h.files[name], h.last = rows, name
	for _, p := range h.projects {
		p.Put(name, rows)
	}
}

// rows returns random rows: many of one event time, some of one created time as well, a few of the future.
func (h *history) rows() []project.Row {
	rows := make([]project.Row, 1+h.rnd.IntN(80))
	for i := range rows {
		r := project.Row{
			Driver: h.rnd.Int64N(people), At: h.base.Add(time.Duration(h.rnd.IntN(60)) * time.Minute),
			Written: h.base.Add(time.Duration(h.rnd.IntN(4)) * time.Second), Trips: h.rnd.Int64N(1 << 50),
		}
		switch h.rnd.IntN(8) {
		case 0:
			r.At = h.base.Add(time.Duration(24+h.rnd.IntN(24)) * time.Hour)
		case 1:
			r.At = r.At.Add(time.Microsecond)
		}
		if h.rnd.IntN(5) > 0 {
			r.Rating = new(h.rnd.NormFloat64())
		}
		rows[i] = r
	}
	return rows
}

// change does something to the files.
func (h *history) change() string {
	name := slices.Sorted(maps.Keys(h.files))[h.rnd.IntN(len(h.files))]
	rows := slices.Clone(h.files[name])
	h.made++
	fresh := fmt.Sprintf("%c%d", 'a'+h.rnd.IntN(26), h.made) // anywhere in the order of names
	switch h.rnd.IntN(7) {
	case 0:
		h.put(name, h.rows())
		return "rewritten"
	case 1:
		h.remove(name)
		return "removed"
	case 2:
		h.put(fresh, rows)
		return "twice"
	case 3:
		h.rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		h.put(name, rows)
		return "in another order"
	case 4:
		h.put(fresh, slices.Concat(rows[:len(rows)/2], h.rows(), rows))
		return "twice, with others"
	default:
		h.put(fresh, h.rows())
		return "new"
	}
}

// remove removes a file, unless it is the only one.
func (h *history) remove(name string) {
	if len(h.files) == 1 || h.files[name] == nil {
		return
	}
	delete(h.files, name)
	for _, p := range h.projects {
		p.Remove(name)
	}
}

// step changes files, lets runs die on the way, and then checks all projects.
func (h *history) step() {
	h.t.Helper()
	var told []string
	for range 1 + h.rnd.IntN(3) {
		told = append(told, h.change())
	}
	point := []string{
		"", "", failpoint.RunBeforeWrite, failpoint.RunAfterWrite, failpoint.RunBeforeCommit, failpoint.RunAfterCommit,
		failpoint.SwapBeforeCommit, failpoint.SwapAfterCommit,
	}[h.rnd.IntN(8)]
	within := time.Duration(0)
	args := []string{"materialize"}
	switch {
	case point == "":
		within = time.Duration(1+h.rnd.IntN(100)) * time.Millisecond
	case strings.HasPrefix(point, "swap"):
		args = append(args, "--full")
	}
	told = append(told, fmt.Sprint(args[1:], " killed at ", cmp.Or(point, within.String())))
	for _, p := range h.projects {
		if point != "" {
			p.Killed(point+"=kill", 0, args...)
		} else {
			p.Killed("", within, args...)
		}
	}
	// What the killed run read may be gone.
	switch h.rnd.IntN(3) {
	case 0:
		h.remove(h.last)
		told = append(told, "the last one removed")
	case 1:
		h.put(h.last, h.rows())
		told = append(told, "the last one rewritten")
	}
	h.t.Logf("%s", strings.Join(told, ", "))
	answers := make([]string, len(h.projects))
	for i, p := range h.projects {
		p.Recover()
		answers[i] = h.answers(p)
	}
	h.judge(answers...)
}

// retold puts the rows of all files into other files of another project, and compares.
func (h *history) retold() {
	h.t.Helper()
	var rows []project.Row
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		rows = append(rows, h.files[name]...)
	}
	rows = append(rows, rows[:h.rnd.IntN(len(rows))]...)
	h.rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	p := project.New(h.t, project.Embedded)
	for i, part := range slices.Collect(slices.Chunk(rows, 1+len(rows)/3)) {
		p.Put(fmt.Sprint("part", i), part)
	}
	p.Must("apply", "--yes")
	p.Recover()
	h.judge(h.answers(h.projects[0]), h.answers(p))
}

// answers is what a project says of everybody, and of one who is not there.
func (h *history) answers(p *project.Project) string {
	h.t.Helper()
	entities := "driver\n"
	for d := range people + 1 {
		entities += fmt.Sprintln(d)
	}
	p.Write("entities.csv", entities)
	out := p.Must("get", "--features", "stats:trips,stats:rating", "--entities", "entities.csv", "-o", "json")
	_, rows, _ := strings.Cut(out, `"rows":`) // what precedes is the read time and such
	return rows
}

// judge checks that answers are equal, and are what the model says.
func (h *history) judge(answers ...string) {
	h.t.Helper()
	for _, other := range answers[1:] {
		if other != answers[0] {
			h.t.Fatalf("the answers differ:\n%s\n%s", answers[0], other)
		}
	}
	var rows []struct{ Features cells }
	if err := json.NewDecoder(strings.NewReader(answers[0])).Decode(&rows); err != nil {
		h.t.Fatal(err)
	}
	if len(rows) != people+1 {
		h.t.Fatalf("%d rows", len(rows))
	}
	for d, got := range rows {
		want := h.newest(int64(d))
		if !slices.ContainsFunc(want, got.Features.equal) {
			h.t.Errorf("driver %d is %s, want %s", d, got.Features, want)
		}
	}
}

// newest returns what may be said of a driver: the newest row's values, those of several where they tie.
func (h *history) newest(driver int64) []cells {
	var newest []project.Row
	now := time.Now()
	for _, rows := range h.files {
		for _, r := range rows {
			if r.Driver != driver || r.At.After(now) {
				continue
			}
			order := 1
			if len(newest) > 0 {
				order = cmp.Or(r.At.Compare(newest[0].At), r.Written.Compare(newest[0].Written))
			}
			switch {
			case order > 0:
				newest = []project.Row{r}
			case order == 0:
				newest = append(newest, r)
			}
		}
	}
	if len(newest) == 0 {
		return []cells{{Trips: cell{Status: "NOT_FOUND"}, Rating: cell{Status: "NOT_FOUND"}}}
	}
	var out []cells
	for _, r := range newest {
		c := cells{Trips: cell{json.RawMessage(fmt.Sprint(r.Trips)), "PRESENT"}, Rating: cell{Status: "NULL"}}
		if r.Rating != nil {
			raw, _ := json.Marshal(*r.Rating)
			c.Rating = cell{raw, "PRESENT"}
		}
		out = append(out, c)
	}
	return out
}
