package client_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// noon is the read time of the tests.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// must fails the test, or panics in an example.
func must(t testing.TB, err error) {
	if t == nil && err != nil {
		panic(err)
	}
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// project is definitions, an embedded store with rows, and the server over them.
type project struct {
	t        testing.TB
	snapshot *registry.Snapshot
	store    *embedded.Store
	live     map[string]online.Live
	server   *serving.Server
	options  serving.Options
	last     online.GenerationID
}

// feature is short for a definition.
func feature(name, typ, def string) *registry.Feature {
	t, err := columnar.ParseType(typ)
	if err != nil {
		panic(err)
	}
	f := &registry.Feature{Name: name, Type: t}
	if def != "" {
		f.Default = json.RawMessage(def)
	}
	return f
}

func definitions() *registry.Definitions {
	text, integer := columnar.Type{Kind: columnar.String}, columnar.Type{Kind: columnar.Int64}
	source := &registry.Source{
		Name: "lake", Parquet: []string{"lake:**"}, EventTime: registry.TimeColumn{Column: "at"}, Timezone: "UTC",
		Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
	}
	view := func(name string, ttl time.Duration, entities []string, features ...*registry.Feature) *registry.FeatureView {
		return &registry.FeatureView{Name: name, Entities: entities, Source: "lake", TTL: ttl, Online: true, Features: features}
	}
	everything := view("everything", 0, []string{"driver"})
	for _, name := range columnar.TypeNames() {
		everything.Features = append(everything.Features, feature(fieldName(name), name, ""))
	}
	training := view("training", 0, []string{"airport"}, feature("label", "float64", ""))
	training.Online = false
	return &registry.Definitions{
		Entities: []*registry.Entity{
			{Name: "airport", JoinKeys: []registry.JoinKey{{Name: "airport", Type: text}}},
			{Name: "driver", JoinKeys: []registry.JoinKey{{Name: "driver", Type: integer}}},
		},
		Sources: []*registry.Source{source},
		Views: []*registry.FeatureView{
			view("airport_hourly", 6*time.Hour, []string{"airport"},
				feature("departures", "int64", "7"), feature("mean_delay", "float64", ""), feature("note", "string", "")),
			view("airport_static", 0, []string{"airport"}, feature("runways", "int32", "")),
			everything,
			view("never", 0, []string{"airport"}, feature("unseen", "int64", "")),
			training,
			view("world", 0, []string{}, feature("temperature", "float64", "")),
		},
		Services: []*registry.FeatureService{
			{Name: "delay_model", Features: []registry.ServiceView{
				{View: "airport_hourly", Prefix: "origin_", Join: map[string]string{"airport": "origin"}},
				{
					View: "airport_hourly", Join: map[string]string{"airport": "destination"},
					Features: []registry.ServiceFeature{{Name: "mean_delay", As: "destination_delay"}},
				},
				{View: "airport_static", Prefix: "origin_", Join: map[string]string{"airport": "origin"}},
				{View: "world"},
			}},
			{Name: "unready", Features: []registry.ServiceView{{View: "never"}}},
		},
	}
}

// fieldName makes a feature name of a type's: list<int64> becomes int64_list.
func fieldName(typ string) string {
	t, err := columnar.ParseType(typ)
	if err != nil {
		panic(err)
	}
	if t.List {
		return t.Kind.String() + "_list"
	}
	return t.Kind.String()
}

// newProject returns a project whose views are materialized up to noon, but for never and training, without rows.
func newProject(t testing.TB, dir string) *project {
	p := &project{t: t, live: map[string]online.Live{}}
	var err error
	p.snapshot, err = registry.Compile(3, definitions())
	must(t, err)
	p.store, err = embedded.Open(filepath.Join(dir, "online"), embedded.Options{})
	must(t, err)
	_, err = p.store.Claim(context.Background(), "registry", "p1")
	must(t, err)
	p.options = serving.Options{Now: func() time.Time { return noon }}
	for _, name := range []string{"airport_hourly", "airport_static", "everything", "world"} {
		p.begin(name, noon)
	}
	p.serve()
	return p
}

// begin starts a generation of a view and lets it serve after the next call of serve.
func (p *project) begin(view string, at time.Time) {
	v := p.snapshot.Views[view]
	p.last++
	l := online.Live{
		View: view, Generation: online.Generation{ID: p.last, Keyspace: 1}, Fields: v.Layout.Fields(), Digest: v.Digest,
		T: at.UnixMicro(),
	}
	if len(v.KeyColumns) == 0 {
		l.Keyspace = 2
	}
	for _, k := range v.KeyColumns {
		if k.Name == "driver" {
			l.Keyspace = 3
		}
		l.Keys = append(l.Keys, row.Field{Name: k.Name, Type: columnar.Type{Kind: k.Kind}})
	}
	must(p.t, p.store.CreateGeneration(context.Background(), l.Generation))
	p.live[view] = l
}

// serve makes the server answer by what there is now.
func (p *project) serve() {
	p.server = serving.New(p.store, p.options)
	var live []online.Live
	for _, l := range p.live {
		live = append(live, l)
	}
	p.server.Update(p.snapshot, live)
}

// put writes a row; key and values are JSON, key "" that of a global view.
func (p *project) put(view, key string, event time.Time, values ...string) {
	v := p.snapshot.Views[view]
	cols := make([]*columnar.Vector, len(values))
	for i, s := range values {
		cols[i] = parse(p.t, v.Features[i].Type, s)
	}
	p.putVectors(view, key, event, cols)
}

func (p *project) putVectors(view, key string, event time.Time, cols []*columnar.Vector) {
	l := p.live[view]
	stored := p.snapshot.Views[view].Layout.AppendRow(nil, event.UnixMicro(), row.NoCreated, cols, 0)
	p.write(l.Generation, p.key(view, key), stored)
}

func (p *project) key(view, key string) []byte {
	if key == "" {
		return []byte{}
	}
	k := p.snapshot.Views[view].KeyColumns[0]
	encoded, _ := row.AppendKey(nil, []*columnar.Vector{parse(p.t, columnar.Type{Kind: k.Kind}, key)}, 0)
	return encoded
}

func (p *project) write(gen online.Generation, key, stored []byte) {
	_, err := p.store.Write(context.Background(), gen, []online.Entry{{Key: key, Row: stored}}, online.WinAlways)
	must(p.t, err)
}

func parse(t testing.TB, typ columnar.Type, s string) *columnar.Vector {
	v, err := columnar.ParseJSON(typ, json.RawMessage(s))
	must(t, err)
	return v
}

// dial serves services, in this process, and returns a client of them.
func dial(t testing.TB, services rpc.Services, log io.Writer, opts ...grpc.DialOption) *client.Client {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(rpc.ServerOptions(slog.New(slog.NewTextHandler(log, nil)), nil)...)
	rpc.Register(server, services)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(t, err)
	t.Cleanup(func() {
		must(t, conn.Close())
		server.GracefulStop()
		must(t, <-done)
	})
	return client.New(conn)
}

// start returns a project in a temporary folder and a client of it.
func start(t testing.TB) (*project, *client.Client) {
	p := newProject(t, t.TempDir())
	t.Cleanup(func() { must(t, p.store.Close()) })
	return p, dial(t, rpc.Services{Lookups: lookups(func() *serving.Server { return p.server })}, io.Discard)
}

// lookups answers by the server of the moment.
type lookups func() *serving.Server

func (l lookups) Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error) {
	return l().Lookup(ctx, req)
}

func (l lookups) KeyKinds(ctx context.Context, req *serving.Request) ([]columnar.Kind, error) {
	return l().KeyKinds(ctx, req)
}
