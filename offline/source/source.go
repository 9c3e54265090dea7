// Package source finds the files of a source and opens them: listing, identity, hive partitions, roots, on local disk
// and in object stores. Of Parquet it knows where the footer lies.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source/object"
)

// File is one file of a source at listing time.
type File struct {
	Path      string      // as messages and ledgers have it: "lake:airport_hourly/day=2001-01-01/a.parquet"
	Size      int64       // bytes
	Identity  string      // another value whenever the content may be another
	Partition []Partition // from `name=value` folders, in path order
	Modified  time.Time   // as the listing has it: of an object in whole seconds, the rest cut off; zero where it is not known
}

// Partition is one hive partition folder, value unescaped; null is the value of __HIVE_DEFAULT_PARTITION__.
type Partition struct {
	Name, Value string
	Null        bool
}

// Files lists and opens files below named roots. Safe for concurrent use.
type Files struct {
	project string
	roots   map[string]string
	budget  *object.Budget

	mu      sync.Mutex
	buckets map[string]*bucket // by root
}

// What all files of one Files fetch ahead of their readers, together.
const (
	aheadBytes    = 192 << 20
	aheadRequests = 16
)

// New returns the files below a project folder ("path" in definitions) and its named roots ("root:path"). A root is
// an absolute folder, one relative to the project, or the URL of a bucket or a prefix in it (see Create).
func New(project string, roots map[string]string) *Files {
	return &Files{
		project: project, roots: maps.Clone(roots),
		budget: object.NewBudget(aheadBytes, aheadRequests), buckets: make(map[string]*bucket),
	}
}

// List returns the files that the patterns name (file, folder, glob with ** and {a,b}), sorted by Path, each once.
// A folder means the .parquet, .parq and .pq files at any depth below it; a glob means every regular file it matches.
// Names that begin with _ or . are passed over, at every level below the pattern's fixed part. A pattern with nothing
// behind it, one that leaves its root (by .. or a symlink), or an unknown root is a *problem.Error that says what was
// looked for. A listing is complete or an error.
func (f *Files) List(ctx context.Context, patterns []string) ([]File, error) {
	var files []File
	for _, pattern := range patterns {
		at, err := f.resolve(pattern)
		if err != nil {
			return nil, err
		}
		var found []File
		if at.bucket != nil {
			found, err = listObjects(ctx, pattern, at)
		} else {
			found, err = listLocal(ctx, pattern, at)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(files, func(a, b File) bool { return a.Path == b.Path }), nil
}

// Reach reports why what lies in a root can't be listed, nil where it can; "" is the project's own folder. An empty root is fine.
func (f *Files) Reach(ctx context.Context, root string) error {
	name := "."
	if root != "" {
		name = root + ":"
	}
	at, err := f.resolve(name)
	if err != nil {
		return err
	}
	if at.bucket != nil {
		if _, err := at.bucket.store.List(ctx, at.bucket.prefix, true, ""); err != nil {
			return at.bucket.explain(name, at.bucket.prefix, fmt.Errorf("list: %w", err))
		}
		return nil
	}
	folder, err := at.open()
	if err != nil {
		return err
	}
	defer folder.Close()
	listed, err := folder.Open(".")
	if err == nil {
		_, err = listed.Readdirnames(1)
		_ = listed.Close()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return problem.New(problem.Precondition, "%s: cannot list %s: %w", name, at.dir, err)
	}
	return nil
}

// Handle is an open file, pinned to the identity it was listed with. Safe for concurrent use, but for Close.
type Handle struct {
	io.ReaderAt // under the context that the file was opened with
	File        File
	opened      opened
}

// opened is a file on local disk or an object.
type opened interface {
	io.ReaderAt
	under(ctx context.Context) io.ReaderAt
	prefetch(ctx context.Context, ranges []Range)
	forget(ranges []Range)
	check() error
	close() error
}

func newHandle(file File, o opened) *Handle { return &Handle{ReaderAt: o, File: file, opened: o} }

// Ahead is how many files are worth having open before they are read: 0 on local disk, where opening one costs nothing.
func (f *Files) Ahead(file File) int {
	if root, _, ok := cutRoot(file.Path); ok && IsURL(f.roots[root]) {
		return aheadRequests
	}
	return 0
}

// Open opens a listed file, or fails naming it when it is gone or no longer has the listed identity; of an object, the
// first read tells that.
func (f *Files) Open(ctx context.Context, file File) (*Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %s: %w", file.Path, err)
	}
	at, err := f.resolve(file.Path)
	if err != nil {
		return nil, err
	}
	if at.bucket != nil {
		return openRemote(ctx, at, file, f.budget)
	}
	return openLocal(at, file)
}

// Check fails, naming the file, when it has changed since it was opened: written to, truncated, replaced or removed.
// Called after the last read. Every read of an object was of its one version, so nothing is left to check.
func (h *Handle) Check() error { return h.opened.check() }

// Close closes the file. No read may be running.
func (h *Handle) Close() error { return h.opened.close() }

// Under returns the file as read under another context than that of Open.
func (h *Handle) Under(ctx context.Context) io.ReaderAt { return h.opened.under(ctx) }

// Prefetch implements Prefetcher. Of a local file it does nothing.
func (h *Handle) Prefetch(ctx context.Context, ranges []Range) { h.opened.prefetch(ctx, ranges) }

// Forget implements Prefetcher.
func (h *Handle) Forget(ranges []Range) { h.opened.forget(ranges) }

// place is a name below a root.
type place struct {
	root   string  // its name, "" for the project folder
	dir    string  // its absolute folder, "" in a bucket
	bucket *bucket // nil on local disk
	rel    string  // slash-separated; on local disk cleaned, "." for the root itself
}

// resolve splits "root:path" or "path" and refuses what leaves the root.
func (f *Files) resolve(name string) (place, error) {
	at := place{dir: f.project, rel: name}
	if root, rest, ok := cutRoot(name); ok {
		if strings.HasPrefix(rest, "//") {
			err := refused("%s: a URL is not allowed here", name)
			err.Suggestion = "declare its bucket or prefix under roots in provender.yaml and write \"root:path\""
			return place{}, err
		}
		dir, known := f.roots[root]
		if !known {
			return place{}, f.unknownRoot(name, root)
		}
		if IsURL(dir) {
			return f.resolveRemote(name, root, dir, rest)
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(f.project, dir)
		}
		at = place{root: root, dir: dir, rel: rest}
	} else if path.IsAbs(name) {
		err := refused("%s: an absolute path is not allowed here", name)
		err.Suggestion = "declare its folder under roots in provender.yaml and write \"root:path\""
		return place{}, err
	}
	var err error
	if at.dir, err = filepath.Abs(at.dir); err != nil {
		return place{}, fmt.Errorf("resolve %s: %w", name, err)
	}
	if slices.Contains(strings.Split(at.rel, "/"), "..") {
		return place{}, refused("%s: a path may not contain .. (it must stay below %s)", name, at.dir)
	}
	// "root:/path" means the same as "root:path".
	at.rel = path.Clean(strings.TrimLeft(at.rel, "/"))
	return at, nil
}

// resolveRemote finds a name below a root in a bucket.
func (f *Files) resolveRemote(name, root, url, rel string) (place, error) {
	// Nothing is climbed in a bucket, but some stores put keys into file systems.
	if slices.Contains(strings.Split(rel, "/"), "..") {
		return place{}, refused("%s: a path may not contain .. (it must stay below root %q)", name, root)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.buckets[root]
	if b == nil {
		var err error
		if b, err = openBucket(url); err != nil {
			return place{}, inRoot(root, err)
		}
		f.buckets[root] = b
	}
	return place{root: root, bucket: b, rel: rel}, nil
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
