// Package source finds the files of a source and opens them: listing, identity, hive partitions, roots. It does not
// know Parquet.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
)

// File is one file of a source at listing time.
type File struct {
	Path      string      // as messages and ledgers have it: "lake:airport_hourly/day=2001-01-01/a.parquet"
	Size      int64       // bytes
	Identity  string      // another value whenever the content may be another
	Partition []Partition // from `name=value` folders, in path order
}

// Partition is one hive partition folder, value unescaped; null is the value of __HIVE_DEFAULT_PARTITION__.
type Partition struct {
	Name, Value string
	Null        bool
}

// Files lists and opens files below named roots. Immutable; safe for concurrent use.
type Files struct {
	project string
	roots   map[string]string
}

// New returns the files below a project folder ("path" in definitions) and its named roots ("root:path"). A root is
// an absolute folder, or one relative to the project.
func New(project string, roots map[string]string) *Files {
	return &Files{project: project, roots: maps.Clone(roots)}
}

// List returns the files that the patterns name (file, folder, glob with ** and {a,b}), sorted by Path, each once.
// A folder means the .parquet, .parq and .pq files at any depth below it; a glob means every regular file it matches.
// Names that begin with _ or . are passed over, at every level below the pattern's fixed part. A pattern with nothing
// behind it, one that leaves its root (by .. or a symlink), or an unknown root is a *problem.Error that says what was
// looked for.
func (f *Files) List(ctx context.Context, patterns []string) ([]File, error) {
	var files []File
	for _, pattern := range patterns {
		found, err := f.list(ctx, pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(files, func(a, b File) bool { return a.Path == b.Path }), nil
}

// Handle is an open file, pinned to the identity it was listed with.
type Handle struct {
	io.ReaderAt
	File File

	file *os.File
	root *os.Root
	rel  string
}

// Open opens a listed file, or fails naming it when it is gone or no longer has the listed identity.
func (f *Files) Open(ctx context.Context, file File) (*Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %s: %w", file.Path, err)
	}
	at, err := f.resolve(file.Path)
	if err != nil {
		return nil, err
	}
	root, err := at.open()
	if err != nil {
		return nil, err
	}
	h := &Handle{File: file, root: root, rel: at.rel}
	if h.file, err = root.Open(at.rel); err != nil {
		_ = root.Close()
		return nil, h.changed(err)
	}
	h.ReaderAt = h.file
	if err := h.Check(); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// Check fails, naming the file, when it has changed since it was opened: written to, truncated, replaced or removed.
// Called after the last read.
func (h *Handle) Check() error {
	open, err := h.file.Stat()
	if err != nil {
		return h.changed(err)
	}
	named, err := h.root.Stat(h.rel)
	if err != nil {
		return h.changed(err)
	}
	if identity(open) != h.File.Identity || identity(named) != h.File.Identity {
		return h.changed(nil)
	}
	return nil
}

func (h *Handle) changed(cause error) error {
	what := "has changed since it was listed"
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		what = "is gone since it was listed"
	case cause != nil:
		return problem.New(problem.Precondition, "%s: %w", h.File.Path, cause)
	}
	return &problem.Error{
		Code:       problem.Conflict,
		Message:    fmt.Sprintf("%s %s", h.File.Path, what),
		Suggestion: "run the command again; write new files under a name that begins with _ and rename them when complete",
		Err:        cause,
	}
}

// Close closes the file.
func (h *Handle) Close() error {
	err := h.file.Close()
	return errors.Join(err, h.root.Close())
}

// place is a name below a root.
type place struct {
	root string // its name, "" for the project folder
	dir  string // its absolute folder
	rel  string // slash-separated, cleaned, "." for the root itself
}

// resolve splits "root:path" or "path" and refuses what leaves the root.
func (f *Files) resolve(name string) (place, error) {
	at := place{dir: f.project, rel: name}
	if root, rest, ok := cutRoot(name); ok {
		if strings.HasPrefix(rest, "//") {
			return place{}, remote(name, name)
		}
		dir, known := f.roots[root]
		if !known {
			return place{}, f.unknownRoot(name, root)
		}
		if strings.Contains(dir, "://") {
			return place{}, remote(name, dir)
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(f.project, dir)
		}
		at = place{root: root, dir: dir, rel: rest}
	} else if path.IsAbs(name) {
		return place{}, &problem.Error{
			Code:       problem.Invalid,
			Message:    fmt.Sprintf("%s: an absolute path is not allowed here", name),
			Suggestion: "declare its folder under roots in provender.yaml and write \"root:path\"",
		}
	}
	var err error
	if at.dir, err = filepath.Abs(at.dir); err != nil {
		return place{}, fmt.Errorf("resolve %s: %w", name, err)
	}
	if slices.Contains(strings.Split(at.rel, "/"), "..") {
		return place{}, problem.New(problem.Invalid, "%s: a path may not contain .. (it must stay below %s)", name, at.dir)
	}
	// "root:/path" means the same as "root:path".
	at.rel = path.Clean(strings.TrimLeft(at.rel, "/"))
	return at, nil
}

// cutRoot splits off a root's name: letters, digits, _ and - before the first colon.
func cutRoot(name string) (root, rest string, ok bool) {
	root, rest, ok = strings.Cut(name, ":")
	plain := func(c rune) bool {
		return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	if !ok || root == "" || strings.ContainsFunc(root, func(c rune) bool { return !plain(c) }) {
		return "", name, false
	}
	return root, rest, true
}

func (f *Files) unknownRoot(name, root string) error {
	known := "no roots are declared in provender.yaml"
	if len(f.roots) > 0 {
		known = "known roots: " + strings.Join(slices.Sorted(maps.Keys(f.roots)), ", ")
	}
	return &problem.Error{
		Code:       problem.Invalid,
		Message:    fmt.Sprintf("%s: unknown root %q", name, root),
		Suggestion: known,
	}
}

func remote(name, url string) error {
	scheme, _, _ := strings.Cut(url, "://")
	return &problem.Error{
		Code:       problem.Invalid,
		Message:    fmt.Sprintf("%s: sources are read from local disk, not from %s", name, scheme),
		Suggestion: "mount or copy the files and declare their folder under roots in provender.yaml",
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

// String returns the place as resolve reads it.
func (at place) String() string {
	if at.root != "" {
		return at.root + ":" + at.rel
	}
	if _, _, ok := cutRoot(at.rel); ok {
		return "./" + at.rel
	}
	return at.rel
}
