package rpc

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/internal/problem"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// The fields of Arrow Flight's FlightData and FlightDescriptor.
const (
	dataDescriptor = 1
	dataHeader     = 2
	dataMetadata   = 3
	dataBody       = 1000

	descriptorType    = 1
	descriptorCommand = 2
	typeCommand       = 2
)

// flightData is a FlightData that came.
type flightData struct {
	descriptor []byte // encoded
	header     []byte // the metadata of a message of Arrow IPC
	body       []byte // of that message
}

// Decode implements wire.Request.
func (d *flightData) Decode(b []byte) error {
	return consume(slices.Clone(b), func(field protowire.Number, _ uint64, value []byte) {
		switch field {
		case dataDescriptor:
			d.descriptor = value
		case dataHeader:
			d.header = value
		case dataBody:
			d.body = value
		}
	})
}

// consume calls use with the fields of a message that are varints or bytes.
func consume(b []byte, use func(field protowire.Number, number uint64, value []byte)) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return errMalformed
		}
		switch kind {
		case protowire.VarintType:
			number, _ := protowire.ConsumeVarint(b)
			use(field, number, nil)
		case protowire.BytesType:
			value, _ := protowire.ConsumeBytes(b)
			use(field, 0, value)
		}
		b = b[n:]
	}
	return nil
}

// command returns what the first message of a call asks for.
func (d *flightData) command() (*pb.ExportCommand, error) {
	kind, text := uint64(0), []byte(nil)
	err := consume(d.descriptor, func(field protowire.Number, number uint64, value []byte) {
		switch field {
		case descriptorType:
			kind = number
		case descriptorCommand:
			text = value
		}
	})
	if err != nil {
		return nil, err
	}
	if kind != typeCommand {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: "the first message has no descriptor with a command", Field: "descriptor",
			Suggestion: `in pyarrow: FlightDescriptor.for_command('{"service": "…", "time": "…"}')`,
		}
	}
	command := &pb.ExportCommand{}
	if err := protojson.Unmarshal(text, command); err != nil {
		return nil, commandProblem(command, err)
	}
	return command, nil
}

// commandProblem tells what is wrong with a command: a field that there is not, or what the library says, in which it
// changes spaces at random.
func commandProblem(command proto.Message, err error) error {
	all := command.ProtoReflect().Descriptor().Fields()
	fields := make([]string, all.Len())
	for i := range fields {
		fields[i] = string(all.Get(i).Name())
	}
	what := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	if _, quoted, ok := strings.Cut(what, "unknown field "); ok {
		if name, err := strconv.Unquote(quoted); err == nil {
			return unknownName("field of the command", name, name, fields)
		}
	}
	return &problem.Error{
		Code: problem.Invalid, Message: "the descriptor's command is not JSON as it should be: " + what, Field: "descriptor",
		Suggestion: "its fields are " + strings.Join(fields, ", "), Err: err,
	}
}

// flightAnswer is a FlightData that is sent: a message of Arrow IPC, or metadata of the application alone.
type flightAnswer struct {
	header    []byte
	metadata  []byte
	payload   *ipc.Payload // nil for none
	bodyBytes int          // of payload
}

// Size implements wire.Message.
func (a *flightAnswer) Size() int {
	n := 0
	for _, part := range [][]byte{a.header, a.metadata} {
		if len(part) > 0 {
			n += sizeBytes(len(part))
		}
	}
	if a.bodyBytes > 0 {
		n += protowire.SizeTag(dataBody) + protowire.SizeBytes(a.bodyBytes)
	}
	return n
}

// Append implements wire.Message.
func (a *flightAnswer) Append(b []byte) []byte {
	if len(a.header) > 0 {
		b = append(appendLead(b, dataHeader, len(a.header)), a.header...)
	}
	if len(a.metadata) > 0 {
		b = append(appendLead(b, dataMetadata, len(a.metadata)), a.metadata...)
	}
	if a.bodyBytes > 0 {
		grown := appender(appendLead(b, dataBody, a.bodyBytes))
		_ = a.payload.SerializeBody(&grown) // which has no errors
		b = grown
	}
	return b
}

// appender appends what is written.
type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

// counter counts what is written.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
