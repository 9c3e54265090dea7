package source_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/test/stores"
)

// lake is a root of each kind, with what changes it.
type lake struct {
	name   string
	files  *source.Files
	where  string // what messages call it
	put    func(t *testing.T, key, content string)
	remove func(t *testing.T, key string)
	url    func(key string) string // nil on local disk
	store  *stores.Store           // nil on local disk
}

// lakes returns a root called lake on local disk and in each kind of store, with nothing in it.
func lakes(t *testing.T, servers []*stores.Store) []*lake {
	t.Helper()
	dir := t.TempDir()
	path := func(key string) string { return filepath.Join(dir, filepath.FromSlash(key)) }
	all := []*lake{{
		name: "local", files: source.New(t.TempDir(), map[string]string{"lake": dir}), where: dir,
		put: func(t *testing.T, key, content string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(path(key)), 0o755); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Stat(path(key)) // nil: there is none
			// Until its time tells: that of some file systems moves in steps of milliseconds.
			for {
				if err := os.WriteFile(path(key), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
				after, err := os.Stat(path(key))
				if err != nil {
					t.Fatal(err)
				}
				if before == nil || !after.ModTime().Equal(before.ModTime()) {
					return
				}
			}
		},
		remove: func(t *testing.T, key string) {
			t.Helper()
			if err := os.Remove(path(key)); err != nil {
				t.Fatal(err)
			}
		},
	}}
	for _, s := range servers {
		s.Setenv(t, "")
		b := s.Bucket(t, stores.Lake)
		all = append(all, &lake{
			name: s.Scheme, where: s.URL(stores.Lake, "some/prefix"),
			files: source.New(t.TempDir(), map[string]string{"lake": s.URL(stores.Lake, "some/prefix")}),
			put: func(t *testing.T, key, content string) {
				t.Helper()
				if err := b.Put(context.Background(), "some/prefix/"+key, []byte(content)); err != nil {
					t.Fatal(err)
				}
			},
			remove: func(t *testing.T, key string) {
				t.Helper()
				if err := b.Delete(context.Background(), "some/prefix/"+key); err != nil {
					t.Fatal(err)
				}
			},
			url:   func(key string) string { return s.URL(stores.Lake, "some/prefix/"+key) },
			store: s,
		})
	}
	return all
}

// TestServers runs what needs servers of object stores, which are started once.
func TestServers(t *testing.T) {
	servers := stores.All(t)
	s3 := servers[0]
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"roots", func(t *testing.T) { testRoots(t, servers) }},
		{"faults", func(t *testing.T) { testFaults(t, servers) }},
		{"refused", func(t *testing.T) { testRefused(t, servers) }},
		{"stalled", func(t *testing.T) { testStalled(t, s3) }},
		{"page of a listing fails", func(t *testing.T) { testPageOfListingFails(t, s3) }},
		{"canceled read", func(t *testing.T) { testCanceledRead(t, s3) }},
		{"bytes ahead are bounded", func(t *testing.T) { testBytesAheadAreBounded(t, s3) }},
		{"forgotten is ended", func(t *testing.T) { testForgottenIsEnded(t, s3) }},
		{"nothing runs after cancel", func(t *testing.T) { testNothingRunsAfterCancel(t, s3) }},
	} {
		t.Run(test.name, test.run)
	}
}

// testRoots has one suite for every kind of root.
func testRoots(t *testing.T, servers []*stores.Store) {
	whole := object.DefaultPolicy
	object.DefaultPolicy.Page = testPage
	t.Cleanup(func() { object.DefaultPolicy = whole })
	for _, l := range lakes(t, servers) {
		t.Run(l.name, func(t *testing.T) {
			t.Run("list", l.testList)
			t.Run("errors", l.testErrors)
			t.Run("changes", l.testChanges)
			t.Run("digests", l.testDigests)
			t.Run("ranges", l.testRanges)
			if l.url != nil {
				t.Run("odd keys", l.testOddKeys)
				t.Run("long listing", l.testLongListing)
				t.Run("put", l.testPut)
				t.Run("URLs", l.testURLs)
			}
		})
	}
}

func (l *lake) testList(t *testing.T) {
	for _, key := range []string{
		"v/day=2001-01-01/hour=03%3A00/a.parquet", "v/day=2001-01-01/b.parq", "v/day=__HIVE_DEFAULT_PARTITION__/c.pq",
		"v/_SUCCESS", "v/.hidden.parquet", "v/_temporary/d.parquet", "v/README.md", "v/day=2001-01-01/_e.parquet",
		"_fixed/f.parquet", "w/1.parquet", "w/2.parquet", "w/deep/3.parquet", "w/[x].parquet", "v2/other.parquet", "empty/README.md",
	} {
		l.put(t, key, key)
	}
	const v = `lake:v/day=2001-01-01/b.parq [day=2001-01-01]
lake:v/day=2001-01-01/hour=03%3A00/a.parquet [day=2001-01-01] [hour=03:00]
lake:v/day=__HIVE_DEFAULT_PARTITION__/c.pq [day=null]
`
	for _, test := range []struct{ pattern, want string }{
		{"lake:v", v},
		{"lake:v/", v},
		{"lake:/v", v},
		{"lake:./v", v},
		{"lake:v/**/*.{parquet,parq,pq}", v},
		{"lake:v/**", "lake:v/README.md\n" + v},
		{"lake:v/day=2001-01-01", strings.Join(strings.SplitAfter(v, "\n")[:2], "")},
		{"lake:v/day=2001-01-01/*", "lake:v/day=2001-01-01/b.parq [day=2001-01-01]\n"},
		{"lake:v/day=2001-*/*", "lake:v/day=2001-01-01/b.parq [day=2001-01-01]\n"},
		{"lake:w/*.parquet", "lake:w/1.parquet\nlake:w/2.parquet\nlake:w/[x].parquet\n"},
		{"lake:w/[12].parquet", "lake:w/1.parquet\nlake:w/2.parquet\n"},
		{"lake:w/[x].parquet", "lake:w/[x].parquet\n"},
		{"lake:{w,_fixed}/?.parquet", "lake:w/1.parquet\nlake:w/2.parquet\n"},
		{"lake:*/1.parquet", "lake:w/1.parquet\n"},
		{"lake:_fixed", "lake:_fixed/f.parquet\n"},
		{"lake:w/1.parquet", "lake:w/1.parquet\n"},
	} {
		got, err := l.files.List(context.Background(), []string{test.pattern})
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		if diff := cmp.Diff(test.want, paths(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.pattern, diff)
		}
		for _, f := range got {
			key := strings.TrimPrefix(f.Path, "lake:")
			if b, err := read(l.files, f); err != nil || string(b) != key {
				t.Errorf("%s: %q, %v", f.Path, b, err)
			}
		}
	}
}

func read(files *source.Files, f source.File) ([]byte, error) {
	h, err := files.Open(context.Background(), f)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	b := make([]byte, f.Size)
	n, err := h.ReadAt(b, 0)
	if err == nil {
		err = h.Check()
	}
	return b[:n], err
}

func (l *lake) testErrors(t *testing.T) {
	for _, test := range []struct {
		pattern string
		code    problem.Code
		want    string
	}{
		{"lake:../x", problem.Invalid, "may not contain .."},
		{"lake:v/**/../x", problem.Invalid, "may not contain .."},
		{"lake:x[", problem.Invalid, "not a valid glob"},
		{"lake:gone", problem.Precondition, "lake:gone: nothing found: " + l.where + "/gone does not exist"},
		{"lake:gone.parquet", problem.Precondition, "lake:gone.parquet: nothing found: " + l.where + "/gone.parquet does not exist"},
		{"lake:empty", problem.Precondition, "no .parquet file in " + l.where + "/empty"},
		{"lake:w/*.orc", problem.Precondition, "in " + l.where + "/w"},
		{"lake:w/*.orc", problem.Precondition, "matches *.orc"},
		{"lake:gone/*.orc", problem.Precondition, l.where + "/gone"},
		{"lake:v/day=*", problem.Precondition, "matches 2 folders in " + l.where + "/v"},
		{"lake:*", problem.Precondition, "but no file; append /**"},
	} {
		_, err := l.files.List(context.Background(), []string{test.pattern})
		if err == nil || !strings.Contains(err.Error(), test.want) || problem.CodeOf(err) != test.code {
			t.Errorf("%q: code %d: %v\nwant %s", test.pattern, problem.CodeOf(err), err, test.want)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.files.List(canceled, []string{"lake:v"}); err == nil {
		t.Error("a canceled listing went on")
	}
}

// Each way to change a file is noticed when it is opened or read next, by one who had it open too.
func (l *lake) testChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, key string)
		want   string
	}{
		"rewritten": {func(t *testing.T, key string) { l.put(t, key, strings.Repeat("other", 1000)) }, "has changed since it was listed"},
		"truncated": {func(t *testing.T, key string) { l.put(t, key, "x") }, "has changed since it was listed"},
		"removed":   {func(t *testing.T, key string) { l.remove(t, key) }, "is gone since it was listed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			key := "changes/" + name + ".parquet"
			l.put(t, key, strings.Repeat("first", 1000))
			list, err := l.files.List(ctx, []string{"lake:" + key})
			if err != nil {
				t.Fatal(err)
			}
			h, err := l.files.Open(ctx, list[0])
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if _, err := h.ReadAt(make([]byte, 10), 0); err != nil {
				t.Fatal(err)
			}
			test.change(t, key)
			_, openErr := read(l.files, list[0])
			_, readErr := h.ReadAt(make([]byte, 10), 4000)
			if l.url == nil {
				readErr = h.Check()
			}
			for what, err := range map[string]error{"open": openErr, "read": readErr} {
				if err == nil || !strings.HasPrefix(err.Error(), "lake:"+key+" "+test.want) || problem.CodeOf(err) != problem.Conflict {
					t.Errorf("%s: code %d: %v", what, problem.CodeOf(err), err)
				}
			}
			if again, err := l.files.List(ctx, []string{"lake:changes/*"}); err == nil {
				for _, f := range again {
					if f.Identity == list[0].Identity {
						t.Errorf("%s: the identity %q is the same", f.Path, f.Identity)
					}
				}
			}
		})
	}
	t.Run("listed again", func(t *testing.T) {
		l.put(t, "changes/same.parquet", "same")
		one, err := l.files.List(context.Background(), []string{"lake:changes/same.parquet"})
		if err != nil {
			t.Fatal(err)
		}
		two, err := l.files.List(context.Background(), []string{"lake:changes/same*"})
		if diff := cmp.Diff(one, two); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

// testDigests: of files that have a footer it alone counts, and what a listing says of their times is so.
func (l *lake) testDigests(t *testing.T) {
	ctx := context.Background()
	footer := func(n int, last byte) string {
		b := append(randomBytes(n), last)
		return string(append(binary.LittleEndian.AppendUint32(b, uint32(len(b))), "PAR1"...))
	}
	digest := func(content string) string {
		t.Helper()
		const key = "digests/x.parquet"
		began := time.Now().Add(-2 * time.Second) // the store's seconds are cut off
		l.put(t, key, content)
		list, err := l.files.List(ctx, []string{"lake:" + key})
		if err != nil {
			t.Fatal(err)
		}
		if m := list[0].Modified; m.Before(began) || m.After(time.Now().Add(time.Second)) {
			t.Errorf("modified %v, written between %v and now", m, began)
		}
		sum, err := l.files.FooterDigest(ctx, list[0])
		if err != nil || len(sum) != 16 {
			t.Fatalf("%q, %v", sum, err)
		}
		l.put(t, key, content+"!")
		if _, err := l.files.FooterDigest(ctx, list[0]); problem.CodeOf(err) != problem.Conflict && content != "" {
			t.Errorf("a file that is another: %v", err)
		}
		return sum
	}
	seen := map[string]string{}
	for what, content := range map[string]string{
		"empty": "", "short": "PAR1", "no footer": string(randomBytes(100_000)), "another last byte": string(randomBytes(100_000)) + "x",
		"small": "data" + footer(100, 0), "small, other": "data" + footer(100, 1),
		"large": "data" + footer(300_000, 0), "large, other": "data" + footer(300_000, 1),
		"a length beyond the file": "dataLLLLPAR1",
	} {
		sum := digest(content)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s: one digest", what, other)
		}
		seen[sum] = what
	}
	if seen[digest("other data"+footer(100, 0))] != "small" || seen[digest(strings.Repeat("d", 100_000)+footer(300_000, 1))] != "large, other" {
		t.Error("data before the footer changes the digest")
	}
	if seen[digest("x"+string(randomBytes(100_000)))] != "no footer" {
		t.Error("what is before the last 64 KiB changes the digest")
	}
}

func (l *lake) testRanges(t *testing.T) {
	ctx := context.Background()
	content := string(randomBytes(3 << 20))
	l.put(t, "ranges.parquet", content)
	list, err := l.files.List(ctx, []string{"lake:ranges.parquet"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.files.Open(ctx, list[0])
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	size := int64(len(content))
	check := func(offset, n int64) {
		t.Helper()
		b := make([]byte, n)
		got, err := h.Under(ctx).ReadAt(b, offset)
		end := min(offset+n, size)
		want := ""
		if offset < size {
			want = content[offset:end]
		}
		if string(b[:got]) != want || (err == io.EOF) != (offset+n > size) || err != nil && err != io.EOF {
			t.Errorf("%d bytes at %d: got %d, %v", n, offset, got, err)
		}
	}
	for _, n := range []int64{1, 2, 100, 1 << 16, size} {
		for _, offset := range []int64{0, 1, 1<<20 - 1, size - n, size - 1, size, size + 10} {
			if offset >= 0 {
				check(offset, n)
			}
		}
	}
	rnd := testenv.Rand(t)
	for range 20 {
		var ranges []source.Range
		for range rnd.IntN(5) {
			start := rnd.Int64N(size)
			ranges = append(ranges, source.Range{Start: start, End: start + rnd.Int64N(size-start+1)})
		}
		h.Prefetch(ctx, ranges)
		for range 5 {
			offset := rnd.Int64N(size)
			check(offset, 1+rnd.Int64N(size-offset+2))
		}
		if rnd.IntN(3) == 0 {
			h.Forget(ranges)
		}
	}
	if _, err := h.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the file")
	}
}

func randomBytes(n int) []byte {
	var seed [32]byte
	seed[0] = byte(n)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// Keys are opaque: what looks like an escape, a folder or another alphabet is taken as it is.
func (l *lake) testOddKeys(t *testing.T) {
	keys := []string{
		"odd/a b.parquet", "odd/ü/日本.parquet", "odd/100%.parquet", "odd/%41.parquet", "odd/a+b.parquet", "odd/a&b=c;d.parquet",
		"odd/(1),'2'!~@$.parquet", "odd/day=a%2Fb/x.parquet", "odd/#1.parquet", "odd/q?x=1.parquet", "odd/a:b.parquet", "odd/<a>\"b\".parquet",
	}
	if l.name != "s3" { // versitygw keeps keys as paths of a file system
		keys = append(keys, "odd//empty.parquet")
	}
	for _, key := range keys {
		l.put(t, key, key)
	}
	l.put(t, "odd/folder/", "")
	if l.name != "gs" { // fake-gcs-server makes no difference between odd/zero and odd/zero/
		l.put(t, "odd/zero/", "")
	}
	got, err := l.files.List(context.Background(), []string{"lake:odd"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]source.File{}
	for _, f := range got {
		found[strings.TrimPrefix(f.Path, "lake:")] = f
	}
	if len(found) != len(keys) {
		t.Errorf("%d keys of %d:\n%s", len(found), len(keys), paths(got))
	}
	for _, key := range keys {
		f, ok := found[key]
		if !ok {
			t.Errorf("%q is not listed", key)
			continue
		}
		if b, err := read(l.files, f); err != nil || string(b) != key {
			t.Errorf("%q: %q, %v", key, b, err)
		}
		if one, err := l.files.List(context.Background(), []string{f.Path}); !strings.ContainsAny(key, "?") && (err != nil || len(one) != 1 || one[0].Identity != f.Identity) {
			t.Errorf("%q alone: %v, %v", key, one, err)
		}
	}
	if p := found["odd/day=a%2Fb/x.parquet"].Partition; len(p) != 1 || p[0].Value != "a/b" {
		t.Errorf("%v", p)
	}
	if one, err := l.files.List(context.Background(), []string{"lake:odd/*/x.parquet"}); err != nil || len(one) != 1 {
		t.Errorf("%v, %v", one, err)
	}
}

// testPage is the keys of a page in tests, small for listings to have several.
const (
	testPage    = 40
	longListing = 101
)

// A listing of many pages is whole.
func (l *lake) testLongListing(t *testing.T) {
	const n = longListing
	keys := make(chan int)
	done := make(chan struct{})
	for range 16 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range keys {
				l.put(t, fmt.Sprintf("long/%03d.parquet", i), "x")
			}
		}()
	}
	for i := range n {
		keys <- i
	}
	close(keys)
	for range 16 {
		<-done
	}
	for _, pattern := range []string{"lake:long", "lake:long/*", "lake:long/**"} {
		got, err := l.files.List(context.Background(), []string{pattern})
		if err != nil || len(got) != n {
			t.Errorf("%s: %d of %d: %v", pattern, len(got), n, err)
		}
	}
}

func (l *lake) testPut(t *testing.T) {
	ctx := context.Background()
	for name, size := range map[string]int{"nothing": 0, "small": 1000, "one part": 8 << 20, "many parts": 17<<20 + 7} {
		t.Run(name, func(t *testing.T) {
			key := "put/" + name + ".parquet"
			content := randomBytes(size)
			w, err := source.Create(ctx, l.url(key))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			for rest := content; len(rest) > 0; {
				n, err := w.Write(rest[:min(len(rest), 100_000)])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if _, err := source.OpenObject(ctx, l.url(key)); err == nil || !strings.Contains(err.Error(), l.url(key)+" does not exist") {
				t.Errorf("seen before it is committed: %v", err)
			}
			if err := w.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
			h, err := source.OpenObject(ctx, l.url(key))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			sum := sha256.New()
			if n, err := io.Copy(sum, io.NewSectionReader(h, 0, h.File.Size)); err != nil || n != int64(size) {
				t.Fatalf("%d bytes of %d: %v", n, size, err)
			}
			if want := sha256.Sum256(content); !bytes.Equal(sum.Sum(nil), want[:]) {
				t.Error("other bytes than were written")
			}
			if _, err := w.Write([]byte("more")); err == nil {
				t.Error("written to after Commit")
			}
		})
	}
	t.Run("replaced and aborted", func(t *testing.T) {
		key := "put/kept.parquet"
		l.put(t, key, "what was there")
		for _, size := range []int{10, 9 << 20} {
			w, err := source.Create(ctx, l.url(key))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(randomBytes(size)); err != nil {
				t.Fatal(err)
			}
			if size > 8<<20 && l.name == "s3" {
				for len(l.store.Parts(t)) == 0 { // the first one is on its way
					runtime.Gosched()
				}
			}
			if err := w.Abort(); err != nil {
				t.Errorf("abort of %d bytes: %v", size, err)
			}
			if err := w.Abort(); err != nil {
				t.Errorf("second abort: %v", err)
			}
			if err := w.Commit(ctx); err == nil {
				t.Error("committed after Abort")
			}
			if parts := l.store.Parts(t); len(parts) > 0 {
				t.Errorf("left behind: %s", parts)
			}
		}
		list, err := l.files.List(ctx, []string{"lake:" + key})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := read(l.files, list[0]); err != nil || string(b) != "what was there" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func (l *lake) testURLs(t *testing.T) {
	ctx := context.Background()
	scheme, _, _ := strings.Cut(l.where, "://")
	missing := scheme + "://no-such-bucket/"
	if _, err := source.New(t.TempDir(), map[string]string{"lake": missing}).List(ctx, []string{"lake:x"}); err == nil ||
		!strings.Contains(err.Error(), "no-such-bucket") || problem.CodeOf(err) != problem.Precondition {
		t.Errorf("%v", err)
	}
	if _, err := source.OpenObject(ctx, l.url("gone.parquet")); problem.CodeOf(err) != problem.NotFound {
		t.Errorf("%v", err)
	}
	// fake-gcs-server says of both that they are not found.
	if _, err := source.OpenObject(ctx, missing+"x"); err == nil || l.name != "gs" && !strings.Contains(err.Error(), "there is no bucket") {
		t.Errorf("%v", err)
	}
	if _, err := source.Create(ctx, scheme+"://"+stores.Lake); problem.CodeOf(err) != problem.Invalid {
		t.Errorf("%v", err)
	}
	w, err := source.Create(ctx, missing+"x")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx); err == nil || !strings.Contains(err.Error(), "no-such-bucket") {
		t.Errorf("%v", err)
	}
}
