package client_test

import (
	"context"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// past is a history that answers with what it was asked.
type past struct {
	t        *testing.T
	snapshot *registry.Snapshot
	keys     []*columnar.Vector
	at       time.Time
}

func (p *past) Snapshot(context.Context) (*registry.Snapshot, error) { return p.snapshot, nil }

func (p *past) Lookup(
	_ context.Context, service *registry.Service, keys []*columnar.Vector, rows int, at time.Time,
) (*offline.Answer, error) {
	p.keys, p.at = keys, at
	a := &offline.Answer{}
	for _, o := range service.Outputs {
		v := columnar.NewVector(service.Reads[o.Read].View.Features[o.Feature].Type, rows)
		for range rows {
			v.AppendNull()
		}
		a.Columns, a.Status = append(a.Columns, v), append(a.Status, slices.Repeat([]columnar.Status{columnar.Expired}, rows))
	}
	for range service.Reads {
		events := slices.Repeat([]int64{noon.UnixMicro()}, rows)
		if rows > 1 {
			events[1] = math.MinInt64
		}
		a.Events = append(a.Events, events)
	}
	return a, nil
}

func (p *past) Explain(
	_ context.Context, view *registry.View, feature int, keys []*columnar.Vector, at time.Time, _ int,
) (*offline.Explanation, *rpc.Consumed, error) {
	p.keys, p.at = keys, at
	cells := make([]*columnar.Vector, len(view.Features))
	cells[feature] = parse(p.t, view.Features[feature].Type, "5")
	first := asof.Candidate{Place: asof.Place{Group: 2, Row: 7}, Event: 10, Created: row.NoCreated, Features: cells}
	second := first
	second.Created, second.Copies, second.CopiesAt = 9, 1, []asof.Place{{Row: 8}}
	return &offline.Explanation{
		Status: columnar.Present, Value: cells[feature], Files: []source.File{{Path: "a\xff.parquet"}},
		Lost: []offline.Loss{{}, {Why: offline.LostEncoding, Feature: feature}},
		Explanation: &asof.Explanation{
			Before: []asof.Candidate{first, second}, RowsBefore: 2, First: -5, Last: math.MaxInt64, Matching: []int64{3},
			NearMisses: []asof.NearMiss{{Keys: []*columnar.Vector{parse(p.t, columnar.Type{Kind: columnar.String}, `"jfk"`)}, Rows: 4}},
		},
	}, &rpc.Consumed{State: "held", Generation: 3, T: noon, Run: 9}, nil
}

func (p *past) Export(context.Context, offline.ExportRequest) (*offline.ExportReport, error) {
	return nil, problem.New(problem.Precondition, "no export here")
}

func pastClient(t *testing.T) (*past, *client.Client) {
	snapshot, err := registry.Compile(3, definitions())
	must(t, err)
	p := &past{t: t, snapshot: snapshot}
	return p, dial(t, rpc.Services{History: p}, io.Discard)
}

// TestHistoricalFeatures: keys come typed and in the service's order, whatever the request's; the answer is a lookup's.
func TestHistoricalFeatures(t *testing.T) {
	p, c := pastClient(t)
	answer, err := c.GetHistoricalFeatures(t.Context(), client.Request{
		Service: "delay_model", Keys: []client.Key{
			client.Strings("origin", "JFK", "SFO"), {Name: "destination", Int64s: []int64{0, 0}, Nulls: []bool{true, true}},
		},
	}, noon.Add(1500*time.Nanosecond))
	must(t, err)
	if want := noon.Add(time.Microsecond); !p.at.Equal(want) || !answer.ReadTime.Equal(want) || !answer.Fixed || answer.Revision != 3 {
		t.Errorf("at %v, answered at %v", p.at, answer.ReadTime)
	}
	service := p.snapshot.Services["delay_model"]
	for i, k := range service.RequestKeys {
		got := p.keys[i]
		if got.Type.Kind != k.Kind || got.Len() != 2 || (k.Name == "destination") != (got.NullCount() == 2) {
			t.Errorf("key %s: %v of type %s", k.Name, got, got.Type)
		}
	}
	if answer.Rows != 2 || len(answer.Columns) != len(service.Outputs) || answer.Columns[0].Name != service.Outputs[0].Name ||
		answer.Columns[0].Status(1) != client.Expired {
		t.Errorf("answer %+v", answer)
	}
	if events := answer.Views[0].EventTimes; !events[0].Equal(noon) || !events[1].IsZero() {
		t.Errorf("event times %v", events)
	}
	if _, err := c.GetHistoricalFeatures(t.Context(), client.Request{Features: []string{"world:temperature"}}, time.Time{}); err != nil {
		t.Errorf("a global view: %v", err)
	}
	if time.Since(p.at) > time.Hour {
		t.Errorf("no instant is %v", p.at)
	}
}

// TestExplain: everything that is found arrives.
func TestExplain(t *testing.T) {
	p, c := pastClient(t)
	x, err := c.Explain(t.Context(), client.ExplainRequest{
		View: "airport_hourly", Feature: "departures", Keys: []client.Key{client.Strings("airport", "JFK")}, At: noon,
	})
	must(t, err)
	if !p.at.Equal(noon) || string(p.keys[0].BytesAt(0)) != "JFK" || x.Value.Int64(0) != 5 || x.TTL != 6*time.Hour || x.Revision != 3 {
		t.Errorf("at %v: %+v", p.at, x)
	}
	first, second := x.Before[0], x.Before[1]
	if first.EventTime.UnixMicro() != 10 || !first.CreatedTime.IsZero() || first.Place != (client.RowPlace{File: "a�.parquet", RowGroup: 2, Row: 7}) {
		t.Errorf("first %+v", first)
	}
	if second.CreatedTime.UnixMicro() != 9 || second.Why != "smaller_encoding" || second.DecidedBy != "departures" || second.CopiesAt[0].Row != 8 {
		t.Errorf("second %+v", second)
	}
	if x.FirstEvent.UnixMicro() != -5 || x.LastEvent.UnixMicro() != math.MaxInt64 || x.Matching[0] != 3 ||
		x.NearMisses[0].Keys[0].Strings[0] != "jfk" || x.NearMisses[0].Rows != 4 {
		t.Errorf("%+v", x)
	}
	if *x.Online != (client.Consumed{State: "held", Generation: 3, T: noon, Run: 9}) {
		t.Errorf("online %+v", x.Online)
	}
}

// TestOfflineRefuses: bad requests are refused by the part at fault, with the name that may have been meant.
func TestOfflineRefuses(t *testing.T) {
	_, c := pastClient(t)
	get := func(features string, keys ...client.Key) func() error {
		return func() error {
			_, err := c.GetHistoricalFeatures(t.Context(), client.Request{Features: []string{features}, Keys: keys}, noon)
			return err
		}
	}
	explain := func(view, feature string, candidates int, keys ...client.Key) func() error {
		return func() error {
			_, err := c.Explain(t.Context(), client.ExplainRequest{View: view, Feature: feature, Candidates: candidates, Keys: keys, At: noon})
			return err
		}
	}
	jfk, one := client.Strings("airport", "JFK"), client.Int64s("driver", 1)
	for name, test := range map[string]struct {
		call              func() error
		code, field, says string
	}{
		"nothing":     {func() error { _, err := c.GetHistoricalFeatures(t.Context(), client.Request{}, noon); return err }, client.CodeInvalid, "service", "no service"},
		"no view":     {get("airport_hurly:departures", jfk), client.CodeNotFound, "features[0]", "airport_hourly"},
		"no key":      {get("airport_hourly:departures"), client.CodeInvalid, "keys.airport", "is missing"},
		"wrong key":   {get("airport_hourly:departures", client.Strings("airprot", "JFK")), client.CodeInvalid, "keys.airprot", `"airport"`},
		"twice":       {get("airport_hourly:departures", jfk, jfk), client.CodeInvalid, "keys.airport", "twice"},
		"wrong type":  {get("airport_hourly:departures", client.Int64s("airport", 1)), client.CodeInvalid, "keys.airport", "is string"},
		"two types":   {get("everything:int64", client.Key{Name: "driver", Int64s: []int64{1}, Strings: []string{"1"}}), client.CodeInvalid, "keys.driver", "one type"},
		"marks":       {get("everything:int64", client.Key{Name: "driver", Int64s: []int64{1}, Nulls: []bool{true, false}}), client.CodeInvalid, "keys.driver", "null marks"},
		"no feature":  {explain("airport_hourly", "departrues", 0, jfk), client.CodeInvalid, "feature", `"departures"`},
		"two keys":    {explain("airport_hourly", "departures", 0, client.Strings("airport", "JFK", "SFO")), client.CodeInvalid, "keys", "one is explained"},
		"candidates":  {explain("airport_hourly", "departures", 10_001, jfk), client.CodeInvalid, "candidates", "10000"},
		"less":        {explain("airport_hourly", "departures", -1, jfk), client.CodeInvalid, "candidates", "-1"},
		"another key": {explain("airport_hourly", "departures", 0, one), client.CodeInvalid, "keys.driver", "airport"},
	} {
		if f := failure(t, test.call()); f.Code != test.code || f.Field != test.field || !strings.Contains(f.Message, test.says) {
			t.Errorf("%s: code %s, field %q: %s", name, f.Code, f.Field, f.Message)
		}
	}
	keys := []client.Key{client.Strings("origin", "JFK", "SFO"), client.Strings("destination", "JFK")}
	_, err := c.GetHistoricalFeatures(t.Context(), client.Request{Service: "delay_model", Keys: keys}, noon)
	if f := failure(t, err); f.Code != client.CodeInvalid || !strings.Contains(f.Message, "has 1 values where") && !strings.Contains(f.Message, "has 2 values where") {
		t.Errorf("uneven: %+v", f)
	}
}
