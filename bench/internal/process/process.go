// Package process runs what a benchmark measures or needs: servers beside it, and programs to their end.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a server may take to start, and to stop before it is killed.
const (
	startTime = time.Minute
	stopTime  = 10 * time.Second
)

// Process is a server that runs beside the benchmark. A nil Process is one that runs elsewhere.
type Process struct {
	Addr string // where it listens
	pid  int
	log  string // file of what it said on stderr
	end  func() error
}

// Start runs a program until Stop is called or ctx ends. ready reads its stdout until it listens, and tells where.
func Start(ctx context.Context, dir, name string, ready func(io.Reader) (string, error), args ...string) (*Process, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has its own
	ctx, cancel := context.WithCancel(ctx)
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	c.Stderr = log
	stdout, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{pid: c.Process.Pid, log: log.Name()}
	late := time.AfterFunc(startTime, cancel)
	p.Addr, err = ready(stdout)
	late.Stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stdout) // ends with the process
	}()
	p.end = func() error {
		cancel()
		<-drained
		var exit *exec.ExitError
		if err := c.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		err = fmt.Errorf("start %s: %w\n%s", name, err, p.said())
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// Stop ends the process and waits until it is gone.
func (p *Process) Stop() error {
	if p == nil {
		return nil
	}
	return p.end()
}

// said returns the end of what the process wrote to stderr.
func (p *Process) said() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}

// CPU returns what the process has used of all processors, 0 for one that runs elsewhere.
func (p *Process) CPU() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	return TimeOf(p.pid)
}

// StartRedis starts a server that keeps nothing on disk and packs hashes with values up to so many bytes.
func StartRedis(ctx context.Context, dir string, listpack int) (p *Process, err error) {
	for range 5 { // another process may take the port before the server does
		var addr string
		if addr, err = FreeAddr(ctx); err != nil {
			return nil, err
		}
		host, port, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return nil, splitErr
		}
		ready := func(stdout io.Reader) (string, error) {
			var said strings.Builder
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				if strings.Contains(lines.Text(), "Ready to accept connections") {
					return addr, nil
				}
				fmt.Fprintln(&said, lines.Text())
			}
			return "", errors.New(said.String())
		}
		p, err = Start(ctx, dir, "redis-server", ready, "redis-server", "--bind", host, "--port", port,
			"--save", "", "--appendonly", "no", "--daemonize", "no", "--hash-max-listpack-value", strconv.Itoa(listpack))
		if err == nil || ctx.Err() != nil {
			return p, err
		}
	}
	return nil, err
}

// FreeAddr returns an address of this machine that is free at the moment.
func FreeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Announced reads the address that a server prints as JSON when it listens.
func Announced(stdout io.Reader) (string, error) {
	var at struct {
		GRPC string `json:"grpc"`
	}
	if err := json.NewDecoder(stdout).Decode(&at); err != nil {
		return "", fmt.Errorf("it did not say where it listens: %w", err)
	}
	return at.GRPC, nil
}

// Command runs a program to its end.
func Command(ctx context.Context, name string, args ...string) error {
	said, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, said)
	}
	return nil
}
