package offline

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

const (
	surveyFiles  = 20 // whose footers are read
	surveyAtOnce = 8
)

// Survey is what the footers of a source's files say: of all, or of some that are spread evenly over the names.
type Survey struct {
	Files  []source.File // all, in name order
	Looked []Looked      // in name order; the first and the last of Files are among them
}

// Looked is a file whose footer was asked for.
type Looked struct {
	source.File
	Footer *parquet.File // nil where Err is not
	Err    error

	handle *source.Handle
}

// NewSurvey lists the files of patterns and reads footers. An error is of the listing; those of files are in Looked. The
// caller closes it.
func NewSurvey(ctx context.Context, files *source.Files, patterns []string, limits parquet.Limits) (*Survey, error) {
	list, err := files.List(ctx, patterns)
	if err != nil {
		return nil, err
	}
	s := &Survey{Files: list, Looked: make([]Looked, min(len(list), surveyFiles))}
	var group errgroup.Group
	group.SetLimit(surveyAtOnce)
	for i, at := range spread(len(list), len(s.Looked)) {
		l := &s.Looked[i]
		l.File = list[at]
		group.Go(func() error {
			l.Err = l.look(ctx, files, limits)
			return nil
		})
	}
	return s, group.Wait()
}

// spread returns k of the positions below n, the first and the last among them where k allows.
func spread(n, k int) []int {
	at := make([]int, k)
	for i := range at {
		if k > 1 {
			at[i] = i * (n - 1) / (k - 1)
		}
	}
	return at
}

func (l *Looked) look(ctx context.Context, files *source.Files, limits parquet.Limits) (err error) {
	if l.handle, err = files.Open(ctx, l.File); err != nil {
		return err
	}
	footer, err := parquet.Open(ctx, l.handle, l.File, limits)
	if err == nil {
		l.Footer = footer
	}
	return err
}

// Close closes the files.
func (s *Survey) Close() error {
	var err error
	for i := range s.Looked {
		if h := s.Looked[i].handle; h != nil {
			err = errors.Join(err, h.Close())
		}
	}
	return err
}

// ViewColumns returns the columns of its files that a view needs: keys, event time, features, created time if it has one.
func ViewColumns(v *registry.View) []parquet.Column {
	instant := parquet.Column{
		Type: columnar.Type{Kind: columnar.Timestamp}, Location: v.Location, Ambiguous: v.Source.Ambiguous, Round: parquet.RoundUp,
	}
	var columns []parquet.Column
	for _, k := range v.KeyColumns {
		columns = append(columns, parquet.Column{Name: k.Column, Type: columnar.Type{Kind: k.Kind}})
	}
	event := instant
	event.Name, event.At = v.Source.EventTime.Column, v.Source.EventTime.At
	columns = append(columns, event)
	for i, f := range v.Features {
		columns = append(columns, parquet.Column{
			Name: v.FeatureColumn(i), Type: f.Type, Location: v.Location, Ambiguous: v.Source.Ambiguous,
		})
	}
	if v.Source.CreatedTime != "" {
		created := instant
		created.Name = v.Source.CreatedTime
		columns = append(columns, created)
	}
	return columns
}
