package tokens_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/auth/tokens"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/registry/store"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

// forDatabases runs a test on every kind of database; open opens the same one anew.
func forDatabases(t *testing.T, test func(t *testing.T, open func() (*database.DB, *tokens.Store))) {
	for kind, place := range map[string]func(t *testing.T) (url, dir string){
		"sqlite":   func(t *testing.T) (string, string) { return "sqlite://registry.db", t.TempDir() },
		"postgres": func(t *testing.T) (string, string) { return postgres.Database(t), "" },
	} {
		t.Run(kind, func(t *testing.T) {
			url, dir := place(t)
			test(t, func() (*database.DB, *tokens.Store) {
				t.Helper()
				reg, err := store.Open(t.Context(), url, dir)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = reg.Close() })
				s, err := tokens.Open(t.Context(), reg.DB())
				if err != nil {
					t.Fatal(err)
				}
				return reg.DB(), s
			})
		})
	}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func TestStore(t *testing.T) {
	forDatabases(t, func(t *testing.T, open func() (*database.DB, *tokens.Store)) {
		db, s := open()
		first := tokens.Token{
			Name: "job", Roles: []auth.Role{auth.Write, auth.ReadOnline}, Created: now(), CreatedBy: "me@here", Expires: now().Add(time.Hour),
		}
		secret, err := s.Create(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if len(secret) != 47 || !strings.HasPrefix(secret, "pvd_") {
			t.Errorf("token %q", secret)
		}
		_, other := open()
		if _, err := other.Create(t.Context(), first); problem.CodeOf(err) != problem.Conflict {
			t.Errorf("the name again: %v", err)
		}
		second := tokens.Token{Name: "a@b.c_d-e", Roles: []auth.Role{auth.Admin}, Created: now(), CreatedBy: "x"}
		if _, err := other.Create(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		check := func(revoked bool, want ...tokens.Token) {
			t.Helper()
			got, err := s.List(t.Context(), revoked)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		}
		check(false, second, first)

		at := now()
		ended, err := other.Revoke(t.Context(), "job", "boss", at)
		if err != nil {
			t.Fatal(err)
		}
		first.Revoked, first.RevokedBy = at, "boss"
		if diff := cmp.Diff(first, ended); diff != "" {
			t.Error(diff)
		}
		var gone *problem.Error
		if _, err := s.Revoke(t.Context(), "job", "boss", at); !errors.As(err, &gone) || gone.Code != problem.NotFound || gone.Suggestion == "" {
			t.Errorf("revoked twice: %v", err)
		}
		again := tokens.Token{Name: "job", Roles: []auth.Role{auth.Apply}, Created: first.Created.Add(time.Second), CreatedBy: "me"}
		if _, err := s.Create(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		check(false, second, again)
		check(true, second, first, again)

		// The token itself is nowhere.
		texts, err := database.List(t.Context(), db, func(rows *sql.Rows) (string, error) {
			var hash, name string
			err := rows.Scan(&hash, &name)
			return hash + name, err
		}, `SELECT hash, name FROM token`)
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(texts, " "); strings.Contains(all, secret) || strings.Contains(all, secret[4:]) {
			t.Errorf("the database has the token: %s", all)
		}
	})
}

func TestCreateInvalid(t *testing.T) {
	forDatabases(t, func(t *testing.T, open func() (*database.DB, *tokens.Store)) {
		_, s := open()
		roles := []auth.Role{auth.Apply}
		for _, c := range []struct {
			token tokens.Token
			field string
		}{
			{tokens.Token{Roles: roles}, "name"},
			{tokens.Token{Name: "-a", Roles: roles}, "name"},
			{tokens.Token{Name: "a b", Roles: roles}, "name"},
			{tokens.Token{Name: "a\n", Roles: roles}, "name"},
			{tokens.Token{Name: strings.Repeat("a", 64), Roles: roles}, "name"},
			{tokens.Token{Name: "a"}, "roles"},
			{tokens.Token{Name: "a", Roles: []auth.Role{"reader"}}, "roles"},
			{tokens.Token{Name: "a", Roles: []auth.Role{auth.Apply, auth.Apply}}, "roles"},
			{tokens.Token{Name: "a", Roles: roles, Expires: now().Add(-time.Second)}, "expires"},
		} {
			c.token.Created = now()
			var p *problem.Error
			if _, err := s.Create(t.Context(), c.token); !errors.As(err, &p) || p.Code != problem.Invalid || p.Field != c.field {
				t.Errorf("%+v: %v", c.token, err)
			}
		}
	})
}

// A server knows new tokens at once and revoked ones soon; without its database it goes on with what it knows.
func TestKeeper(t *testing.T) {
	forDatabases(t, func(t *testing.T, open func() (*database.DB, *tokens.Store)) {
		db, s := open()
		_, admin := open()
		k, err := tokens.NewKeeper(t.Context(), s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { k.Run(ctx) })
		defer running.Wait()
		defer stop()
		create := func(name string, expires time.Time) string {
			t.Helper()
			secret, err := admin.Create(t.Context(), tokens.Token{
				Name: name, Roles: []auth.Role{auth.ReadOnline}, Created: now().Add(-time.Hour), CreatedBy: "x", Expires: expires,
			})
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		find := func(secret string, want problem.Code) {
			t.Helper()
			p, err := k.Find(t.Context(), secret)
			if want != 0 && problem.CodeOf(err) != want || want == 0 && (err != nil || !p.May(auth.ReadOnline) || p.May(auth.Write)) {
				t.Errorf("%+v, %v, want %v", p, err, want)
			}
		}
		job := create("job", time.Time{})
		find(job, 0)
		find(create("old", now().Add(-time.Minute)), problem.Unauthenticated)
		for _, wrong := range []string{"", "pvd_", job[1:], job + "A", job[:46] + "!", strings.Repeat("A", 47), "pvd_" + strings.Repeat("A", 43)} {
			find(wrong, problem.Unauthenticated)
		}
		// Guesses share looks, and hold nobody up who is known.
		var guesses sync.WaitGroup
		for range 50 {
			guesses.Go(func() { find("pvd_"+strings.Repeat("B", 43), problem.Unauthenticated) })
		}
		find(job, 0)
		guesses.Wait()

		other := create("other", time.Time{})
		find(other, 0)
		if _, err := admin.Revoke(t.Context(), "other", "x", now()); err != nil {
			t.Fatal(err)
		}
		testenv.Until(t, "the token is revoked here, too", func() bool {
			_, err := k.Find(t.Context(), other)
			return err != nil
		})
		find(other, problem.Unauthenticated)

		hour := create("hour", time.Now().Add(time.Hour))
		find(hour, 0)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		find(job, 0)
		find(hour, 0)
		find(create("late", time.Time{}), problem.Unavailable)
		find(job, 0)
	})
}
