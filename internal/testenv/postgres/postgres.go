// Package postgres runs PostgreSQL for tests. scripts/test installs it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/provender-dev/provender/internal/testenv"
)

// User owns every database; Password is looked for wherever something is printed.
const (
	User     = "provender"
	Password = "canary-password-5b1e9c04"
)

// startTime is how long a server may take to answer.
const startTime = time.Minute

// Server is a server with its data in a folder, which goes when the process of the tests ends, however it ends.
type Server struct {
	bin, dir string
	port     int
	pid      int // 0 while none runs
	owner    *syscall.Credential
	guard    *os.File // whose end is that of the server
	made     atomic.Int64
}

var shared = sync.OnceValues(start)

// Shared is the server that the tests of a package share: none stops it.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Database returns the URL of a new database on the shared server.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// Start runs a server of the test's own.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.guard.Close() })
	return s
}

// Database makes a database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.made.Add(1))
	if err := s.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.url(User, Password, name)
}

// Role makes a role that has no rights of its own.
func (s *Server) Role(t testing.TB, name, password string) {
	t.Helper()
	if err := s.exec(t.Context(), "CREATE ROLE "+name+" LOGIN PASSWORD '"+password+"'"); err != nil {
		t.Fatal(err)
	}
}

// Port is that of the server, on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Freeze stops every process of the server with SIGSTOP, until Thaw: connections stay, and nothing answers.
func (s *Server) Freeze(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { s.signal(t, syscall.SIGCONT) })
}

// Thaw ends Freeze.
func (s *Server) Thaw(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

// Kill ends the server at once, with all connections, as a crash does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGQUIT)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(s.pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	s.pid = 0
}

// Restart runs the server again after Kill.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Error(err)
	}
}

// signal goes to the first process, and to all that it has begun: each of them leads a session of its own.
func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.pid == 0 {
		return
	}
	send := func(pid int) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	send(s.pid)
	if sig == syscall.SIGQUIT { // which the first process passes on
		return
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.pid, s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		send(pid)
	}
}

func (s *Server) url(user, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, password, s.port, database)
}

// URLFor returns a database's URL for another role.
func (s *Server) URLFor(url, user, password string) string {
	return strings.Replace(url, User+":"+Password+"@", user+":"+password+"@", 1)
}

func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.url(User, Password, "postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// start makes the data of a server and runs it.
func start() (*Server, error) {
	s := &Server{}
	var err error
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.owner, err = owner(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "provender-postgres"); err != nil {
		return nil, err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return nil, err
	}
	if s.owner != nil {
		if err := os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return nil, err
		}
	}
	if err := s.watch(); err != nil {
		return nil, err
	}
	initdb := s.command("initdb", "--no-sync", "--no-instructions", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US", "--encoding=UTF8", "--username="+User,
		"--auth=scram-sha-256", "--pwfile="+password)
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	for range 5 {
		// Somebody else may take the port before the server does: then another one.
		var err error
		if s.port, err = testenv.FreePort(); err != nil {
			return nil, err
		}
		if err = s.run(); err == nil {
			return s, nil
		}
		if !errors.Is(err, errEnded) {
			return nil, err
		}
	}
	log, _ := os.ReadFile(s.log())
	return nil, fmt.Errorf("no PostgreSQL after 5 tries: %s", log)
}

// watch starts the shell that ends the server and removes its folder when this process is gone, or closes the guard.
func (s *Server) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", `cat >/dev/null
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" && while kill -0 "$pid"; do sleep 0.05; done 2>/dev/null
rm -rf "$0"`, s.dir)
	cmd.Stdin = r
	// It outlives the interrupt of a terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.guard = w
	return errors.Join(cmd.Start(), r.Close())
}

// errEnded says that a server ended by itself.
var errEnded = errors.New("PostgreSQL ended")

// run starts the server and waits until it answers.
func (s *Server) run() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("postgres", "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_wal_senders=0", "-c", "deadlock_timeout=100ms")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.pid = cmd.Process.Pid
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		if err = s.exec(ctx, "SELECT 1"); err == nil {
			return nil
		}
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(s.pid, &status, syscall.WNOHANG, nil); pid == s.pid {
			s.pid = 0
			return errEnded
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// command runs a program of PostgreSQL on the server's data; none of them runs as root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), append([]string{"-D", filepath.Join(s.dir, "data")}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Setpgid: true}
	return cmd
}

// binaries is the folder of the newest PostgreSQL there is.
func binaries() (string, error) {
	newest, found := 0, ""
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	for _, path := range dirs {
		dir := filepath.Dir(path)
		if version, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))); version > newest {
			newest, found = version, dir
		}
	}
	if found != "" {
		return found, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL: run ./scripts/test once, which installs it (%w)", err)
	}
	return filepath.Dir(path), nil
}

// owner is who runs the server where this process is root's.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
