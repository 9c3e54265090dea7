package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/provender-dev/provender/internal/problem"
)

// localFile is a file on local disk. The operating system fetches ahead.
type localFile struct {
	*os.File
	file File
	path string // absolute
}

func openLocal(at place, file File) (*Handle, error) {
	root, err := at.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l := &localFile{file: file, path: filepath.Join(at.dir, filepath.FromSlash(at.rel))}
	// What was listed was a regular file. A pipe that has its name now must not be waited for.
	if l.File, err = root.OpenFile(at.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, l.changed(err)
	}
	if err := l.checkOpen(); err != nil {
		_ = l.close()
		return nil, err
	}
	return newHandle(file, l), nil
}

func (l *localFile) under(context.Context) io.ReaderAt { return l.File }
func (l *localFile) prefetch(context.Context, []Range) {}
func (l *localFile) forget([]Range)                    {}

// check holds the open file and the one that now has its name against the listing. The name is looked up from the top:
// what a symlink leads to has another identity.
func (l *localFile) check() error {
	named, err := os.Stat(l.path)
	if err != nil {
		return l.changed(err) // first: a file that is removed changes, too
	}
	if err := l.checkOpen(); err != nil {
		return err
	}
	if identity(named) != l.file.Identity {
		return l.changed(nil)
	}
	return nil
}

func (l *localFile) checkOpen() error {
	open, err := l.Stat()
	if err != nil {
		return l.changed(err)
	}
	if identity(open) != l.file.Identity {
		return l.changed(nil)
	}
	return nil
}

func (l *localFile) close() error { return l.File.Close() }

func (l *localFile) changed(cause error) error {
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		return changed(l.file.Path, "is gone since it was listed", cause)
	case cause != nil:
		return problem.New(problem.Precondition, "%s: %w", l.file.Path, cause)
	}
	return changed(l.file.Path, "has changed since it was listed", nil)
}

func changed(path, what string, cause error) error {
	return &problem.Error{
		Code:       problem.Conflict,
		Message:    fmt.Sprintf("%s %s", path, what),
		Suggestion: "run the command again; write new files under a name that begins with _ and rename them when complete",
		Err:        cause,
	}
}

// open opens the root folder; everything read through it stays below it.
func (at place) open() (*os.Root, error) {
	root, err := os.OpenRoot(at.dir)
	if err == nil {
		return root, nil
	}
	what := "the project folder"
	if at.root != "" {
		what = fmt.Sprintf("root %q", at.root)
	}
	return nil, &problem.Error{
		Code:    problem.Precondition,
		Message: fmt.Sprintf("%s: cannot open %s at %s: %v", at, what, at.dir, errors.Unwrap(err)),
		Err:     err,
	}
}
