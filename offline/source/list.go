package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/provender-dev/provender/internal/problem"
)

// hiveNull is the folder value that stands for null.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// maxDepth bounds the folders below a pattern's fixed part, so that a cycle of symlinks ends.
const maxDepth = 64

// ErrRefused is the cause of errors about patterns that no files make good: a path or a link that leads out of its root, a
// glob that is none.
var ErrRefused = errors.New("the path is not allowed")

// refused is an error of a pattern.
func refused(format string, args ...any) *problem.Error {
	err := problem.New(problem.Invalid, format, args...)
	err.Err = ErrRefused
	return err
}

// listLocal returns the files behind one pattern.
func listLocal(ctx context.Context, pattern string, at place) ([]File, error) {
	root, err := at.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	w := walk{ctx: ctx, at: at, root: root}

	info, err := root.Stat(at.rel)
	switch {
	case err == nil && info.IsDir():
		w.accept = isParquet
		if err := w.folder(at.rel, 0); err != nil {
			return nil, err
		}
		if len(w.files) == 0 {
			return nil, nothing(pattern, fmt.Sprintf("no .parquet file in %s or below", w.absolute(at.rel)))
		}
	case err == nil && info.Mode().IsRegular():
		if err := w.add(at.rel, info); err != nil {
			return nil, err
		}
	case err == nil:
		return nil, problem.New(problem.Precondition, "%s: %s is neither a file nor a folder", pattern, w.absolute(at.rel))
	case !errors.Is(err, fs.ErrNotExist) && !hasMeta(at.rel):
		return nil, w.blocked(at.rel, err)
	case !hasMeta(at.rel):
		return nil, nothing(pattern, fmt.Sprintf("%s does not exist", w.absolute(at.rel)))
	default:
		if err := w.glob(pattern); err != nil {
			return nil, err
		}
	}
	return w.files, nil
}

func hasMeta(rel string) bool { return strings.ContainsAny(rel, `*?[{\`) }

func isParquet(rel string) bool {
	switch strings.ToLower(path.Ext(rel)) {
	case ".parquet", ".parq", ".pq":
		return true
	}
	return false
}

func nothing(pattern, looked string) error {
	return &problem.Error{Code: problem.Precondition, Message: fmt.Sprintf("%s: nothing found: %s", pattern, looked)}
}

// walk collects the files of one pattern.
type walk struct {
	ctx     context.Context
	at      place
	root    *os.Root
	accept  func(rel string) bool
	depth   int // folders below the start that are entered; 0: all
	folders int // folders that the pattern itself matched
	files   []File
}

func (w *walk) absolute(rel string) string { return filepath.Join(w.at.dir, filepath.FromSlash(rel)) }

// glob walks from the pattern's fixed part and takes the regular files that match.
func (w *walk) glob(pattern string) error {
	if !doublestar.ValidatePattern(w.at.rel) {
		return refused("%s: not a valid glob: brackets and braces must be closed", pattern)
	}
	base, rest := doublestar.SplitPattern(w.at.rel)
	if !strings.Contains(rest, "**") && !strings.Contains(rest, "{") {
		w.depth = strings.Count(rest, "/") + 1
	}
	w.accept = func(rel string) bool { return doublestar.MatchUnvalidated(w.at.rel, rel) }
	info, err := w.root.Stat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nothing(pattern, fmt.Sprintf("%s does not exist", w.absolute(base)))
	case err != nil:
		return w.blocked(base, err)
	case !info.IsDir():
		return nothing(pattern, fmt.Sprintf("%s is not a folder", w.absolute(base)))
	}
	if err := w.folder(base, 0); err != nil {
		return err
	}
	if len(w.files) > 0 {
		return nil
	}
	if w.folders > 0 {
		return nothing(pattern, fmt.Sprintf("it matches %d folders in %s but no file; append /** for what is below them",
			w.folders, w.absolute(base)))
	}
	return nothing(pattern, fmt.Sprintf("no file in %s matches %s", w.absolute(base), rest))
}

// folder visits the entries of a folder that is below the start by depth levels.
func (w *walk) folder(rel string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return fmt.Errorf("list %s: %w", w.at, err)
	}
	if depth > maxDepth {
		return problem.New(problem.Precondition, "%s: folders are nested more than %d deep; does a symlink lead in a cycle?",
			w.absolute(rel), maxDepth)
	}
	dir, err := w.root.Open(rel)
	if err != nil {
		return w.blocked(rel, err)
	}
	entries, err := dir.ReadDir(-1)
	_ = dir.Close()
	if err != nil {
		return w.blocked(rel, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if name[0] == '.' || name[0] == '_' {
			continue
		}
		if err := w.entry(path.Join(rel, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entry visits one name, through a symlink if it is one.
func (w *walk) entry(rel string, depth int) error {
	info, err := w.root.Stat(rel)
	if errors.Is(err, fs.ErrNotExist) {
		// Either it was removed after the folder was read, or it is a symlink to nothing, which matters only under a
		// name that was asked for.
		if _, lerr := w.root.Lstat(rel); errors.Is(lerr, fs.ErrNotExist) || !w.accept(rel) {
			return nil
		}
	}
	if err != nil {
		return w.blocked(rel, err)
	}
	switch {
	case info.IsDir():
		if w.accept(rel) {
			w.folders++
		}
		if w.depth == 0 || depth < w.depth {
			return w.folder(rel, depth)
		}
	case info.Mode().IsRegular() && w.accept(rel):
		return w.add(rel, info)
	}
	return nil
}

// blocked reports a name that cannot be read below the root: no permission, or a symlink that leads outside or to
// nothing.
func (w *walk) blocked(rel string, err error) error {
	if link, lerr := w.root.Lstat(rel); lerr == nil && link.Mode()&fs.ModeSymlink != 0 {
		what, cause := "leads out of "+w.at.dir, fmt.Errorf("%w: %w", ErrRefused, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what, cause = "leads to nothing", err
		case errors.Is(err, syscall.ELOOP):
			what, cause = "leads in a cycle", err
		case errors.Is(err, fs.ErrPermission):
			what, cause = "leads to what may not be read", err
		}
		return &problem.Error{
			Code:       problem.Precondition,
			Message:    fmt.Sprintf("%s is a symlink that %s", w.absolute(rel), what),
			Suggestion: "remove it, or declare the folder it leads to under roots in provender.yaml",
			Err:        cause,
		}
	}
	return problem.New(problem.Precondition, "%s: %w", w.absolute(rel), errors.Unwrap(err))
}

func (w *walk) add(rel string, info fs.FileInfo) error {
	at := w.at
	at.rel = rel
	partition, err := partitions(rel)
	if err != nil {
		return problem.New(problem.Precondition, "%s: %w", at, err)
	}
	w.files = append(w.files, File{
		Path: at.String(), Size: info.Size(), Identity: identity(info), Partition: partition, Modified: info.ModTime().UTC(),
	})
	return nil
}

// partitions reads the `name=value` folders of a path.
func partitions(rel string) ([]Partition, error) {
	var parts []Partition
	for folder := range strings.SplitSeq(path.Dir(rel), "/") {
		name, value, ok := strings.Cut(folder, "=")
		if !ok || name == "" {
			continue
		}
		p := Partition{Name: unescape(name), Value: unescape(value)}
		if value == hiveNull {
			p.Value, p.Null = "", true
		}
		for _, earlier := range parts {
			if earlier.Name == p.Name {
				return nil, fmt.Errorf("two folders are partitions named %q", p.Name)
			}
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
