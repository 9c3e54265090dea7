package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// revisions is a registry's past: definitions by number from 1 on.
type revisions []*registry.Definitions

func (r revisions) At(_ context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	if number < 1 || number > int64(len(r)) {
		return registry.Revision{}, nil, problem.New(problem.NotFound, "no revision %d", number)
	}
	compiled, err := registry.Compile(number, r[number-1])
	if err != nil {
		return registry.Revision{}, nil, err
	}
	return registry.Revision{Number: number, Digest: compiled.Digest}, r[number-1], nil
}

func (r revisions) History(ctx context.Context, _ int) ([]registry.Revision, error) {
	var list []registry.Revision
	for n := len(r); n > 0; n-- {
		rev, _, err := r.At(ctx, int64(n))
		if err != nil {
			return nil, err
		}
		list = append(list, rev)
	}
	return list, nil
}

// exported makes an export of a world whose definitions are revision 3, and the request that makes it again.
func exported(t *testing.T, service string, change func(*ExportRequest)) (*world, ReproduceRequest) {
	t.Helper()
	w := newWorld(t)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 3,
		field{"t", vec(timeType, noon, noon+hour, noon-hour, noon)}, field{"label", vec(floatType, 1.0, nil, 2.0, 3.0)},
		field{"airport", vec(stringType, "JFK", "JFK", "SFO", nil)}, field{"destination", vec(stringType, "SFO", "JFK", "JFK", "JFK")},
		field{"user", vec(int64Type, 1, 2, 3, nil)},
	)
	req := w.request(service, spine)
	if change != nil {
		change(&req)
	}
	w.export(t, req)
	other := &registry.Definitions{}
	return w, ReproduceRequest{
		Manifest: req.Out + manifestSuffix, Revisions: revisions{other, other, w.snapshot.Definitions}, Source: w.files, Tool: "test",
	}
}

func reproduce(t *testing.T, req ReproduceRequest) *ReproduceReport {
	t.Helper()
	report, err := Reproduce(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wantSame wants files, or folders, of the same bytes.
func wantSame(t *testing.T, a, b string) {
	t.Helper()
	read := func(root string) map[string]string {
		files := map[string]string{}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			rel, _ := filepath.Rel(root, path)
			files[rel] = string(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if x, y := read(a), read(b); len(x) == 0 || !cmp.Equal(x, y) {
		t.Errorf("%s and %s are not the same bytes", a, b)
	}
}

func TestReproduce(t *testing.T) {
	for _, c := range []struct {
		name    string
		service string
		change  func(*ExportRequest)
	}{
		{"a service", "all", nil},
		{"features", "", func(r *ExportRequest) {
			var err error
			if r.Service, err = r.Snapshot.AdHoc([]string{"hourly:note", "users:vip", "hourly:delay"}); err != nil {
				t.Fatal(err)
			}
		}},
		{"options", "one", func(r *ExportRequest) { r.Compression, r.GroupRows = "snappy", 2 }},
		{"an Arrow file", "one", func(r *ExportRequest) { r.OutFormat, r.Compression = Arrow, "lz4" }},
		{"parts", "one", func(r *ExportRequest) { r.PartRows, r.Out = 3, r.Out+".d" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, req := exported(t, c.service, c.change)
			first := strings.TrimSuffix(req.Manifest, manifestSuffix)
			for i, workers := range []int{1, 3} {
				req.Workers, req.Out = workers, w.path(fmt.Sprint("again", i))
				r := reproduce(t, req)
				if !r.Identical || len(r.Changes) > 0 || r.Revision != 3 || r.Export == nil {
					t.Errorf("%+v", r)
				}
				wantSame(t, first, req.Out)
			}
			// Beside the manifest: there already, then made anew, then something else in its place.
			req.Out = ""
			if r := reproduce(t, req); !r.Present || !r.Identical || r.Export != nil {
				t.Errorf("%+v", r)
			}
			if err := os.Rename(first, w.path("moved")); err != nil {
				t.Fatal(err)
			}
			if r := reproduce(t, req); r.Present || !r.Identical || r.Out != first {
				t.Errorf("%+v", r)
			}
			wantSame(t, first, w.path("moved"))
			target := first
			if info, err := os.Stat(first); err != nil || info.IsDir() {
				target = filepath.Join(first, "part-00001.parquet")
			}
			if err := os.WriteFile(target, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Reproduce(t.Context(), req); problem.CodeOf(err) != problem.Conflict || !strings.Contains(err.Error(), "--out") {
				t.Errorf("another file is there: %v", err)
			}
		})
	}
}

func TestReproduceTellsChanges(t *testing.T) {
	rewrite := func(t *testing.T, path string, to func([]byte) []byte) {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Under another name first, so that the identity changes even where the content does not.
		if err := os.WriteFile(path+".new", to(raw), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, w *world, req *ReproduceRequest)
		want   []string // kind path: text
		made   bool
		moved  int
	}{
		{name: "nothing", change: func(*testing.T, *world, *ReproduceRequest) {}, made: true},
		{
			name: "a copy", change: func(t *testing.T, w *world, _ *ReproduceRequest) { rewrite(t, w.path("hourly/a.parquet"), same) },
			made: true, moved: 1,
		},
		{
			name: "the spine", change: func(t *testing.T, w *world, _ *ReproduceRequest) {
				rewrite(t, w.path("spine.parquet"), func(b []byte) []byte { return append(b, 'x') })
			},
			want: []string{"spine spine.parquet: the spine has another content"},
		},
		{
			name: "the spine is gone", change: func(t *testing.T, w *world, _ *ReproduceRequest) { remove(t, w.path("spine.parquet")) },
			want: []string{"spine spine.parquet: the spine is gone; if it lies elsewhere now, say so with --spine"},
		},
		{
			name: "the spine lies elsewhere", change: func(t *testing.T, w *world, req *ReproduceRequest) {
				if err := os.Rename(w.path("spine.parquet"), w.path("s.csv")); err != nil {
					t.Fatal(err)
				}
				req.Spine = w.path("s.csv") // its format is the manifest's
			},
			made: true,
		},
		{
			name: "another size", change: func(t *testing.T, w *world, _ *ReproduceRequest) {
				rewrite(t, w.path("hourly/a.parquet"), func(b []byte) []byte { return append(b, 'x') })
			},
			want: []string{"changed hourly/a.parquet: has SIZE"},
		},
		{
			name: "another footer", change: func(t *testing.T, w *world, _ *ReproduceRequest) {
				rewrite(t, w.path("hourly/a.parquet"), func(b []byte) []byte {
					b[len(b)-60] ^= 1
					return b
				})
			},
			want: []string{"changed hourly/a.parquet: has another content"},
		},
		{
			name: "gone", change: func(t *testing.T, w *world, _ *ReproduceRequest) {
				rewrite(t, w.path("hourly/a.parquet"), same)
				if err := os.Rename(w.path("hourly/a.parquet"), w.path("hourly/b.parquet")); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"gone hourly/a.parquet: is gone", "new hourly/b.parquet: is new and left out"},
		},
		{
			name: "none left", change: func(t *testing.T, w *world, _ *ReproduceRequest) { remove(t, w.path("hourly/a.parquet")) },
			want: []string{"gone hourly: hourly: nothing found"},
		},
		{
			name: "a new file", change: func(t *testing.T, w *world, _ *ReproduceRequest) {
				writeFile(t, w.path("hourly/b.parquet"), 9,
					field{"airport", vec(stringType, "JFK")}, field{"hour", vec(timeType, noon)}, field{"departures", vec(int64Type, 99)},
					field{"delay", vec(floatType, 9.0)}, field{"tags", vec(listType, nil)}, field{"note", vec(stringType, nil)})
			},
			want: []string{"new hourly/b.parquet: is new and left out"}, made: true,
		},
		{
			name: "a registry made anew", change: func(_ *testing.T, _ *world, req *ReproduceRequest) {
				req.Revisions = revisions{req.Revisions.(revisions)[2]}
			},
			made: true,
		},
		{
			name: "another registry", change: func(_ *testing.T, _ *world, req *ReproduceRequest) { req.Revisions = req.Revisions.(revisions)[:2] },
			want: []string{"revision : this registry has no revision 3, nor one with the same definitions"},
		},
		{
			name: "other definitions", change: func(_ *testing.T, _ *world, req *ReproduceRequest) {
				other := req.Revisions.(revisions)[0]
				req.Revisions = revisions{other, other, other}
			},
			want: []string{"revision : revision 3 has other definitions in this registry"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, req := exported(t, "all", nil)
			c.change(t, w, &req)
			req.CheckOnly = true
			checked := reproduce(t, req)
			before := entries(t, w.dir)
			req.CheckOnly, req.Out = false, w.path("again.parquet")
			r := reproduce(t, req)
			if !cmp.Equal(checked.Changes, r.Changes) || checked.Reproducible() != c.made || checked.Moved != c.moved || checked.Export != nil {
				t.Errorf("--check: %+v, want what %+v says", checked, r)
			}
			if r.Identical != c.made || (r.Export != nil) != c.made {
				t.Errorf("%+v", r)
			}
			if c.made {
				wantSame(t, w.path("out.parquet"), req.Out)
			} else if after := entries(t, w.dir); !slices.Equal(after, before) {
				t.Errorf("%v, before %v", after, before)
			}
			var got []string
			for _, change := range r.Changes {
				line := fmt.Sprintf("%s %s: %s", change.Kind, strings.TrimPrefix(change.Path, w.dir+"/"), change.Text)
				got = append(got, line)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if want, sized := strings.CutSuffix(want, "SIZE"); !strings.HasPrefix(got[i], want) || sized && !strings.Contains(got[i], "bytes and had") {
					t.Errorf("%q, want %q", got[i], want)
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// A copy whose footer is the same and whose values are not is found out by the output's digest.
func TestReproduceComparesBytes(t *testing.T) {
	w, req := exported(t, "one", nil)
	raw, err := os.ReadFile(req.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m["output"].(map[string]any)["sha256"] = strings.Repeat("0", 64)
	m["provender"] = "0.9"
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(req.Manifest, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	// Its own place is not taken by other bytes.
	remove(t, w.path("out.parquet"))
	before := entries(t, w.dir)
	if r := reproduce(t, req); r.Identical || r.Export != nil || !r.Reproducible() || r.Then != "0.9" || r.Now != "test" {
		t.Errorf("%+v", r)
	}
	if after := entries(t, w.dir); !slices.Equal(after, before) {
		t.Errorf("%v, before %v", after, before)
	}
	if now, err := os.ReadFile(req.Manifest); err != nil || string(now) != string(raw) {
		t.Error("the manifest was replaced")
	}
	req.Out = w.path("again.parquet")
	if r := reproduce(t, req); r.Identical || r.Export == nil {
		t.Errorf("%+v", r)
	}
	wantColumn(t, req.Out, "departures", vec(int64Type, nil, 9, 0, 0))
}

func TestReproduceRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want string }{
		"nothing":    {"", "not a manifest"},
		"other JSON": {`{"version": 1}`, "not a manifest: it lacks"},
		"a list":     {`[]`, "not a manifest"},
		"no parts": {
			`{"version": 1, "definitions": "x", "spine": {"sha256": "x"}, "features": [{}], "output": {"part_rows": 5}}`, "its output has no parts",
		},
		"a later": {`{"version": 2, "definitions": "x", "spine": {"sha256": "x"}, "features": [{}]}`, "its version is 2"},
	} {
		path := filepath.Join(dir, "m.manifest.json")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Reproduce(t.Context(), ReproduceRequest{Manifest: path, Source: source.New(dir, nil)})
		if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Reproduce(t.Context(), ReproduceRequest{Manifest: filepath.Join(dir, "none")}); problem.CodeOf(err) != problem.NotFound {
		t.Errorf("no manifest: %v", err)
	}
	w, req := exported(t, "one", nil)
	if err := os.Rename(req.Manifest, w.path("m.json")); err != nil {
		t.Fatal(err)
	}
	req.Manifest = w.path("m.json")
	if _, err := Reproduce(t.Context(), req); err == nil || !strings.Contains(err.Error(), "say it with --out") {
		t.Errorf("a manifest of another name: %v", err)
	}
}
