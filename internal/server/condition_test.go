package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
)

// An outage is told once, however its failures read; that it is over, or has become one that does not pass, is told too.
func TestConditionTellsOutages(t *testing.T) {
	reset := func(port int) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port},
			Err: os.NewSyscallError("read", syscall.ECONNRESET),
		}
	}
	fails := func(code problem.Code, after time.Duration, cause error) error {
		return &problem.Error{Code: code, RetryAfter: after, Message: "ping: " + cause.Error(), Err: cause}
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	c := condition{name: "store"}
	for _, step := range []struct {
		err  error
		told string // "": nothing
	}{
		{nil, ""},
		{fails(problem.Unavailable, time.Second, io.EOF), "does not answer"},
		{fails(problem.Unavailable, time.Second, reset(40001)), ""},
		{fails(problem.Unavailable, time.Second, reset(40002)), ""},
		{fmt.Errorf("ping: %w", context.DeadlineExceeded), ""},
		{fails(problem.Unavailable, 0, errors.New("damaged")), "damaged"},
		{fails(problem.Precondition, 0, errors.New("wrong password")), "wrong password"},
		{nil, `"store answers again" after=`},
		{nil, ""},
		{fails(problem.Unavailable, time.Second, reset(40003)), "does not answer"},
	} {
		log.Reset()
		c.set(logger, step.err)
		if told := log.String(); (told != "") != (step.told != "") || !strings.Contains(told, step.told) {
			t.Errorf("%v: told %q, want %q", step.err, told, step.told)
		}
		if !errors.Is(c.err(), step.err) {
			t.Errorf("%v is known as %v", step.err, c.err())
		}
	}
}
