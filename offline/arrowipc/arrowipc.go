// Package arrowipc reads Arrow IPC files, streams and schemas that nobody vouches for. Arrow's library allocates what
// their metadata says, and a lie there ends the process; here it is an error. Over some other lies the library panics,
// which the caller has to recover from, outside of Open and Batches as well: arrays may be lies, too.
package arrowipc

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Batches are the record batches of a file or a stream.
type Batches interface {
	Schema() *arrow.Schema
	// Next returns the next batch, valid until the call after; io.EOF after the last.
	Next() (arrow.RecordBatch, error)
	Close()
}

// Open opens a file or a stream, whichever the bytes are. What is read is in mem's memory.
func Open(r *io.SectionReader, mem *Allocator) (Batches, error) {
	head := make([]byte, 8)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("FEA1")):
		return nil, errors.New("it is Feather version 1; write version 2")
	case bytes.HasPrefix(head, []byte("PAR1")):
		return nil, errors.New("it is a Parquet file; say --spine-format parquet")
	case n < 8:
		return nil, errors.New("it is too short")
	case bytes.HasPrefix(head, ipc.Magic):
		if err := checkFile(r, mem); err != nil {
			return nil, err
		}
		// The allocator holds the limit, and checkFile has held bodies against it.
		f, err := ipc.NewFileReader(r, ipc.WithAllocator(mem), ipc.WithBodySizeLimit(0))
		if err != nil {
			return nil, err
		}
		return &file{reader: f}, nil
	}
	return openStream(r, mem)
}

// file is the batches of a file.
type file struct {
	reader *ipc.FileReader
	at     int
}

func (f *file) Schema() *arrow.Schema { return f.reader.Schema() }

func (f *file) Next() (arrow.RecordBatch, error) {
	if f.at == f.reader.NumRecords() {
		return nil, io.EOF
	}
	f.at++
	return f.reader.RecordBatch(f.at - 1)
}

func (f *file) Close() { _ = f.reader.Close() }

// stream is the batches of a stream.
type stream struct {
	messages *messages
	reader   *ipc.Reader
}

func openStream(r *io.SectionReader, mem *Allocator) (*stream, error) {
	s := &stream{messages: &messages{in: bufio.NewReaderSize(r, 1<<16), left: r.Size(), mem: mem}}
	var err error
	s.reader, err = ipc.NewReaderFromMessageReader(s.messages, ipc.WithAllocator(mem))
	return s, err
}

func (s *stream) Schema() *arrow.Schema { return s.reader.Schema() }

func (s *stream) Next() (arrow.RecordBatch, error) {
	if s.reader.Next() {
		return s.reader.RecordBatch(), nil
	}
	switch err := s.reader.Err(); {
	case err != nil:
		return nil, err
	case !s.messages.ended:
		return nil, errCutShort
	case s.messages.left > 0:
		return nil, errors.New("there are bytes behind the end of the stream; are several streams in one file?")
	}
	return nil, io.EOF
}

func (s *stream) Close() { s.reader.Release() }
