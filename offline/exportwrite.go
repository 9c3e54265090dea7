package offline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/offline/parquet"
)

// Row groups hold groupRows, or what the request says, fewer where rows are so wide that a group would take more than
// groupBytes of the spine or of the features' cells of no fixed width. The size follows from the rows alone, so that the
// output's bytes do not depend on workers or memory.
const groupRows = 122_880

// groupBytes is a variable for tests.
var groupBytes = 64 << 20

// rowGroup is one row group of the output, encoded.
type rowGroup struct {
	block
	chunks []*parquet.Encoded
}

// write writes the output. While one row group is written, the spine's columns of the next ones are encoded.
func (e *export) write(ctx context.Context) error {
	ready := make(chan rowGroup, 1)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		err := e.assemble(ctx, ready)
		if err == nil {
			close(ready) // otherwise nothing must end the output as if it were whole
		}
		return err
	})
	both.Go(func() error {
		if e.req.Batches != nil {
			return e.sendGroups(ctx, ready)
		}
		return e.writeGroups(ctx, ready)
	})
	if err := both.Wait(); err != nil {
		return err
	}
	if e.rows != int64(len(e.spine.times)) {
		return fmt.Errorf("wrote %d rows for a spine of %d", e.rows, len(e.spine.times))
	}
	return nil
}

// assemble sends the row groups in order.
func (e *export) assemble(ctx context.Context, ready chan<- rowGroup) (err error) {
	columns := make([]column, len(e.encoded))
	for i := range columns {
		if i < e.width {
			cursor := e.spine.columns.Cursor(i)
			defer cursor.Close()
			columns[i] = &spineColumn{leaf: e.schema.Leaves()[i], cursor: cursor}
		} else {
			c := &featureColumn{leaf: e.schema.Leaves()[i], blocks: e.encoded[i]}
			defer c.close()
			columns[i] = c
		}
	}
	for at, b := range e.blocks {
		groups := e.groups(b)
		for _, g := range groups {
			out := rowGroup{g, make([]*parquet.Encoded, len(columns))}
			err := parallel(ctx, len(e.workers), len(columns), func(worker, i int) (err error) {
				out.chunks[i], err = columns[i].next(ctx, at, g.hi-g.lo, e.workers[worker])
				return err
			})
			if err != nil {
				return err
			}
			select {
			case ready <- out:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for _, c := range columns {
		if err := c.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writeGroups writes the row groups into the files of the output.
func (e *export) writeGroups(ctx context.Context, ready <-chan rowGroup) error {
	file, err := e.createPart(ctx)
	if err != nil {
		return err
	}
	defer func() { file.discard() }()
	part := 0
	for {
		var group rowGroup
		var more bool
		select {
		case group, more = <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			return file.finish(ctx)
		}
		if group.part != part {
			if err := file.finish(ctx); err != nil {
				return err
			}
			next, err := e.createPart(ctx)
			if err != nil {
				return err
			}
			file, part = next, group.part
		}
		if err := file.writer.WriteRowGroup(group.chunks); err != nil {
			return err
		}
		e.rows += int64(group.hi - group.lo)
		e.progress.written(group.hi)
	}
}

// column makes one column of the output, row group by row group. Calls do not overlap.
type column interface {
	// next encodes the next n rows, which are of the block at that index.
	next(ctx context.Context, block, n int, w *worker) (*parquet.Encoded, error)
	// end checks, after the last row, that nothing is left over.
	end(ctx context.Context) error
}

// encodeRows encodes the next n rows under a cursor.
func (w *worker) encodeRows(ctx context.Context, leaf *parquet.Leaf, cursor *parquet.Cursor, n int) (*parquet.Encoded, error) {
	w.restart(leaf, n)
	if err := cursor.Next(ctx, n, w.chunk); err != nil {
		return nil, err
	}
	return w.encoder.Encode(w.chunk)
}

// spineColumn repeats a column of the spine.
type spineColumn struct {
	leaf   *parquet.Leaf
	cursor *parquet.Cursor
}

func (c *spineColumn) next(ctx context.Context, _, n int, w *worker) (*parquet.Encoded, error) {
	e, err := w.encodeRows(ctx, c.leaf, c.cursor, n)
	if err != nil {
		return nil, fmt.Errorf("read spine: %w", err)
	}
	return e, nil
}

func (c *spineColumn) end(ctx context.Context) error {
	if err := c.cursor.End(ctx); err != nil {
		return fmt.Errorf("read spine: %w", err)
	}
	return nil
}

// featureColumn is an output of the service: encoded already, but in other pieces where rows are wide. Those are decoded
// and divided anew.
type featureColumn struct {
	leaf   *parquet.Leaf
	blocks [][]*parquet.Encoded
	block  int             // that cursor reads
	cursor *parquet.Cursor // nil for none
}

func (c *featureColumn) next(ctx context.Context, block, n int, w *worker) (*parquet.Encoded, error) {
	pieces := c.blocks[block]
	if len(pieces) == 1 && pieces[0].Rows() == n {
		c.blocks[block] = nil // its memory goes once it is written
		return pieces[0], nil
	}
	if c.cursor == nil || c.block != block {
		if err := c.end(ctx); err != nil {
			return nil, err
		}
		c.cursor, c.block = parquet.Reread(c.leaf, pieces), block
	}
	return w.encodeRows(ctx, c.leaf, c.cursor, n)
}

func (c *featureColumn) end(ctx context.Context) error {
	if c.cursor == nil {
		return nil
	}
	err := c.cursor.End(ctx)
	c.blocks[c.block] = nil
	c.close()
	return err
}

func (c *featureColumn) close() {
	if c.cursor != nil {
		c.cursor.Close()
		c.cursor = nil
	}
}

// part is a file of the output that is being written.
type part struct {
	export *export
	out    *output
	writer *parquet.Writer
	temp   *temporary // the Parquet that becomes Arrow, nil for none
	buffer *bufio.Writer
}

// createPart begins the next file of the output.
func (e *export) createPart(ctx context.Context) (_ *part, err error) {
	p := &part{export: e}
	if p.out, err = e.target.create(ctx); err != nil {
		return nil, err
	}
	w := io.Writer(p.out)
	if e.opts.arrow {
		if p.temp, err = newTemporary(e.spill.folder); err != nil {
			return nil, err
		}
		p.buffer = bufio.NewWriterSize(p.temp, 1<<20)
		w = p.buffer
	}
	if p.writer, err = parquet.NewWriter(w, e.schema); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// finish writes what comes after the last row group, and makes the file complete under its temporary name.
func (p *part) finish(ctx context.Context) error {
	if err := p.writer.Close(); err != nil {
		return err
	}
	if p.temp != nil {
		if err := p.buffer.Flush(); err != nil {
			return err
		}
		if err := writeArrow(ctx, p.temp, p.writer.Size(), p.out, p.export.opts.arrowOptions()); err != nil {
			return err
		}
		if err := p.close(); err != nil {
			return err
		}
	}
	sum, err := p.out.finish()
	if err != nil {
		return err
	}
	p.export.files = append(p.export.files, written{Path: p.out.path, Rows: p.writer.Rows(), Bytes: p.out.size, SHA256: sum})
	p.export.bytes += p.out.size
	return nil
}

// close gives up the temporary file.
func (p *part) close() error {
	if p.temp == nil {
		return nil
	}
	err := p.temp.close()
	p.temp = nil
	return err
}

// discard gives up the temporary file; the target discards the rest.
func (p *part) discard() { _ = p.close() }
