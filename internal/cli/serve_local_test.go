package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// local is a provender serve --local in a process of its own.
type local struct {
	process *exec.Cmd
	stdin   io.Closer
	stdout  *bufio.Reader
	log     journal
	at      struct {
		Socket  string
		Started bool
	}
}

// startLocal starts a local server, and does not wait for it.
func startLocal(t *testing.T, dir string) *local {
	t.Helper()
	l := &local{process: exec.Command("provender", "serve", "--local", "-C", dir)}
	l.process.Stderr = &l.log
	stdin, err := l.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stdin = stdin
	l.start(t)
	return l
}

func (l *local) start(t *testing.T) {
	t.Helper()
	stdout, err := l.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stdout = bufio.NewReader(stdout)
	if err := l.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.process.ProcessState == nil {
			_ = l.process.Process.Kill()
			_ = l.process.Wait()
		}
	})
}

// listens waits until the server has told where it, or another, listens.
func (l *local) listens(t *testing.T) string {
	t.Helper()
	defer killLate(l.process)()
	line, err := l.stdout.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, line, &l.log)
	}
	if err := json.Unmarshal(line, &l.at); err != nil || l.at.Socket == "" {
		t.Fatalf("%v: %s\n%s", err, line, &l.log)
	}
	return l.at.Socket
}

// ends waits for a clean end.
func (l *local) ends(t *testing.T) {
	t.Helper()
	defer killLate(l.process)()
	if more, _ := io.ReadAll(l.stdout); len(more) > 0 {
		t.Errorf("more on stdout: %s", more)
	}
	if err := l.process.Wait(); err != nil {
		t.Fatalf("serve --local: %v\n%s", err, &l.log)
	}
}

// answers checks that status is answered at a socket.
func answers(t *testing.T, socket string) {
	t.Helper()
	c, err := client.Dial(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	views, err := c.Status(t.Context(), nil)
	if err != nil || len(views) != 1 {
		t.Fatalf("%d views: %v", len(views), err)
	}
}

// nobody checks that nothing is left of a server.
func nobody(t *testing.T, dir, socket string) {
	t.Helper()
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	next := startLocal(t, dir)
	if next.listens(t); !next.at.Started {
		t.Error("the store is still held")
	}
	next.stdin.Close()
	next.ends(t)
}

// A local server answers on its socket until its stdin ends. Commands and other local servers use it meanwhile.
func TestServeLocal(t *testing.T) {
	dir := shop(t)
	first := startLocal(t, dir)
	socket := first.listens(t)
	if want := filepath.Join(dir, ".provender", "provender.sock"); socket != want || !first.at.Started {
		t.Fatalf("listens at %+v, want its own at %s", first.at, want)
	}
	answers(t, socket)
	if _, err := os.Stat(filepath.Join(dir, ".provender", "serve.json")); err == nil {
		t.Error("it has addresses beside the socket")
	}
	provender(t, "materialize", "-C", dir)
	if got := provender(t, "get", "-C", dir, "--service", "churn_model_v1", "--entity", "customer_id=1"); !strings.Contains(got, "revision 1") {
		t.Error(got)
	}
	second := startLocal(t, dir)
	if second.listens(t) != socket || second.at.Started {
		t.Errorf("the second: %+v", second.at)
	}
	second.ends(t) // although its stdin has not ended
	answers(t, socket)
	first.stdin.Close()
	first.ends(t)
	nobody(t, dir, socket)
}

func TestServeLocalOnTermination(t *testing.T) {
	dir := shop(t)
	l := startLocal(t, dir)
	socket := l.listens(t)
	if err := l.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.ends(t)
	nobody(t, dir, socket)
}

// The process at the other end of stdin is killed: nothing is left of the server.
func TestServeLocalWithKilledParent(t *testing.T) {
	dir := shop(t)
	stdin, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command("sleep", "600")
	parent.Stdout = held
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = parent.Process.Kill() }()
	l := &local{process: exec.Command("provender", "serve", "--local", "-C", dir)}
	l.process.Stdin, l.process.Stderr = stdin, &l.log
	l.start(t)
	if err := errors.Join(stdin.Close(), held.Close()); err != nil {
		t.Fatal(err)
	}
	socket := l.listens(t)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	l.ends(t)
	nobody(t, dir, socket)
}

// A server that runs is used, with its socket, and so is what it leaves behind when it is killed.
func TestServeLocalBesideServer(t *testing.T) {
	dir := shop(t)
	s := startServe(t, dir)
	l := startLocal(t, dir)
	answers(t, l.listens(t))
	if l.at.Started {
		t.Error("a local server beside the server")
	}
	l.ends(t)
	if err := s.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.process.Wait()
	nobody(t, dir, filepath.Join(t.TempDir(), "none"))
}

// A process that holds the store and does not listen is waited for.
func TestServeLocalWaitsForStore(t *testing.T) {
	dir := shop(t)
	store, err := embedded.Open(filepath.Join(dir, ".provender", "online"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := startLocal(t, dir)
	testenv.Until(t, "the registry is open", func() bool {
		_, err := os.Stat(filepath.Join(dir, ".provender", "registry.db-shm"))
		return err == nil
	})
	provender(t, "list", "views", "-C", dir) // takes longer than to find the store held
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	answers(t, l.listens(t))
	if !l.at.Started {
		t.Errorf("%+v", l.at)
	}
	l.stdin.Close()
	l.ends(t)
}

// Where the project's path is too long for a socket, the one that is told is not.
func TestServeLocalInLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), "shop")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	provender(t, "init", dir)
	provender(t, "apply", "--yes", "-C", dir)
	first := startLocal(t, dir)
	socket := first.listens(t)
	if len(socket) > 103 {
		t.Errorf("no socket can be at %s", socket)
	}
	answers(t, socket)
	second := startLocal(t, dir)
	if second.listens(t) != socket {
		t.Errorf("the second is told %s, not %s", second.at.Socket, socket)
	}
	second.ends(t)
	first.stdin.Close()
	first.ends(t)
	nobody(t, dir, socket)
}

// Any number of processes can open a Redis, but one of them has the socket, however many begin at once.
func TestServeLocalWithRedis(t *testing.T) {
	dir := shop(t)
	config := filepath.Join(dir, "provender.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("embedded://.provender/online"), []byte(onlinetest.StartRedis(t)), 1)
	if err := os.WriteFile(config, text, 0o644); err != nil {
		t.Fatal(err)
	}
	all := make([]*local, 4)
	for i := range all {
		all[i] = startLocal(t, dir)
	}
	var holder *local
	for _, l := range all {
		answers(t, l.listens(t))
		if !l.at.Started {
			l.ends(t)
			continue
		}
		if holder != nil {
			t.Error("two local servers")
		}
		holder = l
	}
	if holder == nil {
		t.Fatal("no local server")
	}
	startServe(t, dir).stop(t) // needs no socket, and leaves the other's alone
	answers(t, holder.at.Socket)
	holder.stdin.Close()
	holder.ends(t)
	nobody(t, dir, holder.at.Socket)
}
