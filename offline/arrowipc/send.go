package arrowipc

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// firstRows are sent first, to see how many fit. No message has more than mostRows, however narrow they are.
const firstRows, mostRows = 1 << 10, 1 << 17

// Sender sends record batches as messages of Arrow IPC, in pieces that a message may hold. Not safe for concurrent use.
type Sender struct {
	writer *ipc.Writer
	limit  int
	send   func(metadata, body []byte) error
	step   int64 // rows to send at once
	some   int64 // rows that are being sent
	size   int   // bytes that they take
	body   buffer
}

// NewSender returns a sender of messages whose bodies have at most limit bytes. A single row may take more, and so may a
// dictionary. What send is given is used again once it has returned; its error ends the sending.
func NewSender(schema *arrow.Schema, limit int, send func(metadata, body []byte) error) *Sender {
	s := &Sender{limit: limit, send: send, step: firstRows}
	s.writer = ipc.NewWriterWithPayloadWriter(payloads{s}, ipc.WithSchema(schema))
	return s
}

// Write sends rows; before the first, the schema.
func (s *Sender) Write(rows arrow.RecordBatch) error {
	for at, n := int64(0), rows.NumRows(); at < n; {
		s.some = min(n-at, s.step)
		piece := rows.NewSlice(at, at+s.some)
		err := s.writer.Write(piece)
		piece.Release()
		if err != nil {
			return err
		}
		if s.fits() {
			at += s.some
		}
		s.step = max(1, min(mostRows, s.some*int64(s.limit)/int64(max(1, s.size))*15/16))
	}
	return nil
}

// fits reports whether the rows that are being sent go with one message.
func (s *Sender) fits() bool { return s.size <= s.limit || s.some == 1 }

// Close sends the schema where there were no rows.
func (s *Sender) Close() error { return s.writer.Close() }

// payloads takes what ipc.Writer makes of batches.
type payloads struct{ *Sender }

// Start implements ipc.PayloadWriter.
func (p payloads) Start() error { return nil }

// WritePayload implements ipc.PayloadWriter. Rows that do not fit are left out: ipc.Writer takes none after an error.
func (p payloads) WritePayload(payload ipc.Payload) error {
	meta := payload.Meta()
	defer meta.Release()
	p.body = p.body[:0]
	if err := payload.SerializeBody(&p.body); err != nil {
		return err
	}
	if isRecordBatch(meta.Bytes()) {
		if p.size = len(p.body); !p.fits() {
			return nil
		}
	}
	return p.send(meta.Bytes(), p.body)
}

// Close implements ipc.PayloadWriter.
func (p payloads) Close() error { return nil }

// buffer keeps what is written.
type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
