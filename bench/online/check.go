package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/raw"
	provenderv1 "github.com/provender-dev/provender/proto/provender/v1"
)

// checkedEntities is how many entities at least are compared per target and workload.
const checkedEntities = 1000

// errUnimplemented: the server does not have the call.
var errUnimplemented = errors.New("the server does not have the call")

// checkAnswers looks entities up and compares every value of the answers with what the seed says.
func (t *target) checkAnswers(ctx context.Context, d lookups.Dataset, w lookups.Workload) error {
	conn, err := loop.Dial(t.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, loop.Patience)
	defer cancel()
	requests := w.Requests(d)[:checkedEntities/w.Entities]
	bodies := make([][]byte, len(requests))
	for i, entities := range requests {
		if bodies[i], err = t.encode(w, entities); err != nil {
			return err
		}
	}
	answers, err := t.answers(ctx, conn, bodies)
	if status.Code(err) == codes.Unimplemented {
		err = errUnimplemented
	}
	for i := range answers {
		if err == nil {
			err = t.check(d, w, requests[i], answers[i])
		}
	}
	if err != nil {
		return fmt.Errorf("%s, %s: %w", t.Title, w.Name, err)
	}
	return nil
}

// answers returns the answers to some requests.
func (t *target) answers(ctx context.Context, conn *grpc.ClientConn, bodies [][]byte) ([][]byte, error) {
	exchange := func(body []byte) ([]byte, error) {
		var out raw.Message
		err := conn.Invoke(ctx, t.Method, &raw.Message{Body: body}, &out)
		return out.Body, err
	}
	if t.Stream {
		stream, err := conn.NewStream(ctx, loop.StreamDescription(), t.Method)
		if err != nil {
			return nil, err
		}
		defer func() { _ = stream.CloseSend() }() // never fails
		exchange = func(body []byte) ([]byte, error) {
			var out raw.Message
			if err := stream.SendMsg(&raw.Message{Body: body}); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			err := stream.RecvMsg(&out)
			return out.Body, err
		}
	}
	answers := make([][]byte, len(bodies))
	for i, body := range bodies {
		var err error
		if answers[i], err = exchange(body); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// column is a feature's values as an answer has them; one of floats and ints is in use.
type column struct {
	floats  []float64
	ints    []int64
	present []bool
}

// compare tells the first difference of an answer's columns from the data.
func compare(d lookups.Dataset, w lookups.Workload, entities []int64, columns map[string]column) error {
	for view := range w.Views {
		var floats, ints [lookups.PerType]column
		for i := range lookups.PerType {
			floats[i], ints[i] = columns[lookups.FloatName(view, i)], columns[lookups.IntName(view, i)]
			if f := floats[i]; len(f.floats) != len(entities) || len(f.present) != len(entities) {
				return fmt.Errorf("feature %s: %d values and %d statuses, want %d", lookups.FloatName(view, i), len(f.floats), len(f.present), len(entities))
			}
			if n := ints[i]; len(n.ints) != len(entities) || len(n.present) != len(entities) {
				return fmt.Errorf("feature %s: %d values and %d statuses, want %d", lookups.IntName(view, i), len(n.ints), len(n.present), len(entities))
			}
		}
		for at, entity := range entities {
			want := d.Row(entity, view)
			for i := range lookups.PerType {
				if got := floats[i]; !got.present[at] || math.Float64bits(got.floats[at]) != math.Float64bits(want.Floats[i]) {
					return fmt.Errorf("entity %d, %s: %v (present: %v), want %v", entity, lookups.FloatName(view, i), got.floats[at], got.present[at], want.Floats[i])
				}
				if got := ints[i]; !got.present[at] || got.ints[at] != want.Ints[i] {
					return fmt.Errorf("entity %d, %s: %d (present: %v), want %d", entity, lookups.IntName(view, i), got.ints[at], got.present[at], want.Ints[i])
				}
			}
		}
	}
	return nil
}

func checkOwn(d lookups.Dataset, w lookups.Workload, entities []int64, answer []byte) error {
	var m provenderv1.GetFeaturesResponse
	if err := proto.Unmarshal(answer, &m); err != nil {
		return err
	}
	return compareOwn(d, w, entities, &m)
}

func checkStreamed(d lookups.Dataset, w lookups.Workload, entities []int64, answer []byte) error {
	var m provenderv1.StreamFeaturesResponse
	if err := proto.Unmarshal(answer, &m); err != nil {
		return err
	}
	return compareOwn(d, w, entities, m.GetResponse())
}

func compareOwn(d lookups.Dataset, w lookups.Workload, entities []int64, m *provenderv1.GetFeaturesResponse) error {
	columns := make(map[string]column, len(m.GetColumns()))
	for _, c := range m.GetColumns() {
		got := column{floats: c.Values.GetFloat64S(), ints: c.Values.GetInt64S()}
		for _, s := range c.Statuses {
			got.present = append(got.present, provenderv1.CellStatus(s) == provenderv1.CellStatus_CELL_STATUS_PRESENT)
		}
		columns[c.Name] = got
	}
	return compare(d, w, entities, columns)
}

// checkFeast reads a GetOnlineFeaturesResponse: metadata = 1 with feature_names = 1 with val = 1; results = 2 with
// values = 1 (int64_val = 4, double_val = 5) and statuses = 2, of which PRESENT is 1.
func checkFeast(d lookups.Dataset, w lookups.Workload, entities []int64, answer []byte) error {
	var names []string
	var results []column
	err := fields(answer, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case 1:
			return fields(value, func(field protowire.Number, value []byte, _ uint64) error {
				if field != 1 {
					return nil
				}
				return fields(value, func(_ protowire.Number, value []byte, _ uint64) error {
					names = append(names, string(value))
					return nil
				})
			})
		case 2:
			c, err := feastColumn(value)
			results = append(results, c)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(names) != len(results) {
		return fmt.Errorf("%d names of %d columns", len(names), len(results))
	}
	columns := make(map[string]column, len(names))
	for i, name := range names {
		columns[name] = results[i]
	}
	return compare(d, w, entities, columns)
}

func feastColumn(message []byte) (c column, err error) {
	err = fields(message, func(field protowire.Number, value []byte, number uint64) error {
		switch {
		case field == 1:
			return fields(value, func(field protowire.Number, _ []byte, number uint64) error {
				switch field {
				case 4:
					c.ints = append(c.ints, int64(number))
				case 5:
					c.floats = append(c.floats, math.Float64frombits(number))
				default:
					return fmt.Errorf("value of field %d", field)
				}
				return nil
			})
		case field == 2 && value == nil: // not packed
			c.present = append(c.present, number == 1)
		case field == 2:
			for len(value) > 0 {
				status, n := protowire.ConsumeVarint(value)
				if n < 0 {
					return protowire.ParseError(n)
				}
				c.present, value = append(c.present, status == 1), value[n:]
			}
		}
		return nil
	})
	return c, err
}

// fields calls visit with each field of a message: its bytes, not nil, or its number.
func fields(message []byte, visit func(field protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
			value = append([]byte{}, value...)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(message)
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(field, value, number); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
