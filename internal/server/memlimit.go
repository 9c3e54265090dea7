package server

import (
	"io/fs"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// noLimit is Go's memory limit where none is set.
const noLimit = math.MaxInt64

// unlimited is what cgroups of version 1 say at least where there is no limit: the greatest number of whole pages.
const unlimited = 1 << 60

// limitMemory keeps Go's garbage collector below the limit of the process's cgroup, unless GOMEMLIMIT says something: memory
// that nobody uses any more is collected before the kernel ends the process. A tenth stays for what Go does not count.
func limitMemory(system fs.FS, getenv func(string) string, logger *slog.Logger) {
	limit, bounded := memoryLimit(system)
	if !bounded || getenv("GOMEMLIMIT") != "" {
		return
	}
	most := int64(limit / 10 * 9)
	debug.SetMemoryLimit(most)
	logger.Info("the cgroup limits memory: Go keeps to nine tenths of it, as GOMEMLIMIT would say",
		"limit", humanize.IBytes(limit), "go_limit", humanize.IBytes(uint64(most)))
}

// memoryLimit returns the least limit of the process's cgroup and those above it, false where there is none, or none can be
// seen. system is the root of the file system.
func memoryLimit(system fs.FS) (limit uint64, bounded bool) {
	groups, err := fs.ReadFile(system, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	limit = unlimited
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; version 2 has no controllers
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		mount, file := "sys/fs/cgroup", "memory.max"
		switch controllers {
		case "":
		case "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// A container may see its own group at the mount while it is told the path that the host knows.
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			raw, err := fs.ReadFile(system, path.Join(mount, dir, file))
			if err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64); err == nil { // "max" is no number
					limit = min(limit, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, limit > 0 && limit < unlimited
}
