package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
)

// Connections that broke are told to the server in the background, for a while where it does not answer.
func TestMain(m *testing.M) {
	testenv.NoLeaksMain(m, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn.(*PgConn).asyncClose.func1"))
}

const tally = `-- +goose Up
CREATE TABLE tally (name TEXT PRIMARY KEY, n BIGINT NOT NULL);
INSERT INTO tally (name, n) VALUES ('a', 0), ('b', 0);
`

var schema = database.Schema{Name: "test", Table: "goose_test", Migrations: fstest.MapFS{
	"migrations/sqlite/00001_tally.sql": {Data: []byte(tally)},
	// Slow, so that those who migrate at once meet.
	"migrations/postgres/00001_tally.sql": {Data: []byte(tally + "SELECT pg_sleep(0.1);\n")},
}}

type place struct{ url, dir string }

func forDatabases(t *testing.T, test func(t *testing.T, at place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, place{"sqlite://test.db", t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { test(t, place{url: postgres.Database(t)}) })
}

// open opens a database as a process of its own would.
func open(t *testing.T, at place) *database.DB {
	t.Helper()
	db, err := database.Open(at.url, at.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func migrated(t *testing.T, at place) *database.DB {
	t.Helper()
	db := open(t, at)
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(db.Failure("open", err))
	}
	return db
}

func read(ctx context.Context, db *database.DB, name string) (n int64, err error) {
	err = db.Row(ctx, `SELECT n FROM tally WHERE name = $1`, name).Scan(&n)
	return n, db.Failure("read", err)
}

func add(ctx context.Context, db *database.DB, name string) error {
	return db.Failure("add to", db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE tally SET n = n + 1 WHERE name = $1`, name)
		return err
	}))
}

func want(t *testing.T, db *database.DB, name string, n int64) {
	t.Helper()
	if got, err := read(t.Context(), db, name); err != nil || got != n {
		t.Fatalf("%s is %d, want %d: %v", name, got, n, err)
	}
}

// unavailable checks a failure's class, and that neither it nor its causes tell the password.
func unavailable(t *testing.T, err error, texts ...string) {
	t.Helper()
	if problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("%v", err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
	secretive(t, err)
}

func secretive(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		if text := fmt.Sprintf("%v %+v %#v", err, err, err.Error()); strings.Contains(text, postgres.Password) {
			t.Errorf("the password is in %s", text)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	const secret = postgres.Password
	for url, want := range map[string]string{
		"":                                       "no scheme",
		"registry.db":                            "no scheme",
		"mysql://me:" + secret + "@db/x":         `scheme "mysql"`,
		"sqlite://":                              "names no file",
		"sqlite://folder/":                       "names no file",
		"sqlite://r.db?_auth_pass=" + secret:     "names no file",
		"sqlite+" + "cipher://:" + secret + "@/": "scheme",
		"postgres://me:" + secret + "@db:x/y":    "not one of Postgres",
		"postgres://me:" + secret + "%zz@db/y":   "not one of Postgres",
		"postgres://me:a/" + secret + "@db/y":    "not one of Postgres",
		"postgres://me:" + secret + "@db/y?sslmode=" + secret:                "not one of Postgres",
		"postgres://me:" + secret + "@db/y?sslmode=verify-ca&sslrootcert=/n": "not one of Postgres: open /n",
		"postgres://me:" + secret + "@db/y?search_path=a,b":                  "search_path",
		"postgres://me:" + secret + "@db/y?search_path=%22A%22":              "search_path",
		"postgres://me:" + secret + "@db/y?search_path=":                     "search_path",
	} {
		_, err := database.Open(url, t.TempDir())
		if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
		secretive(t, err)
	}
}

func TestNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c", "é")
	file := migrated(t, place{"sqlite://" + filepath.Join(dir, "r.db"), "/nowhere"})
	if _, err := os.Stat(filepath.Join(dir, "r.db")); err != nil || file.Name() != filepath.Join(dir, "r.db") {
		t.Fatal(err, file.Name())
	}
	for url, want := range map[string]string{
		"postgresql://me:x@db.example/features?sslmode=require":         "postgres://db.example:5432/features",
		"postgres://me:x@one:1,two:2/f?target_session_attrs=read-write": "postgres://one:1,two:2/f",
	} {
		if db := open(t, place{url: url}); db.Name() != want {
			t.Errorf("%s: %s", url, db.Name())
		}
	}
}

// Processes that open a new database at once find it ready, all of them.
func TestMigrateAtOnce(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 6 {
			db := open(t, at)
			if err := db.Row(t.Context(), `SELECT 1`).Scan(new(int)); err != nil { // connected
				t.Fatal(err)
			}
			wg.Go(func() {
				<-begin
				if err := errors.Join(db.Migrate(t.Context(), schema), add(t.Context(), db, "a")); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
		want(t, migrated(t, at), "a", 6)
	})
}

// Two transactions that wait for each other's locks are both done in the end.
func TestDeadlock(t *testing.T) {
	db := migrated(t, place{url: postgres.Database(t)})
	var wg, both sync.WaitGroup
	both.Add(2)
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			tried := 0
			if err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				tried++
				for i, name := range order {
					if _, err := tx.Exec(ctx, `UPDATE tally SET n = n + 1 WHERE name = $1`, name); err != nil {
						return err
					}
					if i == 0 && tried == 1 {
						both.Done()
						both.Wait()
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(t, db, "a", 2)
	want(t, db, "b", 2)
}

// A transaction that reads under a row's lock loses nothing to others, whatever isolation the server has by default;
// those that lock rows in opposite orders are done all the same.
func TestTransactionsAtOnce(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		if at.dir == "" {
			at.url += "&default_transaction_isolation=serializable"
		}
		const writers, rounds = 3, 8
		var wg sync.WaitGroup
		for w := range writers {
			db := migrated(t, at)
			wg.Go(func() {
				for range rounds {
					err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
						for k := range 2 {
							name := []string{"a", "b"}[(w+k)%2]
							if _, err := tx.Exec(ctx, `UPDATE tally SET n = n WHERE name = $1`, name); err != nil {
								return err
							}
							var n int64
							if err := tx.Row(ctx, `SELECT n FROM tally WHERE name = $1`, name).Scan(&n); err != nil {
								return err
							}
							if _, err := tx.Exec(ctx, `UPDATE tally SET n = $1 WHERE name = $2`, n+1, name); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		db := migrated(t, at)
		want(t, db, "a", writers*rounds)
		want(t, db, "b", writers*rounds)
	})
}

func TestRollback(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		db := migrated(t, at)
		no := errors.New("no")
		if err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if n, err := tx.Exec(ctx, `UPDATE tally SET n = 7`); n != 2 || err != nil {
				t.Error(n, err)
			}
			return no
		}); !errors.Is(err, no) {
			t.Fatal(err)
		}
		want(t, db, "a", 0)
		for range 100 { // database/sql rolls back at its leisure
			ctx, cancel := context.WithCancel(t.Context())
			err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE tally SET n = 7`)
				cancel()
				runtime.Gosched()
				return err
			})
			if problem.CodeOf(db.Failure("write", err)) != problem.Canceled {
				t.Fatal(err)
			}
		}
		want(t, db, "a", 0)
		if err := db.Row(t.Context(), `SELECT n FROM tally WHERE name = $1`, "none").Scan(new(int64)); !errors.Is(err, sql.ErrNoRows) {
			t.Error(err)
		}
	})
}

func TestInsert(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		db := migrated(t, at)
		for _, size := range []int{0, 1, 499, 500, 501, 1000, 1001} {
			rows := make([][]any, size)
			for i := range rows {
				rows[i] = []any{fmt.Sprintf("%d-%d", size, i), int64(i)}
			}
			for range 2 { // the second time all are there
				if err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
					if _, err := tx.Exec(ctx, `DELETE FROM tally WHERE n < 0`); err != nil {
						return err
					}
					return tx.Insert(ctx, "tally", []string{"name", "n"}, rows, `ON CONFLICT (name) DO UPDATE SET n = tally.n + excluded.n`)
				}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := database.List(t.Context(), db, func(rows *sql.Rows) (n int64, err error) { return n, rows.Scan(&n) },
				`SELECT n FROM tally WHERE name LIKE $1 ORDER BY n`, fmt.Sprintf("%d-%%", size))
			if err != nil || len(got) != size {
				t.Fatalf("%d rows of %d: %v", len(got), size, err)
			}
			for i, n := range got {
				if n != 2*int64(i) {
					t.Fatalf("row %d of %d is %d", i, size, n)
				}
			}
		}
		err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			return tx.Insert(ctx, "tally", []string{"name", "n"}, [][]any{{"a", int64(1)}}, "")
		})
		unavailable(t, db.Failure("write", err))
	})
}

// A statement that nothing answers is given up, also where its caller would wait for ever.
func TestSilent(t *testing.T) {
	t.Parallel()
	db := migrated(t, place{url: postgres.Database(t)})
	begun := time.Now()
	err := db.Row(t.Context(), `SELECT pg_sleep(3600)`).Scan(new(string))
	unavailable(t, db.Failure("read", err), "did not answer in time")
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("that took %v", took)
	}
}
