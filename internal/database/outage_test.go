package database_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/internal/testenv/postgres"
)

// A server that is not there, or will not have us, is Unavailable and says why.
func TestRefused(t *testing.T) {
	server := postgres.Shared(t)
	url := server.Database(t)
	for name, c := range map[string]struct{ url, want string }{
		"nobody listens":    {strings.Replace(url, fmt.Sprint(server.Port()), "1", 1), "connection refused"},
		"wrong password":    {strings.Replace(url, postgres.Password+"@", postgres.Password+"x@", 1), "it refuses the login"},
		"no such database":  {strings.Replace(url, "/test_", "/nothing_", 1), "does not exist"},
		"unknown parameter": {url + "&nonsense=1", "nonsense"},
		"no TLS":            {strings.Replace(url, "sslmode=disable", "sslmode=require", 1), "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, place{url: c.url})
			unavailable(t, db.Failure("open", db.Migrate(t.Context(), schema)), c.want)
			_, err := read(t.Context(), db, "a")
			unavailable(t, err, c.want)
		})
	}
}

// A server that does not prove who it is, or refuses us, does so the next time, too: nobody is told to try again.
func TestNoWaiting(t *testing.T) {
	server := postgres.Shared(t)
	ours, theirs := pki.New(t), pki.New(t)
	roots := t.TempDir()
	pki.Put(t, filepath.Join(roots, "ours"), ours.PEM)
	pki.Put(t, filepath.Join(roots, "theirs"), theirs.PEM)
	plain := server.Database(t)
	behind := func(leaf pki.Leaf, host, parameters string) string {
		url := strings.Replace(plain, fmt.Sprintf("127.0.0.1:%d", server.Port()), fmt.Sprintf("%s:%d", host, encrypt(t, server.Port(), ours.Pair(t, leaf))), 1)
		return strings.Replace(url, "sslmode=disable", parameters+filepath.Join(roots, "ours"), 1)
	}
	const full, ca = "sslmode=verify-full&sslrootcert=", "sslmode=verify-ca&sslrootcert="
	db := open(t, place{url: behind(pki.Leaf{}, "127.0.0.1", full)})
	if err := db.Failure("open", db.Migrate(t.Context(), schema)); err != nil {
		t.Fatalf("a certificate that is trusted: %v", err)
	}
	for name, c := range map[string]struct{ url, want string }{
		"another authority":            {strings.Replace(behind(pki.Leaf{}, "127.0.0.1", full), "/ours", "/theirs", 1), "not trusted"},
		"another authority, no host":   {strings.Replace(behind(pki.Leaf{}, "127.0.0.1", ca), "/ours", "/theirs", 1), "not trusted"},
		"another host":                 {behind(pki.Leaf{DNS: "elsewhere"}, "localhost", full), "not trusted"},
		"a certificate that is over":   {behind(pki.Leaf{End: time.Now().Add(-time.Minute)}, "127.0.0.1", full), "not trusted"},
		"the same, whatever the host":  {behind(pki.Leaf{End: time.Now().Add(-time.Minute)}, "127.0.0.1", ca), "not trusted"},
		"a password that is not right": {strings.Replace(plain, postgres.Password+"@", postgres.Password+"x@", 1), "it refuses the login"},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, place{url: c.url})
			err := db.Failure("open", db.Migrate(t.Context(), schema))
			unavailable(t, err, c.want)
			var p *problem.Error
			if !errors.As(err, &p) || p.RetryAfter != 0 || p.Suggestion == "" {
				t.Errorf("%+v", p)
			}
		})
	}
}

// encrypt starts what speaks TLS with clients of a server that does not, and returns its port.
func encrypt(t *testing.T, port int, certificate tls.Certificate) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(client net.Conn) {
		defer client.Close()
		asked := make([]byte, 8) // SSLRequest
		if _, err := io.ReadFull(client, asked); err != nil {
			return
		}
		if _, err := client.Write([]byte("S")); err != nil {
			return
		}
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		encrypted := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{certificate}})
		go func() {
			_, _ = io.Copy(encrypted, server)
			_ = client.Close()
		}()
		_, _ = io.Copy(server, encrypted)
		_ = server.Close()
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go serve(client)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// What listens and says nothing is given up, within the caller's time or its own.
func TestNoGreeting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	db := open(t, place{url: fmt.Sprintf("postgres://me:%s@%s/x?sslmode=disable", postgres.Password, l.Addr())})
	for _, within := range []time.Duration{200 * time.Millisecond, time.Hour} {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		begun := time.Now()
		_, err := read(ctx, db, "a")
		cancel()
		unavailable(t, err)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("that took %v", took)
		}
	}
}

func TestOutage(t *testing.T) {
	server := postgres.Start(t)
	db := migrated(t, place{url: server.Database(t)})
	t.Run("frozen", func(t *testing.T) { testFrozen(t, server, db) })
	t.Run("crashed", func(t *testing.T) { testCrashed(t, server, db) })
}

// While the server hangs, callers have their answer in time; afterwards all goes on, and what was given up was not done.
func testFrozen(t *testing.T, server *postgres.Server, db *database.DB) {
	want(t, db, "a", 0)
	server.Freeze(t)
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := read(ctx, db, "a"); return err },
		func(ctx context.Context) error { return add(ctx, db, "a") },
		func(ctx context.Context) error { return db.Failure("open", db.Migrate(ctx, schema)) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		begun := time.Now()
		unavailable(t, call(ctx))
		cancel()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("that took %v", took)
		}
	}
	server.Thaw(t)
	want(t, db, "a", 0)
	if err := add(t.Context(), db, "a"); err != nil {
		t.Fatal(err)
	}
	want(t, db, "a", 1)
}

// After a crash of the server the same handle works again, and a transaction that the crash met is done once.
func testCrashed(t *testing.T, server *postgres.Server, db *database.DB) {
	server.Kill(t)
	_, err := read(t.Context(), db, "a")
	unavailable(t, err, "does not answer")
	server.Restart(t)
	want(t, db, "a", 1)

	done := make(chan struct{})
	tried := 0
	write := func(ctx context.Context, tx *database.Tx) error {
		tried++
		if _, err := tx.Exec(ctx, `UPDATE tally SET n = n + 1 WHERE name = 'a'`); err != nil {
			return err
		}
		if tried > 1 {
			return nil
		}
		server.Kill(t)
		go func() {
			defer close(done)
			server.Restart(t)
		}()
		_, err := tx.Exec(ctx, `UPDATE tally SET n = n + 1 WHERE name = 'b'`)
		return err
	}
	begun := time.Now()
	err = db.Write(t.Context(), write)
	gaveUp := time.Since(begun) > 10*time.Second // its own patience is over
	<-done
	if err != nil && gaveUp { // before the server was there again
		err = db.Write(t.Context(), write)
	}
	if err != nil || tried != 2 {
		t.Fatalf("after %d: %v", tried, err)
	}
	want(t, db, "a", 2)
	want(t, db, "b", 0)
}

// A commit whose answer is lost is not tried again: it may have been done.
func TestLostCommit(t *testing.T) {
	server := postgres.Shared(t)
	url := server.Database(t)
	cut := &cutter{to: fmt.Sprintf("127.0.0.1:%d", server.Port())}
	db := migrated(t, place{url: strings.Replace(url, cut.to, cut.listen(t), 1)})
	tried := 0
	cut.armed.Store(true)
	err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		tried++
		_, err := tx.Exec(ctx, `UPDATE tally SET n = n + 1 WHERE name = 'a'`)
		return err
	})
	unavailable(t, db.Failure("write", err), "does not answer")
	if tried != 1 || cut.armed.Load() {
		t.Errorf("tried %d times; cut: %v", tried, !cut.armed.Load())
	}
	want(t, db, "a", 1)
}

// cutter is a proxy that lets a commit pass, and cuts the connection in place of its answer, once.
type cutter struct {
	to    string
	armed atomic.Bool
}

func (c *cutter) listen(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", c.to)
			if err != nil {
				_ = client.Close()
				continue
			}
			committing := new(atomic.Bool)
			go func() {
				defer server.Close()
				_, _ = io.Copy(writer(func(b []byte) (int, error) {
					if strings.Contains(string(b), "commit\x00") && c.armed.Load() {
						committing.Store(true)
					}
					return server.Write(b)
				}), client)
			}()
			go func() {
				defer client.Close()
				_, _ = io.Copy(writer(func(b []byte) (int, error) {
					if committing.Load() {
						c.armed.Store(false)
						return 0, io.ErrClosedPipe
					}
					return client.Write(b)
				}), server)
			}()
		}
	}()
	return l.Addr().String()
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// The tables are in a schema of their own, the one that search_path names, so that projects can share a database; the
// role's own search_path does not matter.
func TestSchemas(t *testing.T) {
	server := postgres.Shared(t)
	url := server.Database(t)
	one, two := migrated(t, place{url: url}), migrated(t, place{url: url + "&search_path=second"})
	if err := add(t.Context(), one, "a"); err != nil {
		t.Fatal(err)
	}
	want(t, one, "a", 1)
	want(t, two, "a", 0)
	var n int
	err := one.Row(t.Context(), `SELECT count(*) FROM pg_tables WHERE (schemaname, tablename) IN
		(('provender', 'tally'), ('provender', 'goose_test'), ('second', 'tally'), ('second', 'goose_test'))`).Scan(&n)
	if err != nil || n != 4 {
		t.Fatal(n, err)
	}
}

// A role needs a schema that it may use and create tables in; what it lacks is told.
func TestRights(t *testing.T) {
	server := postgres.Shared(t)
	url := server.Database(t)
	server.Role(t, "app", postgres.Password+"2")
	app := place{url: server.URLFor(url, "app", postgres.Password+"2")}
	refused := func(text string) {
		t.Helper()
		db := open(t, app)
		err := db.Failure("open", db.Migrate(t.Context(), schema))
		unavailable(t, err, text, "docs/how-to/postgres.md")
	}
	grant := func(statement string) {
		t.Helper()
		db := open(t, place{url: url})
		if err := db.Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, statement)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	refused("permission denied for database")
	grant(`CREATE SCHEMA provender`)
	db := open(t, app)
	if err := db.Migrate(t.Context(), schema); err == nil {
		t.Error("a schema without rights was taken")
	} else {
		secretive(t, err)
	}
	grant(`GRANT USAGE ON SCHEMA provender TO app`)
	refused("permission denied for schema provender")
	grant(`GRANT CREATE ON SCHEMA provender TO app`)
	db = migrated(t, app)
	if err := add(t.Context(), db, "a"); err != nil {
		t.Fatal(err)
	}

	// A standby, or what is set to read only, refuses writes and answers reads.
	grant(`ALTER ROLE app SET default_transaction_read_only = on`)
	db = migrated(t, app)
	want(t, db, "a", 1)
	unavailable(t, add(t.Context(), db, "a"), "takes no writes", "target_session_attrs")
	if problem.CodeOf(db.Failure("x", nil)) != problem.Internal {
		t.Error("no error became one")
	}
}
