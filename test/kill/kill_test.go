// Package kill ends the real program by SIGKILL in the middle of materializations, at every step and at random moments,
// and checks that the next run makes good what was left.
package kill

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/test/project"
)

func TestMain(m *testing.M) { project.Main(m) }

// drivers are enough for several batches of a run.
const drivers = 12_000

// world is a project whose files change at random.
type world struct {
	*project.Project
	rnd   *rand.Rand
	files []string
}

func newWorld(t *testing.T, store string) *world {
	w := &world{Project: project.New(t, store), rnd: testenv.Rand(t)}
	// Little memory makes a rebuild record its progress.
	w.Write("provender.yaml", "version: 1\nproject: kill\nonline: "+store+"\nmaterialize: {memory: 1MiB}\n")
	w.put("first")
	w.Must("apply", "--yes")
	return w
}

// put writes a file of the source, or writes it anew.
func (w *world) put(name string) {
	now := time.Now().Add(-time.Hour)
	rows := make([]project.Row, drivers)
	for i := range rows {
		rows[i] = project.Row{
			Driver: w.rnd.Int64N(drivers), At: now.Add(-time.Duration(w.rnd.IntN(1000)) * time.Second),
			Written: now.Add(-time.Duration(w.rnd.IntN(3)) * time.Second), Trips: w.rnd.Int64(),
		}
		if w.rnd.IntN(10) > 0 {
			rows[i].Rating = new(w.rnd.Float64())
		}
	}
	w.Put(name, rows)
	if !slices.Contains(w.files, name) {
		w.files = append(w.files, name)
	}
}

// change adds, rewrites or removes a file.
func (w *world) change() {
	switch k := w.rnd.IntN(len(w.files)); w.rnd.IntN(4) {
	case 0:
		w.put(w.files[k])
	case 1:
		if len(w.files) > 1 {
			w.Remove(w.files[k])
			w.files = slices.Delete(w.files, k, k+1)
		}
	default:
		w.put(fmt.Sprint("new", w.rnd.Uint32()))
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	project.ForStores(t, func(t *testing.T, store string) {
		w := newWorld(t, store)
		for _, step := range []struct {
			point string
			args  []string
		}{
			{failpoint.RunBeforeWrite, nil}, // of the first run of all
			{failpoint.RunBeforeWrite, nil},
			{failpoint.RunAfterWrite, nil},
			{failpoint.RunBeforeCommit, nil},
			{failpoint.RunAfterCommit, nil},
			{failpoint.RunAfterWrite, []string{"--full"}},
			{failpoint.RunAfterProgress, []string{"--full"}},
			{failpoint.SwapBeforeCommit, []string{"--full"}},
			{failpoint.SwapAfterCommit, []string{"--full"}},
		} {
			if !w.Killed(step.point+"=kill", 0, append([]string{"materialize"}, step.args...)...) {
				t.Fatalf("%s: not killed", step.point)
			}
			w.Recover()
			w.change()
			w.put(fmt.Sprint("after-", step.point)) // so that the next run has something to write
		}
		w.Recover()
	})
}

func TestKilledAtRandom(t *testing.T) {
	rounds := 10
	if testenv.Long() {
		rounds = 200
	}
	project.ForStores(t, func(t *testing.T, store string) {
		w := newWorld(t, store)
		begun := time.Now()
		w.Must("materialize")
		takes := time.Since(begun)
		kills := 0
		for range rounds {
			w.change()
			w.put("again")
			args := []string{"materialize"}
			if w.rnd.IntN(3) == 0 {
				args = append(args, "--full")
			}
			if w.Killed("", 1+time.Duration(w.rnd.Int64N(2*int64(takes))), args...) {
				kills++
			}
			if w.rnd.IntN(2) == 0 {
				w.change() // what the killed run read may be gone
			}
			w.Recover()
		}
		t.Logf("%d of %d runs were killed, each within %v", kills, rounds, 2*takes)
	})
}
