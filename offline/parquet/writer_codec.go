package parquet

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// Codec is how pages are compressed.
type Codec uint8

// The codecs of a writer.
const (
	Zstd Codec = iota // at level 3
	Snappy
	Gzip
	LZ4 // LZ4_RAW: bare blocks; the older LZ4 of the format is ambiguous and not written
	Uncompressed
)

var codecs = [...]struct {
	name string
	id   format.CompressionCodec
}{
	Zstd:         {"zstd", format.Zstd},
	Snappy:       {"snappy", format.Snappy},
	Gzip:         {"gzip", format.Gzip},
	LZ4:          {"lz4", format.Lz4Raw},
	Uncompressed: {"none", format.Uncompressed},
}

// CodecNames lists what ParseCodec takes.
func CodecNames() []string {
	names := make([]string, len(codecs))
	for i, c := range codecs {
		names[i] = c.name
	}
	return names
}

// ParseCodec returns the codec of a name.
func ParseCodec(name string) (c Codec, ok bool) {
	for i := range codecs {
		if codecs[i].name == name {
			return Codec(i), true
		}
	}
	return 0, false
}

// zstdWindow is how far zstd looks back: over a page. The encoder takes twice as much memory.
const zstdWindow = pageBytes

// compressor compresses pages. Its memory is reused: one goroutine at a time.
type compressor struct {
	codec Codec
	zstd  *zstd.Encoder
	gzip  *gzip.Writer
	lz4   lz4.Compressor
}

// compress replaces dst by src compressed.
func (c *compressor) compress(dst, src []byte) ([]byte, error) {
	switch c.codec {
	case Zstd:
		if c.zstd == nil {
			var err error
			c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(3)),
				zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
		}
		return c.zstd.EncodeAll(src, dst[:0]), nil
	case Snappy:
		return snappy.Encode(dst[:cap(dst)], src), nil
	case Gzip:
		return c.deflate(dst, src)
	case LZ4:
		// With room for the worst case every block is written, be it as literals.
		if most := lz4.CompressBlockBound(len(src)); cap(dst) < most {
			dst = make([]byte, most)
		}
		n, err := c.lz4.CompressBlock(src, dst[:cap(dst)])
		if err != nil {
			return nil, fmt.Errorf("lz4: %w", err)
		}
		return dst[:n], nil
	default:
		return append(dst[:0], src...), nil
	}
}

func (c *compressor) deflate(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst[:0])
	if c.gzip == nil {
		c.gzip = gzip.NewWriter(out)
	} else {
		c.gzip.Reset(out)
	}
	if _, err := c.gzip.Write(src); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if err := c.gzip.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return out.Bytes(), nil
}
