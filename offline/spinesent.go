package offline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/arrowipc"
)

// SentSpine is a spine that a caller sends in messages of Arrow IPC, as Arrow Flight has them. They are kept in a temporary
// file without a name, as an IPC stream, until an export takes it. Not safe for concurrent use.
type SentSpine struct {
	file        *os.File
	buffer      *bufio.Writer
	check       arrowipc.Checker
	size, limit int64
}

// NewSentSpine returns a spine of at most so many bytes. Close gives its file up.
func NewSentSpine(limit int64) (*SentSpine, error) {
	file, err := createTemp()
	if err != nil {
		return nil, err
	}
	return &SentSpine{file: file, buffer: bufio.NewWriterSize(file, 1<<18), limit: limit}, nil
}

// oneStream is what a caller should send.
const oneStream = "send the messages of one Arrow IPC stream: its schema, dictionaries and record batches"

// ipcMark begins every message of an IPC stream; the length of its metadata follows.
const ipcMark = 0xffffffff

// Append adds a message: its metadata, which it may change, and its body.
func (s *SentSpine) Append(metadata, body []byte) error {
	told, err := s.check.Message(metadata)
	if err == nil && told != int64(len(body)) {
		err = fmt.Errorf("a message says that its body has %d bytes, and %d came", told, len(body))
	}
	if err != nil {
		return &problem.Error{
			Code: problem.Invalid, Message: "the spine: " + err.Error(), Field: "spine", Err: err,
			Suggestion: oneStream,
		}
	}
	padded := (len(metadata) + 7) &^ 7
	if s.size += int64(8 + padded + len(body)); s.size > s.limit {
		return &problem.Error{
			Code: problem.Exhausted, Field: "spine",
			Message:    fmt.Sprintf("the spine is larger than %s bytes (limits.spine_bytes)", humanize.Comma(s.limit)),
			Suggestion: "export it in several parts, leave out columns that the training set does not need, or raise the limit",
		}
	}
	var padding [8]byte
	for _, b := range [][]byte{ipcHead(padded), metadata, padding[:padded-len(metadata)], body} {
		if _, err := s.buffer.Write(b); err != nil {
			return tempProblem(err)
		}
	}
	return nil
}

// ipcHead is what goes before a message, or, where it has no metadata, ends a stream.
func ipcHead(metadata int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, ipcMark), uint32(metadata))
}

// finish ends the stream and hands its file over.
func (s *SentSpine) finish() (*os.File, error) {
	if s.size == 0 {
		e := problem.New(problem.Invalid, "no spine was sent")
		e.Field, e.Suggestion = "spine", "send its schema and its record batches, then end the writing"
		return nil, e
	}
	_, err := s.buffer.Write(ipcHead(0))
	if err := errors.Join(err, s.buffer.Flush()); err != nil {
		return nil, tempProblem(err)
	}
	file := s.file
	s.file = nil
	return file, nil
}

// Close gives the file up, unless an export has taken it.
func (s *SentSpine) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
