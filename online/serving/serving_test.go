package serving

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/registry"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// compileViews returns a snapshot of views over one int64 entity, each with numbered int64 features, and a service "all".
func compileViews(t testing.TB, revision int64, views, features int) *registry.Snapshot {
	t.Helper()
	defs := &registry.Definitions{
		Entities: []*registry.Entity{
			{Name: "driver", JoinKeys: []registry.JoinKey{{Name: "driver", Type: columnar.Type{Kind: columnar.Int64}}}},
		},
		Sources: []*registry.Source{{Name: "lake", Parquet: []string{"x"}, Timezone: "UTC"}},
	}
	all := &registry.FeatureService{Name: "all"}
	for i := range views {
		v := &registry.FeatureView{
			Name: fmt.Sprintf("v%d", i), Entities: []string{"driver"}, Source: "lake", Online: true, TTL: time.Hour,
		}
		for j := range features {
			v.Features = append(v.Features, &registry.Feature{
				Name: fmt.Sprintf("f%d_%d", i, j), Type: columnar.Type{Kind: columnar.Int64}, Default: json.RawMessage("-1"),
			})
		}
		defs.Views = append(defs.Views, v)
		all.Features = append(all.Features, registry.ServiceView{View: v.Name})
	}
	defs.Services = []*registry.FeatureService{all}
	snapshot, err := registry.Compile(revision, defs)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// live returns a generation of every view, with ids from first on.
func live(snapshot *registry.Snapshot, first online.GenerationID) []online.Live {
	var out []online.Live
	for i, v := range snapshot.Definitions.Views {
		view := snapshot.Views[v.Name]
		out = append(out, online.Live{
			View: v.Name, Generation: online.Generation{ID: first + online.GenerationID(i), Keyspace: 1},
			Fields: view.Layout.Fields(), Keys: []row.Field{{Name: "driver", Type: columnar.Type{Kind: columnar.Int64}}},
			Digest: view.Digest, T: noon.UnixMicro(),
		})
	}
	return out
}

// encode returns a row whose every feature is x.
func encode(view *registry.View, x int64) []byte {
	cols := make([]*columnar.Vector, len(view.Features))
	for i := range cols {
		cols[i] = columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
		cols[i].AppendInt64(x)
	}
	return view.Layout.AppendRow(nil, noon.UnixMicro(), row.NoCreated, cols, 0)
}

func openStore(t testing.TB, generations []online.Live) *embedded.Store {
	t.Helper()
	store, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := store.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Fatal(err)
	}
	for _, g := range generations {
		if err := store.CreateGeneration(t.Context(), g.Generation); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func write(t testing.TB, store online.Store, snapshot *registry.Snapshot, g online.Live, key, x int64) {
	t.Helper()
	e := online.Entry{Key: row.AppendInt64Key(nil, key), Row: encode(snapshot.Views[g.View], x)}
	if _, err := store.Write(t.Context(), g.Generation, []online.Entry{e}, online.WinNewest); err != nil {
		t.Fatal(err)
	}
}

func drivers(ids ...int64) *Request {
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, len(ids))
	for _, id := range ids {
		v.AppendInt64(id)
	}
	return &Request{Service: "all", KeyNames: []string{"driver"}, Keys: []*columnar.Vector{v}}
}

func fixed() time.Time { return noon }

// TestUpdate swaps revisions and generations under load: an answer is of one revision, its views of one set of
// generations, its values of those.
func TestUpdate(t *testing.T) {
	const views, features, rounds, readers = 3, 4, 200, 4
	one, two := compileViews(t, 1, views, features), compileViews(t, 2, views, features)
	first, second := live(one, 10), live(two, 20)
	store := openStore(t, slices.Concat(first, second))
	for _, g := range first {
		write(t, store, one, g, 1, 1)
	}
	for _, g := range second {
		write(t, store, two, g, 1, 2)
	}
	s := New(store, Options{Now: fixed})
	if _, err := s.Lookup(t.Context(), drivers(1)); problem.CodeOf(err) != problem.Unavailable {
		t.Fatalf("before Update: %v", err)
	}
	s.Update(one, first)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	seen := make([]map[int64]bool, readers) // per reader: revisions
	answered := make(chan struct{}, readers)
	for i := range readers {
		seen[i] = map[int64]bool{}
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := checkAnswer(s, n%2 == 0, seen[i]); err != nil {
					t.Error(err)
					stop()
					return
				}
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}
	for i := range rounds {
		if i%2 == 0 {
			s.Update(two, second)
		} else {
			s.Update(one, first)
		}
		select {
		case <-answered:
		case <-ctx.Done():
		}
	}
	stop()
	wg.Wait()
	if !slices.ContainsFunc(seen, func(m map[int64]bool) bool { return len(m) == 2 }) {
		t.Errorf("no reader saw both revisions: %v", seen)
	}
}

func checkAnswer(s *Server, service bool, seen map[int64]bool) error {
	req := drivers(1, 2, 1)
	if !service {
		req.Service, req.Features = "", []string{"v0:f0_0", "v2:f2_3", "v1:f1_1"}
	}
	a, err := s.Lookup(context.Background(), req)
	if err != nil {
		return err
	}
	defer a.Release()
	seen[a.Revision] = true
	for _, v := range a.Views {
		if int64(v.Generation/10) != a.Revision {
			return fmt.Errorf("revision %d answered from generation %d", a.Revision, v.Generation)
		}
	}
	for i, c := range a.Columns {
		if got, want := c.Int64s, []int64{a.Revision, -1, a.Revision}; !slices.Equal(got, want) {
			return fmt.Errorf("%s of revision %d: %v", a.Names[i], a.Revision, got)
		}
		want := []columnar.Status{columnar.Present, columnar.NotFound, columnar.Present}
		if !slices.Equal(a.Status[i], want) {
			return fmt.Errorf("%s: statuses %v", a.Names[i], a.Status[i])
		}
	}
	return nil
}

// TestRelease: what one answer held does not show in the next, of fewer rows or more, and huge ones are not kept.
func TestRelease(t *testing.T) {
	snapshot := compileViews(t, 1, 2, 3)
	generations := live(snapshot, 10)
	store := openStore(t, generations)
	for id := range int64(5) {
		write(t, store, snapshot, generations[0], id, id+100)
	}
	s := New(store, Options{Now: fixed})
	s.Update(snapshot, generations)
	for _, n := range []int{0, 5, 1, 8, 0, 3} {
		ids := make([]int64, n)
		want := make([]int64, n)
		for i := range ids {
			ids[i], want[i] = int64(i), int64(i)+100
			if i >= 5 {
				want[i] = -1
			}
		}
		req := drivers(ids...)
		req.Events = n%2 == 1
		a, err := s.Lookup(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Columns[0].Int64s, want) || a.Rows != n || (len(a.Views[0].Events) > 0) != req.Events {
			t.Errorf("%d rows: %v, %v", n, a.Columns[0].Int64s, a.Views[0].Events)
		}
		a.Release()
	}
}

// counting notes the keys that a store was asked for.
type counting struct {
	online.Reader
	keys []string
}

func (c *counting) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	for _, g := range groups {
		for _, k := range g.Keys {
			c.keys = append(c.keys, string(k))
		}
	}
	return c.Reader.Read(ctx, groups, out)
}

// TestRepeatedEntities: each key is looked up once, however often the request has it, and every row gets its own values.
func TestRepeatedEntities(t *testing.T) {
	snapshot := compileViews(t, 1, 2, 3)
	generations := live(snapshot, 10)
	store := openStore(t, generations)
	for id := range int64(50) {
		write(t, store, snapshot, generations[0], id, id+100)
	}
	spy := &counting{Reader: store}
	s := New(spy, Options{Now: fixed})
	s.Update(snapshot, generations)
	rnd := testenv.Rand(t)
	for _, n := range []int{0, 1, 2, 3, 4, 7, 8, 9, 63, 64, 65, 1000} {
		ids, want := make([]int64, n), make([]int64, n)
		distinct := map[string]bool{}
		keys := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, n)
		for i := range ids {
			ids[i] = rnd.Int64N(60)
			switch want[i] = ids[i] + 100; {
			case rnd.IntN(10) == 0:
				keys.AppendNull()
				want[i] = -1
				distinct[""] = true
				continue
			case ids[i] >= 50:
				want[i] = -1
			}
			keys.AppendInt64(ids[i])
			distinct[string(row.AppendInt64Key(nil, ids[i]))] = true
		}
		spy.keys = spy.keys[:0]
		a, err := s.Lookup(t.Context(), &Request{Service: "all", KeyNames: []string{"driver"}, Keys: []*columnar.Vector{keys}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Columns[0].Int64s, want) {
			t.Errorf("%d rows: got %v, want %v", n, a.Columns[0].Int64s, want)
		}
		if len(spy.keys) != len(distinct) {
			t.Errorf("%d rows with %d keys: asked for %d", n, len(distinct), len(spy.keys))
		}
		a.Release()
	}
}

// TestRepeatedEntitiesCount: what is stored once and answered many times counts as often as it is answered.
func TestRepeatedEntitiesCount(t *testing.T) {
	snapshot := compileViews(t, 1, 1, 1)
	generations := live(snapshot, 10)
	store := openStore(t, generations)
	write(t, store, snapshot, generations[0], 1, 1)
	s := New(store, Options{Now: fixed, MaxStoredBytes: 500})
	s.Update(snapshot, generations)
	ids := slices.Repeat([]int64{1}, 1000)
	if _, err := s.Lookup(t.Context(), drivers(ids...)); problem.CodeOf(err) != problem.Exhausted {
		t.Errorf("got %v", err)
	}
}

// TestLimits: each breach is Exhausted and names its limit.
func TestLimits(t *testing.T) {
	snapshot := compileViews(t, 1, 2, 3)
	generations := live(snapshot, 10)
	store := openStore(t, generations)
	write(t, store, snapshot, generations[0], 1, 1)
	for name, opts := range map[string]Options{
		"limits.request_entities": {MaxEntities: 2}, "limits.request_features": {MaxFeatures: 5}, "limits.request_stored": {MaxStoredBytes: 3},
	} {
		opts.Now = fixed
		s := New(store, opts)
		s.Update(snapshot, generations)
		_, err := s.Lookup(t.Context(), drivers(1, 2, 3))
		if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDamagedRowsAreLogged: the cells of a damaged row are ERROR, the rest answers, and the log has its key's hash, not its key.
func TestDamagedRowsAreLogged(t *testing.T) {
	snapshot := compileViews(t, 1, 2, 3)
	generations := live(snapshot, 10)
	store := openStore(t, generations)
	write(t, store, snapshot, generations[0], 1, 1)
	for _, key := range []int64{2, 3} {
		e := online.Entry{Key: row.AppendInt64Key(nil, key), Row: []byte("no row")}
		if _, err := store.Write(t.Context(), generations[0].Generation, []online.Entry{e}, online.WinAlways); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := New(store, Options{Now: fixed, KeySecret: []byte("secret"), Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	s.Update(snapshot, generations)
	for range 3 {
		a, err := s.Lookup(t.Context(), drivers(1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		want := []columnar.Status{columnar.Present, columnar.Error, columnar.Error}
		if !slices.Equal(a.Status[0], want) || !slices.Equal(a.Columns[0].Int64s, []int64{1, 0, 0}) {
			t.Errorf("got %v %v", a.Columns[0].Int64s, a.Status[0])
		}
		a.Release()
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write(row.AppendInt64Key(nil, 2))
	hash := fmt.Sprintf(`"key_hash":"%x"`, mac.Sum(nil)[:8])
	if sample := s.SampleKeys(drivers(2), 5); len(sample) != 1 || !strings.Contains(hash, sample[0]) {
		t.Errorf("a request for the key has the hash %q, not %s", sample, hash)
	}
	if n := strings.Count(log.String(), "key_hash"); n < 1 || n > 5 || !strings.Contains(log.String(), hash) {
		t.Errorf("log: %s", log.String())
	}
}

// broken fails as a store that is out of reach does.
type broken struct{ err error }

func (b broken) Read(context.Context, []online.Group, *online.Rows) error { return b.err }

// TestStoreErrors: a store that does not answer is never NOT_FOUND, and a caller's end is told apart from the store's.
func TestStoreErrors(t *testing.T) {
	snapshot := compileViews(t, 1, 1, 1)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want problem.Code
	}{
		{t.Context(), errors.New("connection refused"), problem.Unavailable},
		{t.Context(), fmt.Errorf("read: %w", context.DeadlineExceeded), problem.Unavailable}, // the store's own
		{t.Context(), fmt.Errorf("read: %w", online.ErrGenerationLost), problem.Unavailable},
		{t.Context(), online.ErrClosed, problem.Unavailable},
		{canceled, fmt.Errorf("read: %w", context.Canceled), problem.Canceled},
	} {
		s := New(broken{tt.err}, Options{Now: fixed})
		s.Update(snapshot, live(snapshot, 1))
		_, err := s.Lookup(tt.ctx, drivers(1))
		if problem.CodeOf(err) != tt.want {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// TestCache: the lists asked for last stay, and their number is bounded.
func TestCache(t *testing.T) {
	snapshot := compileViews(t, 1, 1, 30)
	set := newPlanSet(snapshot, live(snapshot, 1))
	list := func(i int) []string {
		return []string{fmt.Sprintf("v0:f0_%d", i%30), fmt.Sprintf("v0:f0_%d", (i/30+1+i)%30)}
	}
	hot, err := set.find(&Request{Features: list(0)}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 29*30; i++ {
		if _, err := set.find(&Request{Features: list(i)}, 10); err != nil {
			t.Fatal(err)
		}
		if p, err := set.find(&Request{Features: list(0)}, 10); err != nil || p != hot {
			t.Fatalf("after %d others the plan was made again: %v", i, err)
		}
	}
	if n := len(set.adHoc.recent) + len(set.adHoc.older); n > 2*cacheSize {
		t.Errorf("%d plans are kept", n)
	}
}
