package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/rpc/wire"
)

// streamLookups is how many requests of one stream are looked up at a time.
const streamLookups = 4

func handleStreamFeatures(srv any, stream grpc.ServerStream) error {
	return srv.(lookupHandler).streamFeatures(stream)
}

// streamed is an answer on its way, in the place of its request.
type streamed struct {
	done  chan struct{}
	reply *wire.Reply
	err   error
}

// streamFeatures answers the requests of a stream in their order, streamLookups at a time. Memory is bounded by as many
// requests and answers: no request is taken before there is room for its answer.
func (s *onlineService) streamFeatures(stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel() // ends the lookups; the end of the call ends the receiver
	answers := make(chan *streamed, streamLookups-1)
	var received error
	go func() {
		defer close(answers)
		received = caught(func() error { return s.receive(ctx, stream, answers) })
	}()
	for a := range answers {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if a.err != nil {
			return a.err
		}
		if err := stream.SendMsg(a.reply); err != nil {
			return err
		}
	}
	return received
}

// receive takes requests and starts their lookups, each when its turn has come, until the client has sent its last. While
// nothing is asked or no answer is taken, the stream has no turn.
func (s *onlineService) receive(ctx context.Context, stream grpc.ServerStream, answers chan<- *streamed) error {
	for {
		in := requests.Get().(*featuresRequest)
		if err := stream.RecvMsg(&in.received); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		a := &streamed{done: make(chan struct{})}
		select {
		case answers <- a:
		case <-ctx.Done():
			in.received.Free()
			return ctx.Err()
		}
		called, end := calls.Message(ctx)
		turn, err := s.admission.Enter(called, admission.Call{
			Keys: in.received.Sizes(messageField, keysField), Bytes: in.received.Size(), Stream: true,
		})
		if err != nil {
			in.received.Free()
			end(codeOf(err))
			a.err = err
			close(a.done)
			return nil // the error is the answer
		}
		go func() {
			defer close(a.done)
			defer turn.Release()
			a.err = caught(func() (err error) {
				a.reply, err = s.answerStreamed(called, in)
				return err
			})
			end(codeOf(a.err))
		}()
	}
}

func (s *onlineService) answerStreamed(ctx context.Context, in *featuresRequest) (*wire.Reply, error) {
	defer in.release()
	if err := in.received.Decode(streamRequest{in}); err != nil {
		return nil, err
	}
	answer, err := s.answer(ctx, in)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	return wire.Encode(streamResponse{features{answer}})
}

// streamRequest is a StreamFeaturesRequest.
type streamRequest struct{ *featuresRequest }

// Decode implements wire.Request.
func (r streamRequest) Decode(b []byte) error {
	var inner []byte
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return errMalformed
		}
		if field == 1 && kind == protowire.BytesType {
			inner, _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return r.featuresRequest.Decode(inner)
}

// streamResponse is a StreamFeaturesResponse.
type streamResponse struct{ features }

// Size implements wire.Message.
func (m streamResponse) Size() int { return sizeBytes(m.features.Size()) }

// Append implements wire.Message.
func (m streamResponse) Append(b []byte) []byte {
	return m.features.Append(appendLead(b, 1, m.features.Size()))
}
