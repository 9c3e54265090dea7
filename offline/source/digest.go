package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/internal/problem"
)

const (
	digestBytes = 64 << 10 // of a file that has no footer
	footerBytes = 64 << 20 // the most that a footer has
	footerTail  = 8        // its length and a magic word
)

// FooterDigest returns the XXH3, in hexadecimal, of a listed Parquet file's footer, which tells its content from most
// others without reading it: schema, sizes and statistics of all columns. Of what has no footer it takes the last 64 KiB.
// It fails where the file is no longer what was listed.
func (f *Files) FooterDigest(ctx context.Context, file File) (string, error) {
	h, err := f.Open(ctx, file)
	if err != nil {
		return "", err
	}
	defer h.Close()
	end, err := h.tail(min(file.Size, digestBytes))
	if err != nil {
		return "", err
	}
	if n := footerLength(end, file.Size); n > 0 {
		if n+footerTail > int64(len(end)) {
			if end, err = h.tail(n + footerTail); err != nil {
				return "", err
			}
		}
		end = end[int64(len(end))-n-footerTail : len(end)-footerTail]
	}
	return fmt.Sprintf("%016x", xxh3.Hash(end)), h.Check()
}

// footerLength is the length of the footer of a file that ends with end, 0 where it has none.
func footerLength(end []byte, size int64) int64 {
	at := len(end) - footerTail
	if at < 0 || string(end[at+4:]) != "PAR1" {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(end[at:]))
	if n > size-footerTail || n > footerBytes {
		return 0
	}
	return n
}

// tail reads the last n bytes.
func (h *Handle) tail(n int64) ([]byte, error) {
	b := make([]byte, n)
	if m, err := h.ReadAt(b, h.File.Size-n); int64(m) < n {
		var known *problem.Error // names the file
		if err == nil || errors.Is(err, io.EOF) {
			return nil, changed(h.File.Path, "has changed since it was listed", io.ErrUnexpectedEOF)
		}
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, fmt.Errorf("read %s: %w", h.File.Path, err)
	}
	return b, nil
}
