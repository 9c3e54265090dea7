package rpc

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/online/serving"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// History answers from files; what is wired to a project does.
type History interface {
	// Snapshot returns the definitions to answer by.
	Snapshot(ctx context.Context) (*registry.Snapshot, error)
	// Lookup answers for keys, which are those of the service; rows is their number.
	Lookup(ctx context.Context, service *registry.Service, keys []*columnar.Vector, rows int, at time.Time) (*offline.Answer, error)
	// Explain explains a feature; consumed is nil where no row is there.
	Explain(
		ctx context.Context, view *registry.View, feature int, keys []*columnar.Vector, at time.Time, candidates int,
	) (found *offline.Explanation, consumed *Consumed, err error)
	// Export makes a training set: the request says what of which spine, and where the rows go.
	Export(ctx context.Context, req offline.ExportRequest) (*offline.ExportReport, error)
}

// Consumed is what the runs into a project's online store have made of a row.
type Consumed struct {
	State      string    // "not_online", "never", "pending", "changed", "held", "read"
	Generation uint64    // that serves; 0 for none
	T          time.Time // that it is complete up to
	Run        int64     // that read the file, 0 for none
}

// maxCandidates bounds the rows that Explain lists on each side.
const maxCandidates = 10_000

type offlineService struct {
	pb.UnimplementedOfflineServiceServer
	history History
}

func (s *offlineService) GetHistoricalFeatures(
	ctx context.Context, in *pb.GetHistoricalFeaturesRequest,
) (*pb.GetHistoricalFeaturesResponse, error) {
	at, err := instantOf(in.At)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.history.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	service, err := selected(snapshot, in.Service, in.Features)
	if err != nil {
		return nil, err
	}
	keys, rows, err := boundKeys(in.Keys, service.RequestKeys)
	if err != nil {
		return nil, err
	}
	found, err := s.history.Lookup(ctx, service, keys, rows, at)
	if err != nil {
		return nil, err
	}
	answer := &serving.Answer{
		ReadTime: at.UnixMicro(), Fixed: true, Revision: snapshot.Revision, Rows: rows,
		Columns: found.Columns, Status: found.Status, Outputs: service.Outputs,
	}
	for _, o := range service.Outputs {
		answer.Names = append(answer.Names, o.Name)
	}
	for i, read := range service.Reads {
		answer.Views = append(answer.Views, serving.ViewAnswer{View: read.View.Name, Events: found.Events[i]})
	}
	out := &pb.GetFeaturesResponse{}
	if err := proto.Unmarshal(features{answer}.Append(nil), out); err != nil {
		return nil, err
	}
	return &pb.GetHistoricalFeaturesResponse{Response: out}, nil
}

// selected is what a request asks for.
func selected(snapshot *registry.Snapshot, service string, features []string) (*registry.Service, error) {
	switch {
	case service != "" && len(features) > 0:
		return nil, &problem.Error{Code: problem.Invalid, Message: "a service and features; give one", Field: "features"}
	case service != "":
		return snapshot.FeatureService(service)
	case len(features) > 0:
		return snapshot.AdHoc(features)
	}
	return nil, &problem.Error{Code: problem.Invalid, Message: "no service and no features", Field: "service"}
}

func (s *offlineService) Explain(ctx context.Context, in *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	at, err := instantOf(in.At)
	if err != nil {
		return nil, err
	}
	if in.Candidates < 0 || in.Candidates > maxCandidates {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("%d candidates: want none or up to %d", in.Candidates, maxCandidates), Field: "candidates",
		}
	}
	snapshot, err := s.history.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	view, err := snapshot.FeatureView(in.View)
	if err != nil {
		return nil, err
	}
	feature := view.FeatureIndex(in.Feature)
	if feature < 0 {
		var names []string
		for _, f := range view.Features {
			names = append(names, f.Name)
		}
		return nil, &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("feature view %q has no feature %q", in.View, in.Feature), Field: "feature",
			Suggestion: diag.Suggest(in.Feature, names),
		}
	}
	wanted := make([]registry.RequestKey, len(view.KeyColumns))
	for i, k := range view.KeyColumns {
		wanted[i] = registry.RequestKey{Name: k.Name, Kind: k.Kind}
	}
	keys, rows, err := boundKeys(in.Keys, wanted)
	if err != nil {
		return nil, err
	}
	if rows != 1 {
		return nil, &problem.Error{Code: problem.Invalid, Message: fmt.Sprintf("%d entities; one is explained", rows), Field: "keys"}
	}
	found, consumed, err := s.history.Explain(ctx, view, feature, keys, at, int(in.Candidates))
	if err != nil {
		return nil, err
	}
	out, err := explanationMessage(view, feature, found)
	if err != nil {
		return nil, err
	}
	out.Revision, out.At = snapshot.Revision, at.UnixMicro()
	if consumed != nil {
		out.Online = &pb.Consumed{
			State: consumed.State, Generation: consumed.Generation, T: timestamp(consumed.T), Run: consumed.Run,
		}
	}
	return out, nil
}

// instantOf reads an instant in microseconds, now where there is none.
func instantOf(m *timestamppb.Timestamp) (time.Time, error) {
	t, err := timeOf(m, "at")
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Truncate(time.Microsecond), err
}

// boundKeys are a request's columns in the order of the keys that are wanted, and the number of rows. The rules are those
// of a lookup: by name, each once, of its type or all null.
func boundKeys(in []*pb.KeyColumn, wanted []registry.RequestKey) ([]*columnar.Vector, int, error) {
	names := make([]string, len(wanted))
	for i, k := range wanted {
		names[i] = k.Name
	}
	invalid := func(key, format string, args ...any) error {
		return &problem.Error{Code: problem.Invalid, Message: fmt.Sprintf("key %q ", key) + fmt.Sprintf(format, args...), Field: "keys." + key}
	}
	keys := make([]*columnar.Vector, len(wanted))
	for _, column := range in {
		i := slices.Index(names, column.Name)
		switch {
		case i < 0:
			return nil, 0, unknownName("key", "keys."+column.Name, column.Name, names)
		case keys[i] != nil:
			return nil, 0, invalid(column.Name, "is given twice")
		}
		k := &keyColumn{name: column.Name, int64s: column.Int64S, nulls: column.Nulls}
		if len(column.Strings) > 0 {
			k.offsets = append(k.offsets, 0)
			for _, text := range column.Strings {
				k.data = append(k.data, text...)
				k.offsets = append(k.offsets, uint32(len(k.data)))
			}
		}
		if err := k.fill(); err != nil {
			return nil, 0, err
		}
		keys[i] = &k.vector
	}
	rows := 1
	for i, k := range wanted {
		switch v := keys[i]; {
		case v == nil:
			return nil, 0, invalid(k.Name, "is missing; it is %s", k.Kind)
		case i > 0 && v.Len() != rows:
			return nil, 0, invalid(k.Name, "has %d values where %s has %d", v.Len(), strconv.Quote(names[0]), rows)
		case v.Type == columnar.Type{Kind: k.Kind}:
		case v.NullCount() == v.Len(): // nulls alone, or nothing, are of every type
			keys[i] = columnar.NewVector(columnar.Type{Kind: k.Kind}, v.Len())
			for range v.Len() {
				keys[i].AppendNull()
			}
		default:
			return nil, 0, invalid(k.Name, "is %s, the request has %s values", k.Kind, v.Type)
		}
		rows = keys[i].Len()
	}
	return keys, rows, nil
}

func explanationMessage(view *registry.View, feature int, x *offline.Explanation) (*pb.ExplainResponse, error) {
	value, err := vectorMessage(x.Value)
	if err != nil {
		return nil, err
	}
	out := &pb.ExplainResponse{
		Value: value, Status: pb.CellStatus(x.Status),
		IsDefault:       view.Defaults[feature] != nil && x.Status != columnar.Present && x.Status != columnar.Null,
		HasCreatedTimes: view.Source.CreatedTime != "", NullKey: x.NullKey,
		RowsBefore: x.RowsBefore, RowsAfter: x.RowsAfter, NullEventTimes: x.NullEvents,
		Files: x.Stats.Files, RowsRead: x.Stats.RowsRead, RowsSkipped: x.Stats.RowsSkipped, NullKeys: x.Stats.NullKeys,
		Matching: x.Matching,
	}
	if view.TTLMicros > 0 {
		out.Ttl = durationpb.New(view.TTL)
	}
	if x.First <= x.Last {
		out.FirstEvent, out.LastEvent = &x.First, &x.Last
	}
	for i := range x.Before {
		m, err := explainedMessage(x, &x.Before[i], feature)
		if err != nil {
			return nil, err
		}
		if m.Why = x.Lost[i].Why; m.Why == offline.LostEncoding {
			m.DecidedBy = view.Features[x.Lost[i].Feature].Name
		}
		out.Before = append(out.Before, m)
	}
	for i := range x.After {
		m, err := explainedMessage(x, &x.After[i], feature)
		if err != nil {
			return nil, err
		}
		out.After = append(out.After, m)
	}
	for _, near := range x.NearMisses {
		m := &pb.NearMiss{Rows: near.Rows}
		for i, v := range near.Keys {
			m.Keys = append(m.Keys, keyMessage(view.KeyColumns[i].Name, v))
		}
		out.NearMisses = append(out.NearMisses, m)
	}
	return out, nil
}

func explainedMessage(x *offline.Explanation, c *asof.Candidate, feature int) (*pb.ExplainedRow, error) {
	value, err := vectorMessage(c.Features[feature])
	if err != nil {
		return nil, err
	}
	place := func(p asof.Place) *pb.RowPlace {
		return &pb.RowPlace{File: valid(x.Files[p.File].Path), RowGroup: int32(min(p.Group, math.MaxInt32)), Row: p.Row}
	}
	m := &pb.ExplainedRow{Value: value, EventTime: c.Event, Place: place(c.Place), Copies: c.Copies}
	if c.Created != row.NoCreated {
		m.CreatedTime = &c.Created
	}
	for _, p := range c.CopiesAt {
		m.CopiesAt = append(m.CopiesAt, place(p))
	}
	return m, nil
}

// keyMessage is one key of one entity.
func keyMessage(name string, v *columnar.Vector) *pb.KeyColumn {
	m := &pb.KeyColumn{Name: name}
	if v.Type.Kind == columnar.Int64 {
		m.Int64S = v.Int64s[:1]
	} else {
		m.Strings = []string{strings.ToValidUTF8(string(v.BytesAt(0)), "\uFFFD")}
	}
	return m
}

// vectorMessage is a vector in generated code, by way of the bytes that it has on the wire.
func vectorMessage(v *columnar.Vector) (*pb.Vector, error) {
	m := &pb.Vector{}
	return m, proto.Unmarshal(appendVector(nil, v), m)
}
