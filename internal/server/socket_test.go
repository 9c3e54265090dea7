package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A socket works wherever the project is, and only while somebody listens.
func TestSocket(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("deep/", 40)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			s := newSocket(dir, "")
			if _, err := s.dial(t.Context()); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("nobody listens: %v", err)
			}
			// Twice without closing: the second finds what a dead process left.
			for range 2 {
				l, err := s.listen()
				if err != nil {
					t.Fatal(err)
				}
				if u, ok := l.(*unixListener); ok {
					u.SetUnlinkOnClose(false)
				}
				answered(t, s)
				if err := l.(*unixListener).UnixListener.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := s.dial(t.Context()); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("its process died: %v", err)
				}
			}
			l, err := s.listen()
			if err != nil {
				t.Fatal(err)
			}
			answered(t, s)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{dir, os.Getenv("TMPDIR")} {
				left, err := os.ReadDir(folder)
				if err != nil {
					t.Fatal(err)
				}
				if len(left) > 0 {
					t.Errorf("%s is left in %s", left[0].Name(), folder)
				}
			}
		})
	}
}

func answered(t *testing.T, s socket) {
	t.Helper()
	conn, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := conn.(*net.UnixConn); !ok {
		t.Errorf("a %T", conn)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// Environments have stores of their own, so sockets too.
func TestSocketOfEnvironment(t *testing.T) {
	dir := t.TempDir()
	l, err := newSocket(dir, "prod").listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := newSocket(dir, "").dial(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another environment's socket answers: %v", err)
	}
}
