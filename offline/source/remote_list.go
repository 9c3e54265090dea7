package source

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source/object"
)

// listObjects returns the files behind one pattern below a root in a bucket. An object store has no folders: one is
// there when a key lies below it.
func listObjects(ctx context.Context, pattern string, at place) ([]File, error) {
	at.rel = strings.TrimLeft(strings.TrimPrefix(at.rel, "./"), "/")
	if at.rel == "." {
		at.rel = ""
	}
	l := objects{ctx: ctx, at: at, pattern: pattern}
	literal := at.rel != "" && !strings.HasSuffix(at.rel, "/") && !strings.ContainsAny(at.rel, "*?")
	if literal {
		// What looks like a glob of brackets may be a name.
		found, err := l.single()
		if found || err != nil {
			return l.files, err
		}
	}
	if hasMeta(at.rel) {
		return l.glob()
	}
	return l.folder()
}

// objects collects the files of one pattern.
type objects struct {
	ctx     context.Context
	at      place
	pattern string
	base    string // what is listed, as part of at.rel; "" or ending in /
	accept  func(rel string) bool
	folders map[string]bool // folders that the pattern itself matched, while no file did
	seen    int             // keys below base
	files   []File
}

func (l *objects) url(rel string) string { return l.at.bucket.url(l.at.bucket.prefix + rel) }

// single takes the one object that the pattern names, if there is one that is no folder.
func (l *objects) single() (bool, error) {
	key := l.at.bucket.prefix + l.at.rel
	o, err := l.at.bucket.store.Head(l.ctx, key)
	switch {
	case object.KindOf(err) == object.Missing:
		return false, nil
	case err != nil:
		return false, l.at.bucket.explain(l.pattern, key, err)
	case o.Folder || o.Size == 0 && !isParquet(l.at.rel):
		return false, nil
	}
	return true, l.add(l.at.rel, o)
}

// folder takes the Parquet files at any depth below the pattern.
func (l *objects) folder() ([]File, error) {
	l.base = l.at.rel
	if l.base != "" && !strings.HasSuffix(l.base, "/") {
		l.base += "/"
	}
	l.accept = isParquet
	if err := l.walk(l.base, false); err != nil {
		return nil, err
	}
	switch {
	case len(l.files) > 0:
		return l.files, nil
	case l.seen == 0:
		return nil, nothing(l.pattern, fmt.Sprintf("%s does not exist", l.url(l.at.rel)))
	}
	return nil, nothing(l.pattern, fmt.Sprintf("no .parquet file in %s or below", l.url(l.base)))
}

// glob lists the pattern's fixed part and takes the keys that match.
func (l *objects) glob() ([]File, error) {
	if !doublestar.ValidatePattern(l.at.rel) {
		return nil, refused("%s: not a valid glob: brackets and braces must be closed", l.pattern)
	}
	base, rest := doublestar.SplitPattern(l.at.rel)
	if base != "." {
		l.base = base + "/"
	}
	l.folders = make(map[string]bool)
	l.accept = func(rel string) bool { return doublestar.MatchUnvalidated(l.at.rel, rel) }
	// What is fixed of the first name narrows the listing further, and where the glob ends there, what is deeper is left
	// out of it.
	fixed := rest[:strings.IndexAny(rest, `*?[{\`)]
	shallow := !strings.Contains(rest, "/") && !strings.Contains(rest, "**") && !strings.Contains(rest, "{")
	if err := l.walk(l.base+fixed, shallow); err != nil {
		return nil, err
	}
	if len(l.files) > 0 {
		return l.files, nil
	}
	if len(l.folders) > 0 {
		return nil, nothing(l.pattern, fmt.Sprintf("it matches %d folders in %s but no file; append /** for what is below them",
			len(l.folders), l.url(l.base)))
	}
	if l.seen == 0 && fixed == "" {
		return nil, nothing(l.pattern, fmt.Sprintf("%s does not exist", l.url(l.base)))
	}
	return nil, nothing(l.pattern, fmt.Sprintf("no object in %s matches %s", l.url(l.base), rest))
}

// walk visits every key that begins with prefix, page by page. A page that can't be had ends it with an error.
func (l *objects) walk(prefix string, shallow bool) error {
	b := l.at.bucket
	tokens := make(map[string]bool) // that were given out: a listing that goes in circles has no end
	for token := ""; ; {
		page, err := b.store.List(l.ctx, b.prefix+prefix, shallow, token)
		if err != nil {
			return b.explain(l.pattern, b.prefix+prefix, fmt.Errorf("list: %w", err))
		}
		for _, o := range page.Objects {
			if err := l.visit(o); err != nil {
				return err
			}
		}
		for _, f := range page.Folders {
			if err := l.visit(object.Object{Key: f, Folder: true}); err != nil {
				return err
			}
		}
		switch {
		case page.Next == "":
			return nil
		case tokens[page.Next]:
			return problem.New(problem.Unavailable, "%s: the listing of %s does not go on after %d keys", l.pattern, b.url(b.prefix+prefix), l.seen)
		}
		token = page.Next
		tokens[token] = true
	}
}

// visit takes a key if it is of a file that is wanted.
func (l *objects) visit(o object.Object) error {
	rel, ok := strings.CutPrefix(o.Key, l.at.bucket.prefix+l.base)
	if !ok {
		return problem.New(problem.Unavailable, "%s: the listing has %q, which was not asked for", l.pattern, o.Key)
	}
	if rel == "" {
		return nil // the marker of the folder itself
	}
	l.seen++
	for name := range strings.SplitSeq(rel, "/") {
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
			return nil
		}
	}
	l.note(rel, o.Folder)
	rel = l.base + rel
	if o.Folder || !l.accept(squeeze(rel)) {
		return nil
	}
	return l.add(rel, o)
}

// note remembers the folders above a key that the glob itself matches: most likely their content was meant.
func (l *objects) note(rel string, folder bool) {
	if l.folders == nil || len(l.files) > 0 {
		return
	}
	for i, c := range rel {
		if c == '/' && i > 0 {
			if name := squeeze(l.base + rel[:i]); l.accept(name) {
				l.folders[name] = true
			}
		}
	}
	if folder {
		if name := squeeze(strings.TrimRight(l.base+rel, "/")); l.accept(name) {
			l.folders[name] = true
		}
	}
}

// squeeze makes one slash of several: a folder without a name can't be asked for.
func squeeze(rel string) string {
	if !strings.Contains(rel, "//") {
		return rel
	}
	return strings.TrimPrefix(path.Clean(rel), "/")
}

func (l *objects) add(rel string, o object.Object) error {
	at := l.at
	at.rel = rel
	partition, err := partitions(rel)
	if err != nil {
		return problem.New(problem.Precondition, "%s: %w", at, err)
	}
	l.files = append(l.files, File{
		Path: at.String(), Size: o.Size, Identity: identityOf(o), Partition: partition, Modified: o.Modified,
	})
	return nil
}
