// Package kill ends the real program by SIGKILL in the middle of materializations, at every step and at random moments,
// and checks that the next run makes good what was left.
package kill

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "provender-kill")
	if err != nil {
		log.Fatal(err)
	}
	binary = filepath.Join(dir, "provender")
	build := exec.Command("go", "build", "-o", binary, "github.com/provender-dev/provender/cmd/provender")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		log.Fatalf("build: %v\n%s", err, out)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

const definitions = `kind: Entity
name: driver
join_keys: [{name: driver, type: int64}]
---
kind: FeatureView
name: stats
entities: [driver]
source: {parquet: data/**, event_time: at, created_time: written}
features: [{name: trips, type: int64}, {name: rating, type: float64}]
`

// stat is a row of the project's source.
type stat struct {
	Driver  int64     `parquet:"driver"`
	At      time.Time `parquet:"at,timestamp(microsecond)"`
	Written time.Time `parquet:"written,timestamp(microsecond)"`
	Trips   int64     `parquet:"trips"`
	Rating  *float64  `parquet:"rating,optional"`
}

// drivers are enough for several batches of a run.
const drivers = 12_000

// project is a project with one view, as its user has it.
type project struct {
	t     *testing.T
	dir   string
	rnd   *rand.Rand
	files []string
}

func newProject(t *testing.T, store string) *project {
	p := &project{t: t, dir: t.TempDir(), rnd: testenv.Rand(t)}
	p.write("provender.yaml", "version: 1\nproject: kill\nonline: "+store+"\nmaterialize: {memory: 1MiB}\n")
	p.write("definitions.yaml", definitions)
	if err := os.Mkdir(filepath.Join(p.dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.put("first")
	p.must("apply", "--yes")
	return p
}

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) path(name string) string { return filepath.Join(p.dir, "data", name+".parquet") }

// put writes a file of the source, or writes it anew.
func (p *project) put(name string) {
	p.t.Helper()
	now := time.Now().Add(-time.Hour)
	rows := make([]stat, drivers)
	for i := range rows {
		rows[i] = stat{
			Driver: p.rnd.Int64N(drivers), At: now.Add(-time.Duration(p.rnd.IntN(1000)) * time.Second),
			Written: now.Add(-time.Duration(p.rnd.IntN(3)) * time.Second), Trips: p.rnd.Int64(),
		}
		if p.rnd.IntN(10) > 0 {
			rows[i].Rating = new(p.rnd.Float64())
		}
	}
	temporary := p.path("_" + name)
	if err := parquet.WriteFile(temporary, rows); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(temporary, p.path(name)); err != nil {
		p.t.Fatal(err)
	}
	if !slices.Contains(p.files, name) {
		p.files = append(p.files, name)
	}
}

// change adds, rewrites or removes a file.
func (p *project) change() {
	p.t.Helper()
	switch k := p.rnd.IntN(len(p.files)); p.rnd.IntN(4) {
	case 0:
		p.put(p.files[k])
	case 1:
		if len(p.files) > 1 {
			if err := os.Remove(p.path(p.files[k])); err != nil {
				p.t.Fatal(err)
			}
			p.files = slices.Delete(p.files, k, k+1)
		}
	default:
		p.put(fmt.Sprint("new", p.rnd.Uint32()))
	}
}

func (p *project) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = p.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROVENDER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// must runs a command that succeeds.
func (p *project) must(args ...string) {
	p.t.Helper()
	if out, err := p.command(p.t.Context(), args...).CombinedOutput(); err != nil {
		p.t.Fatalf("provender %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// killed runs a command that SIGKILL may end, and reports whether it did.
func (p *project) killed(cmd *exec.Cmd) bool {
	p.t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	case errors.Is(err, context.DeadlineExceeded):
		return false // at its end
	}
	p.t.Fatalf("%s: %v\n%s", cmd, err, out)
	return false
}

// recover checks that the next run succeeds at once, and that online then equals offline.
func (p *project) recover() {
	p.t.Helper()
	p.must("materialize")
	p.must("verify", "--full")
}

func forStores(t *testing.T, test func(*testing.T, string)) {
	t.Run("embedded", func(t *testing.T) { test(t, "embedded://.provender/online") })
	t.Run("redis", func(t *testing.T) { test(t, onlinetest.StartRedis(t)) })
}

func TestKilledAtEveryStep(t *testing.T) {
	forStores(t, func(t *testing.T, store string) {
		p := newProject(t, store)
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
			cmd := p.command(t.Context(), append([]string{"materialize"}, step.args...)...)
			cmd.Env = append(cmd.Env, failpoint.Env+"="+step.point+"=kill")
			if !p.killed(cmd) {
				t.Fatalf("%s: not killed", step.point)
			}
			p.recover()
			p.change()
			p.put(fmt.Sprint("after-", step.point)) // so that the next run has something to write
		}
		p.recover()
	})
}

func TestKilledAtRandom(t *testing.T) {
	rounds := 10
	if testenv.Long() {
		rounds = 200
	}
	forStores(t, func(t *testing.T, store string) {
		p := newProject(t, store)
		begun := time.Now()
		p.must("materialize")
		takes := time.Since(begun)
		kills := 0
		for range rounds {
			p.change()
			p.put("again")
			args := []string{"materialize"}
			if p.rnd.IntN(3) == 0 {
				args = append(args, "--full")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(p.rnd.Int64N(2*int64(takes))))
			if p.killed(p.command(ctx, args...)) {
				kills++
			}
			cancel()
			if p.rnd.IntN(2) == 0 {
				p.change() // what the killed run read may be gone
			}
			p.recover()
		}
		t.Logf("%d of %d runs were killed, each within %v", kills, rounds, 2*takes)
	})
}
