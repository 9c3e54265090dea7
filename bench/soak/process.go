package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	benchprocess "github.com/provender-dev/provender/bench/internal/process"
)

// process is a program that is started, harmed, and started again at the same addresses.
type process struct {
	name  string
	args  []string
	log   string                        // file that its stderr is added to
	ready func(out *bufio.Reader) error // reads stdout until the program works

	mu  sync.Mutex
	cmd *exec.Cmd
}

// startTime is how long a program may take to start.
const startTime = time.Minute

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()                                                          // the program has its own
	cmd := exec.CommandContext(context.Background(), p.args[0], p.args[1:]...) // it is stopped by name
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	late := time.AfterFunc(startTime, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	out := bufio.NewReader(stdout)
	if err := p.ready(out); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start %s: %w (%s)", p.name, err, p.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	return nil
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	return p.cmd.Process.Signal(s)
}

// end signals the process and waits until it is gone. What SIGTERM ends must end well.
func (p *process) end(s syscall.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (s == syscall.SIGTERM || !errors.As(err, &exit)) {
		return fmt.Errorf("%s ended with %w (%s)", p.name, err, p.log)
	}
	return nil
}

// memory is what the process has resident, 0 where it is gone.
func (p *process) memory() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid()))
	if err != nil {
		return 0
	}
	if fields := strings.Fields(string(raw)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}

// server is a Provender server in a folder of its own.
type server struct {
	process
	grpc, http string // "127.0.0.1:0" before its first start
}

func newServer(provender, name, folder, logs string) *server {
	s := &server{grpc: "127.0.0.1:0", http: "127.0.0.1:0"}
	s.process = process{name: name, log: filepath.Join(logs, name+".log"), ready: func(out *bufio.Reader) error {
		var at struct{ GRPC, HTTP string }
		if err := json.NewDecoder(out).Decode(&at); err != nil {
			return fmt.Errorf("it did not say where it listens: %w", err)
		}
		s.grpc, s.http = at.GRPC, at.HTTP
		return nil
	}}
	s.args = []string{provender, "-C", folder, "-o", "json", "serve", "--grpc", "", "--http", ""}
	return s
}

func (s *server) start() error {
	s.args[len(s.args)-3], s.args[len(s.args)-1] = s.grpc, s.http
	return s.process.start()
}

// goroutines is what the server tells of itself, 0 where it does not.
func (s *server) goroutines(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, _ := strconv.Atoi(text)
			return n
		}
	}
	return 0
}

// newRedis is a server that keeps its data in a folder, so that what kills it takes nothing away.
func newRedis(folder, logs string) (*process, string, error) {
	addr, err := benchprocess.FreeAddr(context.Background())
	if err != nil {
		return nil, "", err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	return &process{
		name: "redis", log: filepath.Join(logs, "redis.log"),
		args: []string{
			"redis-server", "--bind", host, "--port", port, "--daemonize", "no", "--dir", folder, "--save", "",
			"--appendonly", "yes", "--hash-max-listpack-value", "128",
		},
		ready: func(out *bufio.Reader) error {
			for {
				line, err := out.ReadString('\n')
				if strings.Contains(line, "Ready to accept connections") {
					return nil
				}
				if err != nil {
					return errors.New("it ended")
				}
			}
		},
	}, addr, nil
}
