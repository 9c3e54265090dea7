// Package source finds the files of a source and opens them: listing, identity, hive partitions, roots. It does not
// know Parquet.
package source

import (
	"context"
	"io"
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
	return &Files{project: project, roots: roots}
}

// List returns the files that the patterns name (file, folder, glob with ** and {a,b}), sorted by Path, each once.
// Names that begin with _ or . are passed over, at every level below the pattern's fixed part. A pattern with nothing
// behind it, one that leaves its root (by .. or a symlink), or an unknown root is a *problem.Error that says what was
// looked for.
func (f *Files) List(ctx context.Context, patterns []string) ([]File, error) { panic("unwritten") }

// Handle is an open file, pinned to the identity it was listed with.
type Handle struct {
	io.ReaderAt
	File File
}

// Open opens a listed file, or fails naming it when it is gone or no longer has the listed identity.
func (f *Files) Open(ctx context.Context, file File) (*Handle, error) { panic("unwritten") }

// Check fails, naming the file, when it has changed since it was opened; called after the last read.
func (h *Handle) Check() error { panic("unwritten") }

// Close closes the file.
func (h *Handle) Close() error { panic("unwritten") }
