package parquet

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

// pageHeader is the header of a page, data page version 1 and 2 in one.
type pageHeader struct {
	kind         format.PageType
	uncompressed int32
	compressed   int32
	crc          uint32
	hasCRC       bool

	has      bool // the part that its kind needs is there
	values   int32
	encoding format.Encoding
	defs     format.Encoding // encoding of the levels, version 1
	reps     format.Encoding

	// Version 2.
	nulls, rows          int32
	defBytes, repBytes   int32
	valuesAreUncompressd bool
}

func (t *thrift) pageHeader() pageHeader {
	h := pageHeader{kind: -1, uncompressed: -1, compressed: -1, values: -1, encoding: -1, defs: format.RLE, reps: format.RLE}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftI32):
			h.kind = format.PageType(t.int32())
		case id == 2 && t.want(typ, thriftI32):
			h.uncompressed = t.int32()
		case id == 3 && t.want(typ, thriftI32):
			h.compressed = t.int32()
		case id == 4 && t.want(typ, thriftI32):
			h.crc, h.hasCRC = uint32(t.int32()), true
		case id == 5 && h.kind == format.DataPage && t.want(typ, thriftStruct):
			h.has = true
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && t.want(typ, thriftI32):
					h.values = t.int32()
				case id == 2 && t.want(typ, thriftI32):
					h.encoding = format.Encoding(t.int32())
				case id == 3 && t.want(typ, thriftI32):
					h.defs = format.Encoding(t.int32())
				case id == 4 && t.want(typ, thriftI32):
					h.reps = format.Encoding(t.int32())
				default:
					t.skip(typ)
				}
			})
		case id == 7 && h.kind == format.DictionaryPage && t.want(typ, thriftStruct):
			h.has = true
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && t.want(typ, thriftI32):
					h.values = t.int32()
				case id == 2 && t.want(typ, thriftI32):
					h.encoding = format.Encoding(t.int32())
				default:
					t.skip(typ)
				}
			})
		case id == 8 && h.kind == format.DataPageV2 && t.want(typ, thriftStruct):
			h.has = true
			t.pageHeaderV2(&h)
		default:
			t.skip(typ)
		}
	})
	return h
}

func (t *thrift) pageHeaderV2(h *pageHeader) {
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && t.want(typ, thriftI32):
			h.values = t.int32()
		case id == 2 && t.want(typ, thriftI32):
			h.nulls = t.int32()
		case id == 3 && t.want(typ, thriftI32):
			h.rows = t.int32()
		case id == 4 && t.want(typ, thriftI32):
			h.encoding = format.Encoding(t.int32())
		case id == 5 && t.want(typ, thriftI32):
			h.defBytes = t.int32()
		case id == 6 && t.want(typ, thriftI32):
			h.repBytes = t.int32()
		case id == 7:
			h.valuesAreUncompressd = !t.bool(typ)
		default:
			t.skip(typ)
		}
	})
}

// window reads the bytes of a column chunk from front to back, a step or a page at a time.
type window struct {
	r    io.ReaderAt
	next int64 // offset in the file of what follows buf
	end  int64 // of the chunk
	buf  []byte
	pos  int
	step int // bytes to read at least
}

const (
	windowBytes = 1 << 20
	leapBytes   = 16 << 10
)

// leap makes the reader read little beyond a page header, since most pages will be skipped.
func (c *chunk) leap() {
	if c.meta.compressed > 256<<10 {
		c.win.step = leapBytes
	}
}

// left returns the bytes of the chunk that were not consumed.
func (w *window) left() int64 { return w.end - w.next + int64(len(w.buf)-w.pos) }

// peek returns at least n bytes of what is next, fewer only where the chunk ends. They are valid until the next call.
func (w *window) peek(n int) ([]byte, error) {
	if have := len(w.buf) - w.pos; have < n && w.next < w.end {
		want := int(min(int64(max(n, w.step)), w.left()))
		if cap(w.buf) < want {
			grown := make([]byte, have, want)
			copy(grown, w.buf[w.pos:])
			w.buf = grown
		} else {
			copy(w.buf[:have], w.buf[w.pos:])
			w.buf = w.buf[:have]
		}
		w.pos = 0
		m, err := w.r.ReadAt(w.buf[have:want], w.next)
		if m < want-have {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read %d bytes at offset %d: %w", want-have, w.next, err)
		}
		w.buf = w.buf[:want]
		w.next += int64(want - have)
	}
	return w.buf[w.pos:], nil
}

// discard consumes n bytes, which are in the chunk.
func (w *window) discard(n int64) {
	if have := int64(len(w.buf) - w.pos); n > have {
		w.next += n - have
		w.pos = len(w.buf)
		return
	}
	w.pos += int(n)
}

// headerBytes is what a page header may take at most: its statistics may repeat two values of the page.
const headerBytes = 64 << 20

// header reads and checks the header of the chunk's next page.
func (c *chunk) header(ctx context.Context) (pageHeader, error) {
	if err := ctx.Err(); err != nil {
		return pageHeader{}, err
	}
	var h pageHeader
	for want := 512; ; want *= 8 {
		b, err := c.win.peek(want)
		if err != nil {
			return h, err
		}
		t := thrift{buf: b}
		h = t.pageHeader()
		if errors.Is(t.err, errThriftShort) && int64(len(b)) < c.win.left() && want < headerBytes {
			continue
		}
		if t.err != nil {
			return h, fmt.Errorf("page header: %w", t.err)
		}
		c.win.discard(int64(t.pos))
		break
	}
	return h, c.check(&h)
}

// check holds a page header against the column chunk before anything of its sizes is allocated.
func (c *chunk) check(h *pageHeader) error {
	switch {
	case h.compressed < 0 || h.uncompressed < 0:
		return errors.New("page header: its sizes are missing or negative")
	case int64(h.compressed) > c.win.left():
		return fmt.Errorf("page header: the page's %d bytes reach beyond the column chunk's end", h.compressed)
	case int64(h.uncompressed) > c.limits.PageBytes:
		return &limitError{fmt.Sprintf("a page of %d bytes is over the limit of %d (limits.parquet_page)", h.uncompressed, c.limits.PageBytes)}
	case c.meta.codec == format.Uncompressed && h.compressed != h.uncompressed:
		return fmt.Errorf("page header: an uncompressed page has two sizes, %d and %d", h.compressed, h.uncompressed)
	}
	switch h.kind {
	case format.DataPage, format.DataPageV2, format.DictionaryPage:
	default:
		return nil // skipped, as the format asks
	}
	switch {
	case !h.has || h.values < 0 || h.encoding < 0:
		return errors.New("page header: a required part is missing")
	case h.kind == format.DictionaryPage:
		return nil
	case int64(h.values) > c.meta.values-c.values:
		return fmt.Errorf("page header: with the page's %d values the column chunk has more than its %d", h.values, c.meta.values)
	case h.kind == format.DataPage:
		return nil
	}
	levels := int64(h.defBytes) + int64(h.repBytes)
	switch {
	case h.defBytes < 0 || h.repBytes < 0 || levels > int64(h.compressed) || levels > int64(h.uncompressed):
		return errors.New("page header: its levels do not fit the page")
	case h.nulls < 0 || h.nulls > h.values || h.rows < 0 || h.rows > h.values:
		return errors.New("page header: it has more nulls or rows than values")
	case c.leaf.maxRep == 0 && h.rows != h.values:
		return fmt.Errorf("page header: %d rows of %d values in a column without lists", h.rows, h.values)
	}
	return nil
}

// body reads and decompresses the page after its header, verifying the checksum if there is one. For version 2 it
// returns the levels, which are never compressed, in front of the values. Valid until the next page.
func (c *chunk) body(h *pageHeader) ([]byte, error) {
	src, err := c.win.peek(int(h.compressed))
	if err != nil {
		return nil, err
	}
	if len(src) < int(h.compressed) {
		return nil, io.ErrUnexpectedEOF
	}
	src = src[:h.compressed]
	c.win.discard(int64(h.compressed))
	if h.hasCRC && crc32.ChecksumIEEE(src) != h.crc {
		return nil, errors.New("the page's checksum does not match: it was damaged after it was written")
	}
	if c.meta.codec == format.Uncompressed {
		return src, nil
	}
	levels := 0
	if h.kind == format.DataPageV2 {
		levels = int(h.defBytes) + int(h.repBytes)
		if h.valuesAreUncompressd || int(h.uncompressed) == levels {
			if h.compressed != h.uncompressed && int(h.compressed) != levels && int(h.uncompressed) != levels {
				return nil, errPageSize
			}
			return src, nil
		}
	}
	if cap(c.page) < int(h.uncompressed) {
		c.page = make([]byte, h.uncompressed, int(h.uncompressed)+slack)
	}
	c.page = c.page[:h.uncompressed]
	copy(c.page, src[:levels])
	return c.page, decompress(c.meta.codec, c.page[levels:], src[levels:])
}
