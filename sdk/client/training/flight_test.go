package training

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/sdk/client"
)

// recorded is a connection and a call of it that takes anything, and answers what is recorded.
type recorded struct {
	grpc.ClientStream
	answers []flightData
	sent    []flightData
}

func (r *recorded) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return io.EOF }

func (r *recorded) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return r, nil
}

func (r *recorded) SendMsg(m any) error {
	r.sent = append(r.sent, *m.(*flightData))
	return nil
}

func (r *recorded) CloseSend() error { return nil }

func (r *recorded) RecvMsg(m any) error {
	if len(r.answers) == 0 {
		return io.EOF
	}
	*m.(*flightData) = r.answers[0]
	r.answers = r.answers[1:]
	return nil
}

// table is a spine, and what answers it as well.
func table(t testing.TB) array.RecordReader {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32)},
		{Name: "words", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 5 {
		b.Field(0).(*array.StringBuilder).Append("text"[:i%4])
		b.Field(1).(*array.ListBuilder).Append(true)
		b.Field(1).(*array.ListBuilder).ValueBuilder().(*array.Int32Builder).Append(int32(i))
		if err := b.Field(2).(*array.BinaryDictionaryBuilder).AppendString([]string{"a", "b"}[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := array.NewRecordReader(schema, []arrow.RecordBatch{b.NewRecordBatch()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answersOf are the messages of a table, and the last one.
func answersOf(t testing.TB) []flightData {
	conn := &recorded{}
	s := &stream{call: conn}
	if err := s.sendSpine([]byte("{}"), table(t)); err != nil {
		t.Fatal(err)
	}
	return append(conn.sent, flightData{metadata: []byte(`{"done": {"rows": "5", "manifest": "{}", "later": 1}}`)})
}

// receive takes a set in, and reads every value of it.
func receive(t testing.TB, answers []flightData) (rows int64, err error) {
	set, err := Export(t.Context(), client.New(&recorded{answers: answers}), Request{Progress: func(Progress) {}}, table(t))
	if err != nil {
		return 0, err
	}
	defer set.Close()
	for batch, err := range set.Batches() {
		if err != nil {
			return rows, err
		}
		rows += batch.NumRows()
	}
	return rows, nil
}

// TestAnswers: whatever the messages of an answer are, there is a set or an error, and no panic.
func TestAnswers(t *testing.T) {
	whole := answersOf(t)
	if n, err := receive(t, whole); n != 5 || err != nil || len(whole) != 4 {
		t.Fatalf("%d rows of %d messages, %v", n, len(whole), err)
	}
	for i := range whole {
		cut := append(append([]flightData{}, whole[:i]...), whole[i+1:]...)
		if _, err := receive(t, cut); i != 2 && !isMalformed(err) { // without its rows it has none
			t.Errorf("without message %d: %v", i, err)
		}
		if _, err := receive(t, whole[:i]); !isMalformed(err) {
			t.Errorf("%d messages: %v", i, err)
		}
	}
	if _, err := receive(t, append([]flightData{{metadata: []byte("[1]")}}, whole...)); !isMalformed(err) {
		t.Errorf("metadata that is none: %v", err)
	}
	rnd := testenv.Rand(t)
	for range 3000 {
		spoilt := append([]flightData{}, whole...)
		m := &spoilt[rnd.IntN(len(spoilt))]
		for _, part := range []*[]byte{&m.header, &m.body, &m.metadata} {
			if len(*part) > 0 && rnd.IntN(2) == 0 {
				*part = bytes.Clone(*part)
				(*part)[rnd.IntN(len(*part))] = byte(rnd.IntN(256))
			}
		}
		if _, err := receive(t, spoilt); err != nil && !isMalformed(err) {
			t.Fatalf("%#v", err)
		}
	}
}

func isMalformed(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == client.CodeInternal
}

// TestFlightData: what is sent is what is received, in any pieces; anything else is an error.
func TestFlightData(t *testing.T) {
	c := newCodec()
	parts, err := c.Marshal(&flightData{command: []byte("{}"), header: []byte("head"), body: []byte("the body")})
	if err != nil {
		t.Fatal(err)
	}
	whole := parts.Materialize()
	for i := range whole {
		var m flightData
		pieces := mem.BufferSlice{mem.SliceBuffer(whole[:i]), mem.SliceBuffer(whole[i:])}
		if err := c.Unmarshal(pieces, &m); err != nil || string(m.header) != "head" || string(m.body) != "the body" {
			t.Fatalf("%+v, %v", m, err)
		}
		_ = (&flightData{}).decode(whole[:i]) // an error, or less
	}
	for _, b := range []string{"\x00", "\x0a\xff", "\x12\x04abc", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0b"} {
		if (&flightData{}).decode([]byte(b)) == nil {
			t.Errorf("%q is taken", b)
		}
	}
	if _, err := c.Marshal("text"); err == nil {
		t.Error("text is sent")
	}
	if c.Unmarshal(nil, new(string)) == nil {
		t.Error("text is received")
	}
}

var _ ipc.MessageReader = (*stream)(nil)
