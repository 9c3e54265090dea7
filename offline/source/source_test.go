package source_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// tree makes files below a folder; a name "a -> b" is a symlink.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, filepath.FromSlash(link))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func project(t *testing.T) (string, *source.Files) {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "project")
	tree(t, base, "outside/secret.parquet", "outside/day=2001-01-01/x.parquet")
	tree(t, dir,
		"spine.parquet",
		"data/v/day=2001-01-01/hour=03%3A00/a.parquet", "data/v/day=2001-01-01/b.parq", "data/v/day=__HIVE_DEFAULT_PARTITION__/c.pq",
		"data/v/_SUCCESS", "data/v/.hidden.parquet", "data/v/_temporary/d.parquet", "data/v/README.md", "data/v/day=2001-01-01/_e.parquet",
		"data/_fixed/f.parquet", "data/odd:name/g.parquet", "data/linked.parquet -> v/day=2001-01-01/b.parq",
		"data/w/[x].parquet", "data/w/1.parquet", "data/w/2.parquet", "data/empty/README.md",
		"escape/file.parquet -> ../../outside/secret.parquet", "escapes/day=2001-01-02 -> ../../outside/day=2001-01-01",
		"dangling/x.parquet -> gone.parquet", "dangling2/notes -> gone", "dangling2/y.parquet",
	)
	return dir, source.New(dir, map[string]string{"lake": "data", "abs": filepath.Join(base, "outside"), "s3": "s3://bucket/x", "none": "nowhere"})
}

func paths(files []source.File) string {
	var b strings.Builder
	for _, f := range files {
		b.WriteString(f.Path)
		for _, p := range f.Partition {
			b.WriteString(" [" + p.Name + "=" + p.Value)
			if p.Null {
				b.WriteString("null")
			}
			b.WriteString("]")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestList(t *testing.T) {
	_, files := project(t)
	const v = `lake:v/day=2001-01-01/b.parq [day=2001-01-01]
lake:v/day=2001-01-01/hour=03%3A00/a.parquet [day=2001-01-01] [hour=03:00]
lake:v/day=__HIVE_DEFAULT_PARTITION__/c.pq [day=null]
`
	for _, test := range []struct {
		patterns []string
		want     string
	}{
		{[]string{"spine.parquet"}, "spine.parquet\n"},
		{[]string{"./spine.parquet"}, "spine.parquet\n"},
		{[]string{"lake:v"}, v},
		{[]string{"lake:v/"}, v},
		{[]string{"lake:/v"}, v},
		{[]string{"lake:v/**/*.{parquet,parq,pq}"}, v},
		{[]string{"lake:v/**", "lake:v/day=2001-01-01/b.parq"}, "lake:v/README.md\n" + v},
		{[]string{"lake:v/day=2001-01-01"}, strings.Join(strings.SplitAfter(v, "\n")[:2], "")},
		{[]string{"lake:v/day=2001-01-01/*"}, "lake:v/day=2001-01-01/b.parq [day=2001-01-01]\n"},
		{[]string{"data/w/*.parquet"}, "data/w/1.parquet\ndata/w/2.parquet\ndata/w/[x].parquet\n"},
		{[]string{"data/w/[12].parquet"}, "data/w/1.parquet\ndata/w/2.parquet\n"},
		{[]string{"data/w/[x].parquet"}, "data/w/[x].parquet\n"},
		{[]string{"lake:_fixed"}, "lake:_fixed/f.parquet\n"},
		{[]string{"data/odd:name"}, "data/odd:name/g.parquet\n"},
		{[]string{"lake:linked.parquet"}, "lake:linked.parquet\n"},
		{[]string{"abs:day=2001-01-01"}, "abs:day=2001-01-01/x.parquet [day=2001-01-01]\n"},
		{[]string{"dangling2"}, "dangling2/y.parquet\n"},
	} {
		got, err := files.List(context.Background(), test.patterns)
		if err != nil {
			t.Errorf("%q: %v", test.patterns, err)
			continue
		}
		if diff := cmp.Diff(test.want, paths(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.patterns, diff)
		}
		for _, f := range got {
			h, err := files.Open(context.Background(), f)
			if err != nil {
				t.Errorf("%q: %v", test.patterns, err)
				continue
			}
			b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<20))
			if err != nil || int64(len(b)) != f.Size {
				t.Errorf("%s: read %d bytes of %d: %v", f.Path, len(b), f.Size, err)
			}
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestListErrors(t *testing.T) {
	dir, files := project(t)
	for _, test := range []struct {
		pattern string
		code    problem.Code
		want    string
	}{
		{"pond:x", problem.Invalid, `pond:x: unknown root "pond" (known roots: abs, lake, none, s3)`},
		{"s3://bucket/x", problem.Invalid, "a URL is not allowed here (declare its bucket or prefix under roots"},
		{"/etc/passwd", problem.Invalid, "absolute path"},
		{"../outside/secret.parquet", problem.Invalid, "may not contain .."},
		{"lake:../spine.parquet", problem.Invalid, "may not contain .."},
		{"lake:v/**/../x", problem.Invalid, "may not contain .."},
		{"lake:x[", problem.Invalid, "not a valid glob"},
		{"none:x", problem.Precondition, `none:x: cannot open root "none" at ` + filepath.Join(dir, "nowhere")},
		{"lake:gone", problem.Precondition, "lake:gone: nothing found: " + filepath.Join(dir, "data/gone") + " does not exist"},
		{"lake:empty", problem.Precondition, "no .parquet file in " + filepath.Join(dir, "data/empty") + " or below"},
		{"lake:w/*.orc", problem.Precondition, "no file in " + filepath.Join(dir, "data/w") + " matches *.orc"},
		{"lake:gone/*.orc", problem.Precondition, filepath.Join(dir, "data/gone") + " does not exist"},
		{"lake:v/day=*", problem.Precondition, "matches 2 folders in " + filepath.Join(dir, "data/v") + " but no file; append /**"},
		{"escape", problem.Precondition, filepath.Join(dir, "escape/file.parquet") + " is a symlink that leads out of " + dir},
		{"escape/file.parquet", problem.Precondition, "leads out of"},
		{"escapes/**", problem.Precondition, "leads out of"},
		{"dangling/*", problem.Precondition, "leads to nothing"},
	} {
		_, err := files.List(context.Background(), []string{test.pattern})
		if err == nil || !strings.Contains(err.Error(), test.want) || problem.CodeOf(err) != test.code {
			t.Errorf("%q: code %d: %v\nwant %s", test.pattern, problem.CodeOf(err), err, test.want)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := files.List(canceled, []string{"lake:v"}); err == nil {
		t.Error("a canceled listing went on")
	}
}

func TestCycleOfSymlinksEnds(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "a/x.parquet", "a/loop -> ../a")
	if _, err := source.New(dir, nil).List(context.Background(), []string{"a"}); err == nil || !strings.Contains(err.Error(), "leads in a cycle") {
		t.Errorf("%v", err)
	}
}

func TestTwoPartitionsOfOneName(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "day=1/day=2/x.parquet")
	if _, err := source.New(dir, nil).List(context.Background(), []string{"**"}); err == nil || !strings.Contains(err.Error(), `two folders are partitions named "day"`) {
		t.Errorf("%v", err)
	}
}

// Each way to change a file is noticed: when it is opened, and when it was open already.
func TestChangesAreNoticed(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string) error{
		"rewritten": func(_ *testing.T, path string) error { return os.WriteFile(path, []byte("other content"), 0o644) },
		"appended": func(_ *testing.T, path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"truncated": func(_ *testing.T, path string) error { return os.Truncate(path, 3) },
		"removed":   func(_ *testing.T, path string) error { return os.Remove(path) },
		"replaced by a file of the same size and time": func(t *testing.T, path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			other := path + ".new"
			if err := os.WriteFile(other, make([]byte, info.Size()), 0o644); err != nil {
				return err
			}
			if err := os.Chtimes(other, time.Time{}, info.ModTime()); err != nil {
				return err
			}
			return os.Rename(other, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			dir := t.TempDir()
			tree(t, dir, "a.parquet")
			files := source.New(dir, nil)
			list, err := files.List(ctx, []string{"a.parquet"})
			if err != nil {
				t.Fatal(err)
			}
			h, err := files.Open(ctx, list[0])
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if err := change(t, filepath.Join(dir, "a.parquet")); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{"Check": h.Check(), "Open": func() error { _, err := files.Open(ctx, list[0]); return err }()} {
				if err == nil || !strings.HasPrefix(err.Error(), "a.parquet ") || problem.CodeOf(err) != problem.Conflict {
					t.Errorf("%s: %v", what, err)
				}
			}
			if again, err := files.List(ctx, []string{"*.parquet"}); err == nil && again[0].Identity == list[0].Identity {
				t.Error("the identity is the same")
			}
		})
	}
}
