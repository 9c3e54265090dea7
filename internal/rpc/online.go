package rpc

import (
	"context"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// onlineServiceDesc is the generated description with a handler that returns a reply instead of a message, so that the
// codec knows when the answer's memory is free.
var onlineServiceDesc = func() grpc.ServiceDesc {
	desc := pb.OnlineService_ServiceDesc
	desc.HandlerType = (*lookupHandler)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "GetFeatures", Handler: handleGetFeatures}}
	return desc
}()

type lookupHandler interface {
	getFeatures(ctx context.Context, req *pb.GetFeaturesRequest) (*reply, error)
}

func handleGetFeatures(
	srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor, //nolint:revive // gRPC's order
) (any, error) {
	in := new(pb.GetFeaturesRequest)
	if err := decode(in); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, req any) (any, error) {
		return srv.(lookupHandler).getFeatures(ctx, req.(*pb.GetFeaturesRequest))
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: pb.OnlineService_GetFeatures_FullMethodName}
	return interceptor(ctx, in, info, call)
}

type onlineService struct {
	lookups Lookups
	replies sync.Pool // of *reply
}

func (s *onlineService) getFeatures(ctx context.Context, in *pb.GetFeaturesRequest) (*reply, error) {
	req := serving.Request{Service: in.Service, Features: in.Features, Events: in.EventTimes}
	if in.ReadTime != nil {
		req.ReadTime = time.UnixMicro(*in.ReadTime)
	}
	req.KeyNames = make([]string, 0, len(in.Keys))
	req.Keys = make([]*columnar.Vector, 0, len(in.Keys))
	for _, k := range in.Keys {
		v, err := keyVector(k)
		if err != nil {
			return nil, err
		}
		req.KeyNames, req.Keys = append(req.KeyNames, k.Name), append(req.Keys, v)
	}
	answer, err := s.lookups.Lookup(ctx, &req)
	if err != nil {
		return nil, err
	}
	r, _ := s.replies.Get().(*reply)
	if r == nil {
		r = &reply{pool: &s.replies}
	}
	r.fill(answer)
	return r, nil
}

// keyVector returns a request's key column as a vector, sharing its integers.
func keyVector(k *pb.KeyColumn) (*columnar.Vector, error) {
	invalid := func(text string) error {
		return &problem.Error{Code: problem.Invalid, Message: "key " + strconv.Quote(k.Name) + " " + text, Field: "keys." + k.Name}
	}
	if len(k.Int64S) > 0 && len(k.Strings) > 0 {
		return nil, invalid("has integers and strings; a key has one type")
	}
	n := max(len(k.Int64S), len(k.Strings))
	if len(k.Nulls) != 0 && len(k.Nulls) != n {
		return nil, invalid("has different numbers of values and null marks: " + strconv.Itoa(n) + " and " + strconv.Itoa(len(k.Nulls)))
	}
	v := &columnar.Vector{Type: columnar.Type{Kind: columnar.Int64}, Int64s: k.Int64S}
	if len(k.Strings) > 0 {
		size := 0
		for _, s := range k.Strings {
			size += len(s)
		}
		v = &columnar.Vector{
			Type:    columnar.Type{Kind: columnar.String},
			Offsets: append(make([]uint32, 0, n+1), 0), Data: make([]byte, 0, size),
		}
		for _, s := range k.Strings {
			v.Data = append(v.Data, s...)
			v.Offsets = append(v.Offsets, uint32(len(v.Data)))
		}
	}
	for i, null := range k.Nulls {
		v.Valid = v.Valid.Append(i, !null)
	}
	v.SetLen(n)
	return v, nil
}

// reply is an answer as a message that shares its memory. The codec releases it.
type reply struct {
	message  pb.GetFeaturesResponse
	answer   *serving.Answer
	pool     *sync.Pool
	columns  []pb.FeatureColumn
	vectors  []pb.Vector // per column: its values, then the elements of lists
	views    []pb.ViewRead
	statuses []byte
}

// fill makes r the message of an answer, which r owns from now on.
func (r *reply) fill(a *serving.Answer) {
	r.answer = a
	n := len(a.Columns)
	m := &r.message
	m.ReadTime, m.FixedReadTime, m.Revision, m.Rows = a.ReadTime, a.Fixed, a.Revision, uint32(a.Rows)
	if cap(r.columns) < n {
		r.columns, r.vectors = make([]pb.FeatureColumn, n), make([]pb.Vector, 2*n)
		m.Columns = make([]*pb.FeatureColumn, 0, n)
	}
	if cap(r.views) < len(a.Views) {
		r.views, m.Views = make([]pb.ViewRead, len(a.Views)), make([]*pb.ViewRead, 0, len(a.Views))
	}
	if cap(r.statuses) < n*a.Rows {
		r.statuses = make([]byte, 0, n*a.Rows)
	}
	r.statuses, m.Columns, m.Views = r.statuses[:0], m.Columns[:0], m.Views[:0]
	for i, v := range a.Columns {
		start := len(r.statuses)
		for _, s := range a.Status[i] {
			r.statuses = append(r.statuses, byte(s))
		}
		c := &r.columns[:n][i]
		c.Name, c.View, c.Values = a.Names[i], uint32(a.Outputs[i].Read), &r.vectors[:2*n][2*i]
		c.Statuses = r.statuses[start:len(r.statuses):len(r.statuses)]
		fillVector(c.Values, v, &r.vectors[:2*n][2*i+1])
		m.Columns = append(m.Columns, c)
	}
	for i, v := range a.Views {
		w := &r.views[:len(a.Views)][i]
		w.View, w.Generation, w.T, w.EventTimes = v.View, uint64(v.Generation), v.T, v.Events
		m.Views = append(m.Views, w)
	}
}

// fillVector points m at v's values, and elements at those of its lists.
func fillVector(m *pb.Vector, v *columnar.Vector, elements *pb.Vector) {
	m.Type, m.List, m.Length, m.Validity = pb.ValueType(v.Type.Kind), v.Type.List, uint32(v.Len()), v.Valid
	m.Bools, m.Int32S, m.Int64S = v.Bools, v.Int32s, v.Int64s
	m.Float32S, m.Float64S, m.Offsets, m.Data = v.Float32s, v.Float64s, v.Offsets, v.Data
	m.Elements = nil
	if v.Elem != nil {
		m.Elements = elements
		fillVector(elements, v.Elem, nil)
	}
}

// maxPooledCells bounds the statuses that a reply keeps for the next answer.
const maxPooledCells = 1 << 18

// release gives the answer's memory back. Called once, after the message was encoded.
func (r *reply) release() {
	for _, c := range r.message.Columns {
		c.Values.Validity, c.Values.Data, c.Values.Elements = nil, nil, nil
		c.Values.Bools, c.Values.Int32S, c.Values.Int64S = nil, nil, nil
		c.Values.Float32S, c.Values.Float64S, c.Values.Offsets = nil, nil, nil
	}
	for _, v := range r.message.Views {
		v.EventTimes = nil
	}
	r.answer.Release()
	r.answer = nil
	if cap(r.statuses) <= maxPooledCells {
		r.pool.Put(r)
	}
}
