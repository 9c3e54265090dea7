package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// process names a process beyond its end: by the machine's boot, the pid namespace, the pid, and when the process
// started, so that neither another machine, nor a container, nor a pid that is used again is taken for it. The zero
// value names none: where the system does not tell, no process is ever found gone.
type process struct {
	machine string // boot and pid namespace
	pid     int
	start   string
}

// self returns the process that this is.
var self = sync.OnceValue(func() process {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return process{}
	}
	pid := os.Getpid()
	start, _ := started(pid)
	if start == "" {
		return process{}
	}
	return process{machine: strings.TrimSpace(string(boot)) + " " + space, pid: pid, start: start}
})

// started tells when a process started, in the kernel's ticks, "" where that is not to be seen, and whether it has
// ended and only waits for its parent.
func started(pid int) (ticks string, ended bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", false
	}
	// Fields from the third on; the second is the program's name in parentheses, which may hold anything.
	const state, startTime = 0, 19
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) <= startTime {
		return "", false
	}
	return fields[startTime], strings.ContainsAny(fields[state], "ZX")
}

// gone reports whether p ran on this machine and surely does no more.
func (p process) gone() bool {
	if p.pid <= 0 || p.machine != self().machine {
		return false
	}
	if errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) {
		return true
	}
	start, ended := started(p.pid)
	return ended || start != "" && start != p.start
}

// String is p as the database has it.
func (p process) String() string {
	if p.pid == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s %s", p.pid, p.start, p.machine)
}

// parseProcess is the reverse of String; what can't be read names no process.
func parseProcess(s string) process {
	pid, rest, _ := strings.Cut(s, " ")
	start, machine, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(pid)
	if err != nil {
		return process{}
	}
	return process{machine: machine, pid: n, start: start}
}
