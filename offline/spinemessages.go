package offline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// arrowMetadata is the greatest length of a message's metadata.
const arrowMetadata = 64 << 20

// arrowMessages reads the messages of an Arrow IPC stream. Arrow's library allocates what their metadata says, so that is
// checked before. Implements ipc.MessageReader.
type arrowMessages struct {
	in      *bufio.Reader
	left    int64 // bytes not read yet
	mem     *boundedAllocator
	views   arrowViews
	message *ipc.Message
	ended   bool // the marker that ends a stream was there
}

var errCutShort = errors.New("it is cut short")

// Retain and Release are for shared use, which there is none of.
func (m *arrowMessages) Retain() {}

// Release gives the last message back.
func (m *arrowMessages) Release() {
	if m.message != nil {
		m.message.Release()
		m.message = nil
	}
}

// Message returns the next message, valid until the call after; io.EOF at the marker that ends the stream.
func (m *arrowMessages) Message() (*ipc.Message, error) {
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
	if int64(size) > min(m.left, arrowMetadata) {
		return nil, fmt.Errorf("a message of %d bytes: %w", size, errCutShort)
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

func (m *arrowMessages) uint32() (uint32, error) {
	var b [4]byte
	err := m.read(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (m *arrowMessages) read(b []byte) error {
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

// arrowViews is how many columns of views a schema has, nested ones included: in record batches, and in the values of
// dictionaries by their ids.
type arrowViews struct {
	columns      int
	dictionaries map[int64]int
}

// checkMessage checks the metadata of a message and returns the length of its body. A schema gives views, which what
// follows it is held against.
func checkMessage(b []byte, views *arrowViews) (body int64, err error) {
	defer func() {
		if recover() != nil {
			err = errArrowMetadata
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
		return 0, errArrowMetadata
	}
	switch kind {
	case messageSchema:
		*views = c.schema(header)
	case messageDictionary:
		values, ok := header.table(6)
		if !ok {
			return 0, errArrowMetadata
		}
		c.recordBatch(values, views.dictionaries[header.int64(4)])
	case messageRecordBatch:
		c.recordBatch(header, views.columns)
	}
	return body, nil
}

// checkArrowFile checks the footer of a file and the metadata of the messages that it leads to.
func checkArrowFile(r *io.SectionReader) (err error) {
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
	if n > arrowMetadata {
		return errArrowMetadata
	}
	defer func() {
		if recover() != nil {
			err = errArrowMetadata
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
		return errArrowMetadata
	}
	views := c.schema(schema)
	c.pairs(footer, 12)
	for _, blocks := range []int{8, 10} { // dictionaries, record batches
		at, n := footer.vector(blocks, 24)
		for i := range n {
			if err := checkBlock(r, b[at+24*i:], footerEnd, &views); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBlock checks the metadata of the message that a block of a footer leads to.
func checkBlock(r io.ReaderAt, block []byte, end int64, views *arrowViews) error {
	offset := int64(binary.LittleEndian.Uint64(block))
	size, body := int64(int32(binary.LittleEndian.Uint32(block[8:]))), int64(binary.LittleEndian.Uint64(block[16:]))
	if offset < 8 || size < 8 || size > arrowMetadata || body < 0 || offset > end-size || body > end-size-offset {
		return errArrowMetadata
	}
	if body > arrowMemory {
		return &arrowLimitError{body, arrowMemory}
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

var errArrowMetadata = errors.New("its metadata is damaged")

// flatTable is a table of a FlatBuffer. Its methods panic where offsets lead out of the buffer.
type flatTable struct {
	b  []byte
	at int
}

func flatRoot(b []byte) flatTable { return flatTable{b, int(binary.LittleEndian.Uint32(b))} }

// slot returns where a field is; ok is false where the table does not have it.
func (t flatTable) slot(field int) (at int, ok bool) {
	fields := t.at - int(int32(binary.LittleEndian.Uint32(t.b[t.at:])))
	if field >= int(binary.LittleEndian.Uint16(t.b[fields:])) {
		return 0, false
	}
	offset := int(binary.LittleEndian.Uint16(t.b[fields+field:]))
	return t.at + offset, offset != 0
}

func (t flatTable) table(field int) (flatTable, bool) {
	at, ok := t.slot(field)
	if !ok {
		return flatTable{}, false
	}
	return t.follow(at), true
}

func (t flatTable) follow(at int) flatTable {
	return flatTable{t.b, at + int(binary.LittleEndian.Uint32(t.b[at:]))}
}

// int64 returns a number, 0 where the table does not have it.
func (t flatTable) int64(field int) int64 {
	at, ok := t.slot(field)
	if !ok {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(t.b[at:]))
}

// vector returns where the n elements of a vector begin; they lie within the buffer.
func (t flatTable) vector(field, width int) (at, n int) {
	v, ok := t.table(field)
	if !ok {
		return 0, 0
	}
	n = int(binary.LittleEndian.Uint32(t.b[v.at:]))
	if n > (len(t.b)-v.at-4)/width {
		panic(errArrowMetadata)
	}
	return v.at + 4, n
}

// flatChecker walks what is read of messages. work bounds the walk, as tables may be shared.
type flatChecker struct{ work int }

func (c *flatChecker) spend(n int) {
	if c.work -= n; c.work < 0 {
		panic(errArrowMetadata)
	}
}

func (c *flatChecker) schema(t flatTable) arrowViews {
	views := arrowViews{dictionaries: map[int64]int{}}
	views.columns = c.children(t, 6, 0, &views)
	c.pairs(t, 8)
	return views
}

// Types with parameters of variable length, and those whose batches have numbers of buffers.
const (
	typeTimestamp  = 10
	typeUnion      = 14
	typeBinaryView = 23
	typeUtf8View   = 24
)

// children checks a vector of fields. It returns how many of them are views, but for those of dictionaries, which it
// notes apart.
func (c *flatChecker) children(t flatTable, field, depth int, views *arrowViews) (n int) {
	if depth > 64 {
		panic(errArrowMetadata)
	}
	at, fields := t.vector(field, 4)
	for i := range fields {
		f := t.follow(at + 4*i)
		c.spend(16)
		c.text(f, 4)
		c.pairs(f, 16)
		own := c.parameters(f) + c.children(f, 14, depth+1, views)
		if dictionary, ok := f.table(12); ok {
			views.dictionaries[dictionary.int64(4)] += own
		} else {
			n += own
		}
	}
	return n
}

// parameters checks what a type has of variable length: the ids of a union, the name of a time zone. It returns 1 for
// a view.
func (c *flatChecker) parameters(f flatTable) int {
	at, ok := f.slot(8)
	if !ok {
		return 0
	}
	kind, _ := f.table(10)
	switch f.b[at] {
	case typeTimestamp:
		c.text(kind, 6)
	case typeUnion:
		_, n := kind.vector(6, 4)
		c.spend(4 * n)
	case typeBinaryView, typeUtf8View:
		return 1
	}
	return 0
}

func (c *flatChecker) text(t flatTable, field int) {
	_, n := t.vector(field, 1)
	c.spend(n)
}

// pairs checks a vector of keys and values.
func (c *flatChecker) pairs(t flatTable, field int) {
	at, n := t.vector(field, 4)
	for i := range n {
		pair := t.follow(at + 4*i)
		c.spend(16)
		c.text(pair, 4)
		c.text(pair, 6)
	}
}

// recordBatch checks the numbers of nodes and buffers, those of views among them.
func (c *flatChecker) recordBatch(t flatTable, views int) {
	t.vector(6, 16)
	_, buffers := t.vector(8, 16)
	at, n := t.vector(12, 8)
	if n < views {
		panic(errArrowMetadata)
	}
	for i := range n {
		if count := binary.LittleEndian.Uint64(t.b[at+8*i:]); count > uint64(buffers) {
			panic(errArrowMetadata)
		}
	}
}
