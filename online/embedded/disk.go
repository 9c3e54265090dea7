package embedded

import (
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/provender-dev/provender/internal/problem"
)

// disk is a file system of which no write comes back failed. After a failure nobody knows what is on disk, and Pebble can't
// live with it: in places it panics with locks that it doesn't hold, or tries again and takes it for done. So whoever meets
// one stays where it is for good, and everybody learns of it through run. Reads go on.
type disk struct {
	vfs.FS
	logger *slog.Logger

	once   sync.Once
	broken chan struct{} // closed by the first failure
	err    error         // that failure, once broken is closed
}

func newDisk(fs vfs.FS, logger *slog.Logger) *disk {
	return &disk{FS: fs, logger: logger, broken: make(chan struct{})}
}

// run calls f, which writes, and returns what f does; Unavailable once a write has failed, when f may not have been called,
// or never returns.
func (d *disk) run(f func() error) error {
	if d.isBroken() {
		return d.err
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-d.broken:
		return d.err
	}
}

func (d *disk) isBroken() bool {
	select {
	case <-d.broken:
		return true
	default:
		return false
	}
}

// wrote is told how a write went; after a failed one it does not return.
func (d *disk) wrote(err error) {
	if err == nil {
		return
	}
	d.once.Do(func() {
		d.err = problem.New(problem.Unavailable,
			"the online store could not write to its disk and takes no more writes until it is opened again: %w", err)
		d.logger.Error(d.err.Error())
		close(d.broken)
	})
	select {}
}

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	d.wrote(err)
	return diskFile{f, d}, nil
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname, category)
	d.wrote(err)
	return diskFile{f, d}, nil
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, category, opts...)
	d.wrote(err)
	return diskFile{f, d}, nil
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return diskFile{f, d}, nil
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	d.wrote(d.FS.Rename(oldname, newname))
	return nil
}

// diskFile is a file or folder that is written.
type diskFile struct {
	vfs.File
	disk *disk
}

// Write implements vfs.File.
func (f diskFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.disk.wrote(err)
	return n, nil
}

// WriteAt implements vfs.File.
func (f diskFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	f.disk.wrote(err)
	return n, nil
}

// Sync implements vfs.File.
func (f diskFile) Sync() error {
	f.disk.wrote(f.File.Sync())
	return nil
}

// SyncTo implements vfs.File.
func (f diskFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	f.disk.wrote(err)
	return fullSync, nil
}

// SyncData implements vfs.File.
func (f diskFile) SyncData() error {
	f.disk.wrote(f.File.SyncData())
	return nil
}

// Stat implements vfs.File.
func (f diskFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat() // of a log that is written again
	f.disk.wrote(err)
	return info, nil
}

// Close implements vfs.File.
func (f diskFile) Close() error {
	f.disk.wrote(f.File.Close())
	return nil
}
