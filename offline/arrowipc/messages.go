package arrowipc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// metadataBytes is the greatest length of a message's metadata.
const metadataBytes = 64 << 20

// messages reads the messages of a stream, metadata checked. Implements ipc.MessageReader.
type messages struct {
	in      *bufio.Reader
	left    int64 // bytes not read yet
	mem     *Allocator
	views   viewCounts
	message *ipc.Message
	ended   bool // the marker that ends a stream was there
}

var errCutShort = errors.New("it is cut short")

// Retain and Release are for shared use, which there is none of.
func (m *messages) Retain() {}

// Release gives the last message back.
func (m *messages) Release() {
	if m.message != nil {
		m.message.Release()
		m.message = nil
	}
}

// Message returns the next message, valid until the call after; io.EOF at the marker that ends the stream.
func (m *messages) Message() (*ipc.Message, error) {
	m.Release()
	if m.ended {
		return nil, io.EOF
	}
	size, err := m.uint32()
	if err == nil && size == 0xffffffff { // since version 0.15
		size, err = m.uint32()
	}
	if err != nil {
		return nil, err
	}
	if size == 0 {
		m.ended = true
		return nil, io.EOF
	}
	switch {
	case int64(size) > m.left:
		return nil, fmt.Errorf("a message of %d bytes: %w", size, errCutShort)
	case size > metadataBytes:
		return nil, errMetadata
	}
	metadata := make([]byte, size)
	if err := m.read(metadata); err != nil {
		return nil, err
	}
	bodyBytes, err := checkMessage(metadata, &m.views)
	if err != nil {
		return nil, err
	}
	if bodyBytes < 0 || bodyBytes > m.left {
		return nil, fmt.Errorf("a message with a body of %d bytes: %w", bodyBytes, errCutShort)
	}
	body := memory.NewResizableBuffer(m.mem)
	defer body.Release()
	body.Resize(int(bodyBytes))
	if err := m.read(body.Bytes()); err != nil {
		return nil, err
	}
	held := memory.NewBufferBytes(metadata)
	defer held.Release()
	m.message = ipc.NewMessage(held, body)
	return m.message, nil
}

func (m *messages) uint32() (uint32, error) {
	var b [4]byte
	err := m.read(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (m *messages) read(b []byte) error {
	n, err := io.ReadFull(m.in, b)
	m.left -= int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutShort
	}
	return err
}

// The headers of messages that matter here.
const (
	messageSchema      = 1
	messageDictionary  = 2
	messageRecordBatch = 3
)

// isRecordBatch reports whether metadata of our own making is a record batch's.
func isRecordBatch(metadata []byte) bool {
	at, ok := flatRoot(metadata).slot(6)
	return ok && metadata[at] == messageRecordBatch
}

// viewCounts is how many columns of views a schema has, nested ones included: in record batches, and in the values of
// dictionaries by their ids.
type viewCounts struct {
	columns      int
	dictionaries map[int64]int
}

// Checker checks the messages of one stream, one after the other.
type Checker struct{ views viewCounts }

// Message checks a message's metadata, which it may change, and returns the length of the body that belongs to it.
func (c *Checker) Message(metadata []byte) (body int64, err error) {
	return checkMessage(metadata, &c.views)
}

// checkMessage checks the metadata of a message and returns the length of its body. A schema gives views, which what
// follows it is held against.
func checkMessage(b []byte, views *viewCounts) (body int64, err error) {
	defer func() {
		if recover() != nil {
			err = errMetadata
		}
	}()
	c := &flatChecker{work: 16*len(b) + 1<<16}
	message := flatRoot(b)
	kind := byte(0)
	if at, ok := message.slot(6); ok {
		kind = b[at]
	}
	body = message.int64(10)
	c.pairs(message, 12)
	header, ok := message.table(8)
	if !ok {
		return 0, errMetadata
	}
	switch kind {
	case messageSchema:
		*views = c.schema(header)
	case messageDictionary:
		values, ok := header.table(6)
		if !ok {
			return 0, errMetadata
		}
		c.recordBatch(values, views.dictionaries[header.int64(4)])
	case messageRecordBatch:
		c.recordBatch(header, views.columns)
	}
	return body, nil
}

// checkFile checks the footer of a file and the metadata of the messages that it leads to.
func checkFile(r *io.SectionReader, mem *Allocator) (err error) {
	const magic = "ARROW1"
	tail := make([]byte, 4+len(magic))
	footerEnd := r.Size() - int64(len(tail))
	if _, err := r.ReadAt(tail, max(0, footerEnd)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if footerEnd < 8 || string(tail[4:]) != magic || n > footerEnd-8 {
		return errCutShort
	}
	if n > metadataBytes {
		return errMetadata
	}
	defer func() {
		if recover() != nil {
			err = errMetadata
		}
	}()
	b := make([]byte, n)
	if _, err := r.ReadAt(b, footerEnd-n); err != nil {
		return err
	}
	c := &flatChecker{work: 16*len(b) + 1<<16}
	footer := flatRoot(b)
	schema, ok := footer.table(6)
	if !ok {
		return errMetadata
	}
	views := c.schema(schema)
	c.pairs(footer, 12)
	for _, blocks := range []int{8, 10} { // dictionaries, record batches
		at, n := footer.vector(blocks, 24)
		for i := range n {
			if err := checkBlock(r, b[at+24*i:], footerEnd, mem, &views); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBlock checks the metadata of the message that a block of a footer leads to.
func checkBlock(r io.ReaderAt, block []byte, end int64, mem *Allocator, views *viewCounts) error {
	offset := int64(binary.LittleEndian.Uint64(block))
	size, body := int64(int32(binary.LittleEndian.Uint32(block[8:]))), int64(binary.LittleEndian.Uint64(block[16:]))
	if offset < 8 || size < 8 || size > metadataBytes || body < 0 || offset > end-size || body > end-size-offset {
		return errMetadata
	}
	if err := mem.check(body); err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := r.ReadAt(b, offset); err != nil {
		return err
	}
	prefix := 4
	if binary.LittleEndian.Uint32(b) == 0xffffffff { // since version 0.15
		prefix = 8
	}
	_, err := checkMessage(b[prefix:], views)
	return err
}
