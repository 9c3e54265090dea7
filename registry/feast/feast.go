// Package feast reads the registry file of a Feast repository, without Feast, and makes definitions of it. What has no
// counterpart is told by name, never guessed.
package feast

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	feastcore "github.com/provender-dev/provender/proto/feast/core"
)

// StoreName is the file that makes a folder a Feast repository.
const StoreName = "feature_store.yaml"

const (
	maxRegistryBytes = 32 << 20 // as messages in memory some forty times as much
	maxStoreBytes    = 1 << 20
	schemaVersion    = "1"
)

// Repo is one project of a Feast registry.
type Repo struct {
	Registry string // the registry's file
	Dir      string // the folder that relative paths of sources begin at, absolute
	Store    string // the repository's feature_store.yaml, "" where none was found
	Project  string

	content *feastcore.Registry
}

// Open reads the registry of a Feast repository, a folder with a feature_store.yaml, or a registry's file itself. Project
// "" is the one that feature_store.yaml names, or the only one. Errors are *problem.Error, of class Invalid or NotFound.
func Open(path, project string, getenv func(string) string) (*Repo, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, problem.New(problem.Invalid, "%s: %w", path, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, problem.New(problem.NotFound, "no Feast repository or registry: %w", err)
	}
	r := &Repo{Registry: abs, Dir: filepath.Dir(abs)}
	if info.IsDir() {
		if err := r.openFolder(abs, &project, getenv); err != nil {
			return nil, err
		}
	} else {
		r.findFolder(&project, getenv)
	}
	raw, err := readAtMost(r.Registry, maxRegistryBytes)
	if errors.Is(err, fs.ErrNotExist) {
		missing := problem.New(problem.NotFound, "no Feast registry at %s", r.Registry)
		if missing.Suggestion = "run feast apply in " + r.Dir + " first"; strings.Contains(r.Registry, "${") {
			missing.Suggestion = "set the variables that " + StoreName + " names"
		}
		return nil, missing
	}
	if err != nil {
		return nil, problem.New(problem.Invalid, "read the Feast registry: %w", err)
	}
	if r.content, err = decode(raw); err != nil {
		return nil, problem.New(problem.Invalid, "%s: %w", r.Registry, err)
	}
	return r, r.choose(project)
}

// store is what of feature_store.yaml leads to the registry.
type store struct {
	Project  string    `yaml:"project"`
	Registry yaml.Node `yaml:"registry"`
}

func readStore(path string, getenv func(string) string) (*store, error) {
	raw, err := readAtMost(path, maxStoreBytes)
	if err != nil {
		return nil, err
	}
	text := os.Expand(string(raw), func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return "${" + name + "}" // Feast, too, leaves what is not set
	})
	s := &store{}
	if err := yaml.Unmarshal([]byte(text), s); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *Repo) openFolder(dir string, project *string, getenv func(string) string) error {
	r.Dir, r.Store = dir, filepath.Join(dir, StoreName)
	s, err := readStore(r.Store, getenv)
	if errors.Is(err, fs.ErrNotExist) {
		missing := problem.New(problem.NotFound, "no %s in %s", StoreName, dir)
		missing.Suggestion = "name the folder of a Feast repository, or its registry's file"
		return missing
	}
	if err != nil {
		return problem.New(problem.Invalid, "%s: %w", r.Store, err)
	}
	if r.Registry, err = s.registryPath(); err != nil {
		return err
	}
	if !filepath.IsAbs(r.Registry) {
		r.Registry = filepath.Join(dir, r.Registry)
	}
	if *project == "" {
		*project = s.Project
	}
	return nil
}

// registryPath returns the file that the registry is in, as written, or an error that says what to do where it is in none.
func (s *store) registryPath() (string, error) {
	type registry struct {
		Type  string `yaml:"registry_type"`
		Store string `yaml:"registry_store_type"`
		Path  string `yaml:"path"`
	}
	c := registry{Type: "file"}
	switch s.Registry.Kind {
	case 0:
		c.Path = "data/registry.db"
	case yaml.ScalarNode:
		c.Path = s.Registry.Value
	default:
		if err := s.Registry.Decode(&c); err != nil {
			return "", problem.New(problem.Invalid, "%s: registry: %w", StoreName, err)
		}
	}
	elsewhere := func(where, fix string) error {
		err := problem.New(problem.Invalid, "the registry of this Feast repository is %s, and only files are read", where)
		err.Suggestion = fix
		return err
	}
	const again = "in a copy of the repository write registry: data/registry.db in " + StoreName + ", run feast apply there, and import that"
	scheme, _, remote := strings.Cut(c.Path, "://")
	switch {
	case c.Type == "sql":
		return "", elsewhere("in an SQL database", again)
	case c.Type != "file" || c.Store != "" && c.Store != "FileRegistryStore":
		return "", elsewhere("of type "+cmp.Or(c.Store, c.Type), again)
	case scheme == "file":
		return strings.TrimPrefix(c.Path, "file://"), nil
	case remote && slices.Contains([]string{"s3", "gs", "az", "abfs", "abfss", "hdfs"}, scheme):
		return "", elsewhere("at "+scheme+"://…", "copy the file to this machine and import the copy")
	case remote: // such as postgresql+psycopg://…, which may hold a password
		return "", elsewhere("in an SQL database", again)
	case c.Path == "":
		return "", elsewhere("nowhere", "write registry: data/registry.db in "+StoreName)
	}
	return c.Path, nil
}

// findFolder looks for the repository that a registry's file belongs to, beside the file and one folder up.
func (r *Repo) findFolder(project *string, getenv func(string) string) {
	for _, dir := range []string{r.Dir, filepath.Dir(r.Dir)} {
		s, err := readStore(filepath.Join(dir, StoreName), getenv)
		if err != nil {
			continue // whatever it is, the file to read was named
		}
		r.Dir, r.Store = dir, filepath.Join(dir, StoreName)
		if *project == "" {
			*project = s.Project
		}
		return
	}
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(path + " is not a regular file")
	}
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = problem.New(problem.Exhausted, "%s has more than %d bytes", path, most)
	}
	return raw, err
}

// decode reads a registry. What Feast has not written, or not to its end, is an error: a registry names its schema at the
// beginning and its projects at the end.
func decode(raw []byte) (*feastcore.Registry, error) {
	if bytes.HasPrefix(raw, []byte("SQLite format 3\x00")) {
		err := problem.New(problem.Invalid, "an SQLite database, no registry file of Feast's")
		err.Suggestion = "name the file of registry: in " + StoreName + "; a registry in SQL is not read"
		return nil, err
	}
	reg := &feastcore.Registry{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, reg); err != nil {
		return nil, problem.New(problem.Invalid, "damaged, or no registry file of Feast's: %w", err)
	}
	if v := reg.GetRegistrySchemaVersion(); v == "" {
		return nil, problem.New(problem.Invalid, "no registry file of Feast's, or cut short: it names no schema version")
	} else if v != schemaVersion {
		return nil, problem.New(problem.Invalid, "a registry of Feast's with schema version %.20q; only %q is read", v, schemaVersion)
	}
	sortByName(reg)
	named := map[string]bool{}
	for _, p := range reg.GetProjects() {
		named[p.GetSpec().GetName()] = true
	}
	for _, p := range reg.GetProjectMetadata() {
		named[p.GetProject()] = true
	}
	for _, project := range projects(reg) {
		if !named[project] {
			return nil, problem.New(problem.Invalid, "cut short: it does not name its project %q", project)
		}
	}
	return reg, nil
}

// sortByName makes what becomes of a registry independent of the order in which Feast happened to write it.
func sortByName(reg *feastcore.Registry) {
	slices.SortStableFunc(reg.Entities, func(a, b *feastcore.Entity) int { return cmp.Compare(a.GetSpec().GetName(), b.GetSpec().GetName()) })
	slices.SortStableFunc(reg.DataSources, func(a, b *feastcore.DataSource) int { return cmp.Compare(a.GetName(), b.GetName()) })
	slices.SortStableFunc(reg.FeatureViews, func(a, b *feastcore.FeatureView) int {
		return cmp.Compare(a.GetSpec().GetName(), b.GetSpec().GetName())
	})
	slices.SortStableFunc(reg.FeatureServices, func(a, b *feastcore.FeatureService) int {
		return cmp.Compare(a.GetSpec().GetName(), b.GetSpec().GetName())
	})
}

// projects returns the projects that anything of a registry belongs to, sorted.
func projects(reg *feastcore.Registry) []string {
	found := map[string]bool{}
	add(found, reg.GetEntities(), func(e *feastcore.Entity) string { return e.GetSpec().GetProject() })
	add(found, reg.GetFeatureViews(), func(v *feastcore.FeatureView) string { return v.GetSpec().GetProject() })
	add(found, reg.GetFeatureServices(), func(s *feastcore.FeatureService) string { return s.GetSpec().GetProject() })
	add(found, reg.GetDataSources(), (*feastcore.DataSource).GetProject)
	for _, o := range others(reg) {
		found[o.project] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func add[T any](found map[string]bool, list []T, project func(T) string) {
	for _, x := range list {
		found[project(x)] = true
	}
}

// choose finds the project to import.
func (r *Repo) choose(project string) error {
	all := projects(r.content)
	for _, p := range r.content.GetProjects() {
		if name := p.GetSpec().GetName(); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	switch {
	case project != "" && !slices.Contains(all, project):
		err := problem.New(problem.NotFound, "the registry has no project %q", project)
		err.Suggestion = diag.Suggest(project, all)
		if err.Suggestion == "" && len(all) > 0 {
			err.Suggestion = "it has " + shortList(all)
		}
		return err
	case project == "" && len(all) == 0:
		return problem.New(problem.NotFound, "the registry is empty")
	case project == "" && len(all) > 1:
		err := problem.New(problem.Invalid, "the registry has %d projects", len(all))
		err.Suggestion = "choose one with --project: " + shortList(all)
		return err
	case project == "":
		project = all[0]
	}
	r.Project = project
	return nil
}

// shortList writes the first names of a list.
func shortList(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// other is something of a registry that Provender has no counterpart for.
type other struct{ kind, name, project, reason string }

func others(reg *feastcore.Registry) []other {
	var all []other
	named := func(kind, reason string, spec interface {
		GetName() string
		GetProject() string
	},
	) {
		all = append(all, other{kind, spec.GetName(), spec.GetProject(), reason})
	}
	for _, v := range reg.GetOnDemandFeatureViews() {
		named("on-demand feature view", "it is a Python function; compute it where the model runs", v.GetSpec())
	}
	for _, v := range reg.GetStreamFeatureViews() {
		named("stream feature view", "rows come from Parquet files; have the stream's rows written to some, and declare a view of them", v.GetSpec())
	}
	for _, v := range reg.GetLabelViews() {
		named("label view", "labels are the rows of a spine", v.GetSpec())
	}
	for _, t := range reg.GetFeatureTables() {
		named("feature table", "Feast itself has dropped them for feature views", t.GetSpec())
	}
	for _, d := range reg.GetSavedDatasets() {
		named("saved dataset", "make it again with provender export, which writes a manifest beside it", d.GetSpec())
	}
	for _, v := range reg.GetValidationReferences() {
		named("validation reference", "data are not profiled", v)
	}
	for _, p := range reg.GetPermissions() {
		named("permission", "who may do what is set on the server", p.GetSpec())
	}
	return all
}
