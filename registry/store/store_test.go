package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

const testURL = "sqlite://.provender/registry.db"

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), testURL, dir)
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
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	rev, defs, err := s.Current(ctx)
	if err != nil || rev.Number != 0 || len(defs.Entities) != 0 || rev.Digest != defs.Digest() {
		t.Fatalf("empty registry: %+v %+v %v", rev, defs, err)
	}
	applied := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	var want []registry.Revision
	for i := range int64(3) {
		defs := definitions("a", fmt.Sprintf("e%d", i))
		got, err := s.Append(ctx, i, registry.Revision{Applied: applied, By: "me@host", Commit: "c0ffee", Tool: "v1", Summary: "1 added"}, defs)
		if err != nil {
			t.Fatal(err)
		}
		w := registry.Revision{Number: i + 1, Digest: defs.Digest(), Applied: applied, By: "me@host", Commit: "c0ffee", Tool: "v1", Summary: "1 added"}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Fatal(diff)
		}
		want = append([]registry.Revision{w}, want...)
	}

	again := open(t, dir)
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
	if diff := cmp.Diff(want[1], rev); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(definitions("a", "e1"), defs); diff != "" || defs.Digest() != rev.Digest {
		t.Fatal(diff)
	}
	if rev, _, err = again.Current(ctx); err != nil || rev.Number != 3 {
		t.Fatal(rev, err)
	}
	for _, number := range []int64{-1, 0, 4} {
		if _, _, err := again.At(ctx, number); problem.CodeOf(err) != problem.NotFound {
			t.Errorf("revision %d: %v", number, err)
		}
	}
	if id2, _ := open(t, t.TempDir()).ID(ctx); id2 == id {
		t.Error("two registries have one id")
	}
}

func TestAppendRefusesMovedBase(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
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
}

// Several handles on one file stand for several processes: SQLite's locks do not know the difference.
func TestConcurrentAppend(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	const writers, rounds = 4, 5
	stores := make([]*Store, writers)
	var wg sync.WaitGroup
	for i := range stores { // created by all at once
		wg.Go(func() {
			var err error
			if stores[i], err = Open(ctx, testURL, dir); err != nil {
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
}

// TestKilledAppend runs this test binary as a process that dies in mid-apply.
func TestKilledAppend(t *testing.T) {
	if dir := os.Getenv("PROVENDER_TEST_APPEND"); dir != "" {
		s, err := Open(context.Background(), testURL, dir)
		if err == nil {
			_, err = s.Append(context.Background(), 1, registry.Revision{}, definitions("new"))
		}
		fmt.Println("not killed:", err)
		os.Exit(9)
	}
	for step, want := range map[string]int64{failpoint.ApplyBeforeCommit: 1, failpoint.ApplyAfterCommit: 2} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("old")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledAppend$")
			cmd.Env = append(os.Environ(), "PROVENDER_TEST_APPEND="+dir, failpoint.Env+"="+step+"=kill")
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
}

func TestOpenErrors(t *testing.T) {
	secret := "hunter2"
	for url, want := range map[string]string{
		"":                                       "no scheme",
		"registry.db":                            "no scheme",
		"postgres://me:" + secret + "@db/x":      `scheme "postgres"`,
		"sqlite://":                              "names no file",
		"sqlite://folder/":                       "names no file",
		"sqlite://r.db?_auth_pass=" + secret:     "names no file",
		"sqlite+" + "cipher://:" + secret + "@/": "scheme",
	} {
		_, err := Open(t.Context(), url, t.TempDir())
		if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestAbsolutePathAndOddNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c", "é")
	s, err := Open(t.Context(), "sqlite://"+filepath.Join(dir, "r.db"), "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(filepath.Join(dir, "r.db")); err != nil || s.Path() != filepath.Join(dir, "r.db") {
		t.Fatal(err, s.Path())
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.DB().Exec(`INSERT INTO goose_registry (version_id, is_applied) VALUES (99, 1)`); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), testURL, dir)
	if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "schema version 99") {
		t.Fatal(err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	tx, err := other.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() // ends the lock
	// Readers see the last revision meanwhile.
	if rev, _, err := s.Current(t.Context()); err != nil || rev.Number != 0 {
		t.Fatal(rev, err)
	}
	_, err = s.Append(t.Context(), 0, registry.Revision{}, definitions("a"))
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != problem.Unavailable || p.RetryAfter == 0 || !strings.Contains(p.Message, "another process") {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(file []byte) []byte{
		"not a database":  func([]byte) []byte { return []byte(strings.Repeat("no database", 100)) },
		"flipped header":  func(b []byte) []byte { b[0] ^= 1; return b },
		"truncated":       func(b []byte) []byte { return b[:len(b)/2] },
		"altered content": func(b []byte) []byte { return bytes.Replace(b, []byte("damage_me"), []byte("damage_mf"), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), testURL, dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), 0, registry.Revision{}, definitions("damage_me")); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil { // the write-ahead log goes into the file
				t.Fatal(err)
			}
			file, err := os.ReadFile(s.Path())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.Path(), damage(file), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err = Open(t.Context(), testURL, dir)
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
