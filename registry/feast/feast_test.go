package feast

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	feastcore "github.com/provender-dev/provender/proto/feast/core"
	"github.com/provender-dev/provender/registry/definition"
)

var update = flag.Bool("update", false, "rewrite the cases in testdata")

// registryOf reads the first file of a case: a registry as text.
func registryOf(t testing.TB, archive *txtar.Archive) []byte {
	t.Helper()
	reg := &feastcore.Registry{}
	if err := prototext.Unmarshal(archive.Files[0].Data, reg); err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(reg)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func cases(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	paths, err := filepath.Glob("testdata/convert/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all := map[string]*txtar.Archive{}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = archive
	}
	return all
}

// TestConvert: each case is a registry, what is told of it, and the files made, in a project beside the repository.
func TestConvert(t *testing.T) {
	for path, archive := range cases(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			reg, err := decode(registryOf(t, archive))
			if err != nil {
				t.Fatal(err)
			}
			r := &Repo{Dir: "/srv/rides", content: reg}
			if err := r.choose(reg.Projects[0].Spec.Name); err != nil {
				t.Fatal(err)
			}
			imported, err := r.Convert("/srv/definitions", nil)
			if err != nil {
				t.Fatal(err)
			}
			var told strings.Builder
			for _, n := range imported.Skipped {
				fmt.Fprintf(&told, "skipped %s %s: %s\n", n.Kind, n.Name, n.Reason)
			}
			for _, n := range imported.Changed {
				fmt.Fprintf(&told, "changed %s %s: %s\n", n.Kind, n.Name, n.Reason)
			}
			got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{
				archive.Files[0], {Name: "told", Data: []byte(told.String())}, {Name: "provender.yaml", Data: imported.Config()},
			}}
			for _, f := range imported.Files() {
				got.Files = append(got.Files, txtar.File{Name: f.Name, Data: f.Content})
				if formatted, err := definition.Format(f); err != nil || !bytes.Equal(formatted, f.Content) {
					t.Errorf("provender fmt would write %s as %v\n%s", f.Name, err, formatted)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A registry cut short anywhere is none: the projects come last but for label views, which are not carried over anyway.
func TestTruncated(t *testing.T) {
	for path, archive := range cases(t) {
		reg, err := decode(registryOf(t, archive))
		if err != nil {
			t.Fatal(err)
		}
		reg.LabelViews, reg.ProjectMetadata = nil, nil
		raw, err := proto.Marshal(reg)
		if err != nil {
			t.Fatal(err)
		}
		for n := range raw {
			if _, err := decode(raw[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for a registry", path, n, len(raw))
			}
		}
	}
}

func TestNames(t *testing.T) {
	for feast, want := range map[string]string{
		"driver": "driver", "CustomerID": "customer_id", "HTTPServerLoad": "http_server_load", "trip-model": "trip_model", "Home City": "home_city",
		"a__b": "a_b", "v2Stats": "v2_stats", "1st": "x_1st", "": "x", "Łódź": "d", "__dummy": "dummy", "ÄÖ": "x", "..": "x", "café": "caf",
		strings.Repeat("a", 70): strings.Repeat("a", 63), "snake_Case": "snake_case",
	} {
		got := snake(feast, "x")
		if got != want || !nameExpression.MatchString(got) {
			t.Errorf("%q becomes %q, want %q", feast, got, want)
		}
	}
	n := newNames("x", true, []string{"a_b", "event_time", "Plain"})
	for _, c := range [][2]string{
		{"a_b", "a_b"},
		{"a-b", "a_b_2"},
		{"A B", "a_b_3"},
		{"a-b", "a_b_2"},
		{"event_time", "event_time_value"},
		{"EventTime", "event_time_value_2"},
		{strings.Repeat("A", 63), strings.Repeat("a", 63)},
		{strings.Repeat("A", 64), strings.Repeat("a", 61) + "_2"},
	} {
		if got := n.of(c[0]); got != c[1] {
			t.Errorf("%q becomes %q, want %q", c[0], got, c[1])
		}
	}
}

// write makes a folder with files, and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// minimal is a registry with an entity in each of some projects.
func minimal(t *testing.T, projects ...string) string {
	t.Helper()
	reg := &feastcore.Registry{RegistrySchemaVersion: "1"}
	for _, p := range projects {
		reg.Entities = append(reg.Entities, &feastcore.Entity{Spec: &feastcore.EntitySpecV2{Name: "e", Project: p}})
		reg.Projects = append(reg.Projects, &feastcore.Project{Spec: &feastcore.ProjectSpec{Name: p}})
	}
	raw, err := proto.Marshal(reg)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestOpen(t *testing.T) {
	one, two := minimal(t, "rides"), minimal(t, "rides", "meals")
	env := map[string]string{"STATE": "state"}
	for name, c := range map[string]struct {
		files         map[string]string
		path, project string
		want          string // the project and the registry's file, or what the error says
	}{
		"folder":            {map[string]string{StoreName: "project: rides\nregistry: r.db\n", "r.db": one}, ".", "", "rides r.db"},
		"by default":        {map[string]string{StoreName: "project: rides\n", "data/registry.db": one}, ".", "", "rides data/registry.db"},
		"as a mapping":      {map[string]string{StoreName: "project: rides\nregistry: {registry_type: file, path: r.db}\n", "r.db": one}, ".", "", "rides r.db"},
		"file URL, in env":  {map[string]string{StoreName: "project: rides\nregistry: {path: \"${STATE}/r.db\", cache_ttl_seconds: 60}\n", "state/r.db": one}, ".", "", "rides state/r.db"},
		"file":              {map[string]string{"r.db": one}, "r.db", "", "rides r.db"},
		"file of a folder":  {map[string]string{StoreName: "project: meals\n", "data/r.db": two}, "data/r.db", "", "meals data/r.db"},
		"project chosen":    {map[string]string{StoreName: "project: meals\n", "data/registry.db": two}, ".", "rides", "rides data/registry.db"},
		"several":           {map[string]string{"r.db": two}, "r.db", "", "the registry has 2 projects (choose one with --project: meals, rides)"},
		"unknown":           {map[string]string{"r.db": two}, "r.db", "ride", `no project "ride" (did you mean "rides"?)`},
		"unknown, far":      {map[string]string{"r.db": one}, "r.db", "orders", `no project "orders" (it has rides)`},
		"nothing":           {nil, "nowhere", "", "no Feast repository or registry"},
		"no repository":     {map[string]string{"x": ""}, ".", "", "name the folder of a Feast repository"},
		"not applied":       {map[string]string{StoreName: "project: rides\n"}, ".", "", "run feast apply"},
		"variable not set":  {map[string]string{StoreName: "project: rides\nregistry: ${NOWHERE}/r.db\n"}, ".", "", "set the variables"},
		"SQL":               {map[string]string{StoreName: "registry: {registry_type: sql, path: 'postgresql://u:secret@h/d'}\n"}, ".", "", "in an SQL database, and only files are read (in a copy of the repository write registry: data/registry.db"},
		"SQL, by URL":       {map[string]string{StoreName: "registry: 'mysql+pymysql://u:secret@h/d'\n"}, ".", "", "in an SQL database"},
		"remote":            {map[string]string{StoreName: "registry: {registry_type: remote, path: 'h:6570'}\n"}, ".", "", "of type remote"},
		"snowflake":         {map[string]string{StoreName: "registry: {registry_type: snowflake.registry, user: u}\n"}, ".", "", "of type snowflake.registry"},
		"own store":         {map[string]string{StoreName: "registry: {registry_store_type: my.Store, path: x}\n"}, ".", "", "of type my.Store"},
		"bucket":            {map[string]string{StoreName: "registry: s3://bucket/r.db\n"}, ".", "", "at s3://…, and only files are read (copy the file to this machine"},
		"nowhere":           {map[string]string{StoreName: "registry: {path: ''}\n"}, ".", "", "write registry: data/registry.db"},
		"bad store":         {map[string]string{StoreName: "registry: [\n"}, ".", "", StoreName},
		"list for registry": {map[string]string{StoreName: "registry: [1]\n"}, ".", "", "registry:"},
		"empty":             {map[string]string{"r.db": ""}, "r.db", "", "it names no schema version"},
		"of nothing":        {map[string]string{"r.db": minimal(t)}, "r.db", "", "the registry is empty"},
		"text":              {map[string]string{"r.db": "project: rides\n"}, "r.db", "", "damaged, or no registry file"},
		"SQLite":            {map[string]string{"r.db": "SQLite format 3\x00\x10\x00"}, "r.db", "", "an SQLite database"},
		"newer":             {map[string]string{"r.db": strings.Replace(one, "\x1a\x011", "\x1a\x012", 1)}, "r.db", "", `schema version "2"`},
		"folder as file":    {map[string]string{StoreName: "registry: data\n", "data/x": ""}, ".", "", "not a regular file"},
		"large":             {map[string]string{"r.db": strings.Repeat("x", maxRegistryBytes+1)}, "r.db", "", "more than 33554432 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, c.files)
			r, err := Open(filepath.Join(dir, c.path), c.project, func(name string) string { return env[name] })
			if err != nil {
				var p *problem.Error
				if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%v, want %s", err, c.want)
				}
				return
			}
			file, err := filepath.Rel(dir, r.Registry)
			if err != nil || r.Project+" "+file != c.want || r.Dir != dir && r.Store != "" {
				t.Errorf("project %s of %s, want %s (%v)", r.Project, file, c.want, err)
			}
		})
	}
}

// Where a project has roots, those that lead to the same place are used.
func TestRoots(t *testing.T) {
	reg := &feastcore.Registry{RegistrySchemaVersion: "1", Projects: []*feastcore.Project{{Spec: &feastcore.ProjectSpec{Name: "p"}}}}
	for _, uri := range []string{"data/a.parquet", "data/deep/b.parquet", "/srv/rides/data/c.parquet", "/lake/x/d.parquet", "/lake/y/e", "/mnt/f.parquet", "s3://Lake/g", "gs://lake/h/i", "../up.parquet"} {
		reg.DataSources = append(reg.DataSources, &feastcore.DataSource{
			Type: feastcore.DataSource_BATCH_FILE, Name: uri, Project: "p", TimestampField: "ts", FileOptions: &feastcore.DataSource_FileOptions{Uri: uri},
		})
	}
	r := &Repo{Dir: "/srv/rides", Project: "p", content: reg}
	imported, err := r.Convert("/srv/rides/provender", map[string]string{"mine": "../data", "lake": "s3://other", "mount": "/mnt/"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"mine": "../data", "mount": "/mnt/", "lake_2": "/lake", "lake_3": "s3://Lake", "lake_4": "gs://lake", "srv": "/srv",
	}, imported.Roots); diff != "" {
		t.Error(diff)
	}
	var paths []string
	for _, s := range imported.Definitions.Sources {
		paths = append(paths, s.Parquet...)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{
		"lake_2:x/d.parquet", "lake_2:y/e", "lake_3:g", "lake_4:h/i", "mine:a.parquet", "mine:c.parquet", "mine:deep/b.parquet", "mount:f.parquet", "srv:up.parquet",
	}, paths); diff != "" {
		t.Error(diff)
	}
}

// Whatever a registry holds, there is an error, or definitions that are read as they were meant: Convert checks it.
func FuzzRegistry(f *testing.F) {
	for _, archive := range cases(f) {
		raw := registryOf(f, archive)
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Add([]byte("SQLite format 3\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		reg, err := decode(raw)
		if err != nil {
			return
		}
		convertAll(t, reg)
	})
}

func convertAll(t *testing.T, reg *feastcore.Registry) {
	t.Helper()
	for _, project := range projects(reg) {
		r := &Repo{Dir: "/srv/rides", Project: project, content: reg}
		if _, err := r.Convert("/srv/out", nil); err != nil {
			t.Fatalf("project %q: %v\n%s", project, err, prototext.Format(reg))
		}
	}
}

// TestDamaged is the same of registries in which some bytes are others, and some parts of one are in another.
func TestDamaged(t *testing.T) {
	random := testenv.Rand(t)
	var all [][]byte
	archives := cases(t)
	for _, path := range slices.Sorted(maps.Keys(archives)) {
		all = append(all, registryOf(t, archives[path]))
	}
	rounds, read := 400, 0
	if testenv.Long() {
		rounds = 20_000
	}
	for range rounds {
		raw := slices.Clone(all[random.IntN(len(all))])
		for range 1 + random.IntN(8) {
			at := random.IntN(len(raw))
			if random.IntN(3) > 0 {
				raw[at] = byte(random.IntN(256))
				continue
			}
			from := all[random.IntN(len(all))]
			part := from[random.IntN(len(from)):]
			copy(raw[at:], part[:min(len(part), random.IntN(30))])
		}
		if reg, err := decode(raw); err == nil {
			read++
			convertAll(t, reg)
		}
	}
	if read == 0 {
		t.Error("none could be read")
	}
}
