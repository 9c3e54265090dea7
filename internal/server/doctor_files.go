package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// What a disk should have free at least.
const (
	leastFree      = 1 << 30
	leastFreeShare = 0.05
)

// sourcesAtOnce is how many sources are looked at side by side.
const sourcesAtOnce = 8

// lookAtRoots lists each root, a page of it in a bucket.
func (d *doctor) lookAtRoots(ctx context.Context) (found []checkup.Check) {
	for _, name := range slices.Sorted(maps.Keys(d.Config.Roots)) {
		c := checkup.Check{Name: "root " + name, State: checkup.OK, Text: "it can be listed"}
		if err := d.Files.Reach(ctx, name); err != nil {
			c = checkup.Failed(c.Name, err)
			if c.Fix == "" {
				c.Fix = "check roots." + name + " in provender.yaml, and that this user may list what is there"
			}
		}
		found = append(found, c)
	}
	return found
}

// lookAtSources opens a file of each source that views use, and reads its footer.
func (d *doctor) lookAtSources(ctx context.Context) []checkup.Check {
	if _, err := d.registry(); err != nil {
		return nil
	}
	snapshot, err := d.Snapshot(ctx)
	if err != nil {
		return nil // nothing was applied, or the look at the registry tells
	}
	views := map[*registry.Source][]string{}
	for _, name := range slices.Sorted(maps.Keys(snapshot.Views)) {
		source := snapshot.Views[name].Source
		views[source] = append(views[source], name)
	}
	sources := slices.SortedFunc(maps.Keys(views), func(a, b *registry.Source) int { return strings.Compare(a.Name, b.Name) })
	failures := make([]error, len(sources))
	var group errgroup.Group
	group.SetLimit(sourcesAtOnce)
	for i, source := range sources {
		group.Go(func() error {
			failures[i] = d.readable(ctx, source)
			return nil
		})
	}
	_ = group.Wait()

	c := checkup.Check{Name: "sources", State: checkup.OK, Text: fmt.Sprintf("a file of each of %d was opened, and its footer read", len(sources))}
	var found []checkup.Check
	var late []string
	for i, source := range sources {
		switch {
		case failures[i] == nil:
			continue
		case ctx.Err() != nil:
			late = append(late, source.Name)
			continue
		}
		one := checkup.Failed("source "+source.Name, failures[i])
		one.Text += " (for " + strings.Join(views[source], ", ") + ")"
		if one.Fix == "" {
			one.Fix = "put its files in place, or mend the paths of the source"
		}
		found = append(found, one)
	}
	if len(late) > 0 {
		c.State, c.Text = checkup.Warning, "not looked at in time: "+strings.Join(late, ", ")
		c.Fix = "provender status tells whether their files can be read"
	}
	if len(late) > 0 || len(found) == 0 {
		found = append(found, c)
	}
	return found
}

// readable reads the footer of a source's last file.
func (d *doctor) readable(ctx context.Context, source *registry.Source) error {
	files, err := d.Files.List(ctx, source.Parquet)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return problem.New(problem.Precondition, "it has no file")
	}
	last := files[len(files)-1]
	h, err := d.Files.Open(ctx, last)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	_, err = parquet.Open(ctx, h, last, d.ParquetLimits())
	return err
}

// lookAtDisks tries whether this machine's folders can be written, and what room they have.
func (d *doctor) lookAtDisks(context.Context) []checkup.Check {
	own := filepath.Join(d.Dir, stateFolder)
	state := checkup.Check{Name: "project folder", State: checkup.OK}
	err := os.MkdirAll(own, 0o755)
	if err == nil {
		err = writable(own)
	}
	room(&state, own, err, "let this user write "+own, "free some space")

	temporary := checkup.Check{Name: "temporary folder", State: checkup.OK}
	dir := os.TempDir()
	room(&temporary, dir, writable(dir), "let this user write "+dir+", or name another folder as TMPDIR",
		"free some space, or name a folder on another disk as TMPDIR: exports, spines and runs put there what memory has no room for")
	return []checkup.Check{state, temporary}
}

// writable tries to write a file in dir, and leaves none.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".provender-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// room tells what a folder has free, once it is known whether it can be written.
func room(c *checkup.Check, dir string, err error, letWrite, makeRoom string) {
	if err != nil {
		c.State, c.Text, c.Fix = checkup.Error, fmt.Sprintf("%s can't be written: %v", dir, err), letWrite
		return
	}
	c.Text = dir + " can be written"
	var disk unix.Statfs_t
	if unix.Statfs(dir, &disk) != nil || disk.Blocks == 0 {
		return
	}
	free, all := disk.Bavail*uint64(disk.Bsize), disk.Blocks*uint64(disk.Bsize)
	c.Text += fmt.Sprintf("; %s of %s are free", humanize.IBytes(free), humanize.IBytes(all))
	if scarce(free, all) {
		c.State, c.Fix = checkup.Warning, makeRoom
	}
}

func scarce(free, all uint64) bool {
	return free < leastFree || float64(free) < leastFreeShare*float64(all)
}
