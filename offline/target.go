package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// target is where the files of an export go: one, or a folder of parts.
type target interface {
	// create begins the next file; those before it are finished.
	create(ctx context.Context) (*output, error)
	// commit gives what was finished its name, all at once.
	commit(ctx context.Context) error
	// discard removes what was written; after commit it does nothing.
	discard()
}

// openTarget makes sure that the output can be written, as far as that can be told beforehand.
func openTarget(ctx context.Context, req *ExportRequest, o exportOptions) (target, error) {
	switch {
	case req.Out == "-":
		return &single{newOutput("standard output", stream{req.Stdout})}, nil
	case req.PartRows > 0:
		return createFolder(req.Out, o.extension())
	default:
		out, err := createOutput(ctx, req.Out)
		if err != nil {
			return nil, err
		}
		return &single{out}, nil
	}
}

// single is one file, object or stream.
type single struct{ out *output }

func (s *single) create(context.Context) (*output, error) { return s.out, nil }
func (s *single) commit(ctx context.Context) error        { return s.out.commit(ctx) }
func (s *single) discard()                                { s.out.discard() }

// folder is a folder of parts, under a temporary name beside its own until commit. The name begins with a dot, so that no
// source takes the unfinished parts for data.
type folder struct {
	path, temp string
	extension  string
	lock       *os.File // the folder itself, locked while it is written
	parts      int
	open       *output // the part begun last
}

func createFolder(path, extension string) (*folder, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	path = filepath.Clean(path)
	sweep(path)
	f := &folder{path: path, temp: temporaryName(path), extension: extension}
	err := os.Mkdir(f.temp, 0o777)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("folder %s does not exist", filepath.Dir(path))
	}
	if err != nil {
		return nil, outputProblem(path, err)
	}
	if f.lock, err = os.Open(f.temp); err != nil {
		return nil, errors.Join(outputProblem(path, err), os.Remove(f.temp))
	}
	lock(f.lock)
	return f, nil
}

// checkFolder refuses a target that is there, unless it is an empty folder.
func checkFolder(path string) error {
	if source.IsURL(path) {
		e := problem.New(problem.Invalid, "%s: an object store has no folders, whose parts would appear all at once", path)
		e.Field, e.Suggestion = "part_rows", "write one object, or parts into a local folder to copy from"
		return e
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return outputProblem(path, err)
	case len(entries) > 0:
		e := problem.New(problem.Invalid, "write %s: the folder is not empty", path)
		e.Field, e.Suggestion = "out", "remove it, or name another one; parts of two exports must not mix"
		return e
	}
	return nil
}

func (f *folder) create(context.Context) (*output, error) {
	name := fmt.Sprintf("part-%05d%s", f.parts, f.extension)
	f.parts++
	file, err := os.OpenFile(filepath.Join(f.temp, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, outputProblem(f.path, err)
	}
	f.open = newOutput(name, &partFile{file})
	return f.open, nil
}

func (f *folder) commit(context.Context) error {
	if err := f.rename(); err != nil {
		return outputProblem(f.path, err)
	}
	return nil
}

func (f *folder) rename() error {
	if err := f.lock.Sync(); err != nil {
		return err
	}
	// An empty folder makes way; anything else that has come since is left alone, and the rename fails.
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(f.temp, f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

func (f *folder) discard() {
	if f.open != nil {
		f.open.discard()
	}
	_ = f.lock.Close()
	_ = os.RemoveAll(f.temp)
}

// partFile is a file of a folder that has no name yet.
type partFile struct{ *os.File }

func (f *partFile) finish() error                { return errors.Join(f.Sync(), f.Close()) }
func (f *partFile) commit(context.Context) error { return nil }
func (f *partFile) discard()                     { _ = f.Close() } // closed already where finish was reached
