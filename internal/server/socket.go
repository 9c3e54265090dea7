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
	"time"
)

// maxSocketPath is the longest path that a Unix socket takes everywhere: 104 bytes on macOS with the final zero, 108 on
// Linux.
const maxSocketPath = 103

// socket is the place where the process that holds a project's embedded store listens, so that others find it. Only
// the holder of the store's lock may listen, so a socket that it finds is nobody's.
type socket struct {
	path   string // in the project's .provender folder
	record string // says where the socket is, if its path is too long for one
}

func newSocket(dir, env string) socket {
	name := "provender"
	if env != "" {
		name += "-" + env
	}
	return socket{path: filepath.Join(dir, name+".sock"), record: filepath.Join(dir, name+".socket")}
}

// dial connects to a live holder. fs.ErrNotExist means that there is none.
func (s socket) dial(ctx context.Context) (net.Conn, error) {
	path := s.path
	if len(path) > maxSocketPath {
		recorded, err := os.ReadFile(s.record)
		if err != nil {
			return nil, err
		}
		path = strings.TrimSpace(string(recorded))
		if !filepath.IsAbs(path) || len(path) > maxSocketPath {
			return nil, fmt.Errorf("%s names no socket: %w", s.record, fs.ErrNotExist)
		}
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
