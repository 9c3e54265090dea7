package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/online/embedded"
)

// leastFiles is how many file descriptors a server should have: for connections, and for files of the embedded store.
const leastFiles = 4096

// lookAtLimits looks at what the operating system lets a process have, which is that of a server where that is started alike.
func (d *doctor) lookAtLimits(context.Context) []checkup.Check {
	files := checkup.Check{Name: "file descriptors", State: checkup.OK}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		files = checkup.Failed(files.Name, err)
	} else {
		files.Text = fmt.Sprintf("a process may have %d open", limit.Cur)
	}
	if files.State == checkup.OK && limit.Cur < leastFiles {
		files.State = checkup.Warning
		files.Text += ": connections are refused when they are used up"
		files.Fix = "raise it to 65536: ulimit -n 65536, LimitNOFILE=65536 for systemd, --ulimit nofile=65536 for a container"
	}
	return []checkup.Check{files, d.memory()}
}

// memory compares what the settings let a server use with what it may have.
func (d *doctor) memory() checkup.Check {
	c := checkup.Check{Name: "memory", State: checkup.OK}
	runs, limits := &d.Config.Materialize, &d.Config.Limits
	uses := uint64(runs.Memory*runs.Concurrency) + uint64(limits.ExportMemory)*uint64(limits.Exports)
	c.Text = fmt.Sprintf("%s for %d runs, %s for %d exports",
		humanize.IBytes(uint64(runs.Memory*runs.Concurrency)), runs.Concurrency, humanize.IBytes(uint64(limits.ExportMemory)*uint64(limits.Exports)), limits.Exports)
	if d.isEmbedded() {
		cache := uint64(d.embeddedURL().Cache)
		if cache == 0 {
			cache = embedded.DefaultCacheBytes
		}
		uses += cache
		c.Text += fmt.Sprintf(", %s for the embedded store's cache", humanize.IBytes(cache))
	}
	c.Text = fmt.Sprintf("a server may use %s at once: %s", humanize.IBytes(uses), c.Text)
	limit, bounded := memoryLimit(d.system)
	if !bounded {
		c.Text += "; no cgroup limits this process"
		return c
	}
	c.Text += fmt.Sprintf("; the cgroup of this process allows %s", humanize.IBytes(limit))
	if goes := debug.SetMemoryLimit(-1); uint64(goes) > limit && goes != noLimit {
		c.State = checkup.Warning
		c.Text += fmt.Sprintf(", but GOMEMLIMIT says %s", humanize.IBytes(uint64(goes)))
		c.Fix = "set GOMEMLIMIT to nine tenths of the cgroup's limit, or leave it out: serve does that by itself"
	}
	if uses > limit {
		c.State = checkup.Warning
		c.Fix = "give the server more memory, or lower materialize.memory, materialize.concurrency, limits.export_memory, limits.exports, " +
			"or cache of the embedded store's URL"
	}
	return c
}
