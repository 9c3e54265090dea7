package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// spine is an open spine file: its times and keys in memory, its columns still in the file.
type spine struct {
	path    string
	file    *os.File
	opened  os.FileInfo
	columns *parquet.Passthrough
	times   []int64
	keys    []*columnar.Vector // per Service.RequestKeys
}

func openSpine(path string) (*spine, error) {
	file, err := os.Open(path)
	if err != nil {
		code := problem.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			code = problem.NotFound
		}
		return nil, &problem.Error{Code: code, Message: fmt.Sprintf("open spine: %v", err), Field: "spine", Err: err}
	}
	s := &spine{path: path, file: file}
	if s.opened, err = file.Stat(); err == nil && !s.opened.Mode().IsRegular() {
		err = errors.New("not a file; a spine is one Parquet file")
	}
	if err != nil {
		return nil, errors.Join(&problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("open spine %s: %v", path, err), Field: "spine", Err: err,
		}, file.Close())
	}
	return s, nil
}

func (s *spine) close() error { return s.file.Close() }

// check fails when the file has changed since it was opened.
func (s *spine) check() error {
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
		Message:    fmt.Sprintf("spine %s has changed while it was read", s.path),
		Suggestion: "run the command again",
		Err:        err,
	}
}

// read reads the time column and the request keys of all rows.
func (s *spine) read(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) error {
	file, err := parquet.Open(ctx, s.file, source.File{Path: s.path, Size: s.opened.Size()}, parquet.Limits{})
	if err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	infos := file.Columns()
	clock, err := timeColumn(s.path, opts, infos)
	if err != nil {
		return err
	}
	wanted := []parquet.Column{clock.column}
	for _, key := range keys {
		column, err := keyColumn(s.path, key, infos)
		if err != nil {
			return err
		}
		wanted = append(wanted, column)
	}
	reader, err := file.Bind(wanted)
	if err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	vectors := make([]*columnar.Vector, len(wanted))
	each, ctx := errgroup.WithContext(ctx)
	for i, column := range wanted {
		vectors[i] = columnar.NewVector(column.Type, int(file.NumRows()))
		each.Go(func() error {
			for g := range reader.RowGroups() {
				if err := reader.Read(ctx, g, i, vectors[i]); err != nil {
					return fmt.Errorf("read spine: %w", err)
				}
			}
			if int64(vectors[i].Len()) != file.NumRows() {
				return fmt.Errorf("spine %s: column %s has %d rows of %d", s.path, column.Name, vectors[i].Len(), file.NumRows())
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
	if s.columns, err = file.Passthrough(s.opened.Size()); err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	return nil
}

// keyColumn says how to read a request key, or why the spine's column can't be one.
func keyColumn(path string, key registry.RequestKey, infos []parquet.ColumnInfo) (parquet.Column, error) {
	info, err := findColumn(path, key.Name, "key", infos)
	if err != nil {
		return parquet.Column{}, err
	}
	kind := info.Type.Kind
	if kind == columnar.Int32 {
		kind = columnar.Int64
	}
	if info.Type.List || kind != key.Kind {
		e := problem.New(problem.Invalid, "spine %s: key column %s is %s, and the service needs %s",
			path, key.Name, info.Physical, key.Kind)
		e.Field = "spine"
		e.Suggestion = fmt.Sprintf("write the column as %s", key.Kind)
		return parquet.Column{}, e
	}
	return parquet.Column{Name: key.Name, Type: columnar.Type{Kind: key.Kind}}, nil
}

// findColumn returns the description of a column that the spine must have.
func findColumn(path, name, what string, infos []parquet.ColumnInfo) (parquet.ColumnInfo, error) {
	names := make([]string, len(infos))
	for i, info := range infos {
		if info.Name == name {
			return info, nil
		}
		names[i] = info.Name
	}
	slices.Sort(names)
	e := problem.New(problem.Invalid, "spine %s has no %s column %q; it has %s", path, what, name, strings.Join(names, ", "))
	e.Field = "spine"
	e.Suggestion = diag.Suggest(name, names)
	return parquet.ColumnInfo{}, e
}
