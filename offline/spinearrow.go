package offline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/arrowipc"
	"github.com/provender-dev/provender/registry"
)

// arrowRows is the rows that are converted at once; fewer where what they decode to is more than arrowBytes.
const (
	arrowRows  = 32_768
	arrowBytes = 64 << 20
)

// convertArrow writes the record batches of an Arrow IPC file or stream as Parquet. Columns keep their values; what
// Parquet has no type for (dictionaries, views, durations) is in the Parquet's ARROW:schema.
func (s *spine) convertArrow(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) (made spineParquet, err error) {
	// The bytes are the user's, and Arrow's library panics over some.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
			if cause, ok := r.(error); ok {
				err = fmt.Errorf("%w", cause)
			}
		}
		var known *problem.Error
		if err != nil && !errors.As(err, &known) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			err = s.arrowProblem(err)
		}
	}()
	mem := arrowipc.NewAllocator(s.size(), s.limits.ArrowBatch)
	batches, err := arrowipc.Open(io.NewSectionReader(s.file, 0, s.size()), mem)
	if err != nil {
		return spineParquet{}, err
	}
	defer batches.Close()
	original := batches.Schema()
	if err := s.checkArrow(original, opts, keys); err != nil {
		return spineParquet{}, err
	}
	p, err := newArrowPlainer(original, mem)
	if err != nil {
		return spineParquet{}, err
	}
	temp, err := newSpineTemp(p.schema, original)
	if err != nil {
		return spineParquet{}, err
	}
	defer func() {
		if made.File == nil {
			err = errors.Join(err, temp.file.Close())
		}
	}()
	for rows := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return spineParquet{}, err
		}
		batch, err := batches.Next()
		if errors.Is(err, io.EOF) {
			return temp.finish()
		}
		if err != nil {
			return spineParquet{}, err
		}
		rows += batch.NumRows()
		if err := s.checkRows(rows); err != nil {
			return spineParquet{}, err
		}
		for lo := int64(0); lo < batch.NumRows(); lo += arrowRows {
			if err := p.write(ctx, temp, batch, lo, min(lo+arrowRows, batch.NumRows())); err != nil {
				return spineParquet{}, err
			}
		}
	}
}

func (s *spine) arrowProblem(err error) error {
	e := problem.New(problem.Invalid, "%s: %w", s.name(), err)
	e.Field, e.Suggestion = "spine", "is it a whole Arrow IPC file or stream? write it again"
	if s.path == "" {
		e.Suggestion = oneStream
	}
	var limit *arrowipc.LimitError
	if errors.As(err, &limit) && !limit.Lie {
		e.Code, e.Suggestion = problem.Exhausted, "write smaller record batches (max_chunksize in pyarrow), or raise the limit"
	}
	var column *arrowColumnError
	if errors.As(err, &column) {
		e.Suggestion = column.fix
	}
	return e
}

// checkArrow looks for what the export needs before rows are read: no number of rows is believed that the time column
// has no bytes for.
func (s *spine) checkArrow(schema *arrow.Schema, opts SpineOptions, keys []registry.RequestKey) error {
	if err := s.checkColumns(arrowLeaves(schema.Fields())); err != nil {
		return err
	}
	names := make([]string, schema.NumFields())
	at := make(map[string]int, len(names))
	for i, f := range schema.Fields() {
		if _, twice := at[f.Name]; twice {
			return &arrowColumnError{f.Name, "there are two of this name", "give every column a name of its own"}
		}
		names[i], at[f.Name] = f.Name, i
	}
	times, ok := at[opts.Time]
	if !ok {
		return missingColumn(s.name(), opts.Time, "time", names)
	}
	if schema.Field(times).Type.ID() == arrow.NULL {
		return &arrowColumnError{opts.Time, "is null in every row", "every row of a spine needs a time"}
	}
	for _, key := range keys {
		if _, ok := at[key.Name]; !ok {
			return missingColumn(s.name(), key.Name, "key", names)
		}
	}
	return nil
}

// arrowLeaves counts columns, the fields of nested ones included.
func arrowLeaves(fields []arrow.Field) (n int) {
	for _, f := range fields {
		if nested, ok := f.Type.(arrow.NestedType); ok {
			n += arrowLeaves(nested.Fields())
		} else {
			n++
		}
	}
	return n
}
