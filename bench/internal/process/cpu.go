package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc.
const tick = 10 * time.Millisecond

// TimeOf returns the CPU time of a process, of all its threads.
func TimeOf(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses, which may hold anything; user and system time are fields 14 and 15.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s: too few fields", path)
	}
	return sumTicks(path, fields[11:13])
}

// MachineTime returns the CPU time that all processes and the system have used.
func MachineTime() (time.Duration, error) {
	const path = "/proc/stat"
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line) // cpu user nice system idle iowait irq softirq …
	if len(fields) < 8 {
		return 0, fmt.Errorf("%s: too few fields", path)
	}
	return sumTicks(path, append(fields[1:4:4], fields[6:8]...))
}

func sumTicks(path string, fields []string) (sum time.Duration, err error) {
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// Peak returns the most memory that the process has had resident, in MiB, 0 for one that runs elsewhere.
func (p *Process) Peak() (float64, error) {
	if p == nil {
		return 0, nil
	}
	path := fmt.Sprintf("/proc/%d/status", p.pid)
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return kib / 1024, nil
}
