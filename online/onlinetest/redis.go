package onlinetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of a test's own, on a free port of this machine, that keeps nothing on disk.
type Redis struct {
	URL     string // redis://127.0.0.1:port
	Process *os.Process

	addr string
	args []string
	env  []string
	cmd  *exec.Cmd
}

// StartRedis starts a server that ends with the test, and returns its URL.
func StartRedis(t testing.TB) string {
	t.Helper()
	return StartRedisServer(t).URL
}

// StartRedisServer starts a server that ends with the test; args are further arguments of redis-server.
func StartRedisServer(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startRedis(t, nil, args)
}

// StartRedisInLocale starts a server whose Lua orders strings as en_US does, not as bytes.
func StartRedisInLocale(t testing.TB) *Redis {
	t.Helper()
	const locale = "en_US.UTF-8"
	path := os.Getenv("PROVENDER_TEST_LOCPATH") // where scripts/test has compiled it
	if path == "" {
		path = t.TempDir()
		out, err := exec.Command("localedef", "-i", "en_US", "-f", "UTF-8", filepath.Join(path, locale)).CombinedOutput()
		if err != nil {
			t.Fatalf("compile the locale %s: %v (./scripts/test installs what is missing)\n%s", locale, err, out)
		}
	}
	return startRedis(t, []string{"LOCPATH=" + path, "LC_ALL=" + locale}, nil)
}

func startRedis(t testing.TB, env, args []string) *Redis {
	t.Helper()
	r := &Redis{env: env, args: args}
	var err error
	for range 10 { // another process may take the port before the server does
		if r.addr, err = freeAddr(); err != nil {
			break
		}
		r.URL = "redis://" + r.addr
		if err = r.start(); err == nil {
			t.Cleanup(r.Kill)
			return r
		}
	}
	t.Fatalf("start redis-server: %v (./scripts/test installs what is missing)", err)
	return nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (r *Redis) start() error {
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return err
	}
	cmd := exec.Command("redis-server", append([]string{
		"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, r.args...)...)
	cmd.Env = append(os.Environ(), r.env...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			r.cmd, r.Process = cmd, cmd.Process
			return nil
		}
	}
	return fmt.Errorf("%w\n%s", cmd.Wait(), said.String())
}

// Kill ends the server at once; a second Kill does nothing.
func (r *Redis) Kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait() // ends by the signal
		r.cmd = nil
	}
}

// Restart starts the server again after a Kill, at the same address, from its last snapshot, empty without one.
func (r *Redis) Restart(t testing.TB) {
	t.Helper()
	if err := r.start(); err != nil {
		t.Fatalf("restart redis-server: %v", err)
	}
}

// Client returns a plain client, for looking behind the store's back.
func (r *Redis) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: r.addr, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	return c
}
