package feast

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	feastcore "github.com/provender-dev/provender/proto/feast/core"
	"github.com/provender-dev/provender/registry"
)

// sources are the file sources of a project. Views hold copies of theirs, which may be older than the registry's: what
// differs is a source of its own.
type sources struct {
	*converter
	list   []*registry.Source
	places []place // of list's elements
	by     map[string]*registry.Source
}

// place is where a source's files are.
type place struct {
	root  string // scheme://bucket, with options; "" for this machine
	path  string // in the bucket, or absolute
	given bool   // absolute in Feast, too
}

func newSources(c *converter) *sources {
	return &sources{converter: c, by: map[string]*registry.Source{}}
}

// declare takes a source of the registry, or tells why not.
func (s *sources) declare(src *feastcore.DataSource) {
	found, err := s.read(src)
	if err != nil {
		s.skip("data source", src.GetName(), "%v", err)
		return
	}
	s.take(found)
}

// found is a source as it would be.
type found struct {
	feast *feastcore.DataSource
	ours  *registry.Source // without a name
	at    place
}

// read returns what one of Feast's sources would be, or why it can be none.
func (s *sources) read(src *feastcore.DataSource) (*found, error) {
	if src == nil {
		return nil, errors.New("it has none")
	}
	at, err := s.locate(src)
	if err != nil {
		return nil, err
	}
	columns, err := columnsOf(src)
	if err != nil {
		return nil, err
	}
	ours := &registry.Source{Timezone: "UTC", Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild}
	ours.Meta = meta(src.GetDescription(), src.GetOwner(), src.GetTags())
	if ours.EventTime.Column, err = column(columns, src.GetTimestampField()); err != nil {
		return nil, fmt.Errorf("its timestamp_field: %w", err)
	}
	if src.GetCreatedTimestampColumn() != "" {
		if ours.CreatedTime, err = column(columns, src.GetCreatedTimestampColumn()); err != nil {
			return nil, fmt.Errorf("its created_timestamp_column: %w", err)
		}
	}
	return &found{feast: src, ours: ours, at: at}, nil
}

// take returns the source that one found has become, which is new or the same as one before.
func (s *sources) take(f *found) *registry.Source {
	feast := cmp.Or(f.feast.GetName(), f.feast.GetFileOptions().GetUri())
	id := fmt.Sprintf("%q", []string{feast, f.at.root, f.at.path, f.ours.EventTime.Column, f.ours.CreatedTime})
	if known := s.by[id]; known != nil {
		return known
	}
	s.name(f.ours, feast, f.feast.GetFileOptions().GetUri())
	if day := f.feast.GetDatePartitionColumn(); day != "" {
		s.change("data source", feast, "its date_partition_column %q is not needed: files are passed over by their statistics", day)
	}
	s.by[id] = f.ours
	s.list, s.places = append(s.list, f.ours), append(s.places, f.at)
	return f.ours
}

// name names a source; one that Feast names by its path, by what the path ends in.
func (s *sources) name(ours *registry.Source, feast, uri string) {
	given := s.sourceNames.given[feast]
	switch {
	case slices.ContainsFunc(s.list, func(o *registry.Source) bool { return o.Name == given }): // the copy of a view that differs
		ours.Name = s.sourceNames.free(given)
		s.change("data source", feast, "is also %s, as a view has it with another path or other columns: run feast apply to make them one", ours.Name)
	case feast == uri:
		base := path.Base(strings.TrimRight(uri, "/"))
		ours.Name = s.sourceNames.free(snake(strings.TrimSuffix(base, path.Ext(base)), "source"))
		s.sourceNames.given[feast] = ours.Name
	default:
		ours.Name = s.sourceNames.of(feast)
		s.renamed("data source", feast, feast, ours.Name)
	}
	s.sourceNames.taken[ours.Name] = true
}

// locate finds where a source's files are, or why they can't be read.
func (s *sources) locate(src *feastcore.DataSource) (place, error) {
	switch src.GetType() {
	case feastcore.DataSource_BATCH_FILE:
	case feastcore.DataSource_REQUEST_SOURCE:
		return place{}, errors.New("request data are the caller's: pass them to the model beside the features")
	case feastcore.DataSource_PUSH_SOURCE, feastcore.DataSource_STREAM_KAFKA, feastcore.DataSource_STREAM_KINESIS:
		return place{}, errors.New("nothing can be pushed or streamed: rows come from Parquet files")
	default:
		return place{}, fmt.Errorf("its rows are in %s: write them to Parquet files", sourceType(src.GetType()))
	}
	options := src.GetFileOptions()
	uri := options.GetUri()
	if options.GetFileFormat().GetDeltaFormat() != nil {
		return place{}, errors.New("it is a Delta table: write its rows to Parquet files")
	}
	if strings.ContainsAny(uri, `[]{}\`) || strings.ContainsFunc(uri, unicode.IsControl) {
		return place{}, fmt.Errorf("its path %q has characters that mean a pattern here", uri)
	}
	uri = strings.TrimPrefix(uri, "file://")
	scheme, rest, remote := strings.Cut(uri, "://")
	if !remote {
		if strings.TrimSpace(uri) == "" {
			return place{}, errors.New("it has no path")
		}
		if filepath.IsAbs(uri) {
			return place{path: filepath.Clean(uri), given: true}, nil
		}
		return place{path: filepath.Join(s.repo.Dir, uri)}, nil
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if !slices.Contains([]string{"s3", "gs", "az"}, scheme) {
		return place{}, fmt.Errorf("its files are at %s://…; s3, gs and az are read", scheme)
	}
	if bucket == "" || strings.Trim(key, "/") == "" || strings.ContainsAny(bucket, "?#@: ") {
		return place{}, fmt.Errorf("its path %q names no file or folder of a bucket", uri)
	}
	root := scheme + "://" + bucket
	if endpoint := options.GetS3EndpointOverride(); endpoint != "" && scheme == "s3" {
		u, err := url.Parse(endpoint)
		if err != nil || u.User != nil || strings.ContainsFunc(endpoint, unicode.IsControl) {
			return place{}, errors.New("its s3_endpoint_override is no URL of a server without credentials")
		}
		root += "?endpoint=" + url.QueryEscape(endpoint)
	}
	return place{root: root, path: strings.TrimLeft(key, "/")}, nil
}

func sourceType(t feastcore.DataSource_SourceType) string {
	switch t {
	case feastcore.DataSource_BATCH_BIGQUERY:
		return "BigQuery"
	case feastcore.DataSource_BATCH_REDSHIFT:
		return "Redshift"
	case feastcore.DataSource_BATCH_SNOWFLAKE:
		return "Snowflake"
	case feastcore.DataSource_BATCH_TRINO:
		return "Trino"
	case feastcore.DataSource_BATCH_SPARK:
		return "Spark"
	case feastcore.DataSource_BATCH_ATHENA:
		return "Athena"
	case feastcore.DataSource_BATCH_ICEBERG:
		return "Iceberg"
	default:
		return "no files, but a source of another kind"
	}
}

// columnsOf returns the columns of a source by their names in views, where those differ.
func columnsOf(src *feastcore.DataSource) (map[string]string, error) {
	columns := map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(src.GetFieldMapping())) {
		to := src.GetFieldMapping()[from]
		if first, twice := columns[to]; twice {
			return nil, fmt.Errorf("its field_mapping makes two columns %q: %q and %q", to, first, from)
		}
		columns[to] = from
	}
	return columns, nil
}

// column returns the column of a name, or an error where it can be none.
func column(columns map[string]string, name string) (string, error) {
	if from, ok := columns[name]; ok {
		name = from
	}
	if strings.TrimSpace(name) == "" || len(name) > 255 || strings.ContainsFunc(name, unicode.IsControl) {
		return "", fmt.Errorf("%.40q is not a column's name", name)
	}
	return name, nil
}

// place gives every source its path below a root, and returns the roots: one per bucket, and one for the files of the
// repository and of each other folder of this machine. Those that the project has already are used.
func (s *sources) place(out string, have map[string]string) map[string]string {
	roots := map[string]string{}
	name := newNames("root", false, slices.Collect(maps.Keys(have)))
	rootOf := func(value, like string) string {
		for _, existing := range slices.Sorted(maps.Keys(have)) {
			if have[existing] == value || local(out, have[existing]) != "" && local(out, have[existing]) == local(out, value) {
				roots[existing] = have[existing]
				return existing
			}
		}
		for known, v := range roots {
			if v == value {
				return known
			}
		}
		n := name.free(snake(like, "root"))
		name.taken[n] = true
		roots[n] = value
		return n
	}
	folders := s.folders()
	for i, at := range s.places {
		var root, below string
		if at.root != "" {
			bucket, _, _ := strings.Cut(at.root[strings.Index(at.root, "://")+3:], "?")
			root, below = rootOf(at.root, bucket), at.path
		} else {
			dir := folders[s.folderID(at.path)]
			value := dir
			if rel, err := filepath.Rel(out, dir); err == nil && s.inRepo(dir) {
				value = filepath.ToSlash(rel)
				if !strings.HasPrefix(value, ".") {
					value = "./" + value
				}
			}
			root = rootOf(value, filepath.Base(dir))
			below = filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(at.path, dir), string(filepath.Separator)))
		}
		s.list[i].Parquet = []string{root + ":" + below}
	}
	return roots
}

// local returns the absolute folder of a root on this machine, "" for one elsewhere.
func local(out, root string) string {
	if strings.Contains(root, "://") {
		return ""
	}
	if filepath.IsAbs(root) {
		return filepath.Clean(root)
	}
	return filepath.Join(out, root)
}

// folders returns per group of local sources the deepest folder that has all their files or folders in it.
func (s *sources) folders() map[string]string {
	folders := map[string]string{}
	for _, at := range s.places {
		if at.root != "" {
			continue
		}
		id, dir := s.folderID(at.path), filepath.Dir(at.path)
		if common, ok := folders[id]; ok {
			for !within(dir, common) {
				common = filepath.Dir(common)
			}
			dir = common
		}
		folders[id] = dir
	}
	return folders
}

// folderID groups local paths: those of the repository, and others by the first folder of their path.
func (s *sources) folderID(path string) string {
	if s.inRepo(path) {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(filepath.ToSlash(path), "/"), "/")
	return "/" + first
}

func (s *sources) inRepo(path string) bool { return within(path, s.repo.Dir) }

// within reports whether a path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}
