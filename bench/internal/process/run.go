package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process took, from start to exit.
type Usage struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes resident; 0: not known
}

func (u Usage) String() string {
	text := fmt.Sprintf("%6.2f s, CPU %6.2f s", u.Wall.Seconds(), u.CPU.Seconds())
	if u.Peak > 0 {
		text += fmt.Sprintf(", %5d MiB", u.Peak>>20)
	}
	return text
}

// Run runs a program to its end, with so many threads if it is Go's, and returns what it wrote on stdout. What earlier
// runs left to be written goes to disk before, so that nobody pays for others.
//
// The peak that the system reports for a process begins with what this process had when it started the other: who measures
// it stays small, therefore.
func Run(ctx context.Context, threads int, args ...string) (stdout string, u Usage, err error) {
	syscall.Sync()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", threads))
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	start := time.Now()
	err = c.Run()
	u.Wall = time.Since(start)
	if err != nil {
		return "", u, fmt.Errorf("%s: %w\n%s%s", filepath.Base(args[0]), err, out.String(), said.String())
	}
	u.CPU = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.Peak = usage.Maxrss << 10
	}
	return out.String(), u, nil
}
