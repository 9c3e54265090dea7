package serving

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// twoEntities has a view with a ttl per entity, both entities with an int64 key, and a service that reads both views by
// the request key "id".
func twoEntities(t *testing.T) *registry.Snapshot {
	t.Helper()
	number := columnar.Type{Kind: columnar.Int64}
	defs := &registry.Definitions{
		Sources: []*registry.Source{{Name: "lake", Parquet: []string{"x"}, Timezone: "UTC"}},
	}
	service := &registry.FeatureService{Name: "all"}
	for _, v := range []struct {
		view, entity string
		ttl          time.Duration
	}{{"drives", "driver", time.Hour}, {"rides", "rider", time.Minute}} {
		defs.Entities = append(defs.Entities, &registry.Entity{
			Name: v.entity, JoinKeys: []registry.JoinKey{{Name: v.entity, Type: number}},
		})
		defs.Views = append(defs.Views, &registry.FeatureView{
			Name: v.view, Entities: []string{v.entity}, Source: "lake", Online: true, TTL: v.ttl,
			Features: []*registry.Feature{
				{Name: "a", Type: number, Default: json.RawMessage("-1")}, {Name: "b", Type: number, Default: json.RawMessage("-2")},
			},
		})
		service.Features = append(service.Features, registry.ServiceView{
			View: v.view, Prefix: v.view + "_", Join: map[string]string{v.entity: "id"},
		})
	}
	defs.Services = []*registry.FeatureService{service}
	snapshot, err := registry.Compile(1, defs)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// liveTwo returns a generation of each view of twoEntities, in a keyspace of its own.
func liveTwo(snapshot *registry.Snapshot) []online.Live {
	generations := live(snapshot, 10)
	for i := range generations {
		view := snapshot.Views[generations[i].View]
		generations[i].Keyspace = online.KeyspaceID(i + 1)
		generations[i].Keys = []row.Field{{Name: view.KeyColumns[0].Name, Type: columnar.Type{Kind: columnar.Int64}}}
	}
	return generations
}

func ids(x ...int64) *Request {
	req := drivers(x...)
	req.KeyNames = []string{"id"}
	return req
}

func lookup(t *testing.T, s *Server, req *Request) *Answer {
	t.Helper()
	a, err := s.Lookup(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestOneKeyTwoEntities: one request key that stands for two entities reads each where its rows are, under its own ttl.
func TestOneKeyTwoEntities(t *testing.T) {
	snapshot := twoEntities(t)
	generations := liveTwo(snapshot)
	store := openStore(t, generations)
	write(t, store, snapshot, generations[0], 1, 100)
	write(t, store, snapshot, generations[1], 1, 200)
	write(t, store, snapshot, generations[1], 2, 300)
	for _, tt := range []struct {
		after         time.Duration
		drives, rides []int64
		event         int64 // of the row of rides
	}{
		{0, []int64{100, -1}, []int64{200, 300}, noon.UnixMicro()},
		{2 * time.Minute, []int64{100, -1}, []int64{-1, -1}, noon.UnixMicro()},
		{2*time.Minute + 1000, []int64{100, -1}, []int64{-1, -1}, noEvent}, // still stored, and not there all the same
		{2 * time.Hour, []int64{-1, -1}, []int64{-1, -1}, noEvent},
	} {
		s := New(store, Options{Now: func() time.Time { return noon.Add(tt.after) }})
		s.Update(snapshot, generations)
		req := ids(1, 2)
		req.Events = true
		a := lookup(t, s, req)
		if got := a.Views[1].Events[0]; got != tt.event {
			t.Errorf("%s: event time %d, want %d", tt.after, got, tt.event)
		}
		if got := a.Columns[0].Int64s; !slices.Equal(got, tt.drives) {
			t.Errorf("%s: drives %v, want %v", tt.after, got, tt.drives)
		}
		if got := a.Columns[2].Int64s; !slices.Equal(got, tt.rides) {
			t.Errorf("%s: rides %v, want %v", tt.after, got, tt.rides)
		}
		a.Release()
	}
}

// TestFullNames: one plan answers with either names; lists of features have a plan each.
func TestFullNames(t *testing.T) {
	snapshot := twoEntities(t)
	generations := liveTwo(snapshot)
	s := New(openStore(t, generations), Options{Now: fixed})
	s.Update(snapshot, generations)
	key := ids(1)
	pair := []string{"drives:a", "drives:b"}
	for range 2 {
		for _, tt := range []struct {
			req  Request
			want string
		}{
			{Request{Service: "all", FullNames: true}, "drives__drives_a drives__drives_b rides__rides_a rides__rides_b"},
			{Request{Service: "all"}, "drives_a drives_b rides_a rides_b"},
			{Request{Features: pair, FullNames: true}, "drives__a drives__b"},
			{Request{Features: pair}, "a b"},
			{Request{Features: []string{"drives:a", "rides:a"}, FullNames: true}, "drives__a rides__a"},
		} {
			tt.req.KeyNames, tt.req.Keys = key.KeyNames, key.Keys
			if tt.req.Service == "" {
				tt.req.KeyNames = []string{"driver"}
			}
			if len(tt.req.Features) > 0 && tt.req.Features[1] == "rides:a" {
				tt.req.KeyNames, tt.req.Keys = []string{"driver", "rider"}, slices.Repeat(key.Keys, 2)
			}
			a := lookup(t, s, &tt.req)
			if got := strings.Join(a.Names, " "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			a.Release()
		}
	}
	_, err := s.Lookup(t.Context(), &Request{Features: []string{"drives:a", "drives:a"}, FullNames: true})
	if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), `two features named "drives__a"`) {
		t.Error(err)
	}
}

// TestFullNamesCollide: that full names are one, or a key's, matters where they are asked for.
func TestFullNamesCollide(t *testing.T) {
	number := columnar.Type{Kind: columnar.Int64}
	view := func(name, key, feature string) *registry.FeatureView {
		return &registry.FeatureView{
			Name: name, Entities: []string{key}, Source: "lake", Online: true, Features: []*registry.Feature{{Name: feature, Type: number}},
		}
	}
	snapshot, err := registry.Compile(1, &registry.Definitions{
		Entities: []*registry.Entity{
			{Name: "driver", JoinKeys: []registry.JoinKey{{Name: "driver", Type: number}}},
			{Name: "other", JoinKeys: []registry.JoinKey{{Name: "x__y__z", Type: number}}},
		},
		Sources: []*registry.Source{{Name: "lake", Parquet: []string{"x"}, Timezone: "UTC"}},
		Views:   []*registry.FeatureView{view("x", "driver", "y__z"), view("x__y", "driver", "z"), view("w", "other", "z")},
		Services: []*registry.FeatureService{
			{Name: "features", Features: []registry.ServiceView{{View: "x"}, {View: "x__y"}}},
			{Name: "key", Features: []registry.ServiceView{{View: "x"}, {View: "w"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	generations := live(snapshot, 1)
	generations[2].Keys[0].Name, generations[2].Keyspace = "x__y__z", 2
	s := New(openStore(t, generations), Options{Now: fixed})
	s.Update(snapshot, generations)
	key := drivers(1)
	for _, req := range []*Request{
		{Service: "features", KeyNames: []string{"driver"}, Keys: key.Keys},
		{Service: "key", KeyNames: []string{"driver", "x__y__z"}, Keys: slices.Repeat(key.Keys, 2)},
	} {
		lookup(t, s, req).Release()
		req.FullNames = true
		if _, err := s.Lookup(t.Context(), req); problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), `"x__y__z"`) {
			t.Errorf("%s: %v", req.Service, err)
		}
	}
}

// TestNullKeys: a column of nulls alone fits every key; one value makes it a column of its type.
func TestNullKeys(t *testing.T) {
	snapshot := twoEntities(t)
	generations := liveTwo(snapshot)
	s := New(openStore(t, generations), Options{Now: fixed})
	s.Update(snapshot, generations)
	texts := columnar.NewVector(columnar.Type{Kind: columnar.String}, 2)
	texts.AppendNull()
	texts.AppendNull()
	req := &Request{Service: "all", KeyNames: []string{"id"}, Keys: []*columnar.Vector{texts}}
	a := lookup(t, s, req)
	if got := a.Status[0]; !slices.Equal(got, []columnar.Status{columnar.NotFound, columnar.NotFound}) {
		t.Errorf("statuses %v", got)
	}
	a.Release()
	texts.AppendString("1")
	if _, err := s.Lookup(t.Context(), req); problem.CodeOf(err) != problem.Invalid {
		t.Error(err)
	}
}

// TestGlobalView: a view without keys answers every row of a request beside a view that has them.
func TestGlobalView(t *testing.T) {
	number := columnar.Type{Kind: columnar.Int64}
	snapshot, err := registry.Compile(1, &registry.Definitions{
		Entities: []*registry.Entity{{Name: "driver", JoinKeys: []registry.JoinKey{{Name: "driver", Type: number}}}},
		Sources:  []*registry.Source{{Name: "lake", Parquet: []string{"x"}, Timezone: "UTC"}},
		Views: []*registry.FeatureView{
			{Name: "drives", Entities: []string{"driver"}, Source: "lake", Online: true, Features: []*registry.Feature{{Name: "a", Type: number}}},
			{Name: "weather", Source: "lake", Online: true, Features: []*registry.Feature{{Name: "b", Type: number}}},
		},
		Services: []*registry.FeatureService{{Name: "all", Features: []registry.ServiceView{{View: "weather"}, {View: "drives"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	generations := live(snapshot, 1)
	generations[1].Keys, generations[1].Keyspace = nil, 2
	store := openStore(t, generations)
	for key := range int64(3) {
		write(t, store, snapshot, generations[0], key, 10+key)
	}
	everybody := online.Entry{Key: []byte{}, Row: encode(snapshot.Views["weather"], 5)}
	if _, err := store.Write(t.Context(), generations[1].Generation, []online.Entry{everybody}, online.WinNewest); err != nil {
		t.Fatal(err)
	}
	s := New(store, Options{Now: fixed})
	s.Update(snapshot, generations)
	a := lookup(t, s, drivers(2, 0, 1))
	if got, want := a.Columns[0].Int64s, []int64{5, 5, 5}; !slices.Equal(got, want) {
		t.Errorf("weather %v, want %v", got, want)
	}
	if got, want := a.Columns[1].Int64s, []int64{12, 10, 11}; !slices.Equal(got, want) {
		t.Errorf("drives %v, want %v", got, want)
	}
}

// TestDamagedRow: damaged bytes are ERROR, without event time, and never filled with a default.
func TestDamagedRow(t *testing.T) {
	snapshot := compileViews(t, 1, 1, 2)
	generations := live(snapshot, 1)
	good := encode(snapshot.Views["v0"], 7)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		s := New(instant{1: bad}, Options{Now: fixed})
		s.Update(snapshot, generations)
		req := drivers(1)
		req.Events = true
		a := lookup(t, s, req)
		for f := range a.Columns {
			if a.Status[f][0] != columnar.Error || !a.Columns[f].IsNull(0) {
				t.Fatalf("byte %d: %s with %d", i, a.Status[f][0], a.Columns[f].Int64s[0])
			}
		}
		if a.Views[0].Events[0] != noEvent {
			t.Fatalf("byte %d: event time %d", i, a.Views[0].Events[0])
		}
		a.Release()
	}
}

// TestOlderGeneration: a generation that was filled before the definitions changed answers what it can by its own
// layout, and refuses what it can't.
func TestOlderGeneration(t *testing.T) {
	snapshot := twoEntities(t)
	number, text := columnar.Type{Kind: columnar.Int64}, columnar.Type{Kind: columnar.String}
	for _, tt := range []struct {
		name   string
		change func(g *online.Live)
		want   string // in the error; "" for none
	}{
		{"a feature more", func(g *online.Live) { g.Fields = append([]row.Field{{Name: "0", Type: number}}, g.Fields...) }, ""},
		{"another order", func(g *online.Live) { g.Fields = []row.Field{g.Fields[1], g.Fields[0]} }, ""},
		{"a feature less", func(g *online.Live) { g.Fields = g.Fields[1:] }, `"drives:a"`},
		{"another type", func(g *online.Live) { g.Fields = []row.Field{{Name: "a", Type: text}, g.Fields[1]} }, `"drives:a"`},
		{"another key", func(g *online.Live) { g.Keys = []row.Field{{Name: "car", Type: number}} }, "join keys"},
		{"another key type", func(g *online.Live) { g.Keys = []row.Field{{Name: "driver", Type: text}} }, "join keys"},
		{"a key more", func(g *online.Live) { g.Keys = append(g.Keys, row.Field{Name: "car", Type: number}) }, "join keys"},
		{"none", func(g *online.Live) { g.View = "gone" }, "never been materialized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			generations := liveTwo(snapshot)
			old := &generations[0]
			old.Fields = slices.Clone(old.Fields)
			tt.change(old)
			cols := make([]*columnar.Vector, len(old.Fields))
			for i, f := range old.Fields {
				cols[i] = columnar.NewVector(f.Type, 1)
				if f.Type == text {
					cols[i].AppendString("text")
				} else {
					cols[i].AppendInt64(int64(f.Name[0]))
				}
			}
			store := instant{
				old.ID:            row.NewLayout(old.Fields).AppendRow(nil, noon.UnixMicro(), row.NoCreated, cols, 0),
				generations[1].ID: encode(snapshot.Views["rides"], 7),
			}
			s := New(store, Options{Now: fixed})
			s.Update(snapshot, generations)
			a, err := s.Lookup(t.Context(), ids(1))
			if tt.want != "" {
				if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want Precondition with %s", err, tt.want)
				}
				// What does not need the old generation is answered.
				req := drivers(1)
				req.Service, req.Features, req.KeyNames = "", []string{"rides:a"}, []string{"rider"}
				if a := lookup(t, s, req); a.Columns[0].Int64s[0] != 7 {
					t.Errorf("rides:a is %d", a.Columns[0].Int64s[0])
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if x, y := a.Columns[0].Int64s[0], a.Columns[1].Int64s[0]; x != 'a' || y != 'b' {
				t.Errorf("a is %d, b is %d", x, y)
			}
		})
	}
}

// TestReadTime: a clock behind the greatest T of the views read is moved to it, a fixed time is refused, and what lies
// at T or after it stands.
func TestReadTime(t *testing.T) {
	snapshot := twoEntities(t)
	generations := liveTwo(snapshot)
	generations[1].T = noon.Add(time.Second).UnixMicro()
	last := generations[1].T
	s := func(now int64, fixed bool) *Server {
		s := New(instant{}, Options{Now: func() time.Time { return time.UnixMicro(now) }, Fixed: fixed})
		s.Update(snapshot, generations)
		return s
	}
	for now, want := range map[int64]int64{last - 1: last, last: last, last + 1: last + 1} {
		if a := lookup(t, s(now, false), ids(1)); a.ReadTime != want || a.Fixed {
			t.Errorf("clock at %+d µs of T: read at %+d", now-last, a.ReadTime-last)
		}
		req := ids(1)
		req.ReadTime = time.UnixMicro(now)
		for _, s := range []*Server{s(now, true), s(last, false)} {
			a, err := s.Lookup(t.Context(), req)
			switch {
			case now < last && problem.CodeOf(err) != problem.Precondition:
				t.Errorf("fixed before T: %v", err)
			case now >= last && (err != nil || a.ReadTime != now || !a.Fixed):
				t.Errorf("fixed at %+d µs of T: %v", now-last, err)
			}
		}
	}
}
