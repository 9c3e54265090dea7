package gitops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

const (
	// maxEntries bounds the files and folders of a repository's tree that are looked at.
	maxEntries = 200_000
	maxDepth   = 64
)

// local is a repository on this machine, bare or not. It is read where it lies; nothing in it is run.
type local struct{ path, branch, folder string }

func (l *local) look(ctx context.Context, known string) (_ *tree, err error) {
	defer caught(&err)
	dir, err := gitFolder(l.path)
	if err != nil {
		return nil, err
	}
	objects := filesystem.NewStorage(osfs.New(dir), cache.NewObjectLRU(cache.MiByte))
	defer func() { err = errors.Join(err, objects.Close()) }()
	hash, err := l.tip(objects)
	if err != nil || hash.String() == known {
		return nil, err
	}
	return readCommit(ctx, objects, hash, l.folder)
}

// gitFolder returns the folder of a repository that has its objects: bare, or beside a work tree.
func gitFolder(name string) (string, error) {
	for _, dir := range []string{filepath.Join(name, ".git"), name} {
		info, err := os.Stat(filepath.Join(dir, "objects"))
		if err == nil && info.IsDir() {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", problem.New(problem.Unavailable, "read repository %s: %w", name, err)
		}
	}
	return "", problem.New(problem.NotFound, "there is no Git repository in %s", name)
}

// tip returns the commit of the branch or tag.
func (l *local) tip(s *filesystem.Storage) (plumbing.Hash, error) {
	for _, name := range candidates(l.branch) {
		ref, err := storer.ResolveReference(s, name)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return plumbing.ZeroHash, problem.New(problem.Unavailable, "read repository %s: %w", l.path, err)
		}
		return peel(s, ref.Hash())
	}
	var have []string
	if refs, err := s.IterReferences(); err == nil {
		_ = refs.ForEach(func(r *plumbing.Reference) error { have = append(have, r.Name().String()); return nil })
	}
	return plumbing.ZeroHash, noBranch(l.branch, have)
}

// peel returns the commit that a tag stands for.
func peel(s storer.EncodedObjectStorer, hash plumbing.Hash) (plumbing.Hash, error) {
	for range maxDepth {
		tag, err := object.GetTag(s, hash)
		if err != nil {
			return hash, nil //nolint:nilerr // no tag: it is, or should be, a commit
		}
		hash = tag.Target
	}
	return hash, problem.New(problem.Invalid, "the tag stands for tags alone")
}

// candidates are the references that a branch or tag may be, in the order in which they are looked for.
func candidates(branch string) []plumbing.ReferenceName {
	if branch == "" {
		return []plumbing.ReferenceName{plumbing.HEAD}
	}
	if strings.HasPrefix(branch, "refs/") {
		return []plumbing.ReferenceName{plumbing.ReferenceName(branch)}
	}
	return []plumbing.ReferenceName{plumbing.NewBranchReferenceName(branch), plumbing.NewTagReferenceName(branch)}
}

// noBranch is the error of a branch that is not among the references that a repository has.
func noBranch(branch string, have []string) error {
	if branch == "" {
		err := problem.New(problem.NotFound, "the repository has no commit on its default branch")
		err.Suggestion = "name a branch: git:URL#branch"
		return err
	}
	var names []string
	for _, name := range have {
		if short := plumbing.ReferenceName(name); short.IsBranch() || short.IsTag() {
			names = append(names, short.Short())
		}
	}
	slices.Sort(names)
	err := problem.New(problem.NotFound, "the repository has no branch or tag %q", branch)
	err.Suggestion = diag.Suggest(branch, names)
	return err
}

// readCommit returns the definition files below a folder of a commit.
func readCommit(ctx context.Context, s storer.EncodedObjectStorer, hash plumbing.Hash, folder string) (*tree, error) {
	commit, err := object.GetCommit(s, hash)
	if err != nil {
		return nil, unreadable(hash, err)
	}
	root, err := commit.Tree()
	if err == nil && folder != "." {
		root, err = root.Tree(folder)
	}
	if errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, problem.New(problem.NotFound, "commit %s has no folder %s", short(hash.String()), folder)
	}
	if err != nil {
		return nil, unreadable(hash, err)
	}
	w := &walk{ctx: ctx, objects: s}
	if err := w.folder(root, "", 0); err != nil {
		return nil, unreadable(hash, err)
	}
	t := &tree{id: hash.String(), time: commit.Committer.When}
	t.files, t.unread = w.found.Files()
	return t, nil
}

// walk gathers the definition files of a tree. Symbolic links and submodules lead nowhere.
type walk struct {
	ctx     context.Context
	objects storer.EncodedObjectStorer
	found   definition.Gathering
	entries int
}

func (w *walk) folder(t *object.Tree, prefix string, depth int) error {
	if depth > maxDepth {
		return problem.New(problem.Exhausted, "folders are nested deeper than %d", maxDepth)
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		if w.entries++; w.entries > maxEntries {
			return problem.New(problem.Exhausted, "the tree has more than %d files and folders", maxEntries)
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if definition.Skips(e.Name) {
			continue
		}
		if err := w.entry(e, path.Join(prefix, e.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e *object.TreeEntry, name string, depth int) error {
	switch e.Mode {
	case filemode.Dir:
		below, err := object.GetTree(w.objects, e.Hash)
		if err != nil {
			return err
		}
		return w.folder(below, name, depth+1)
	case filemode.Symlink:
		w.found.Refuse(name, "a symbolic link; none is followed")
	case filemode.Submodule:
	default:
		size, err := w.objects.EncodedObjectSize(e.Hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			w.found.TooLarge(name) // it was not asked for
			return nil
		}
		if err != nil {
			return err
		}
		w.found.Add(name, size, func() ([]byte, error) { return w.content(e.Hash) })
	}
	return nil
}

func (w *walk) content(hash plumbing.Hash) ([]byte, error) {
	blob, err := object.GetBlob(w.objects, hash)
	if err != nil {
		return nil, err
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, definition.MaxFileBytes+1))
}

func unreadable(hash plumbing.Hash, err error) error {
	if problem.CodeOf(err) != problem.Internal || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return problem.New(problem.Unavailable, "read commit %s: %w", short(hash.String()), err)
}

// caught turns a panic into an error: what a repository holds must not end a server.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = problem.New(problem.Unavailable, "read the repository: %w", fmt.Errorf("it is damaged: %v", v))
	}
}

// short is an id as it is told to people.
func short(id string) string {
	if digest, ok := strings.CutPrefix(id, "sha256:"); ok {
		return "sha256:" + digest[:min(12, len(digest))]
	}
	return id[:min(12, len(id))]
}
