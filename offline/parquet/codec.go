package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// readable returns why a codec is not read, "" if it is.
func readable(codec format.CompressionCodec) string {
	switch codec {
	case format.Uncompressed, format.Snappy, format.Gzip, format.Brotli, format.Zstd, format.Lz4Raw, format.Lz4:
		return ""
	}
	return fmt.Sprintf("compression %s is not read; rewrite the file with zstd or snappy", codec)
}

var errPageSize = errors.New("the page does not decompress to the size its header declares")

// Decoders are costly to make. Theirs is the only state here, and none of it outlives a call.
var (
	zstdDecoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		return d
	}}
	gzipReaders   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	brotliReaders = sync.Pool{New: func() any { return brotli.NewReader(nil) }}
)

// slack is what a buffer to decompress into should have beyond its length: zstd's fast loop writes in strides.
const slack = 64

// decompress fills dst, whose length is the declared size, and fails where src holds more or less. It never writes
// beyond dst's capacity and slack, or allocates more, whatever src promises.
func decompress(codec format.CompressionCodec, dst, src []byte) error {
	switch codec {
	case format.Uncompressed:
		if len(dst) != len(src) {
			return errPageSize
		}
		copy(dst, src)
	case format.Snappy:
		if n, err := snappy.DecodedLen(src); err != nil {
			return fmt.Errorf("snappy: %w", err)
		} else if n != len(dst) {
			return errPageSize
		}
		if _, err := snappy.Decode(dst, src); err != nil {
			return fmt.Errorf("snappy: %w", err)
		}
	case format.Zstd:
		return decompressZstd(dst, src)
	case format.Gzip:
		r := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(r)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		return fill("gzip", dst, r)
	case format.Brotli:
		r := brotliReaders.Get().(*brotli.Reader)
		defer brotliReaders.Put(r)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return fmt.Errorf("brotli: %w", err)
		}
		return fill("brotli", dst, r)
	case format.Lz4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err != nil {
			return fmt.Errorf("lz4: %w", err)
		}
		if n != len(dst) {
			return errPageSize
		}
	case format.Lz4:
		return decompressHadoopLZ4(dst, src)
	default:
		return errors.New(readable(codec))
	}
	return nil
}

// decompressHadoopLZ4 reads the framing that Hadoop gave the older LZ4 codec: the size of what follows decompressed, then
// blocks behind their compressed sizes, until it is reached; that again and again. All numbers are big-endian. Others
// wrote LZ4 without it under the same name, which fails here.
func decompressHadoopLZ4(dst, src []byte) error {
	for len(src) > 0 {
		size, rest, err := hadoopSize(src, len(dst))
		if err != nil {
			return err
		}
		frame := dst[:size]
		dst, src = dst[size:], rest
		for len(frame) > 0 {
			if size, rest, err = hadoopSize(src, len(src)-4); err != nil {
				return err
			}
			n, err := lz4.UncompressBlock(rest[:size], frame)
			if err != nil {
				return fmt.Errorf("lz4: %w", err)
			}
			frame, src = frame[n:], rest[size:]
		}
	}
	if len(dst) > 0 {
		return errPageSize
	}
	return nil
}

func hadoopSize(src []byte, most int) (size int, rest []byte, err error) {
	if len(src) < 4 || int64(binary.BigEndian.Uint32(src)) > int64(most) {
		return 0, nil, errors.New("lz4: not in Hadoop's framing; rewrite the file with zstd or snappy")
	}
	return int(binary.BigEndian.Uint32(src)), src[4:], nil
}

func decompressZstd(dst, src []byte) error {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return errors.New("zstd: no decoder")
	}
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(src, dst[:0:min(cap(dst), len(dst)+slack)])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return errPageSize
	case err != nil:
		return fmt.Errorf("zstd: %w", err)
	case len(out) != len(dst):
		return errPageSize
	}
	return nil
}

// fill reads dst from r, which must end there; reaching the end makes r check its checksum.
func fill(name string, dst []byte, r io.Reader) error {
	if _, err := io.ReadFull(r, dst); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errPageSize
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	var one [1]byte
	n, err := r.Read(one[:])
	for n == 0 && err == nil {
		n, err = r.Read(one[:])
	}
	switch {
	case n > 0:
		return errPageSize
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
