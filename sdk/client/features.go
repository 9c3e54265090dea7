package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"time"
	"unicode/utf8"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Request is one lookup: of a Service, or of Features, for the entities that Keys name.
type Request struct {
	Service  string
	Features []string // "view:feature"
	// Keys has one column per request key, all of one length: one row per entity. None where all views are global; then
	// the answer has one row.
	Keys       []Key
	EventTimes bool // ask for View.EventTimes
	// ReadTime is an instant to read at in place of the server's clock, for rehearsals on old data; zero for none.
	ReadTime time.Time
}

// Key is the values of one request key: integers or strings.
type Key struct {
	Name    string
	Int64s  []int64
	Strings []string
	Nulls   []bool // empty for none, else one per value
}

// Int64s returns an integer key column. It keeps values.
func Int64s(name string, values ...int64) Key { return Key{Name: name, Int64s: values} }

// Strings returns a string key column. It keeps values.
func Strings(name string, values ...string) Key { return Key{Name: name, Strings: values} }

// Null returns the column with null at the given positions. A row with a null key is NotFound in its views.
func (k Key) Null(rows ...int) Key {
	nulls := make([]bool, max(len(k.Int64s), len(k.Strings)))
	copy(nulls, k.Nulls)
	for _, i := range rows {
		nulls[i] = true
	}
	k.Nulls = nulls
	return k
}

// Status says why a cell has the value it has.
type Status uint8

// The statuses.
const (
	StatusInvalid Status = iota
	Present              // a row alive at the read time, its value not null
	Null                 // a row alive at the read time, its value null
	Expired              // the newest row is older than the view's ttl, not than twice that; the value is the default or null
	NotFound             // no row, a null key, or an older row; the value is the default or null
	Damaged              // the stored bytes are damaged; the value is null
)

var statusNames = [...]string{"INVALID", "PRESENT", "NULL", "EXPIRED", "NOT_FOUND", "ERROR"}

// String returns the status as every output of Provender writes it: "NOT_FOUND", and "ERROR" for Damaged.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return statusNames[StatusInvalid]
}

// Response is one column per feature, with one value per row of the request, in its order.
type Response struct {
	ReadTime time.Time // the instant that ttl was judged at
	Fixed    bool      // the read time was fixed, by the server's --now or by the request
	Revision int64     // of the definitions that answered
	Rows     int
	Columns  []Column
	Views    []View
}

// Column is the values of one feature, and their statuses.
type Column struct {
	Name string // in the service, or of the feature
	View int    // index into Response.Views
	Values
	statuses []Status
}

// Status returns the status of a row's cell.
func (c *Column) Status(row int) Status { return c.statuses[row] }

// Statuses returns the statuses of all rows, shared with the response as Values are.
func (c *Column) Statuses() []Status { return c.statuses }

// View tells which data answered for one view under one binding of its keys.
type View struct {
	Name       string
	Generation uint64
	T          time.Time // the generation holds the newest rows up to this instant
	// EventTimes has the event time of the row read, the zero time for none; nil unless asked for.
	EventTimes []time.Time
}

// Column returns the column of a name, nil if there is none.
func (r *Response) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// GetFeatures looks features up. The error is an *Error.
func (c *Client) GetFeatures(ctx context.Context, req Request) (*Response, error) {
	in, err := req.message()
	if err != nil {
		return nil, err
	}
	var a answer
	if err := c.conn.Invoke(ctx, pb.OnlineService_GetFeatures_FullMethodName, in, &a, answerOptions...); err != nil {
		return nil, errorOf(err)
	}
	return a.response, a.err
}

// StreamFeatures looks many entities up, request by request, each of some hundreds or thousands of them: the responses
// come in the requests' order, while later requests are on their way. Memory is bounded on both sides by a few requests
// and responses. An error, which is an *Error, ends the sequence; so does the caller's loop.
//
// requests is iterated in another goroutine, which may ask for one more after the sequence has ended.
func (c *Client) StreamFeatures(ctx context.Context, requests iter.Seq[Request]) iter.Seq2[*Response, error] {
	return func(yield func(*Response, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.conn.NewStream(ctx, &pb.OnlineService_ServiceDesc.Streams[0],
			pb.OnlineService_StreamFeatures_FullMethodName, answerOptions...)
		if err != nil {
			yield(nil, errorOf(err))
			return
		}
		refused := make(chan error, 1) // of a request that can't be sent
		go func() {
			for req := range requests {
				in, err := req.message()
				if err != nil {
					refused <- err
					cancel()
					return
				}
				if stream.SendMsg(&pb.StreamFeaturesRequest{Request: in}) != nil {
					return // Recv tells why
				}
			}
			_ = stream.CloseSend() // never fails
		}()
		for {
			a := answer{wrapped: true}
			err := stream.RecvMsg(&a)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				select {
				case err = <-refused:
				default:
					err = errorOf(err)
				}
				yield(nil, err)
				return
			}
			if !yield(a.response, a.err) || a.err != nil {
				return
			}
		}
	}
}

// message returns the request as it travels.
func (req *Request) message() (*pb.GetFeaturesRequest, error) {
	in := &pb.GetFeaturesRequest{Service: req.Service, Features: req.Features, EventTimes: req.EventTimes}
	if !req.ReadTime.IsZero() {
		t := req.ReadTime.UnixMicro()
		in.ReadTime = &t
	}
	for _, k := range req.Keys {
		for _, s := range k.Strings {
			if !utf8.ValidString(s) {
				return nil, &Error{Code: CodeInvalid, Message: "key " + k.Name + " has a value that is not UTF-8", Field: "keys." + k.Name}
			}
		}
		in.Keys = append(in.Keys, &pb.KeyColumn{Name: k.Name, Int64S: k.Int64s, Strings: k.Strings, Nulls: k.Nulls})
	}
	return in, nil
}

// check tells whether the parts of r fit together.
func (r *Response) check() error {
	for i := range r.Columns {
		c := &r.Columns[i]
		if err := c.check(); err != nil {
			return err
		}
		switch {
		case c.n != r.Rows || len(c.statuses) != r.Rows:
			return malformed("column " + c.Name + " has not one value and status per row")
		case c.View >= len(r.Views):
			return malformed("column " + c.Name + " is of no view")
		}
	}
	for i := range r.Views {
		if v := &r.Views[i]; len(v.EventTimes) > 0 && len(v.EventTimes) != r.Rows {
			return malformed("view " + v.Name + " has not one event time per row")
		}
	}
	return nil
}

// microsTime returns an instant in microseconds since 1970.
func microsTime(us int64) time.Time { return time.UnixMicro(us).UTC() }

// eventTime is microsTime of the event time of a row, which is the smallest number for none.
func eventTime(us int64) time.Time {
	if us == math.MinInt64 {
		return time.Time{}
	}
	return microsTime(us)
}
