package parquet

import (
	"errors"

	"github.com/provender-dev/provender/internal/columnar"
)

var errLevels = errors.New("the levels of its lists contradict each other")

// lists assembles the rows of a list column from pages, of which a row may span several.
type lists struct {
	dst     *columnar.Vector
	rows    []int32 // the rows wanted, ascending; nil: all
	taking  bool    // the row at hand is wanted
	filled  bool    // the row at hand has elements, so more may follow
	started bool
	element []int32 // positions of wanted elements in the page's values
	of      []int32 // the rows that those are of, and
	flaws   []Flaw  // those that can't be converted: of a lenient chunk
}

// add appends the rows, and parts of rows, of a page. It adds the rows that begin in it to c.row.
func (l *lists) add(c *chunk, d *data) error {
	var (
		dst     = l.dst
		total   = dst.Elem.Len()
		k       = int32(0) // of the values that are there
		begun   = 0
		elemDef = c.leaf.elemDef
	)
	l.element, l.of = l.element[:0], l.of[:0]
	for i, rep := range d.reps {
		def := c.leaf.maxDef
		if d.defs != nil {
			def = d.defs[i]
		}
		if rep == 0 {
			l.started, l.filled = true, def >= elemDef
			l.taking = l.want(c.row + begun)
			begun++
			if l.taking {
				null := def+1 < elemDef
				dst.Offsets = append(dst.Offsets, uint32(total))
				if null {
					appendNullRow(dst)
				} else {
					markPresent(dst, dst.Len(), 1)
				}
			}
		} else if !l.started || !l.filled || def < elemDef {
			return errLevels
		}
		if def < elemDef {
			continue
		}
		position := int32(-1)
		if def == c.leaf.maxDef {
			position = k
			if d.dict {
				position = d.index[k]
			}
			k++
		}
		if l.taking {
			l.element = append(l.element, position)
			if c.lenient {
				l.of = append(l.of, int32(c.row+begun-1))
			}
			total++
			dst.Offsets[len(dst.Offsets)-1] = uint32(total)
		}
	}
	if len(l.element) > 0 {
		src, err := c.source(d)
		if err != nil {
			return err
		}
		if c.lenient {
			l.flaws = c.forgive(l.flaws, d, l.of, l.element)
		}
		const least = 4 // of an element: its offset, where it is text
		if int64(dst.Elem.Len()+len(l.element))*int64(max(least, dst.Elem.Type.Kind.Width())) > c.most {
			return ErrOverLimit
		}
		if err := take(dst.Elem, src, l.element, c.most); err != nil {
			return err
		}
	}
	c.row += begun
	return nil
}

// want reports whether a row is wanted; rows are asked for in ascending order.
func (l *lists) want(row int) bool {
	if l.rows == nil {
		return true
	}
	if len(l.rows) > 0 && int(l.rows[0]) == row {
		l.rows = l.rows[1:]
		return true
	}
	return false
}

// appendNullRow records that the row whose offset was appended is null.
func appendNullRow(v *columnar.Vector) {
	n := v.Len()
	if v.Valid == nil {
		for i := range n {
			v.Valid = v.Valid.Append(i, true)
		}
	}
	v.Valid = v.Valid.Append(n, false)
	v.SetLen(n + 1)
}
