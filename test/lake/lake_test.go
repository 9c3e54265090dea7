// Package lake runs the whole product on data in an object store, and compares with local disk.
package lake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/cli"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/test/stores"
)

// world runs commands in this process and keeps all that they print.
type world struct{ printed bytes.Buffer }

// try runs a command and returns its exit code and what it printed.
func (w *world) try(dir string, args ...string) (int, string) {
	var out bytes.Buffer
	code := cli.Main(append([]string{"-C", dir}, args...), cli.World{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now, Signals: make(chan os.Signal), Exit: os.Exit,
	})
	w.printed.Write(out.Bytes())
	return code, out.String()
}

func (w *world) run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out := w.try(dir, args...)
	if code != 0 {
		t.Fatalf("provender %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// move puts the files of a folder into a bucket and leaves none of them behind.
func move(t *testing.T, s *stores.Store, dir, prefix string) {
	t.Helper()
	b := s.Bucket(t, stores.Lake)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if err := b.Put(context.Background(), prefix+"/"+filepath.ToSlash(rel), content); err != nil {
			return err
		}
		return os.Remove(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// configure rewrites a line of provender.yaml.
func configure(t *testing.T, dir, old, line string) {
	t.Helper()
	path := filepath.Join(dir, "provender.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("no %q in %s", old, text)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, line, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFlights takes the example through every step, its history once on local disk and once in a store: the training
// sets are the same bytes, what is served is what history says, and no secret is printed or kept.
func TestFlights(t *testing.T) {
	w := &world{}
	var exports [][]byte
	const to = "2001-06-30T18:00:00Z"
	s := stores.S3(t)
	s.Setenv(t, "")
	for _, remote := range []bool{false, true} {
		p, err := flights.Unpack(t.TempDir(), flights.End)
		if err != nil {
			t.Fatal(err)
		}
		if remote {
			for _, view := range []string{"airport_hourly", "route_daily"} {
				move(t, s, filepath.Join(p.Dir, "data", view), "flights/"+view)
			}
			configure(t, p.Dir, "roots: {lake: ./data}", `roots: {lake: "s3://`+stores.Lake+`/flights"}`)
		}
		w.run(t, p.Dir, "validate")
		w.run(t, p.Dir, "plan")
		w.run(t, p.Dir, "apply", "--yes")
		if out := w.run(t, p.Dir, "materialize", "--to", to); strings.Contains(out, "no files") {
			t.Error(out)
		}
		w.run(t, p.Dir, "materialize", "--to", to)
		w.run(t, p.Dir, "verify", "--full", "--now", to)
		w.run(t, p.Dir, "get", "--now", to, "--service", p.Service, "--entity", "origin=JFK,destination=SFO")
		out := filepath.Join(p.Dir, "training.parquet")
		w.run(t, p.Dir, "export", "--service", p.Service, "--spine", p.Spine, "--time", p.Time, "--out", out)
		content, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		exports = append(exports, content)
		noSecret(t, p.Dir)
		if remote {
			changedData(t, w, s, p.Dir, to)
		}
	}
	if !bytes.Equal(exports[0], exports[1]) {
		t.Errorf("the exports differ: %x and %x", sha256.Sum256(exports[0]), sha256.Sum256(exports[1]))
	}
	if strings.Contains(w.printed.String(), stores.Secret) {
		t.Error("the secret was printed")
	}
}

// changedData rewrites a file and takes one away: the next run rebuilds, and is exact again.
func changedData(t *testing.T, w *world, s *stores.Store, dir, to string) {
	t.Helper()
	ctx := context.Background()
	b := s.Bucket(t, stores.Lake)
	page, err := b.List(ctx, "flights/route_daily/", false, "")
	if err != nil || len(page.Objects) < 3 {
		t.Fatalf("%d objects: %v", len(page.Objects), err)
	}
	if err := b.Put(ctx, page.Objects[1].Key, content(t, s.URL(stores.Lake, page.Objects[0].Key))); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, page.Objects[2].Key); err != nil {
		t.Fatal(err)
	}
	w.run(t, dir, "materialize", "--to", to)
	w.run(t, dir, "verify", "--full", "--now", to)
}

// TestTrainingSetAgain makes a training set of a spine and sources in a store, into the store, and again from its
// manifest there: the same bytes after definitions were changed and files added, and told what changed after that.
func TestTrainingSetAgain(t *testing.T) {
	ctx := t.Context()
	s := stores.S3(t)
	s.Setenv(t, "")
	b := s.Bucket(t, stores.Lake)
	p, err := flights.Unpack(t.TempDir(), flights.End)
	if err != nil {
		t.Fatal(err)
	}
	const folder = "again"
	move(t, s, filepath.Join(p.Dir, "data"), folder)
	configure(t, p.Dir, "roots: {lake: ./data}", `roots: {lake: "s3://`+stores.Lake+`/`+folder+`"}`)
	w := &world{}
	w.run(t, p.Dir, "apply", "--yes")
	out := s.URL(stores.Lake, "sets/training.parquet")
	w.run(t, p.Dir, "export", "--service", p.Service, "--spine", s.URL(stores.Lake, folder+"/flights.parquet"), "--time", p.Time, "--out", out)
	first := content(t, out)

	views := filepath.Join(p.Dir, "definitions", "airports.yaml")
	if text, err := os.ReadFile(views); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(views, bytes.Replace(text, []byte("ttl: 6h"), []byte("ttl: 2h"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run(t, p.Dir, "apply", "--yes")
	page, err := b.List(ctx, folder+"/route_daily/", false, "")
	if err != nil || len(page.Objects) < 3 {
		t.Fatalf("%d objects: %v", len(page.Objects), err)
	}
	one := page.Objects[0].Key
	rows := content(t, s.URL(stores.Lake, one))
	if err := b.Put(ctx, folder+"/route_daily/new.parquet", rows); err != nil {
		t.Fatal(err)
	}
	// A copy has another identity and the same footer.
	if err := b.Put(ctx, one, rows); err != nil {
		t.Fatal(err)
	}
	manifest := out + ".manifest.json"
	local := filepath.Join(p.Dir, "again.parquet")
	told := w.run(t, p.Dir, "export", "--from-manifest", manifest, "--out", local)
	if !strings.Contains(told, "1 file new and left out") || !strings.Contains(told, "the same bytes as then") {
		t.Error(told)
	}
	if again, err := os.ReadFile(local); err != nil || !bytes.Equal(again, first) {
		t.Errorf("other bytes: %v", err)
	}
	if told := w.run(t, p.Dir, "export", "--from-manifest", manifest); !strings.Contains(told, out+" is there") {
		t.Error(told)
	}
	if err := b.Delete(ctx, "sets/training.parquet"); err != nil {
		t.Fatal(err)
	}
	w.run(t, p.Dir, "export", "--from-manifest", manifest)
	if !bytes.Equal(content(t, out), first) {
		t.Error("other bytes in the store")
	}

	if err := b.Put(ctx, one, content(t, s.URL(stores.Lake, page.Objects[1].Key))); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, page.Objects[2].Key); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, folder+"/flights.parquet"); err != nil {
		t.Fatal(err)
	}
	code, told := w.try(p.Dir, "export", "--from-manifest", manifest, "--check")
	for _, want := range []string{"spine is gone", "2 files changed or gone, 1 file new and left out"} {
		if code != 3 || !strings.Contains(told, want) {
			t.Errorf("exit code %d, want 3 and %q in\n%s", code, want, told)
		}
	}
}

// content returns the bytes of an object.
func content(t *testing.T, url string) []byte {
	t.Helper()
	from, err := source.OpenObject(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	b := make([]byte, from.File.Size)
	if _, err := from.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// noSecret looks for the store's secret in every file below a folder.
func noSecret(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(stores.Secret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestErrorsKeepSecrets goes through what may go wrong with credentials and stores: each is told with what to do, and
// nothing of the secret.
func TestErrorsKeepSecrets(t *testing.T) {
	patient := object.DefaultPolicy
	object.DefaultPolicy.Tries = 2
	t.Cleanup(func() { object.DefaultPolicy = patient })
	for _, s := range stores.All(t) {
		t.Run(s.Scheme, func(t *testing.T) {
			for name, test := range map[string]struct {
				root, endpoint, variable, value, want string
			}{
				"no bucket":     {root: s.URL("nowhere", ""), want: "nowhere"},
				"no server":     {endpoint: "http://127.0.0.1:1", want: "refused"},
				"metadata":      {endpoint: "http://169.254.169.254", want: "metadata address"},
				"metadata name": {root: s.URL(stores.Lake, "?endpoint=http://metadata.google.internal"), want: "metadata address"},
				"mapped":        {endpoint: "http://[::ffff:169.254.169.254]:80", want: "metadata address"},
				"option":        {root: s.URL(stores.Lake, "?secret="+stores.Secret), want: "option that is unknown"},
				"wrong key":     {variable: "AWS_SECRET_ACCESS_KEY", value: "wrong-" + stores.Secret, want: "access denied"},
				"half a key":    {variable: "AWS_ACCESS_KEY_ID", value: "", want: "must both be set"},
			} {
				if test.variable != "" && s.Scheme != "s3" {
					continue
				}
				t.Run(name, func(t *testing.T) {
					s.Setenv(t, test.endpoint)
					if test.variable != "" {
						t.Setenv(test.variable, test.value)
					}
					root := test.root
					if root == "" {
						root = s.URL(stores.Lake, "flights")
					}
					w := &world{}
					dir := wideProject(t, root)
					w.run(t, dir, "apply", "--yes")
					code, out := w.export(dir)
					if code != 1 || !strings.Contains(out, test.want) {
						t.Errorf("exit code %d\n%s", code, out)
					}
					if strings.Contains(w.printed.String(), stores.Secret) {
						t.Errorf("the secret was printed:\n%s", &w.printed)
					}
				})
			}
		})
	}
}

// wideProject makes a project with a view of ten features, a service of two of them, and a spine.
func wideProject(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	var features, spine strings.Builder
	for i := range 10 {
		fmt.Fprintf(&features, "  - {name: f%d, column: F%d, type: float64}\n", i, i)
	}
	spine.WriteString("id,t\n")
	for i := range 1000 {
		fmt.Fprintf(&spine, "%d,2001-01-02T00:00:00Z\n", i)
	}
	for name, text := range map[string]string{
		"provender.yaml": "version: 1\nproject: wide\nroots: {lake: \"" + root + "\"}\n",
		"wide.yaml": "kind: Entity\nname: id\njoin_keys: [{name: id, type: int64}]\n---\n" +
			"kind: FeatureView\nname: wide\nentities: [id]\nsource: {parquet: \"lake:wide\", event_time: at}\nfeatures:\n" + features.String() +
			"---\nkind: FeatureService\nname: two\nfeatures: [{view: wide, features: [f2, f7]}]\n",
		"spine.csv": spine.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (w *world) export(dir string) (int, string) {
	return w.try(dir, "export", "--service", "two", "--spine", filepath.Join(dir, "spine.csv"), "--time", "t",
		"--out", filepath.Join(dir, "out.parquet"))
}

const (
	wideGroups = 2
	wideRows   = 150_000 // of a group
)

// wide is a row whose features are many times what two of them take.
type wide struct {
	ID                                     int64     `parquet:"id"`
	At                                     time.Time `parquet:"at,timestamp(microsecond)"`
	F0, F1, F2, F3, F4, F5, F6, F7, F8, F9 float64
}

// TestOnlyWhatIsNeededIsFetched counts what an export of 2 features of 10 asks a store for.
func TestOnlyWhatIsNeededIsFetched(t *testing.T) {
	s := stores.S3(t)
	var file bytes.Buffer
	writer := parquet.NewGenericWriter[wide](&file, parquet.MaxRowsPerRowGroup(wideRows))
	rows := make([]wide, wideGroups*wideRows)
	r := rand.New(rand.NewPCG(1, 2))
	base := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		f := func() float64 { return r.Float64() }
		rows[i] = wide{r.Int64N(1000), base.Add(time.Duration(i) * time.Millisecond), f(), f(), f(), f(), f(), f(), f(), f(), f(), f()}
	}
	if _, err := writer.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Bucket(t, stores.Lake).Put(context.Background(), "wide/a.parquet", file.Bytes()); err != nil {
		t.Fatal(err)
	}
	dir := wideProject(t, s.URL(stores.Lake, ""))
	proxy := stores.NewProxy(t, s)
	s.Setenv(t, proxy.URL)
	w := &world{}
	w.run(t, dir, "apply", "--yes")
	proxy.Take()
	if code, out := w.export(dir); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	var fetched int64
	gets := 0
	for _, seen := range proxy.Take() {
		if seen.Range != "" {
			gets++
			fetched += seen.Bytes
		}
	}
	// Keys, times and two features: 4 columns of 12; once the file's ends for each of the two passes.
	if most := int64(file.Len())*4/12 + 300_000; fetched > most {
		t.Errorf("%d bytes of %d were fetched, want at most %d", fetched, file.Len(), most)
	}
	if most := 2*2 + wideGroups*4; gets > most {
		t.Errorf("%d requests, want at most %d", gets, most)
	}
	t.Logf("%d bytes of %d in %d requests", fetched, file.Len(), gets)
}
