package gitops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

// tree is the definition files of one state of an origin.
type tree struct {
	id     string    // the commit; of a folder, a digest of its files
	time   time.Time // of the commit; zero for a folder
	files  []definition.File
	unread error // a diag.Set of what could not be read
}

// origin is where definitions come from.
type origin interface {
	// look returns the state of now, nil where its id is still the one known. Errors are of class NotFound where there
	// is no such repository, branch or folder, Exhausted where it is too large, else Unavailable.
	look(ctx context.Context, known string) (*tree, error)
}

// open returns an origin; a relative path is relative to dir.
func open(o definition.Origin, dir string) origin {
	absolute := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	switch {
	case !o.Git:
		return folder(absolute(o.Folder))
	case isURL(o.Repository):
		return newRemote(o)
	default:
		return &local{path: absolute(o.Repository), branch: o.Branch, folder: o.Folder}
	}
}

// folder is a folder of this machine. Links within it are followed, as Kubernetes makes them; none leads out of it.
type folder string

func (f folder) look(ctx context.Context, known string) (*tree, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, fileProblem(err, string(f))
	}
	defer func() { _ = root.Close() }()
	var g definition.Gathering
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case name != "." && definition.Skips(path.Base(name)):
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case err != nil:
			return err // what can't be listed must not count as deleted
		case entry.IsDir():
			return nil
		}
		add(&g, root, name)
		return nil
	})
	if err != nil {
		return nil, fileProblem(err, string(f))
	}
	t := &tree{}
	t.files, t.unread = g.Files()
	if t.id = digest(t); t.id == known {
		return nil, nil //nolint:nilnil // as the contract has it
	}
	return t, nil
}

func add(g *definition.Gathering, root *os.Root, name string) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		g.Refuse(name, reason(err))
		return
	case info.IsDir():
		return
	case !info.Mode().IsRegular():
		g.Refuse(name, "not a regular file")
		return
	}
	g.Add(name, info.Size(), func() ([]byte, error) {
		file, err := root.Open(name)
		if err != nil {
			return nil, errors.New(reason(err))
		}
		defer func() { _ = file.Close() }()
		// A file that grows meanwhile is refused by its size when it is read as YAML.
		return io.ReadAll(io.LimitReader(file, definition.MaxFileBytes+1))
	})
}

// reason strips the path, which the position has already.
func reason(err error) string {
	var inside *fs.PathError
	if errors.As(err, &inside) {
		return inside.Err.Error()
	}
	return err.Error()
}

// digest identifies what a folder holds, in any order and with every byte.
func digest(t *tree) string {
	h := sha256.New()
	for _, f := range t.files {
		fmt.Fprintf(h, "%d %s\n%d\n", len(f.Name), f.Name, len(f.Content))
		h.Write(f.Content)
	}
	if t.unread != nil {
		h.Write([]byte(t.unread.Error()))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func fileProblem(err error, name string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return problem.New(problem.NotFound, "there is no folder %s", name)
	}
	return problem.New(problem.Unavailable, "read folder %s: %w", name, err)
}
