package client

import (
	"context"
	"time"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// GetHistoricalFeatures looks features up as they were known at an instant (zero: now), from the server's files, and
// needs no online store. Event times are in the response, generations are not; req.EventTimes and req.ReadTime play no part.
func (c *Client) GetHistoricalFeatures(ctx context.Context, req Request, at time.Time) (*Response, error) {
	in, err := req.message()
	if err != nil {
		return nil, err
	}
	a := answer{wrapped: true}
	err = c.conn.Invoke(ctx, pb.OfflineService_GetHistoricalFeatures_FullMethodName, &pb.GetHistoricalFeaturesRequest{
		Service: in.Service, Features: in.Features, Keys: in.Keys, At: timestamp(at),
	}, &a, answerOptions...)
	if err != nil {
		return nil, errorOf(err)
	}
	return a.response, a.err
}

// ExplainRequest names a feature, an entity and an instant.
type ExplainRequest struct {
	View, Feature string
	Keys          []Key     // of one value each
	At            time.Time // zero: now
	Candidates    int       // other rows to list, up to the instant and after it
}

// Explanation tells which row of history answers, and why the rows beside it do not.
type Explanation struct {
	Revision        int64
	At              time.Time
	Value           *Values // one value, the default filled in
	Status          Status
	IsDefault       bool           // the value is the feature's default
	TTL             time.Duration  // 0: the view's rows never expire
	HasCreatedTimes bool           // the source has created times
	NullKey         bool           // a key is null, which is no entity's: no file was read
	Before          []ExplainedRow // up to the instant, the greatest first: it answers, if it is not too old
	After           []ExplainedRow // the earliest first
	RowsBefore      int64          // of the entity, listed or not
	RowsAfter       int64
	NullEventTimes  int64
	Files           int64 // of the source
	RowsRead        int64
	RowsSkipped     int64 // by statistics of keys
	NullKeys        int64
	FirstEvent      time.Time // of the source; zero where it has no row
	LastEvent       time.Time
	Matching        []int64    // where the entity has no row: per key in the view's order, the rows that have its value
	NearMisses      []NearMiss // where the entity has no row: keys that may have been meant
	Online          *Consumed  // what runs have made of the first row; nil where there is none
}

// ExplainedRow is a row of the entity.
type ExplainedRow struct {
	Value       *Values // one value
	EventTime   time.Time
	CreatedTime time.Time // zero for none
	Place       RowPlace
	Copies      int64      // rows that equal it in everything
	CopiesAt    []RowPlace // the first of them
	Why         string     // it does not answer: "older_event_time", "earlier_created_time", "smaller_encoding"; else ""
	DecidedBy   string     // with smaller_encoding: the feature whose bytes decide
}

// RowPlace is where a row lies, counted from 0.
type RowPlace struct {
	File     string
	RowGroup int
	Row      int64 // in the file
}

// NearMiss is a key that may have been meant.
type NearMiss struct {
	Keys []Key // of one value each, in the view's order
	Rows int64
}

// Consumed is what runs into the online store have made of a row.
type Consumed struct {
	State      string    // "not_online", "never", "pending", "changed", "held", "read"
	Generation uint64    // that serves; 0 for none
	T          time.Time // that it is complete up to
	Run        int64     // that read the file; 0 for none
}

// Explain tells why a feature has the value that it has for one entity at an instant.
func (c *Client) Explain(ctx context.Context, req ExplainRequest) (*Explanation, error) {
	keys, err := (&Request{Keys: req.Keys}).message()
	if err != nil {
		return nil, err
	}
	m, err := c.offline.Explain(ctx, &pb.ExplainRequest{
		View: req.View, Feature: req.Feature, Keys: keys.Keys, At: timestamp(req.At),
		Candidates: int32(min(req.Candidates, maxInt32)),
	}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	x := &Explanation{
		Revision: m.Revision, At: microsTime(m.At), Status: Status(m.Status), IsDefault: m.IsDefault,
		TTL: m.Ttl.AsDuration(), HasCreatedTimes: m.HasCreatedTimes, NullKey: m.NullKey, RowsBefore: m.RowsBefore,
		RowsAfter: m.RowsAfter, NullEventTimes: m.NullEventTimes, Files: m.Files, RowsRead: m.RowsRead,
		RowsSkipped: m.RowsSkipped, NullKeys: m.NullKeys, FirstEvent: microsOf(m.FirstEvent), LastEvent: microsOf(m.LastEvent),
		Matching: m.Matching,
	}
	if x.Value, err = oneValueOf(m.Value); err != nil {
		return nil, err
	}
	if x.Before, err = explainedOf(m.Before); err != nil {
		return nil, err
	}
	if x.After, err = explainedOf(m.After); err != nil {
		return nil, err
	}
	for _, near := range m.NearMisses {
		miss := NearMiss{Rows: near.Rows}
		for _, k := range near.Keys {
			miss.Keys = append(miss.Keys, Key{Name: k.Name, Int64s: k.Int64S, Strings: k.Strings, Nulls: k.Nulls})
		}
		x.NearMisses = append(x.NearMisses, miss)
	}
	if o := m.Online; o != nil {
		x.Online = &Consumed{State: o.State, Generation: o.Generation, T: timeOf(o.T), Run: o.Run}
	}
	return x, nil
}

func explainedOf(list []*pb.ExplainedRow) ([]ExplainedRow, error) {
	var out []ExplainedRow
	for _, m := range list {
		value, err := oneValueOf(m.Value)
		if err != nil {
			return nil, err
		}
		e := ExplainedRow{
			Value: value, EventTime: microsTime(m.EventTime), CreatedTime: microsOf(m.CreatedTime), Place: placeOf(m.Place),
			Copies: m.Copies, Why: m.Why, DecidedBy: m.DecidedBy,
		}
		for _, p := range m.CopiesAt {
			e.CopiesAt = append(e.CopiesAt, placeOf(p))
		}
		out = append(out, e)
	}
	return out, nil
}

func oneValueOf(m *pb.Vector) (*Values, error) {
	v, err := valuesOf(m)
	if err == nil && v.n != 1 {
		return nil, malformed("not one value")
	}
	return v, err
}

func placeOf(m *pb.RowPlace) RowPlace {
	return RowPlace{File: m.GetFile(), RowGroup: int(m.GetRowGroup()), Row: m.GetRow()}
}

// microsOf returns an optional time, zero where it is not set.
func microsOf(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return microsTime(*us)
}
