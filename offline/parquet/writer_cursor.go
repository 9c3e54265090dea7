package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// Cursor reads one leaf column of a Passthrough from its first row to its last.
type Cursor struct {
	file   *File
	leaf   *Leaf
	source *leaf

	group      int    // the next row group to open
	chunk      *chunk // of the open one; nil for none
	rows       int    // of it begun so far
	dictionary plainValues
	page       levelPage
	slot       int // the next slot of page
	value      int // the next value of page
}

// levelPage is a page as levels and plain values. It is valid until the next page.
type levelPage struct {
	rep, def []byte // empty where the leaf's maximum is 0
	slots    int
	plainValues
}

// Next appends the next n rows to dst, a chunk of the same leaf. Fewer rows than n in the file are an error.
func (c *Cursor) Next(ctx context.Context, n int, dst *Chunk) (err error) {
	defer func() { err = c.failure(err) }()
	defer guard(&err)
	end := dst.rows + n
	for {
		if c.slot == c.page.slots {
			// A flat row is one slot; a nested one may go on in the next page.
			if dst.rows == end && c.leaf.maxRep == 0 {
				return nil
			}
			switch err := c.load(ctx); {
			case errors.Is(err, io.EOF) && dst.rows == end:
				return nil
			case errors.Is(err, io.EOF):
				return fmt.Errorf("%d rows are missing", end-dst.rows)
			case err != nil:
				return err
			}
			continue
		}
		slots, rows := c.run(end - dst.rows)
		if slots == 0 {
			return nil
		}
		c.rows += rows
		dst.rows += rows
		if err := c.move(slots, dst); err != nil {
			return err
		}
	}
}

// End fails unless the cursor stands behind the last row of the file.
func (c *Cursor) End(ctx context.Context) (err error) {
	defer func() { err = c.failure(err) }()
	defer guard(&err)
	if c.slot == c.page.slots {
		err = c.load(ctx)
	}
	if err == nil {
		return errors.New("it has more rows than the footer says")
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Close gives back the cursor's memory. A closed cursor must not be used.
func (c *Cursor) Close() {
	if c.chunk != nil {
		c.chunk.release()
		c.chunk = nil
	}
}

func (c *Cursor) failure(err error) error {
	if err == nil {
		return nil
	}
	return c.file.failure(max(0, c.group-1), c.source.Name, err)
}

// run returns how many slots of the page, from the cursor on, belong to the row begun before and the next n rows, and
// how many rows begin in them.
func (c *Cursor) run(n int) (slots, rows int) {
	if c.leaf.maxRep == 0 {
		slots = min(n, c.page.slots-c.slot)
		return slots, slots
	}
	for _, rep := range c.page.rep[c.slot:] {
		if rep == 0 {
			if rows == n {
				break
			}
			rows++
		}
		slots++
	}
	return slots, rows
}

// move appends slots of the page to dst.
func (c *Cursor) move(slots int, dst *Chunk) error {
	values := slots
	if c.leaf.maxRep > 0 {
		dst.rep = append(dst.rep, c.page.rep[c.slot:c.slot+slots]...)
	}
	if c.leaf.maxDef > 0 {
		def := c.page.def[c.slot : c.slot+slots]
		dst.def = append(dst.def, def...)
		values = bytes.Count(def, []byte{c.leaf.maxDef})
	}
	if c.leaf.physical == byteArray {
		offsets := c.page.offsets[c.value : c.value+values+1]
		base := len(dst.data) - int(offsets[0])
		dst.data = append(dst.data, c.page.data[offsets[0]:offsets[values]]...)
		for _, offset := range offsets[1:] {
			dst.ends = append(dst.ends, base+int(offset))
		}
	} else {
		w := c.leaf.width
		dst.fixed = append(dst.fixed, c.page.fixed[c.value*w:(c.value+values)*w]...)
	}
	dst.slots += slots
	dst.values += values
	c.slot += slots
	c.value += values
	if size := int64(len(dst.data) + len(dst.fixed)); size > c.file.limits.ChunkBytes {
		return errChunkBytes(size, c.file.limits)
	}
	return nil
}

// load makes the next page that has slots the current one; io.EOF after the last.
func (c *Cursor) load(ctx context.Context) error {
	for {
		if c.chunk == nil {
			if c.group == len(c.file.footer.groups) {
				return io.EOF
			}
			c.open()
		}
		h, ok, err := c.chunk.nextAfter(ctx, c.readDictionary)
		if err != nil {
			return err
		}
		if !ok {
			c.chunk.row = c.rows
			if err := c.chunk.finish(); err != nil {
				return err
			}
			c.Close()
			continue
		}
		d, err := c.chunk.decode(&h)
		if err != nil {
			return err
		}
		if err := c.take(&d); err != nil {
			return err
		}
		if c.page.slots > 0 {
			return nil
		}
	}
}

// open begins the next row group.
func (c *Cursor) open() {
	group := &c.file.footer.groups[c.group]
	k := chunks.Get().(*chunk)
	k.limits, k.leaf, k.rows = c.file.limits, c.source, int(group.rows)
	k.meta = &group.chunks[c.source.index]
	k.win.r, k.win.next, k.win.end = c.file.r, k.meta.start(), k.meta.start()+k.meta.compressed
	c.chunk, c.rows = k, 0
	c.group++
}

// readDictionary keeps the n values of a dictionary.
func (c *Cursor) readDictionary(n int, body []byte) error {
	if err := c.dictionary.decode(c.leaf, n, format.Plain, body, c.file.limits); err != nil {
		return err
	}
	// Other pages reuse the memory of this one.
	c.dictionary.fixed = slices.Clone(c.dictionary.fixed)
	// The chunk takes from its own dictionary only the length, to check positions against.
	c.chunk.dict = columnar.NewVector(columnar.Type{}, 0)
	c.chunk.dict.SetLen(n)
	return nil
}

// take makes a decoded page the current one.
func (c *Cursor) take(d *data) error {
	p := &c.page
	c.slot, c.value = 0, 0
	p.slots, p.rep = d.entries, d.reps
	if p.def = d.defs; p.def == nil && c.leaf.maxDef > 0 {
		p.def = bytes.Repeat([]byte{c.leaf.maxDef}, d.entries)
	}
	if c.leaf.maxRep > 0 && c.rows == 0 && p.slots > 0 && p.rep[0] != 0 {
		return errors.New("the first page begins inside a row")
	}
	if d.dict {
		return p.lookUp(c.leaf, &c.dictionary, d.index, c.file.limits)
	}
	return p.decode(c.leaf, d.present, d.encoding, d.body, c.file.limits)
}
