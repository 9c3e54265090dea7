package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// maxSocketPath is the longest path that a Unix socket takes everywhere: 104 bytes on macOS with the final zero, 108 on
// Linux.
const maxSocketPath = 103

// socket is the place where the process that holds a project's embedded store listens, so that others find it. Only
// the holder of the store's lock may listen, so a socket that it finds is nobody's; of a store that any number of processes
// share, the one that has claimed the socket.
type socket struct {
	path   string // in the project's .provender folder
	record string // says where the socket is, if its path is too long for one
	claims string // the file that is locked by a claim
}

func newSocket(dir, env string) socket {
	name := "provender"
	if env != "" {
		name += "-" + env
	}
	return socket{path: filepath.Join(dir, name+".sock"), record: filepath.Join(dir, name+".socket"), claims: filepath.Join(dir, name+".lock")}
}

// address returns the path that a holder listens at, live or not. fs.ErrNotExist means that there is none.
func (s socket) address() (string, error) {
	if len(s.path) <= maxSocketPath {
		return s.path, nil
	}
	recorded, err := os.ReadFile(s.record)
	if err != nil {
		return "", err
	}
	path := strings.TrimSpace(string(recorded))
	if !filepath.IsAbs(path) || len(path) > maxSocketPath {
		return "", fmt.Errorf("%s names no socket: %w", s.record, fs.ErrNotExist)
	}
	return path, nil
}

// dial connects to a live holder. fs.ErrNotExist means that there is none.
func (s socket) dial(ctx context.Context) (net.Conn, error) {
	path, err := s.address()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil && ctx.Err() == nil {
		// Refused, or not there: nobody listens any more.
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return conn, err
}

// listen makes the socket, in place of one left behind by a process that died. Closing the listener removes it.
func (s socket) listen() (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.path, err)
	}
	if len(s.path) <= maxSocketPath {
		return listenUnix(s.path, nil)
	}
	s.removeRecorded()
	// A folder of our own, so that nobody else can take the path first.
	dir, err := os.MkdirTemp("", "provender-")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.path, err)
	}
	path := filepath.Join(dir, "s")
	l, err := listenUnix(path, func() {
		_ = os.Remove(s.record)
		_ = os.Remove(dir)
	})
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	if err := os.WriteFile(s.record, []byte(path+"\n"), 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s: %w", s.path, err)
	}
	return l, nil
}

// errClaimed is that of a process which finds the socket claimed by another.
var errClaimed = problem.New(problem.Unavailable, "another process answers for the project, or is about to")

// claim listens where several processes may want to: errClaimed in all but one. Closing the listener ends the claim, and so
// does the end of the process.
func (s socket) claim() (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(s.claims), 0o755); err != nil {
		return nil, fmt.Errorf("claim the socket: %w", err)
	}
	lock, err := os.OpenFile(s.claims, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim the socket: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errClaimed
		}
		return nil, fmt.Errorf("claim the socket: lock %s: %w", s.claims, err)
	}
	l, err := s.listen()
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &claimedListener{l, lock}, nil
}

// claimedListener ends a claim when it is closed.
type claimedListener struct {
	net.Listener
	lock *os.File
}

func (l *claimedListener) Close() error {
	err := l.Listener.Close()
	_ = l.lock.Close() // a second time where the listener was closed before
	return err
}

// removeRecorded removes the socket that a dead holder left in the temporary folder.
func (s socket) removeRecorded() {
	recorded, err := os.ReadFile(s.record)
	if err != nil {
		return
	}
	path := strings.TrimSpace(string(recorded))
	if strings.HasPrefix(filepath.Base(filepath.Dir(path)), "provender-") && filepath.Base(path) == "s" {
		_ = os.Remove(path)
		_ = os.Remove(filepath.Dir(path))
	}
	_ = os.Remove(s.record)
}

// unixListener removes more than its socket when it is closed.
type unixListener struct {
	*net.UnixListener
	cleanup func()
}

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if l.cleanup != nil && !errors.Is(err, net.ErrClosed) {
		l.cleanup()
	}
	return err
}

func listenUnix(path string, cleanup func()) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket left behind at %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &unixListener{UnixListener: l, cleanup: cleanup}, nil
}
