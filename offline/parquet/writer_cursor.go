package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Cursor reads one leaf column of a Passthrough from its first row to its last.
type Cursor struct {
	p      *Passthrough
	leaf   *Leaf
	column int

	group int      // the next row group to open
	pages pq.Pages // of the open one; nil for none
	rows  int64    // rows of it begun so far
	page  levelPage
	slot  int // the next slot of page
	value int // the next value of page
}

// levelPage is a page as levels and plain values.
type levelPage struct {
	rep, def []byte
	slots    int
	values   int
	fixed    []byte   // values of fixed width
	data     []byte   // BYTE_ARRAY values, with offsets
	offsets  []uint32 // values+1 of them
	release  func()   // returns what the slices above borrow
}

// Next appends the next n rows to dst, a chunk of the same leaf. Fewer rows than n in the file are an error.
func (c *Cursor) Next(ctx context.Context, n int, dst *Chunk) (err error) {
	defer recovered(&err, c.where())
	if err := c.next(ctx, n, dst); err != nil {
		return fmt.Errorf("%s: %w", c.where(), err)
	}
	return nil
}

// End fails unless the cursor stands behind the last row of the file.
func (c *Cursor) End() (err error) {
	defer recovered(&err, c.where())
	if c.slot == c.page.slots {
		err = c.load()
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", c.where(), err)
	default:
		return fmt.Errorf("%s: more rows than the footer says", c.where())
	}
}

func (c *Cursor) where() string {
	return fmt.Sprintf("%s: row group %d, column %s", c.p.name, max(0, c.group-1), c.leaf.name())
}

func (c *Cursor) next(ctx context.Context, n int, dst *Chunk) error {
	end := dst.rows + n
	for {
		if c.slot == c.page.slots {
			// A flat row is one slot; a nested one may go on in the next page.
			if dst.rows == end && c.leaf.maxRep == 0 {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			switch err := c.load(); {
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
		c.rows += int64(rows)
		dst.rows += rows
		c.move(slots, dst)
	}
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
func (c *Cursor) move(slots int, dst *Chunk) {
	values := slots
	if c.leaf.maxRep > 0 {
		dst.rep = append(dst.rep, c.page.rep[c.slot:c.slot+slots]...)
	}
	if c.leaf.maxDef > 0 {
		def := c.page.def[c.slot : c.slot+slots]
		dst.def = append(dst.def, def...)
		values = 0
		for _, level := range def {
			if level == c.leaf.maxDef {
				values++
			}
		}
	}
	if c.leaf.physical == byteArray {
		base := len(dst.data) - int(c.page.offsets[c.value])
		dst.data = append(dst.data, c.page.data[c.page.offsets[c.value]:c.page.offsets[c.value+values]]...)
		for _, offset := range c.page.offsets[c.value+1 : c.value+values+1] {
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
}

// load makes the next page that has slots the current one; io.EOF after the last.
func (c *Cursor) load() error {
	for {
		if c.pages == nil {
			groups := c.p.file.RowGroups()
			if c.group == len(groups) {
				return io.EOF
			}
			c.pages = groups[c.group].ColumnChunks()[c.column].Pages()
			c.group++
			c.rows = 0
		}
		page, err := c.pages.ReadPage()
		if errors.Is(err, io.EOF) {
			want := c.p.file.RowGroups()[c.group-1].NumRows()
			if c.rows != want {
				return fmt.Errorf("%d rows where the footer says %d", c.rows, want)
			}
			if err := c.Close(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		c.releasePage()
		if c.page, err = readLevels(page, c.leaf); err != nil {
			pq.Release(page)
			return err
		}
		c.page.release = func() { pq.Release(page) }
		if c.leaf.maxRep > 0 && c.rows == 0 && c.page.slots > 0 && c.page.rep[0] != 0 {
			return errors.New("the first page begins inside a row")
		}
		if c.page.slots > 0 {
			return nil
		}
	}
}

func (c *Cursor) releasePage() {
	if c.page.release != nil {
		c.page.release()
	}
	c.page, c.slot, c.value = levelPage{}, 0, 0
}

// Close releases what the cursor holds. A closed cursor must not be used.
func (c *Cursor) Close() error {
	c.releasePage()
	if c.pages == nil {
		return nil
	}
	err := c.pages.Close()
	c.pages = nil
	return err
}

// readLevels returns a page's levels and plain values, checked against each other. They borrow the page's memory.
func readLevels(page pq.Page, leaf *Leaf) (levelPage, error) {
	out := levelPage{slots: int(page.NumValues())}
	out.values = out.slots
	if leaf.maxRep > 0 {
		if out.rep = page.RepetitionLevels(); len(out.rep) != out.slots {
			return out, fmt.Errorf("%d repetition levels for %d values", len(out.rep), out.slots)
		}
		for _, level := range out.rep {
			if level > leaf.maxRep {
				return out, fmt.Errorf("repetition level %d above %d", level, leaf.maxRep)
			}
		}
	}
	if leaf.maxDef > 0 {
		if out.def = page.DefinitionLevels(); len(out.def) != out.slots {
			return out, fmt.Errorf("%d definition levels for %d values", len(out.def), out.slots)
		}
		out.values = 0
		for _, level := range out.def {
			if level > leaf.maxDef {
				return out, fmt.Errorf("definition level %d above %d", level, leaf.maxDef)
			}
			if level == leaf.maxDef {
				out.values++
			}
		}
	}
	values := page.Data()
	if dictionary := page.Dictionary(); dictionary != nil {
		return out, out.lookUp(values.Int32(), dictionary, leaf)
	}
	data, offsets := values.Data()
	return out, out.plain(data, offsets, leaf)
}

// plain takes the values of a page without dictionary.
func (p *levelPage) plain(data []byte, offsets []uint32, leaf *Leaf) error {
	switch leaf.physical {
	case byteArray:
		if p.values == 0 && len(offsets) == 0 {
			offsets = []uint32{0}
		}
		if len(offsets) != p.values+1 {
			return fmt.Errorf("%d strings where the levels say %d", len(offsets)-1, p.values)
		}
		p.data, p.offsets = data, offsets
	case format.Boolean:
		if len(data) < (p.values+7)/8 {
			return fmt.Errorf("%d bytes hold fewer than %d booleans", len(data), p.values)
		}
		p.fixed = make([]byte, p.values)
		for i := range p.fixed {
			p.fixed[i] = data[i>>3] >> (i & 7) & 1
		}
	default:
		if len(data) != p.values*leaf.width {
			return fmt.Errorf("%d bytes where %d values take %d", len(data), p.values, p.values*leaf.width)
		}
		p.fixed = data
	}
	return nil
}

// lookUp takes the values of a dictionary page.
func (p *levelPage) lookUp(index []int32, dictionary pq.Dictionary, leaf *Leaf) error {
	if len(index) != p.values {
		return fmt.Errorf("%d values where the levels say %d", len(index), p.values)
	}
	size := uint32(dictionary.Len())
	for _, at := range index {
		if uint32(at) >= size {
			return fmt.Errorf("index %d into a dictionary of %d", at, size)
		}
	}
	values := dictionary.Page().Data()
	data, offsets := values.Data()
	if leaf.physical == byteArray {
		p.offsets = make([]uint32, 1, p.values+1)
		for _, at := range index {
			p.data = append(p.data, data[offsets[at]:offsets[at+1]]...)
			p.offsets = append(p.offsets, uint32(len(p.data)))
		}
		return nil
	}
	w := leaf.width
	if len(data) < int(size)*w {
		return fmt.Errorf("a dictionary of %d values in %d bytes", size, len(data))
	}
	p.fixed = make([]byte, 0, p.values*w)
	for _, at := range index {
		p.fixed = append(p.fixed, data[int(at)*w:(int(at)+1)*w]...)
	}
	return nil
}
