package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/test/project"
)

// author is a project folder of one of those who apply to a registry.
type author struct {
	*project.Project
	t        *testing.T
	registry string
}

func newAuthor(t *testing.T, p *project.Project, registry string) *author {
	t.Helper()
	p.Write("provender.yaml", "version: 1\nproject: test\nregistry: "+registry+"\n")
	return &author{p, t, registry}
}

// forRegistries runs a test on each kind of registry; another makes one more author of the same.
func forRegistries(t *testing.T, test func(t *testing.T, a *author, another func() *author)) {
	for kind, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "registry.db") },
		"postgres": func(t *testing.T) string { return postgres.Database(t) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at := url(t)
			another := func() *author { return newAuthor(t, project.New(t, project.Embedded), at) }
			test(t, another(), another)
		})
	}
}

// change writes definitions with another ttl, which tells the version.
func (a *author) change(version int) {
	a.t.Helper()
	a.Write("definitions.yaml", strings.Replace(project.Definitions, "entities: [driver]\n", fmt.Sprintf("entities: [driver]\nttl: %dm\n", version), 1))
}

// newest is the current revision, and the version that its definitions have.
func (a *author) newest() (revision, version int) {
	a.t.Helper()
	r := a.Run("show", "view", "stats", "-o", "json")
	if strings.Contains(r.Stderr, "nothing was applied") {
		return 0, 0
	}
	var shown struct {
		Revision   int
		Definition struct{ TTL time.Duration }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &shown); err != nil {
		a.t.Fatalf("%v\n%s", err, r.Stderr)
	}
	return shown.Revision, int(shown.Definition.TTL / time.Minute)
}

// at checks what is applied.
func (a *author) at(revision, version int) {
	a.t.Helper()
	if r, v := a.newest(); r != revision || v != version {
		a.t.Errorf("revision %d has version %d, want %d and %d", r, v, revision, version)
	}
}

// sound checks all of the registry.
func (a *author) sound() {
	a.t.Helper()
	a.Must("registry", "check")
}

// refused runs a command that fails by itself, and says why.
func (a *author) refused(args []string, texts ...string) {
	a.t.Helper()
	a.told(a.Run(args...), texts...)
}

func (a *author) told(r project.Result, texts ...string) {
	a.t.Helper()
	for _, text := range texts {
		if r.Code != 1 || !strings.Contains(r.Stderr, text) {
			a.t.Errorf("exit code %d, want 1 and %q:\n%s%s", r.Code, text, r.Stdout, r.Stderr)
		}
	}
	if strings.Contains(r.Stderr, "panic") || strings.Contains(r.Stdout+r.Stderr, postgres.Password) {
		a.t.Errorf("%s%s", r.Stdout, r.Stderr)
	}
}

// An apply that is killed is done, or not at all; the same again makes it one that is done once.
func TestApplyKilled(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, _ func() *author) {
		revision, version := 0, 0
		for _, step := range []struct {
			point string
			done  int
		}{
			{failpoint.ApplyBeforeCommit, 0}, // of the first revision of all
			{failpoint.ApplyAfterCommit, 1},
			{failpoint.ApplyBeforeCommit, 0},
		} {
			next := version + 1
			a.change(next)
			a.Must("plan", "--out", "the.plan")
			if !a.Killed(step.point+"=kill", 0, "apply", "the.plan", "--yes") {
				t.Fatalf("%s: not killed", step.point)
			}
			a.at(revision+step.done, version+step.done)
			a.sound()
			a.Must("apply", "the.plan", "--yes")
			revision, version = revision+1, next
			a.at(revision, version)
		}
		a.sound()
	})
}

func TestApplyKilledAtRandom(t *testing.T) {
	t.Parallel()
	rounds := 4
	if testenv.Long() {
		rounds = 100
	}
	forRegistries(t, func(t *testing.T, a *author, _ func() *author) {
		rnd := testenv.Rand(t)
		a.change(1)
		begun := time.Now()
		a.Must("apply", "--yes")
		takes := time.Since(begun)
		kills := 0
		for version := 2; version < 2+rounds; version++ {
			a.change(version)
			a.Must("plan", "--out", "the.plan")
			if a.Killed("", 1+time.Duration(rnd.Int64N(int64(takes))), "apply", "the.plan", "--yes") {
				kills++
			}
			if _, v := a.newest(); v != version && v != version-1 {
				t.Fatalf("version %d is half-way to %d", v, version)
			}
			a.Must("apply", "the.plan", "--yes")
			a.at(version, version)
		}
		a.sound()
		t.Logf("%d of %d were killed, each within %v", kills, rounds, takes)
	})
}

// Of several who apply at once one wins, and the others are told who.
func TestApplyAtOnce(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, another func() *author) {
		authors := []*author{a, another(), another()}
		for round := range 2 {
			for i, a := range authors {
				a.change(10*round + i + 1)
				a.Must("plan", "--out", "the.plan")
			}
			all := make([]*project.Process, len(authors))
			for i, a := range authors {
				all[i] = a.Start("", "apply", "the.plan", "--yes")
			}
			winner := -1
			for i, x := range all {
				switch r := x.Wait(); {
				case r.Code != 0:
					a.told(r, "the registry has moved since the plan was made; nothing was applied", fmt.Sprintf("made revision %d at", round+1))
				case winner >= 0:
					t.Fatalf("%d and %d both applied", winner, i)
				default:
					winner = i
				}
			}
			a.at(round+1, 10*round+winner+1)
		}
	})
}

// While the transaction of one stands still, readers see what was, and who applies is told in time. Then both go on.
func TestApplyLocked(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, another func() *author) {
		a.change(1)
		a.Must("apply", "--yes")
		b := another()
		a.change(2)
		b.change(3)
		b.Must("plan", "--out", "the.plan")
		first := a.Start(failpoint.ApplyBeforeCommit+"=stop", "apply", "--yes")
		first.AwaitStop()
		b.at(1, 1)
		b.sound()
		why := "another process holds it"
		if strings.HasPrefix(b.registry, "postgres") {
			why = "it did not answer in time"
		}
		b.refused([]string{"apply", "the.plan", "--yes"}, why)
		if r := first.Resume(); r.Code != 0 { // its own patience may have ended as well
			a.told(r, "it did not answer in time")
			b.at(1, 1)
			a.Must("apply", "--yes")
		}
		b.at(2, 2)
		b.refused([]string{"apply", "the.plan", "--yes"}, "made revision 2 at")
		b.Must("apply", "--yes")
		b.at(3, 3)
	})
}

// One that dies in its transaction, without a word, leaves nothing behind that others wait for.
func TestApplyLockedByTheDead(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, another func() *author) {
		a.change(1)
		a.Must("apply", "--yes")
		a.change(2)
		first := a.Start(failpoint.ApplyBeforeCommit+"=stop", "apply", "--yes")
		first.AwaitStop()
		first.Signal(syscall.SIGKILL)
		first.Wait()
		b := another()
		b.change(3)
		b.Must("apply", "--yes")
		b.at(2, 3)
		b.sound()
	})
}

// What a newer version wrote, and this one can't live with, is left alone, and named.
func TestNewerRegistry(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, _ func() *author) {
		a.change(1)
		a.Must("apply", "--yes")
		a.change(2)
		db, err := database.Open(a.registry, "")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		become := func(statement string) {
			t.Helper()
			if err := db.Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				_, err := tx.Exec(ctx, statement, true)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		become(`INSERT INTO goose_registry (version_id, is_applied) VALUES (99, $1)`)
		a.at(1, 1) // it can live with that one
		become(`UPDATE compatibility SET least = 99 WHERE version_table = 'goose_registry' AND $1`)
		for _, args := range [][]string{{"plan"}, {"apply", "--yes"}, {"rollback", "1", "--yes"}, {"history"}, {"registry", "check"}, {"registry", "export"}} {
			a.refused(args, "the registry has schema version 99", "use the newer Provender that wrote it")
		}
		become(`DELETE FROM goose_registry WHERE version_id = 99 AND is_applied = $1`)
		a.at(1, 1)
	})
}

// TestApplyDiskFull fills the disk of the registry to different degrees: nothing is applied, and with room again it is.
func TestApplyDiskFull(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	d := newDisk(t, "8m")
	a := newAuthor(t, project.NewIn(t, t.TempDir(), project.Embedded), "sqlite://"+filepath.Join(d.dir, "registry.db"))
	version := 1
	a.change(version)
	a.Must("apply", "--yes")
	// Large definitions: the registry must grow.
	var tags strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&tags, "  tag_%d: %s\n", i, strings.Repeat("x", 50))
	}
	failures := 0
	for _, free := range []int64{0, 8 << 10, 48 << 10, 128 << 10, 256 << 10} {
		large := strings.Replace(project.Definitions, "entities: [driver]\n", fmt.Sprintf("entities: [driver]\nttl: %dm\ntags:\n%s", version+1, tags.String()), 1)
		a.Write("definitions.yaml", large)
		a.Must("plan", "--out", "the.plan")
		d.fill(free)
		r := a.Run("apply", "the.plan", "--yes")
		if r.Code != 0 {
			failures++
			a.told(r, "the disk is full", "free some space")
		} else {
			t.Logf("%d bytes are enough", free)
			version++
		}
		d.empty()
		a.at(version, version)
		a.sound()
		if r.Code != 0 {
			a.Must("apply", "the.plan", "--yes")
			version++
			a.at(version, version)
		}
	}
	if failures == 0 {
		t.Error("no apply failed")
	}
}

// An import that is killed has added nothing.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	forRegistries(t, func(t *testing.T, a *author, _ func() *author) {
		for version := 1; version <= 3; version++ {
			a.change(version)
			a.Must("apply", "--yes")
		}
		a.Must("registry", "export", "--out", "all.jsonl")
		b := newAuthor(t, a.Project, "sqlite://other.db")
		if !b.Killed(failpoint.ApplyBeforeCommit+"=kill", 0, "registry", "import", "all.jsonl") {
			t.Fatal("not killed")
		}
		if revision, _ := b.newest(); revision != 0 {
			t.Fatalf("revision %d", revision)
		}
		b.Must("registry", "import", "all.jsonl")
		b.at(3, 3)
	})
}
