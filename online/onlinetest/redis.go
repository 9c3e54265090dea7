package onlinetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/testenv"
)

// Redis is a redis-server of a test's own, on a free port of this machine, that keeps nothing on disk.
type Redis struct {
	URL     string // redis://127.0.0.1:port
	Addr    string // 127.0.0.1:port
	Process *os.Process
	// Database is the one that Client looks at.
	Database int

	binary   string
	sentinel string // its configuration, where the server is a sentinel
	args     []string
	env      []string
	cmd      *exec.Cmd
	dial     redis.Options // how Client connects
}

// StartRedis starts a server that ends with the test, and returns its URL.
func StartRedis(t testing.TB) string {
	t.Helper()
	return StartRedisServer(t).URL
}

// StartRedisServer starts a server that ends with the test; args are further arguments of redis-server.
func StartRedisServer(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startRedis(t, Redis{args: args})
}

// Versions are the other servers that scripts/test installs, by their names there.
var Versions = []string{"redis-6.2", "valkey-9.1"}

// StartRedisVersion starts one of Versions; root is the repository's folder.
func StartRedisVersion(t testing.TB, root, version string) *Redis {
	t.Helper()
	return startRedis(t, Redis{binary: versionPath(t, root, version)})
}

func versionPath(t testing.TB, root, version string) string {
	t.Helper()
	path := filepath.Join(root, ".cache", "redis-versions", version)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no %s: run ./scripts/test once, which installs it in .cache/redis-versions (%v)", version, err)
	}
	return path
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
	return startRedis(t, Redis{env: []string{"LOCPATH=" + path, "LC_ALL=" + locale}})
}

// startRedis starts a server as like describes it, on a free port.
func startRedis(t testing.TB, like Redis) *Redis {
	t.Helper()
	r := &like
	if r.binary == "" {
		r.binary = "redis-server"
	}
	var err error
	for range 10 { // another process may take the port before the server does
		r.Addr = testenv.FreeAddress(t)
		r.URL = "redis://" + r.Addr
		if err = r.start(); err == nil {
			t.Cleanup(r.Kill)
			return r
		}
	}
	t.Fatalf("start redis-server: %v (./scripts/test installs what is missing)", err)
	return nil
}

func (r *Redis) start() error {
	host, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return err
	}
	args, ready := []string{"--bind", host, "--port", port, "--daemonize", "no"}, "Ready to accept connections"
	if r.sentinel != "" {
		args, ready = append([]string{r.sentinel, "--sentinel"}, args...), "+monitor"
	} else {
		args = append(args, "--save", "", "--appendonly", "no")
	}
	if r.dial.TLSConfig != nil {
		args[2], args = "--tls-port", append(args, "--port", "0")
	}
	cmd := exec.Command(r.binary, append(args, r.args...)...)
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
		if strings.Contains(lines.Text(), ready) {
			r.cmd, r.Process = cmd, cmd.Process
			go func() { _, _ = io.Copy(io.Discard, stdout) }() // or it stands still when the pipe is full
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
	opts := r.dial
	opts.Addr, opts.DB, opts.Protocol, opts.DisableIdentity = r.Addr, r.Database, 2, true
	c := redis.NewClient(&opts)
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// AwaitReplica waits until a replica has all that this primary has by now.
func (r *Redis) AwaitReplica(t testing.TB, replica *Redis) {
	t.Helper()
	offset := func(node *Redis, field string) (n int64) {
		client := node.Client(t)
		defer client.Close()
		_, rest, _ := strings.Cut(client.Info(t.Context(), "replication").Val(), field+":")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("%s of %s: %v", field, node.Addr, err)
		}
		return n
	}
	all := offset(r, "master_repl_offset")
	testenv.Until(t, "the replica has it all", func() bool { return offset(replica, "slave_repl_offset") >= all })
}
