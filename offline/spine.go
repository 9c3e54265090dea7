package offline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// spine is an open spine: its times and keys in memory, its columns still in a file.
type spine struct {
	path          string // "" for a spine that was sent
	format        Format
	copied        bool     // nobody else has the file
	file          *os.File // the user's bytes, or a copy where they are remote
	opened        os.FileInfo
	limits        SpineLimits
	parquetLimits parquet.Limits
	parquet       spineParquet
	columns       *parquet.Passthrough
	times         []int64
	keys          []*columnar.Vector // per Service.RequestKeys
}

// spineParquet is the Parquet that a spine is read from: the user's own file, or a temporary one that was made from it.
type spineParquet struct {
	*os.File
	size int64
}

// name is what messages call the spine.
func (s *spine) name() string {
	if s.path == "" {
		return sentName
	}
	return "spine " + s.path
}

// sentName is what messages call a spine that was sent.
const sentName = "the spine"

// openSpine opens a file or an object, which is copied: all of it is read, parts of it twice.
func openSpine(ctx context.Context, req *ExportRequest) (*spine, error) {
	path := req.Spine
	s := &spine{path: path, limits: req.SpineLimits.withDefaults(), parquetLimits: req.Limits}
	var err error
	switch {
	case req.Sent != nil:
		s.path, s.copied = "", true
		s.file, err = req.Sent.finish()
	case source.IsURL(path):
		s.copied = true
		s.file, s.path, err = fetchSpine(ctx, path)
	default:
		s.file, err = openLocal(path)
	}
	if err != nil {
		return nil, err
	}
	if s.opened, err = s.file.Stat(); err == nil && !s.opened.Mode().IsRegular() {
		err = errors.New("not a file; a spine is one Parquet, CSV or Arrow file")
	}
	if err != nil {
		return nil, errors.Join(&problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("open spine %s: %v", path, err), Field: "spine", Err: err,
		}, s.file.Close())
	}
	s.format = spineFormat(s.path, req.SpineFormat)
	if req.Sent != nil {
		s.format = Arrow
	}
	s.parquet = spineParquet{File: s.file, size: s.opened.Size()}
	return s, nil
}

func openLocal(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		e := &problem.Error{Code: problem.Invalid, Message: fmt.Sprintf("open spine: %v", err), Field: "spine", Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.Code, e.Message = problem.NotFound, fmt.Sprintf("there is no spine %s", path)
			e.Suggestion = "name it by a path from the folder you are in, or by a URL"
		}
		return nil, e
	}
	return file, nil
}

// fetchBytes are fetched of an object at once, while as much is on its way.
const fetchBytes = 8 << 20

// fetchSpine copies one version of an object into a file without a name. It returns the object's name for messages.
func fetchSpine(ctx context.Context, url string) (_ *os.File, name string, err error) {
	object, err := source.OpenObject(ctx, url)
	if err != nil {
		return nil, "", fmt.Errorf("open spine: %w", err)
	}
	defer func() { err = errors.Join(err, object.Close()) }()
	file, err := createTemp()
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	buf := make([]byte, min(fetchBytes, object.File.Size))
	part := func(offset int64) source.Range {
		return source.Range{Start: offset, End: min(offset+fetchBytes, object.File.Size)}
	}
	for at := part(0); at.Start < at.End; at = part(at.End) {
		if next := part(at.End); next.Start < next.End {
			object.Prefetch(ctx, []source.Range{at, next})
		}
		b := buf[:at.End-at.Start]
		if n, err := object.ReadAt(b, at.Start); n < len(b) {
			return nil, "", fmt.Errorf("read spine: %w", err)
		}
		object.Forget([]source.Range{at})
		if _, err := file.Write(b); err != nil {
			return nil, "", tempProblem(err)
		}
	}
	return file, object.File.Path, nil
}

// spineFormat returns a spine's format, which goes by its name where it is "".
func spineFormat(path string, format Format) Format {
	if format != "" {
		return format
	}
	name := strings.ToLower(path)
	switch filepath.Ext(strings.TrimSuffix(name, ".gz")) {
	case ".csv", ".tsv":
		return CSV
	case ".arrow", ".feather", ".ipc":
		return Arrow
	}
	return Parquet
}

// close closes the spine's files. Temporary ones have no name and are gone then.
func (s *spine) close() error {
	err := s.file.Close()
	if s.parquet.File != s.file {
		err = errors.Join(err, s.parquet.Close())
	}
	return err
}

// is reports whether a local file is the spine itself.
func (s *spine) is(info os.FileInfo) bool { return os.SameFile(info, s.opened) }

// size returns the length of the user's bytes.
func (s *spine) size() int64 { return s.opened.Size() }

// sha256 returns the digest of the user's bytes.
func (s *spine) sha256(ctx context.Context) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	r := io.NewSectionReader(s.file, 0, s.size())
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("read spine: %w", err)
		}
	}
}

// check fails when the file has changed since it was opened. A copy does not.
func (s *spine) check() error {
	if s.copied {
		return nil
	}
	open, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("check spine: %w", err)
	}
	named, err := os.Stat(s.path)
	if err == nil && os.SameFile(open, named) && open.Size() == s.opened.Size() && open.ModTime().Equal(s.opened.ModTime()) {
		return nil
	}
	return &problem.Error{
		Code:       problem.Conflict,
		Message:    s.name() + " has changed while it was read",
		Suggestion: "run the command again",
		Err:        err,
	}
}

// read reads the time column and the request keys of all rows.
func (s *spine) read(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) error {
	if err := s.convert(ctx, opts, keys); err != nil {
		return err
	}
	file, err := parquet.Open(ctx, s.parquet, source.File{Path: cmp.Or(s.path, sentName), Size: s.parquet.size}, s.parquetLimits)
	if err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	if err := s.checkRows(file.NumRows()); err != nil {
		return err
	}
	infos := file.Columns()
	if err := s.checkColumns(len(infos)); err != nil {
		return err
	}
	clock, err := timeColumn(s.name(), opts, infos, s.where)
	if err != nil {
		return err
	}
	wanted := []parquet.Column{clock.column}
	for _, key := range keys {
		column, err := keyColumn(s.name(), key, infos)
		if err != nil {
			return err
		}
		wanted = append(wanted, column)
	}
	reader, err := file.Bind(wanted)
	if err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	// What the footer says of rows is true once they are read; until then a row has at least a byte.
	room := int(min(file.NumRows(), s.parquet.size))
	vectors := make([]*columnar.Vector, len(wanted))
	each, ctx := errgroup.WithContext(ctx)
	for i, column := range wanted {
		vectors[i] = columnar.NewVector(column.Type, room)
		each.Go(func() error {
			for g := range reader.RowGroups() {
				if err := reader.Read(ctx, g, i, vectors[i]); err != nil {
					return fmt.Errorf("read spine: %w", err)
				}
			}
			if int64(vectors[i].Len()) != file.NumRows() {
				return fmt.Errorf("%s: column %s has %d rows of %d", s.name(), column.Name, vectors[i].Len(), file.NumRows())
			}
			return nil
		})
	}
	if err := each.Wait(); err != nil {
		return err
	}
	s.keys = vectors[1:]
	if s.times, err = clock.instants(vectors[0]); err != nil {
		return err
	}
	if s.columns, err = file.Passthrough(s.parquet.size); err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	return nil
}

// checkRows refuses more rows than the limit, for each of which times, keys and answers are held in memory.
func (s *spine) checkRows(n int64) error {
	if n <= s.limits.SpineRows {
		return nil
	}
	e := problem.New(problem.Exhausted, "%s: more rows than the limit of %d (limits.spine_rows)", s.name(), s.limits.SpineRows)
	e.Field, e.Suggestion = "spine", "export it in several parts, or raise the limit"
	return e
}

// checkColumns refuses more columns than the limit, each of which takes memory even without rows.
func (s *spine) checkColumns(n int) error {
	if int64(n) <= s.limits.SpineColumns {
		return nil
	}
	e := problem.New(problem.Exhausted, "%s: %d columns are over the limit of %d (limits.spine_columns)", s.name(), n, s.limits.SpineColumns)
	e.Field, e.Suggestion = "spine", "leave out columns that the training set does not need, or raise the limit"
	return e
}

// convert makes a spine that is not Parquet into Parquet.
func (s *spine) convert(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) error {
	var made spineParquet
	var err error
	switch s.format {
	case Parquet:
		return nil
	case CSV:
		made, err = s.convertCSV(ctx, opts, keys)
	case Arrow:
		made, err = s.convertArrow(ctx, opts, keys)
	default:
		err = problem.New(problem.Invalid, "%s: unknown format %q", s.name(), s.format)
	}
	if err != nil {
		return err
	}
	s.parquet = made
	return nil
}

// where says where the user finds a row.
func (s *spine) where(row int) string {
	if s.format == CSV {
		if line, err := s.lineOf(row); err == nil {
			return fmt.Sprintf("line %d", line)
		}
	}
	return fmt.Sprintf("row %d", row)
}

// keyColumn says how to read a request key, or why the spine's column can't be one.
func keyColumn(spine string, key registry.RequestKey, infos []parquet.ColumnInfo) (parquet.Column, error) {
	info, err := findColumn(spine, key.Name, "key", infos)
	if err != nil {
		return parquet.Column{}, err
	}
	kind := info.Type.Kind
	if kind == columnar.Int32 {
		kind = columnar.Int64
	}
	if info.Type.List || kind != key.Kind {
		e := problem.New(problem.Invalid, "%s: key column %s is %s, and the service needs %s",
			spine, key.Name, info.Physical, key.Kind)
		e.Field = "spine"
		e.Suggestion = fmt.Sprintf("write the column as %s", key.Kind)
		return parquet.Column{}, e
	}
	return parquet.Column{Name: key.Name, Type: columnar.Type{Kind: key.Kind}}, nil
}

// findColumn returns the description of a column that the spine must have.
func findColumn(spine, name, what string, infos []parquet.ColumnInfo) (parquet.ColumnInfo, error) {
	names := make([]string, len(infos))
	for i, info := range infos {
		if info.Name == name {
			return info, nil
		}
		names[i] = info.Name
	}
	return parquet.ColumnInfo{}, missingColumn(spine, name, what, names)
}

// missingColumn lists the columns that a spine has, not all of very many.
func missingColumn(spine, name, what string, has []string) error {
	slices.Sort(has)
	list := strings.Join(has[:min(len(has), 50)], ", ")
	if more := len(has) - 50; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	e := problem.New(problem.Invalid, "%s has no %s column %q; it has %s", spine, what, name, list)
	e.Field, e.Suggestion = "spine", diag.Suggest(name, has)
	if what == "time" {
		e.Field = "time"
	}
	switch {
	case e.Suggestion != "":
	case len(has) == 1 && strings.ContainsAny(has[0], ";\t|"):
		e.Suggestion = "separate the fields by commas, or by tabs in a file named .tsv"
	case what == "key":
		e.Suggestion = "add that column, or `join` the key to another one in the service"
	}
	return e
}
