package parquet

import (
	"errors"
	"fmt"
	"io"
)

// stored is the bytes of an encoded chunk, in memory or elsewhere.
type stored struct {
	bytes  []byte      // nil once they are elsewhere
	from   io.ReaderAt // where they are then, at offset
	offset int64
	size   int64
}

// Size returns the bytes of the chunk in a file.
func (s *stored) Size() int64 { return s.size }

// Bytes returns the bytes of a chunk that was not moved.
func (s *stored) Bytes() []byte { return s.bytes }

// Move forgets the bytes, which the caller has written elsewhere; they are read from there when they are needed.
func (s *stored) Move(r io.ReaderAt, offset int64) { s.bytes, s.from, s.offset = nil, r, offset }

// ReadAt reads from the bytes.
func (s *stored) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at > s.size {
		return 0, fmt.Errorf("offset %d of %d", at, s.size)
	}
	var short error
	if rest := s.size - at; int64(len(p)) > rest {
		p, short = p[:rest], io.EOF
	}
	if s.from == nil {
		return copy(p, s.bytes[at:]), short
	}
	n, err := s.from.ReadAt(p, s.offset+at)
	if n < len(p) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("read back %d bytes at offset %d: %w", len(p), s.offset+at, err)
	}
	return n, short
}

// copyBytes bounds the memory in which bytes go from one file to another.
const copyBytes = 1 << 20

// writeTo passes all bytes to write; buf is memory for them.
func (s *stored) writeTo(write func([]byte) error, buf []byte) error {
	if s.from == nil {
		return write(s.bytes)
	}
	for at := int64(0); at < s.size; {
		part := buf[:min(int64(len(buf)), s.size-at)]
		if _, err := s.ReadAt(part, at); err != nil {
			return err
		}
		if err := write(part); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}
