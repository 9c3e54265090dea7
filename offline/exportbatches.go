package offline

import (
	"bytes"
	"context"
	"fmt"

	"github.com/provender-dev/provender/offline/parquet"
)

// sendGroups hands the rows to the request's Batches, each row group as soon as it is there. In memory are one row group
// and its batch, beside the dictionaries of the spine's columns.
func (e *export) sendGroups(ctx context.Context, ready <-chan rowGroup) (err error) {
	// What a spine holds comes through here, and Arrow's library panics over some of it.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write Arrow: %v", r)
		}
	}()
	var buf bytes.Buffer
	if err := e.encloseGroup(&buf, nil); err != nil {
		return err
	}
	c, err := newArrowConversion(bytes.NewReader(buf.Bytes()), int64(buf.Len()), e.opts.arrowOptions())
	if err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	defer c.close()
	if err := e.collectDictionaries(ctx, c); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	schema := c.schema()
	if err := e.req.Batches.Begin(schema); err != nil {
		return err
	}
	for {
		var group rowGroup
		var more bool
		select {
		case group, more = <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			return nil
		}
		if err := e.encloseGroup(&buf, group.chunks); err != nil {
			return err
		}
		if err := c.reopen(bytes.NewReader(buf.Bytes()), int64(buf.Len())); err != nil {
			return fmt.Errorf("write Arrow: %w", err)
		}
		if err := c.write(ctx, schema, e.req.Batches.Write); err != nil {
			return fmt.Errorf("write Arrow: %w", err)
		}
		e.rows += int64(group.hi - group.lo)
		e.progress.written(group.hi)
	}
}

// encloseGroup makes buf a Parquet file of one row group, or of none.
func (e *export) encloseGroup(buf *bytes.Buffer, chunks []*parquet.Encoded) error {
	buf.Reset()
	w, err := parquet.NewWriter(buf, e.schema)
	if err == nil && chunks != nil {
		err = w.WriteRowGroup(chunks)
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// collectDictionaries collects those of the spine's columns, the only ones that have any, from the Parquet that was made
// of it, and gives them to c.
func (e *export) collectDictionaries(ctx context.Context, c *arrowConversion) error {
	of, err := newArrowConversion(e.spine.parquet, e.spine.parquet.size, e.opts.arrowOptions())
	if err != nil {
		return err
	}
	defer of.close()
	if err := of.collectDictionaries(ctx); err != nil {
		return err
	}
	for i := range of.dresses {
		c.dresses[i], of.dresses[i] = of.dresses[i], c.dresses[i]
	}
	return nil
}
