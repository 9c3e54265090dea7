package parquet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// chunk reads one column of one row group, page by page.
type chunk struct {
	limits Limits
	leaf   *leaf
	meta   *chunkMeta
	elem   columnar.Type // of the values: the wanted type, of a list that of its elements
	times  instants
	rows   int // of the row group

	win    window
	values int64 // of the pages so far, nulls and empty lists included
	row    int   // of the pages so far
	most   int64 // bytes of text or of lists that may be read into a vector

	dict    *columnar.Vector // converted; nil before the dictionary page
	flawed  []flaw           // of the dictionary: harmless unless used
	inDict  bool             // what is converted is the dictionary
	lenient bool             // a page's values that can't be converted matter as little
	flaws   []flaw           // of the page; unless lenient, the first alone
	page    []byte           // scratch from here on
	defs    []uint8
	reps    []uint8
	index   []int32
	picked  []int32
	wanted  []int32
	sparse  sparse
	dense   *columnar.Vector // of the page, nulls left out
	spread  *columnar.Vector // of the page, nulls in their places
	int32s  []int32
	float32 []float32
	arrays  byteArrays
}

// flaw is a value that can't be converted, by its position among the values that are not null.
type flaw struct {
	at  int
	err error
}

// data is one data page, decoded.
type data struct {
	entries int     // values, nulls and empty lists included
	defs    []uint8 // nil: all values are there
	reps    []uint8 // nil: not a list
	present int     // values that are there
	dict    bool
	index   []int32 // where dict: of the values that are there

	encoding format.Encoding
	body     []byte // of the values
}

// Index of a page of no rows is empty, not nil, which would say that it has no dictionary.
var chunks = sync.Pool{New: func() any { return &chunk{index: []int32{}, picked: []int32{}} }}

// maxKept is the largest scratch buffer that is kept between chunks.
const maxKept = 16 << 20

// release gives a chunk's scratch memory back.
func (c *chunk) release() {
	if cap(c.win.buf) > maxKept || cap(c.page) > maxKept || cap(c.int32s) > maxKept || cap(c.defs) > maxKept || cap(c.sparse.raw) > maxKept || huge(c.dense) || huge(c.spread) {
		return
	}
	*c = chunk{
		win:  window{buf: c.win.buf[:0]},
		page: c.page[:0], defs: c.defs[:0], reps: c.reps[:0], index: c.index[:0], picked: c.picked[:0], wanted: c.wanted[:0],
		sparse: sparse{present: c.sparse.present[:0], raw: c.sparse.raw[:0], at: c.sparse.at[:0]},
		dense:  c.dense, spread: c.spread,
		int32s: c.int32s[:0], float32: c.float32[:0], flawed: c.flawed[:0], flaws: c.flaws[:0],
		arrays: byteArrays{lengths: c.arrays.lengths[:0], prefix: c.arrays.prefix[:0]},
	}
	chunks.Put(c)
}

func huge(v *columnar.Vector) bool {
	return v != nil && max(cap(v.Data), cap(v.Int64s), cap(v.Float64s)) > maxKept
}

// next returns the header of the next data page, having read the dictionary before it; ok is false after the last.
func (c *chunk) next(ctx context.Context) (h pageHeader, ok bool, err error) {
	return c.nextAfter(ctx, c.dictionary)
}

// nextAfter is next with another way to take a dictionary: its values in PLAIN encoding, valid during the call.
func (c *chunk) nextAfter(ctx context.Context, dictionary func(n int, body []byte) error) (h pageHeader, ok bool, err error) {
	for c.values < c.meta.values {
		if c.win.left() == 0 {
			return h, false, fmt.Errorf("the column chunk ends after %d of %d values", c.values, c.meta.values)
		}
		if h, err = c.header(ctx); err != nil {
			return h, false, err
		}
		switch h.kind {
		case format.DictionaryPage:
			body, err := c.dictionaryBody(&h)
			if err == nil {
				err = dictionary(int(h.values), body)
			}
			if err != nil {
				return h, false, fmt.Errorf("dictionary: %w", err)
			}
		case format.DataPage, format.DataPageV2:
			c.values += int64(h.values)
			return h, true, nil
		default:
			c.skip(&h)
		}
	}
	return h, false, nil
}

// skip passes over the page of a header.
func (c *chunk) skip(h *pageHeader) { c.win.discard(int64(h.compressed)) }

// finish checks that no row is missing.
func (c *chunk) finish() error {
	if c.row != c.rows {
		return fmt.Errorf("its pages hold %d rows, the row group %d", c.row, c.rows)
	}
	if c.leaf.maxRep > 0 && c.rows > 0 && c.win.left() > 0 {
		// Of lists, only this tells that elements are missing at the end.
		return fmt.Errorf("%d bytes follow its last page", c.win.left())
	}
	return nil
}

// plainDictionary is how old writers mark a dictionary and the pages that refer to it.
const plainDictionary = format.PlainDictionary //nolint:staticcheck // deprecated for writers; files have it

var errSecondDictionary = errors.New("a second one")

func (c *chunk) dictionaryBody(h *pageHeader) ([]byte, error) {
	if c.dict != nil {
		return nil, errSecondDictionary
	}
	if h.encoding != format.Plain && h.encoding != plainDictionary {
		return nil, errEncoding(h.encoding, "dictionaries")
	}
	return c.body(h)
}

// dictionary converts the n values of a dictionary.
func (c *chunk) dictionary(n int, body []byte) error {
	c.dict = columnar.NewVector(c.elem, 0)
	c.inDict = true
	err := c.convert(c.dict, n, format.Plain, body)
	c.inDict = false
	return err
}

// decode reads the page of a header up to its values: levels, and positions in the dictionary if it has such.
// What it returns is valid until the next page.
func (c *chunk) decode(h *pageHeader) (data, error) {
	d := data{entries: int(h.values), present: int(h.values), encoding: h.encoding}
	var err error
	if d.body, err = c.body(h); err != nil {
		return d, err
	}
	if err := c.levels(&d, h); err != nil {
		return d, fmt.Errorf("levels: %w", err)
	}
	if d.defs != nil {
		d.present = 0
		for _, l := range d.defs {
			if l == c.leaf.maxDef {
				d.present++
			}
		}
	}
	if err := c.checkNulls(h, &d); err != nil {
		return d, err
	}
	if h.encoding == format.RLEDictionary || h.encoding == plainDictionary {
		if c.dict == nil {
			return d, errors.New("the page refers to a dictionary that is not there")
		}
		d.dict = true
		if c.index, err = appendIndexes(c.index[:0], d.present, c.dict.Len(), d.body); err != nil {
			return d, err
		}
		d.index = c.index
	}
	return d, nil
}

// checkNulls holds the nulls of a page against its header. arrow-go says 0 of any page unless it writes statistics.
func (c *chunk) checkNulls(h *pageHeader, d *data) error {
	if h.kind == format.DataPageV2 && h.nulls != 0 && d.entries-d.present != int(h.nulls) && c.leaf.maxRep == 0 {
		return fmt.Errorf("the page header says %d nulls, its levels say %d", h.nulls, d.entries-d.present)
	}
	return nil
}

// levels decodes a page's levels and leaves its values in d.body.
func (c *chunk) levels(d *data, h *pageHeader) error {
	reps, defs, body, err := c.split(h, d.body)
	if err != nil {
		return err
	}
	d.body = body
	if c.leaf.maxRep > 0 {
		if c.reps, err = appendLevels(c.reps[:0], d.entries, c.leaf.maxRep, reps); err != nil {
			return err
		}
		d.reps = c.reps
	}
	if c.leaf.maxDef > 0 {
		return c.definitions(d, defs)
	}
	return nil
}

// split returns a page's levels, nil where its column has none, and its values, all of them encoded.
func (c *chunk) split(h *pageHeader, body []byte) (reps, defs, values []byte, err error) {
	if h.kind == format.DataPageV2 {
		split := h.repBytes + h.defBytes
		return body[:h.repBytes], body[h.repBytes:split], body[split:], nil
	}
	if c.leaf.maxRep > 0 {
		if h.reps != format.RLE {
			return nil, nil, nil, errEncoding(h.reps, "repetition levels")
		}
		if reps, body, err = prefixed(body); err != nil {
			return nil, nil, nil, err
		}
	}
	if c.leaf.maxDef > 0 {
		if h.defs != format.RLE {
			return nil, nil, nil, errEncoding(h.defs, "definition levels")
		}
		if defs, body, err = prefixed(body); err != nil {
			return nil, nil, nil, err
		}
	}
	return reps, defs, body, nil
}

func (c *chunk) definitions(d *data, src []byte) (err error) {
	if c.leaf.maxRep == 0 && allEqual(d.entries, c.leaf.maxDef, src) {
		return nil
	}
	if c.defs, err = appendLevels(c.defs[:0], d.entries, c.leaf.maxDef, src); err != nil {
		return err
	}
	d.defs = c.defs
	return nil
}

// source returns the values that positions of a page refer to: the dictionary's, or the page's own, converted.
func (c *chunk) source(d *data) (*columnar.Vector, error) {
	if d.dict {
		return c.dict, c.checkUse(d)
	}
	if c.dense == nil || c.dense.Type != c.elem {
		c.dense = columnar.NewVector(c.elem, d.present)
	}
	c.dense.Reset()
	return c.dense, c.plain(c.dense, d)
}

// plain appends the values of a page that does not refer to a dictionary.
func (c *chunk) plain(dst *columnar.Vector, d *data) error {
	c.flaws = c.flaws[:0]
	if err := c.convert(dst, d.present, d.encoding, d.body); err != nil {
		return err
	}
	if len(c.flaws) > 0 && !c.lenient {
		return c.flawError(d, c.flaws[0].at, c.flaws[0].err)
	}
	return nil
}

// checkUse fails where a page uses a value of the dictionary that can't be converted.
func (c *chunk) checkUse(d *data) error {
	if c.lenient {
		return nil
	}
	if at, err := c.firstFlaw(d.index); err != nil {
		return c.flawError(d, at, err)
	}
	return nil
}

// firstFlaw returns where the first of the positions in the dictionary is that of a value that can't be converted.
func (c *chunk) firstFlaw(positions []int32) (int, error) {
	if len(c.flawed) == 0 {
		return 0, nil
	}
	for at, p := range positions {
		if err := flawAt(c.flawed, p); err != nil {
			return at, err
		}
	}
	return 0, nil
}

// flawAt returns why a value can't be converted, nil where it can. Flaws are ascending.
func flawAt(flaws []flaw, position int32) error {
	i, found := slices.BinarySearchFunc(flaws, int(position), func(f flaw, p int) int { return f.at - p })
	if !found {
		return nil
	}
	return flaws[i].err
}

// flawError names the row of the value at a position among those that are not null.
func (c *chunk) flawError(d *data, at int, err error) error {
	row := c.row
	if d.reps != nil {
		row--
	}
	seen := 0
	for i := range d.entries {
		if d.reps != nil && d.reps[i] == 0 {
			row++
		}
		if d.defs != nil && d.defs[i] != c.leaf.maxDef {
			continue
		}
		if seen == at {
			if d.reps == nil {
				row += i
			}
			break
		}
		seen++
	}
	return &ValueError{Row: row, Err: err}
}

// positions returns, per row of a page of a flat column, where its value is in what source returns, -1 for a null;
// nil means 0, 1, 2, …
func (c *chunk) positions(d *data) []int32 {
	if d.defs == nil {
		return d.index
	}
	c.picked = c.picked[:0]
	k := int32(0)
	for _, l := range d.defs {
		switch {
		case l != c.leaf.maxDef:
			c.picked = append(c.picked, -1)
			continue
		case d.dict:
			c.picked = append(c.picked, d.index[k])
		default:
			c.picked = append(c.picked, k)
		}
		k++
	}
	return c.picked
}

// take appends the values of src at positions, -1 standing for a null.
func take(dst, src *columnar.Vector, positions []int32, most int64) error {
	at := dst.Len()
	switch dst.Type.Kind {
	case columnar.Bool:
		dst.Bools = pick(dst.Bools, src.Bools, positions)
	case columnar.Int32:
		dst.Int32s = pick(dst.Int32s, src.Int32s, positions)
	case columnar.Int64, columnar.Timestamp:
		dst.Int64s = pick(dst.Int64s, src.Int64s, positions)
	case columnar.Float32:
		dst.Float32s = pick(dst.Float32s, src.Float32s, positions)
	case columnar.Float64:
		dst.Float64s = pick(dst.Float64s, src.Float64s, positions)
	case columnar.String, columnar.Bytes:
		size := uint64(len(dst.Data))
		for _, p := range positions {
			if p >= 0 {
				size += uint64(src.Offsets[p+1] - src.Offsets[p])
			}
		}
		switch {
		case size > uint64(most):
			return ErrOverLimit
		case size > math.MaxUint32:
			return tooMuchData()
		}
		dst.Data = slices.Grow(dst.Data, int(size)-len(dst.Data))
		dst.Offsets = slices.Grow(dst.Offsets, len(positions))
		for _, p := range positions {
			if p >= 0 {
				dst.Data = append(dst.Data, src.Data[src.Offsets[p]:src.Offsets[p+1]]...)
			}
			dst.Offsets = append(dst.Offsets, uint32(len(dst.Data)))
		}
	}
	markTaken(dst, at, positions)
	return nil
}

func pick[T any](dst, src []T, positions []int32) []T {
	at := len(dst)
	dst = append(dst, make([]T, len(positions))...)
	out := dst[at:]
	for i, p := range positions {
		if p >= 0 {
			out[i] = src[p]
		}
	}
	return dst
}

// markTaken extends the validity and length of a vector whose slices have grown from at by positions.
func markTaken(v *columnar.Vector, at int, positions []int32) {
	null := slices.Contains(positions, -1)
	if !null {
		markPresent(v, at, len(positions))
		return
	}
	if v.Valid == nil {
		for i := range at {
			v.Valid = v.Valid.Append(i, true)
		}
	}
	i := 0
	for ; i < len(positions) && (at+i)&7 != 0; i++ {
		v.Valid = v.Valid.Append(at+i, positions[i] >= 0)
	}
	for ; i+8 <= len(positions); i += 8 {
		var bits byte
		for j, p := range positions[i : i+8] {
			bits |= byte(^uint32(p)>>31) << j // the sign of -1 alone is set
		}
		v.Valid = append(v.Valid, bits)
	}
	for ; i < len(positions); i++ {
		v.Valid = v.Valid.Append(at+i, positions[i] >= 0)
	}
	v.SetLen(at + len(positions))
}

// markPresent does so for n values of which none is null.
func markPresent(v *columnar.Vector, at, n int) {
	if v.Valid != nil {
		i := at
		for ; i < at+n && i&7 != 0; i++ {
			v.Valid = v.Valid.Append(i, true)
		}
		for ; i+8 <= at+n; i += 8 {
			v.Valid = append(v.Valid, 0xff)
		}
		for ; i < at+n; i++ {
			v.Valid = v.Valid.Append(i, true)
		}
	}
	v.SetLen(at + n)
}

func tooMuchData() error {
	return &limitError{fmt.Sprintf("more than %d bytes of values at once; write smaller row groups, split a spine", uint32(math.MaxUint32))}
}
