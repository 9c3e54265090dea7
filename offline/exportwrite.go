package offline

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
)

// Row groups hold groupRows, fewer where rows are so wide that a group would take more than groupBytes of the spine or
// of the features. The size follows from the rows alone, so that the output's bytes do not depend on workers.
const (
	groupRows  = 122_880
	groupBytes = 64 << 20
)

// cellRows bounds the vectors between the join and the encoder.
const cellRows = 8192

// column makes one column of the output, row group by row group.
type column interface {
	// encode encodes the rows [lo, hi), which follow those of the call before.
	encode(ctx context.Context, lo, hi int) (*parquet.Encoded, error)
	// end checks, after the last row, that nothing is left over.
	end(ctx context.Context) error
}

// write writes the output: the columns of a row group concurrently, row groups in order. In memory is one row group.
func (e *export) write(ctx context.Context) error {
	schema := e.spine.columns.Schema()
	width := len(schema.Leaves())
	for i, output := range e.req.Service.Outputs {
		schema.Add(output.Name, outputType(e.req.Service, i))
	}
	w, err := parquet.NewWriter(e.out, schema)
	if err != nil {
		return err
	}
	rows := len(e.spine.times)
	step := e.groupRows(rows)
	columns := make([]column, len(schema.Leaves()))
	e.counts = make([]FeatureCounts, len(e.req.Service.Outputs))
	for i, leaf := range schema.Leaves() {
		if i < width {
			cursor := e.spine.columns.Cursor(i)
			defer cursor.Close()
			columns[i] = &spineColumn{cursor: cursor, chunk: parquet.NewChunk(leaf, min(rows, step))}
			continue
		}
		output := i - width
		e.counts[output].Name = e.req.Service.Outputs[output].Name
		t := outputType(e.req.Service, output)
		columns[i] = &featureColumn{
			answer: e.answer, output: output, counts: &e.counts[output],
			chunk: parquet.NewChunk(leaf, min(rows, step)),
			cells: columnar.NewVector(t, min(rows, cellRows)), scratch: columnar.NewVector(t, min(rows, cellRows)),
		}
	}
	encoded := make([]*parquet.Encoded, len(columns))
	for lo := 0; lo < rows; {
		hi := e.groupEnd(lo, min(rows, lo+step))
		if err := e.encodeGroup(ctx, columns, encoded, lo, hi); err != nil {
			return err
		}
		if err := w.WriteRowGroup(encoded); err != nil {
			return err
		}
		if e.progress != nil {
			e.progress(Progress{Stage: "write", Done: int64(hi), Size: int64(rows)})
		}
		lo = hi
	}
	for _, c := range columns {
		if err := c.end(ctx); err != nil {
			return err
		}
	}
	if w.Rows() != int64(rows) {
		return fmt.Errorf("wrote %d rows for a spine of %d", w.Rows(), rows)
	}
	if err := w.Close(); err != nil {
		return err
	}
	e.rows, e.bytes = w.Rows(), w.Size()
	return nil
}

func (e *export) encodeGroup(ctx context.Context, columns []column, encoded []*parquet.Encoded, lo, hi int) error {
	each, ctx := errgroup.WithContext(ctx)
	each.SetLimit(workers(e.req.Workers))
	for i, c := range columns {
		each.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			encoded[i], err = c.encode(ctx, lo, hi)
			return err
		})
	}
	return each.Wait()
}

// groupEnd returns where the row group that begins at lo ends, at most at most.
func (e *export) groupEnd(lo, most int) int {
	var wide []int
	for i := range e.req.Service.Outputs {
		if !outputType(e.req.Service, i).FixedWidth() {
			wide = append(wide, i)
		}
	}
	size := 0
	for row := lo; row < most && len(wide) > 0; row++ {
		for _, output := range wide {
			size += e.answer.size(output, row)
		}
		if size > groupBytes && row > lo {
			return row
		}
	}
	return most
}

// groupRows returns how many rows of the spine a row group takes.
func (e *export) groupRows(rows int) int {
	perRow := max(1, e.spine.parquet.size/max(1, int64(rows)))
	return int(min(groupRows, max(1024, groupBytes/perRow)))
}

// spineColumn repeats a column of the spine.
type spineColumn struct {
	cursor *parquet.Cursor
	chunk  *parquet.Chunk
}

func (c *spineColumn) encode(ctx context.Context, lo, hi int) (*parquet.Encoded, error) {
	c.chunk.Reset()
	if err := c.cursor.Next(ctx, hi-lo, c.chunk); err != nil {
		return nil, fmt.Errorf("read spine: %w", err)
	}
	return parquet.Encode(c.chunk)
}

func (c *spineColumn) end(ctx context.Context) error {
	if err := c.cursor.End(ctx); err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	return nil
}

// featureColumn is an output of the service.
type featureColumn struct {
	answer         *answer
	output         int
	counts         *FeatureCounts
	chunk          *parquet.Chunk
	cells, scratch *columnar.Vector
}

func (c *featureColumn) encode(_ context.Context, lo, hi int) (*parquet.Encoded, error) {
	c.chunk.Reset()
	for ; lo < hi; lo += cellRows {
		c.cells.Reset()
		c.answer.cells(c.output, lo, min(hi, lo+cellRows), c.cells, c.scratch, c.counts)
		c.chunk.Append(c.cells)
	}
	return parquet.Encode(c.chunk)
}

func (c *featureColumn) end(context.Context) error { return nil }
