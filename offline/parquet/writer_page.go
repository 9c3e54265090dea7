package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"sync"

	"github.com/parquet-go/parquet-go/encoding/rle"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const byteArray = format.ByteArray

const (
	// pageBytes of plain values end a page at the next row: what Parquet's documentation advises.
	pageBytes = 1 << 20
	// pageSlots end it as well, so that pages of booleans and nulls stay small too.
	pageSlots = 1 << 17
)

// Encoded is a chunk as it goes into a file.
type Encoded struct {
	rows       int
	dictionary int64 // length of the dictionary page in front, 0 for none
	meta       format.ColumnMetaData
	stored
}

// Rows returns the rows of the chunk.
func (e *Encoded) Rows() int { return e.rows }

// Encode is Encoder.Encode with zstd.
func Encode(c *Chunk) (*Encoded, error) {
	e := encoders.Get().(*Encoder)
	defer encoders.Put(e)
	return e.Encode(c)
}

var encoders = sync.Pool{New: func() any { return NewEncoder(Zstd) }}

// Encoder encodes and compresses chunks. Its memory is reused from chunk to chunk: one goroutine at a time.
type Encoder struct {
	compressor compressor
	dictionary dictionary

	chunk   *Chunk
	out     *Encoded
	body    []byte // the pages made so far
	page    []byte // the page being made
	scratch []byte // its levels or indexes before they are measured
	packed  []byte // the page compressed
}

// NewEncoder returns an encoder with a codec.
func NewEncoder(codec Codec) *Encoder { return &Encoder{compressor: compressor{codec: codec}} }

// Encode encodes and compresses a chunk, which is the caller's again afterwards. A dictionary is used where values
// repeat. The bytes depend on the chunk and the codec alone.
func (e *Encoder) Encode(c *Chunk) (*Encoded, error) {
	e.chunk, e.body = c, e.body[:0]
	e.out = &Encoded{rows: c.rows}
	e.out.meta = format.ColumnMetaData{
		Type:         c.leaf.physical,
		PathInSchema: c.leaf.path,
		Codec:        codecs[e.compressor.codec].id,
		NumValues:    int64(c.slots),
		Statistics:   c.statistics(),
	}
	if err := e.encode(); err != nil {
		return nil, fmt.Errorf("encode column %s: %w", c.leaf.name(), err)
	}
	out := e.out
	out.bytes, out.size = bytes.Clone(e.body), int64(len(e.body))
	e.chunk, e.out, e.dictionary.from = nil, nil, nil
	if cap(e.body) > maxKept || cap(e.page) > maxKept {
		*e = Encoder{compressor: e.compressor}
	}
	return out, nil
}

func (e *Encoder) encode() error {
	c := e.chunk
	encodings := []format.Encoding{format.Plain}
	data := format.Plain
	if e.dictionary.build(c) {
		values := e.dictionary.values
		e.page = appendPlain(e.page[:0], values, 0, values.values)
		err := e.emit(format.PageHeader{
			Type: format.DictionaryPage,
			DictionaryPageHeader: pqthrift.New(format.DictionaryPageHeader{
				NumValues: int32(values.values),
				Encoding:  format.Plain,
			}),
		})
		if err != nil {
			return err
		}
		e.out.dictionary = int64(len(e.body))
		e.out.meta.EncodingStats = append(e.out.meta.EncodingStats,
			format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
		data = format.RLEDictionary
		encodings = append(encodings, data)
	}
	if c.leaf.maxDef > 0 {
		encodings = append(encodings, format.RLE)
	}
	e.out.meta.Encoding = encodings
	pages := int32(0)
	for slot, value := 0, 0; slot < c.slots; pages++ {
		lastSlot, lastValue := c.pageEnd(slot, value)
		if err := e.dataPage(slot, lastSlot, value, lastValue, data); err != nil {
			return err
		}
		slot, value = lastSlot, lastValue
	}
	e.out.meta.EncodingStats = append(e.out.meta.EncodingStats,
		format.PageEncodingStats{PageType: format.DataPage, Encoding: data, Count: pages})
	return nil
}

// pageEnd returns where the page that begins at slot and value ends: always between rows.
func (c *Chunk) pageEnd(slot, value int) (lastSlot, lastValue int) {
	if len(c.def) == 0 && len(c.rep) == 0 && c.leaf.width > 0 {
		n := min(c.slots-slot, max(1, pageBytes/c.leaf.width), pageSlots)
		return slot + n, value + n
	}
	if rest := c.values - value; c.leaf.width > 0 && c.slots-slot <= pageSlots && rest <= pageBytes/c.leaf.width {
		return c.slots, c.values
	}
	size := 0
	for i := slot; i < c.slots; i++ {
		if i > slot && (size >= pageBytes || i-slot >= pageSlots) && (len(c.rep) == 0 || c.rep[i] == 0) {
			return i, value
		}
		if len(c.def) > 0 && c.def[i] != c.leaf.maxDef {
			continue
		}
		if c.leaf.physical == byteArray {
			size += 4 + len(c.bytesAt(value))
		} else {
			size += c.leaf.width
		}
		value++
	}
	return c.slots, value
}

func (e *Encoder) dataPage(slot, lastSlot, value, lastValue int, encoding format.Encoding) error {
	c := e.chunk
	e.page = e.page[:0]
	if c.leaf.maxRep > 0 {
		if err := e.levels(c.rep[slot:lastSlot], c.leaf.maxRep); err != nil {
			return err
		}
	}
	if c.leaf.maxDef > 0 {
		if err := e.levels(c.def[slot:lastSlot], c.leaf.maxDef); err != nil {
			return err
		}
	}
	if encoding == format.Plain {
		e.page = appendPlain(e.page, c, value, lastValue)
	} else {
		width := indexWidth(e.dictionary.values.values)
		coder := rle.Encoding{BitWidth: width}
		var err error
		if e.scratch, err = coder.EncodeInt32(e.scratch[:0], e.dictionary.index[value:lastValue]); err != nil {
			return err
		}
		e.page = append(append(e.page, byte(width)), e.scratch...)
	}
	return e.emit(format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: pqthrift.New(format.DataPageHeader{
			NumValues:               int32(lastSlot - slot),
			Encoding:                encoding,
			DefinitionLevelEncoding: format.RLE,
			RepetitionLevelEncoding: format.RLE,
		}),
	})
}

// levels appends levels with their length, as data pages of version 1 have them.
func (e *Encoder) levels(levels []byte, greatest byte) error {
	coder := rle.Encoding{BitWidth: bits.Len8(greatest)}
	var err error
	if e.scratch, err = coder.EncodeLevels(e.scratch[:0], levels); err != nil {
		return err
	}
	e.page = binary.LittleEndian.AppendUint32(e.page, uint32(len(e.scratch)))
	e.page = append(e.page, e.scratch...)
	return nil
}

// emit compresses e.page and appends it with its header.
func (e *Encoder) emit(header format.PageHeader) error {
	// A page ends between rows, so one row of a very long list can exceed what the format's int32 sizes hold.
	if len(e.page) > math.MaxInt32/2 {
		return fmt.Errorf("a row takes %d bytes; a Parquet page holds at most %d", len(e.page), math.MaxInt32/2)
	}
	var err error
	if e.packed, err = e.compressor.compress(e.packed, e.page); err != nil {
		return err
	}
	header.UncompressedPageSize = int32(len(e.page))
	header.CompressedPageSize = int32(len(e.packed))
	header.CRC = int32(crc32.ChecksumIEEE(e.packed))
	head, err := pqthrift.Marshal(new(pqthrift.CompactProtocol), &header)
	if err != nil {
		return fmt.Errorf("encode page header: %w", err)
	}
	e.body = append(append(e.body, head...), e.packed...)
	e.out.meta.TotalUncompressedSize += int64(len(head) + len(e.page))
	e.out.meta.TotalCompressedSize += int64(len(head) + len(e.packed))
	return nil
}

// appendPlain appends the values [lo, hi) of c in PLAIN encoding.
func appendPlain(dst []byte, c *Chunk, lo, hi int) []byte {
	switch c.leaf.physical {
	case byteArray:
		for i := lo; i < hi; i++ {
			b := c.bytesAt(i)
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
			dst = append(dst, b...)
		}
		return dst
	case format.Boolean:
		for i := lo; i < hi; i++ {
			if (i-lo)&7 == 0 {
				dst = append(dst, 0)
			}
			dst[len(dst)-1] |= c.fixed[i] << ((i - lo) & 7)
		}
		return dst
	default:
		return append(dst, c.fixed[lo*c.leaf.width:hi*c.leaf.width]...)
	}
}
