package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/registry"
)

// place is where a registry is: Open's arguments.
type place struct{ url, dir string }

func sqlite(t *testing.T) place { return place{"sqlite://.provender/registry.db", t.TempDir()} }

// forDatabases runs a test on every kind of database; fresh makes a new one.
func forDatabases(t *testing.T, test func(t *testing.T, fresh func(*testing.T) place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqlite) })
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t *testing.T) place { return place{url: postgres.Database(t)} })
	})
}

// open opens a registry as a process of its own would.
func open(t *testing.T, at place) *Store {
	t.Helper()
	s, err := Open(t.Context(), at.url, at.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func definitions(entities ...string) *registry.Definitions {
	defs := &registry.Definitions{}
	for _, name := range entities {
		defs.Entities = append(defs.Entities, &registry.Entity{
			Name: name, Meta: registry.Meta{Tags: map[string]string{"b": "2", "a": "1"}},
			JoinKeys: []registry.JoinKey{{Name: name, Type: columnar.Type{Kind: columnar.Int64}}},
		})
	}
	return defs
}

func TestRevisions(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, at := t.Context(), fresh(t)
		s := open(t, at)
		rev, defs, err := s.Current(ctx)
		if err != nil || rev.Number != 0 || len(defs.Entities) != 0 || rev.Digest != defs.Digest() {
			t.Fatalf("empty registry: %+v %+v %v", rev, defs, err)
		}
		applied := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
		var want []registry.Revision
		for i := range int64(3) {
			defs := definitions("a", fmt.Sprintf("e%d", i))
			w := registry.Revision{Applied: applied, By: "me@host", Commit: "c0ffee", Tool: "v1", Summary: "1 added", RollbackOf: i}
			made := w
			made.Plan = fmt.Appendf(nil, "{\n  \"step\": %d\n}\n", i)
			got, err := s.Append(ctx, i, made, defs)
			if err != nil {
				t.Fatal(err)
			}
			w.Number, w.Digest = i+1, defs.Digest()
			if diff := cmp.Diff(w, got); diff != "" {
				t.Fatal(diff)
			}
			want = append([]registry.Revision{w}, want...)
		}

		again := open(t, at)
		id, _ := s.ID(ctx)
		if other, _ := again.ID(ctx); len(id) != 32 || other != id {
			t.Fatalf("ids %q and %q", id, other)
		}
		for limit, n := range map[int]int{0: 3, 1: 1, 2: 2, 9: 3} {
			got, err := again.History(ctx, limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[:n], got); diff != "" {
				t.Fatal(diff)
			}
		}
		rev, defs, err = again.At(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		want[1].Plan = []byte(`{"step":1}`)
		if diff := cmp.Diff(want[1], rev); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(definitions("a", "e1"), defs); diff != "" || defs.Digest() != rev.Digest {
			t.Fatal(diff)
		}
		if rev, _, err = again.Current(ctx); err != nil || rev.Number != 3 || rev.RollbackOf != 2 || rev.Plan != nil {
			t.Fatal(rev, err)
		}
		for _, number := range []int64{-1, 0, 4} {
			if _, _, err := again.At(ctx, number); problem.CodeOf(err) != problem.NotFound {
				t.Errorf("revision %d: %v", number, err)
			}
		}
		if id2, _ := open(t, fresh(t)).ID(ctx); id2 == id {
			t.Error("two registries have one id")
		}
	})
}

// A registry of the first version has revisions without plans; they stay as they are.
func TestRevisionsWithoutPlans(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, at := t.Context(), fresh(t)
		first := database.Schema{Name: schema.Name, Table: schema.Table, Migrations: fstest.MapFS{}}
		for _, kind := range []string{"sqlite", "postgres"} {
			name := "migrations/" + kind + "/00001_revisions.sql"
			text, err := migrations.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			first.Migrations.(fstest.MapFS)[name] = &fstest.MapFile{Data: text}
		}
		db, err := database.Open(at.url, at.dir)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := json.Marshal(definitions("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Migrate(ctx, first), db.Try(ctx, func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO revision VALUES (1, $1, 0, 'me', '', 'v0', '1 added', $2, $3)`,
				definitions("a").Digest(), blob, checksum(blob))
			return err
		}), db.Close()); err != nil {
			t.Fatal(err)
		}

		s := open(t, at)
		rev, defs, err := s.At(ctx, 1)
		if err != nil || rev.By != "me" || rev.Plan != nil || rev.RollbackOf != 0 || defs.Entities[0].Name != "a" {
			t.Fatal(rev, defs, err)
		}
		if _, err := s.Append(ctx, 1, registry.Revision{Plan: []byte(`{}`), RollbackOf: 1}, defs); err != nil {
			t.Fatal(err)
		}
		if rev, _, err := s.At(ctx, 2); err != nil || string(rev.Plan) != `{}` || rev.RollbackOf != 1 {
			t.Fatal(rev, err)
		}
	})
}

// Definitions of a newer Provender, which mean something that this one does not know, are not taken for what is left of
// them without that.
func TestNewerDefinitions(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		s := open(t, fresh(t))
		if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("a")); err != nil {
			t.Fatal(err)
		}
		const keyed = `{"entities":[{"name":"a","join_keys":[{"name":"a","type":"int64"}]}]}`
		const source = `{"sources":[{"name":"s","parquet":["a"],"event_time":{"column":"at"},"timezone":"UTC","ambiguous":"error","rewrites":"rebuild"}]}`
		for _, c := range []struct{ known, newer, want string }{
			{`{"entities":[{"name":"a"}]}`, `{"entities":[{"name":"a","hashed":true}]}`, `unknown field "hashed"`},
			{keyed, strings.Replace(keyed, "int64", "uuid", 1), `unknown type "uuid"`},
			{source, strings.Replace(source, `"rebuild"`, `"merge"`, 1), `unknown rewrites "merge"`},
			{source, strings.Replace(source, `"error"`, `"skip"`, 1), `unknown ambiguous "skip"`},
			{source, strings.Replace(source, `"at"}`, `"at","at":"noon"}`, 1), `unknown at "noon"`},
		} {
			for _, test := range []struct{ text, want string }{{c.known, ""}, {c.newer, c.want}} {
				if err := s.DB().Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
					_, err := tx.Exec(ctx, `UPDATE revision SET definitions = $1, checksum = $2, seal = NULL`, []byte(test.text), checksum([]byte(test.text)))
					return err
				}); err != nil {
					t.Fatal(err)
				}
				_, _, err := s.Current(t.Context())
				if test.want == "" && err != nil {
					t.Errorf("%s: %v", test.text, err)
				}
				if test.want != "" && (problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), test.want) ||
					!strings.Contains(err.Error(), "revision 1 has definitions that this Provender does not know")) {
					t.Errorf("%s: %v", test.text, err)
				}
			}
		}
	})
}

func TestAppendRefusesMovedBase(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx := t.Context()
		s := open(t, fresh(t))
		if _, err := s.Append(ctx, 0, registry.Revision{}, definitions("a")); err != nil {
			t.Fatal(err)
		}
		for _, base := range []int64{0, 2, -1} {
			if _, err := s.Append(ctx, base, registry.Revision{}, definitions("b")); problem.CodeOf(err) != problem.Conflict {
				t.Errorf("base %d: %v", base, err)
			}
		}
		if rev, defs, err := s.Current(ctx); err != nil || rev.Number != 1 || defs.Entities[0].Name != "a" {
			t.Fatal(rev, defs, err)
		}
	})
}

// Several handles on one database stand for several processes: its locks do not know the difference.
func TestConcurrentAppend(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		ctx, at := t.Context(), fresh(t)
		const writers, rounds = 4, 5
		stores := make([]*Store, writers)
		var wg sync.WaitGroup
		for i := range stores { // created by all at once
			wg.Go(func() {
				var err error
				if stores[i], err = Open(ctx, at.url, at.dir); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for base := range int64(rounds) {
			won := make([]bool, writers)
			for i, s := range stores {
				wg.Go(func() {
					_, err := s.Append(ctx, base, registry.Revision{}, definitions(fmt.Sprintf("w%d", i)))
					if won[i] = err == nil; !won[i] && problem.CodeOf(err) != problem.Conflict {
						t.Errorf("writer %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			winner := -1
			for i, w := range won {
				if w && winner >= 0 {
					t.Fatalf("writers %d and %d both committed revision %d", winner, i, base+1)
				}
				if w {
					winner = i
				}
			}
			rev, defs, err := stores[0].Current(ctx)
			if err != nil || winner < 0 || rev.Number != base+1 || defs.Entities[0].Name != fmt.Sprintf("w%d", winner) {
				t.Fatalf("round %d: winner %d, %+v, %v", base, winner, rev, err)
			}
		}
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestKilledAppend runs this test binary as a process that dies in mid-apply.
func TestKilledAppend(t *testing.T) {
	if url, there := os.LookupEnv("PROVENDER_TEST_URL"); there {
		s, err := Open(context.Background(), url, os.Getenv("PROVENDER_TEST_DIR"))
		if err == nil {
			_, err = s.Append(context.Background(), 1, registry.Revision{}, definitions("new"))
		}
		fmt.Println("not killed:", err)
		os.Exit(9)
	}
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		for step, want := range map[string]int64{failpoint.ApplyBeforeCommit: 1, failpoint.ApplyAfterCommit: 2} {
			t.Run(step, func(t *testing.T) {
				at := fresh(t)
				s := open(t, at)
				if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("old")); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledAppend$")
				cmd.Env = append(os.Environ(), "PROVENDER_TEST_URL="+at.url, "PROVENDER_TEST_DIR="+at.dir, failpoint.Env+"="+step+"=kill")
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != -1 {
					t.Fatalf("%v: %s", err, out)
				}
				rev, _, err := s.Current(t.Context())
				if err != nil || rev.Number != want {
					t.Fatalf("revision %d, want %d (%v)", rev.Number, want, err)
				}
				if _, err := s.Append(t.Context(), want, registry.Revision{}, definitions("next")); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

func TestNewerSchema(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		s := open(t, at)
		if err := s.DB().Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO goose_registry (version_id, is_applied) VALUES (99, $1)`, true); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE compatibility SET least = 98 WHERE version_table = 'goose_registry'`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), at.url, at.dir)
		if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "the registry has schema version 99") {
			t.Fatal(err)
		}
	})
}

// While a transaction holds the database, readers see the last revision, and who appends waits or is told.
func TestLocked(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		s, other := open(t, at), open(t, at)
		err := other.DB().Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE registry SET id = id`); err != nil {
				return err
			}
			if rev, _, err := s.Current(t.Context()); err != nil || rev.Number != 0 {
				t.Error(rev, err)
			}
			brief, end := context.WithTimeout(t.Context(), 4*time.Second)
			defer end()
			_, err := s.Append(brief, 0, registry.Revision{}, definitions("a"))
			var p *problem.Error
			if !errors.As(err, &p) || p.Code != problem.Unavailable || p.RetryAfter == 0 {
				t.Error(err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if rev, _, err := s.Current(t.Context()); err != nil || rev.Number != 0 {
			t.Error(rev, err)
		}
		if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("a")); err != nil {
			t.Error(err)
		}
	})
}

// A revision whose bytes were changed is not taken for what was applied.
func TestAltered(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		s := open(t, fresh(t))
		if _, err := s.Append(t.Context(), 0, registry.Revision{Plan: []byte(`{"a":1}`)}, definitions("damage_me")); err != nil {
			t.Fatal(err)
		}
		alter := func(column string) {
			t.Helper()
			if err := s.DB().Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE revision SET `+column+` = $1`, []byte(`{}`))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		alter("plan")
		_, _, err := s.At(t.Context(), 1)
		if problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "it is damaged") {
			t.Fatal(err)
		}
		if _, _, err := s.Current(t.Context()); err != nil { // servers go on
			t.Fatal(err)
		}
		alter("definitions")
		_, _, err = s.Current(t.Context())
		if problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "it is damaged") {
			t.Fatal(err)
		}
	})
}

func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(file []byte) []byte{
		"not a database":  func([]byte) []byte { return []byte(strings.Repeat("no database", 100)) },
		"flipped header":  func(b []byte) []byte { b[0] ^= 1; return b },
		"truncated":       func(b []byte) []byte { return b[:len(b)/2] },
		"altered content": func(b []byte) []byte { return bytes.Replace(b, []byte("damage_me"), []byte("damage_mf"), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			at := sqlite(t)
			s, err := Open(t.Context(), at.url, at.dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("damage_me")); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil { // the write-ahead log goes into the file
				t.Fatal(err)
			}
			path := s.DB().Name()
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(file), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err = Open(t.Context(), at.url, at.dir)
			if err == nil {
				_, _, err = s.Current(t.Context())
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "registry.db") {
				t.Fatal(err)
			}
		})
	}
}

// Of a file with flipped bytes, or one that was cut, nothing is taken for what was written that is not, and where check
// finds nothing, everything is there.
func TestDamagedPages(t *testing.T) {
	const revisions = 6
	rounds := 60
	if testenv.Long() {
		rounds = 2000
	}
	at := sqlite(t)
	s, err := Open(t.Context(), at.url, at.dir)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, revisions)
	truth := map[int64]registry.Revision{}
	for n := int64(1); n <= revisions; n++ {
		if truth[n], _, err = s.At(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := s.DB().Name()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rnd := testenv.Rand(t)
	noticed := 0
	for range rounds {
		damaged := bytes.Clone(file)
		what := ""
		if rnd.IntN(5) == 0 {
			damaged = damaged[:1+rnd.IntN(len(damaged)-1)] // of nothing SQLite makes a new database
			what = fmt.Sprintf("cut to %d bytes", len(damaged))
		} else {
			for range 1 + rnd.IntN(3) {
				n := rnd.IntN(len(damaged))
				damaged[n] ^= byte(1 + rnd.IntN(255))
				what += fmt.Sprintf(" byte %d", n)
			}
		}
		if err := errors.Join(os.WriteFile(path, damaged, 0o600), remove(path+"-wal"), remove(path+"-shm")); err != nil {
			t.Fatal(err)
		}
		if readDamaged(t, what, at, truth) {
			noticed++
		}
	}
	t.Logf("%d of %d were noticed", noticed, rounds)
	if noticed == 0 {
		t.Error("no damage was noticed")
	}
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// readDamaged reads a registry that may be damaged, and reports whether that was noticed.
func readDamaged(t *testing.T, what string, at place, truth map[int64]registry.Revision) (noticed bool) {
	t.Helper()
	told := func(err error) {
		noticed = true
		if code := problem.CodeOf(err); code == problem.Internal {
			t.Errorf("%s: %v", what, err)
		}
	}
	s, err := Open(t.Context(), at.url, at.dir)
	if err != nil {
		told(err)
		return true
	}
	defer s.Close()
	if _, err := s.ID(t.Context()); err != nil {
		told(err)
	}
	if rev, defs, err := s.Current(t.Context()); err != nil {
		told(err)
	} else if rev.Number > 0 && defs.Digest() != truth[rev.Number].Digest {
		t.Errorf("%s: the current revision %d is another than was written", what, rev.Number)
	}
	whole := true
	for n, want := range truth {
		got, _, err := s.At(t.Context(), n)
		diff := cmp.Diff(want, got)
		if err != nil {
			told(err)
		} else if diff != "" {
			t.Errorf("%s: revision %d: %s", what, n, diff)
		}
		whole = whole && err == nil && diff == ""
	}
	_, faults, err := s.Check(t.Context())
	if err != nil {
		told(err)
		return noticed
	}
	noticed = noticed || len(faults) > 0
	if len(faults) == 0 && !whole {
		t.Errorf("%s: check found nothing", what)
	}
	return noticed
}
