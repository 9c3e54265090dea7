package gitops

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/registry/definition"
)

// places are the ways to reach one repository, and its work tree as a folder.
var places = []struct {
	name string
	from func(*repository) string
}{
	{"bare", func(r *repository) string { return "git:" + r.bare + "#main:features" }},
	{"file URL", func(r *repository) string { return "git:file://" + r.bare + "#:features" }},
	{"work tree", func(r *repository) string { return "git:" + r.work + "#:/features/" }},
	{"http", func(r *repository) string { url, _ := r.serve(false); return "git:" + url + "#main:features" }},
	{"http with filter", func(r *repository) string { url, _ := r.serve(true); return "git:" + url + "#:features" }},
	{"folder", func(r *repository) string { return filepath.Join(r.work, "features") }},
}

// What a place has is applied once, change by change; what breaks or is wrong is not.
func TestChanges(t *testing.T) {
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			repo, w := newRepository(t), newWorld(t)
			repo.put("features/provender.yaml", "version: 1\nproject: p\n")
			repo.put("features/customer.yaml", customer)
			repo.put("features/more/orders.yml", orders)
			repo.put("features/more/service.yaml", service)
			repo.put("features/.github/workflow.yaml", "not: ours")
			repo.put("other.yaml", "not: ours")
			repo.push()
			from := place.from(repo)
			r := w.reconciler(from, false)
			if s := r.Status(); s.State != Starting || s.Seen != "" {
				t.Errorf("%+v", s)
			}
			w.expect(r, Applied, 1)
			w.expect(r, Applied, 1)
			rev, s := w.current(), r.Status()
			if rev.By != By || rev.Commit != s.Seen || s.Applied != s.Seen || s.Revision != 1 || s.AppliedAt.IsZero() || s.Checked.IsZero() {
				t.Errorf("%+v\n%+v", rev, s)
			}
			if strings.Contains(s.Source, "canary") {
				t.Errorf("source %q", s.Source)
			}

			repo.put("README.md", "no definition")
			repo.push()
			w.expect(r, Applied, 1)
			repo.put("features/more/orders.yml", strings.Replace(orders, "entities", "ttl: 1d\nentities", 1))
			repo.push()
			w.expect(r, Applied, 2)

			repo.put("features/more/orders.yml", strings.Replace(orders, "  - {name: items, type: int64}\n", "", 1))
			repo.push()
			w.expect(r, Refused, 2, "items", "model", "allow_breaking")
			w.expect(r, Refused, 2, "items", "model", "allow_breaking")
			w.expect(w.reconciler(from, true), Applied, 3)
			w.expect(r, Applied, 3)

			repo.put("features/more/orders.yml", orders+"tll: 3d\n")
			repo.put("features/customer.yaml", customer+"ovner: me\n")
			repo.push()
			w.expect(r, Invalid, 3, "customer.yaml:4:1: unknown-key", "more/orders.yml:8:1: unknown-key", "did you mean")
			repo.put("features/more/orders.yml", orders)
			repo.put("features/customer.yaml", customer)
			repo.push()
			w.expect(r, Applied, 4)
			if strings.Contains(w.log.String(), "canary") {
				t.Errorf("a password is logged: %s", w.log)
			}
		})
	}
}

// What was done by hand stays until the place changes, also over a start; a commit without definitions is no change to a
// server that has just started.
func TestByHand(t *testing.T) {
	repo, w := newRepository(t), newWorld(t)
	repo.put("customer.yaml", customer)
	repo.push()
	from := "git:" + repo.bare
	r := w.reconciler(from, false)
	w.expect(r, Applied, 1)
	repo.put("orders.yaml", orders)
	repo.push()
	w.expect(r, Applied, 2)
	w.rollBack(1)
	w.expect(r, Kept, 3, "revision 3 by alice@here", "until the next change")
	w.expect(w.reconciler(from, false), Kept, 3, "revision 3 by alice@here")
	repo.put("README.md", "words")
	repo.push()
	w.expect(w.reconciler(from, false), Kept, 3)
	w.expect(w.reconciler(from, false), Kept, 3)
	repo.put("orders.yaml", strings.Replace(orders, "entities", "ttl: 1d\nentities", 1))
	repo.push()
	w.expect(w.reconciler(from, false), Applied, 4)
	w.expect(r, Applied, 4)

	// A commit that another server applied, and somebody undid, is not new to this one.
	repo.put("orders.yaml", strings.Replace(orders, "entities", "ttl: 2d\nentities", 1))
	repo.push()
	other := w.reconciler(from, false)
	w.expect(other, Applied, 5)
	w.rollBack(4)
	w.expect(r, Kept, 6, "revision 6 by alice@here")
	w.rollBack(5)
	w.expect(r, Applied, 7)

	// What breaks may be applied by hand, and is then what the place has.
	repo.put("service.yaml", service)
	repo.push()
	w.expect(r, Applied, 8)
	repo.put("service.yaml", "")
	repo.push()
	w.expect(r, Refused, 8)
	files, err := definition.Read(repo.work)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := w.control.Plan(t.Context(), files, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.control.Apply(t.Context(), p, control.ApplyOptions{AllowBreaking: true, By: "bob@here"}); err != nil {
		t.Fatal(err)
	}
	w.expect(r, Applied, 9)
}

// A branch that goes back is followed, and told.
func TestHistoryRewritten(t *testing.T) {
	repo, w := newRepository(t), newWorld(t)
	repo.put("customer.yaml", customer)
	first := repo.push()
	r := w.reconciler("git:"+repo.bare+"#main", false)
	w.expect(r, Applied, 1)
	repo.put("orders.yaml", orders)
	repo.push()
	w.expect(r, Applied, 2)
	repo.git(repo.work, "push", "-q", "-f", "origin", first+":main")
	w.expect(r, Applied, 3)
	if rev := w.current(); rev.Commit != first || !strings.Contains(w.log.String(), "goes back") {
		t.Errorf("%+v\n%s", rev, w.log)
	}
}

// Branches, tags and folders that are not there, repositories that go and come back.
func TestGone(t *testing.T) {
	repo, w := newRepository(t), newWorld(t)
	repo.put("features/customer.yaml", customer)
	commit := repo.push()
	repo.git(repo.work, "tag", "-a", "-m", "one", "v1")
	repo.git(repo.work, "push", "-q", "origin", "v1")
	url, packs := repo.serve(true)
	w.expect(w.reconciler("git:"+url+"#v1:features", false), Applied, 1)
	if rev := w.current(); rev.Commit != commit {
		t.Errorf("the tag is %s, want %s", rev.Commit, commit)
	}
	for _, from := range []string{"git:" + url, "git:" + repo.bare} {
		w.expect(w.reconciler(from+"#mian", false), Failed, 1, `no branch or tag "mian"`, `did you mean "main"`)
		w.expect(w.reconciler(from+"#v1:feature", false), Failed, 1, commit[:12]+" has no folder feature")
		w.expect(w.reconciler(from+"#refs/tags/v1:features", false), Applied, 1)
	}
	w.expect(w.reconciler("git:"+strings.Replace(url, "canary", "wrong", 1), false), Failed, 1, "authentication required", "TOKEN")
	w.expect(w.reconciler("git:"+strings.Replace(url, "bare", "none", 1), false), Failed, 1, "there is no repository")
	w.expect(w.reconciler("git:none", false), Failed, 1, "there is no Git repository in "+w.dir)
	w.expect(w.reconciler("none", false), Failed, 1, "there is no folder "+w.dir)

	before := packs()
	for _, from := range []string{"git:" + url + "#:features", "git:" + repo.bare + "#:features"} {
		r := w.reconciler(from, false)
		w.expect(r, Applied, 1)
		if err := os.Rename(repo.bare, repo.bare+".away"); err != nil {
			t.Fatal(err)
		}
		w.expect(r, Failed, 1)
		w.expect(r, Failed, 1)
		if s := r.Status(); s.Failures != 2 || s.Seen != commit || s.Revision != 1 {
			t.Errorf("%+v", s)
		}
		if err := os.Rename(repo.bare+".away", repo.bare); err != nil {
			t.Fatal(err)
		}
		w.expect(r, Applied, 1)
	}
	if n := packs() - before; n != 1 {
		t.Errorf("%d packs were fetched of one commit, want 1", n)
	}
}

// Of several servers one applies; none fails.
func TestTwoServers(t *testing.T) {
	repo, w := newRepository(t), newWorld(t)
	servers := make([]*Reconciler, 4)
	for i := range servers {
		servers[i] = w.reconciler("git:"+repo.bare, false)
		servers[i].Logger = servers[0].Logger
	}
	repo.put("customer.yaml", customer)
	for n := range 8 {
		repo.put("orders.yaml", strings.Replace(orders, "entities", "ttl: "+string(rune('1'+n))+"d\nentities", 1))
		repo.push()
		var all sync.WaitGroup
		for _, r := range servers {
			all.Go(func() { _ = r.round(t.Context()) })
		}
		all.Wait()
		for _, r := range servers {
			if s := r.Status(); s.State != Applied {
				t.Errorf("change %d: %+v", n, s)
			}
		}
		if rev := w.current(); rev.Number != int64(n+1) {
			t.Fatalf("change %d: revision %d", n, rev.Number)
		}
	}
}

// What can't be taken whole is not taken at all.
func TestTrees(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	write(t, outside, orders)
	for _, c := range []struct {
		name   string
		make   func(*repository)
		git    string // what is said of it in a repository; "": it is applied
		folder string
	}{
		{"empty", func(r *repository) { r.put("customer.yaml", ""); r.put("README", "none") }, "no definition files", "no definition files"},
		{"large", func(r *repository) { r.put("big.yaml", strings.Repeat("#", definition.MaxFileBytes+1)) }, "big.yaml: file-too-large", "big.yaml: file-too-large"},
		{"large, but not ours", func(r *repository) { r.put("big.csv", strings.Repeat("#", definition.MaxFileBytes+1)) }, "", ""},
		{"nested project", func(r *repository) { r.put("a/provender.yaml", "version: 1") }, "a/provender.yaml: nested-project", "a/provender.yaml: nested-project"},
		{"link out", func(r *repository) { r.link(outside, "out.yaml") }, "out.yaml: unreadable-file: a symbolic link", "out.yaml: unreadable-file: path escapes"},
		{"folder out", func(r *repository) { r.link(filepath.Dir(outside), "out") }, "", ""},
		{"link within", func(r *repository) { r.put("..data/e.txt", orders); r.link("..data/e.txt", "e.yaml") }, "e.yaml: unreadable-file: a symbolic link", ""},
		{"link to nothing", func(r *repository) { r.link("nothing", "e.yaml") }, "e.yaml: unreadable-file", "e.yaml: unreadable-file"},
		{"submodule", func(r *repository) {
			r.git(r.work, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",sub")
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			repo := newRepository(t)
			repo.put("customer.yaml", customer)
			c.make(repo)
			repo.push()
			for _, place := range places {
				repo.put("features/keep", "a folder")
				want, from := c.git, place.from(&repository{repo.t, repo.bare, repo.work})
				from = strings.TrimSuffix(strings.TrimSuffix(from, ":/features/"), ":features")
				if place.name == "folder" {
					want, from = c.folder, repo.work
				}
				w := newWorld(t)
				if want == "" {
					w.expect(w.reconciler(from, false), Applied, 1)
				} else {
					w.expect(w.reconciler(from, false), Invalid, 0, want)
				}
			}
		})
	}
}

func (r *repository) link(target, name string) {
	r.t.Helper()
	if err := os.Symlink(target, filepath.Join(r.work, name)); err != nil {
		r.t.Fatal(err)
	}
}

// paced is an origin that fails until it is mended.
type paced struct {
	mu    sync.Mutex
	looks []time.Time
	fails int
}

func (p *paced) look(context.Context, string) (*tree, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks = append(p.looks, time.Now())
	if p.fails--; p.fails >= 0 {
		return nil, os.ErrDeadlineExceeded
	}
	return nil, context.Canceled
}

// Failures are repeated soon, then ever later, but not later than the interval; who asks does not wait.
func TestPace(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		r := w.reconciler("somewhere", false)
		p := &paced{fails: 100}
		r.origin = p
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		time.Sleep(30 * time.Second) // of the bubble's clock
		synctest.Wait()
		if n := len(p.looks); n < 5 || n > 8 {
			t.Errorf("%d looks in 30 s", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		last := len(p.looks)
		if n := last; n < 60 || n > 90 {
			t.Errorf("%d looks in an hour", n)
		}
		for range 10 {
			r.Ask()
		}
		synctest.Wait()
		if n := len(p.looks) - last; n < 1 || n > 2 { // one may begin between two of them
			t.Errorf("%d looks were made when asked ten times", n)
		}
		cancel()
		<-done
	})
}
