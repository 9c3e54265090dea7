package materialize_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/store"
)

// TestMain lets the test binary be a process of its own that materializes, and may be killed at it.
func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(child(spec))
	}
	os.Exit(m.Run())
}

// noon is the instant that the tests call now, unless they move it.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const ttl = 6 * time.Hour

// fact is a row of the tests' source; nil is null.
type fact struct {
	K       *string  `parquet:"k,optional"`
	Event   int64    `parquet:"event,timestamp(microsecond)"`
	Created *int64   `parquet:"created,optional,timestamp(microsecond)"`
	F       *float64 `parquet:"f,optional"`
	N       *int64   `parquet:"n,optional"`
}

// at returns a fact of an entity, minutes before noon, with both values from v.
func at(key string, minutes float64, v float64) fact {
	return fact{
		K: &key, Event: noon.Add(-time.Duration(minutes * float64(time.Minute))).UnixMicro(), F: &v, N: new(int64(v * 10)),
	}
}

// created sets the created time, minutes before noon.
func (f fact) created(minutes float64) fact {
	f.Created = new(noon.Add(-time.Duration(minutes * float64(time.Minute))).UnixMicro())
	return f
}

// definitions of the tests' project: view v, which a test may change.
func definitions(change func(*registry.FeatureView, *registry.Source)) *registry.Definitions {
	key := registry.JoinKey{Name: "k", Type: columnar.Type{Kind: columnar.String}}
	src := &registry.Source{
		Name: "s", Parquet: []string{"lake:s/**"}, EventTime: registry.TimeColumn{Column: "event"}, CreatedTime: "created",
		Timezone: "UTC", Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
	}
	v := &registry.FeatureView{
		Name: "v", Entities: []string{"thing"}, Source: "s", TTL: ttl, Online: true,
		Features: []*registry.Feature{
			{Name: "f", Type: columnar.Type{Kind: columnar.Float64}},
			{Name: "n", Type: columnar.Type{Kind: columnar.Int64}},
		},
	}
	if change != nil {
		change(v, src)
	}
	return &registry.Definitions{
		Entities: []*registry.Entity{{Name: "thing", JoinKeys: []registry.JoinKey{key}}},
		Sources:  []*registry.Source{src}, Views: []*registry.FeatureView{v},
	}
}

func snapshot(change func(*registry.FeatureView, *registry.Source)) *registry.Snapshot {
	snap, err := registry.Compile(7, definitions(change))
	if err != nil {
		panic(err)
	}
	return snap
}

// backend opens the data of an online store, in this process or a child's.
type backend struct {
	URL   string // redis://…, redis-cluster://…, or a folder
	redis *onlinetest.Redis
}

func (b backend) open() (online.Store, error) {
	if strings.HasPrefix(b.URL, "redis") {
		return redis.Open(b.URL, redis.Options{})
	}
	return embedded.Open(b.URL, embedded.Options{})
}

// lose makes the store lose everything, as FLUSHALL or a removed folder does, and returns it open again.
func (w *world) lose() {
	w.t.Helper()
	if w.backend.redis != nil {
		check(w.t, w.backend.redis.Client(w.t).FlushAll(w.t.Context()).Err())
		return
	}
	w.close()
	check(w.t, os.RemoveAll(w.backend.URL))
	w.reopen()
}

// world is a project with one source folder, a registry, a store and a service on them.
type world struct {
	t       *testing.T
	dir     string
	backend backend
	store   online.Store
	state   *state.Store
	db      *sql.DB // of the state
	cfg     materialize.Config
	svc     *materialize.Service
	now     time.Time
	snap    *registry.Snapshot
	changed int
}

// forStores runs a test on each kind of store.
func forStores(t *testing.T, test func(*testing.T, *world)) {
	t.Run("embedded", func(t *testing.T) { test(t, newWorld(t, backend{URL: filepath.Join(t.TempDir(), "online")})) })
	t.Run("redis", func(t *testing.T) {
		r := onlinetest.StartRedisServer(t)
		test(t, newWorld(t, backend{URL: r.URL, redis: r}))
	})
}

// one runs a test where the kind of store does not matter.
func one(t *testing.T) *world { return newWorld(t, backend{URL: filepath.Join(t.TempDir(), "online")}) }

func newWorld(t *testing.T, b backend) *world {
	w := &world{t: t, dir: t.TempDir(), backend: b, now: noon, snap: snapshot(nil)}
	check(t, os.MkdirAll(filepath.Join(w.dir, "data", "s"), 0o755))
	reg, err := store.Open(t.Context(), "sqlite://registry.db", w.dir)
	check(t, err)
	t.Cleanup(func() { check(t, reg.Close()) })
	w.db, err = sql.Open("sqlite", filepath.Join(w.dir, "registry.db")+"?_pragma=busy_timeout(5000)")
	check(t, err)
	t.Cleanup(func() { check(t, w.db.Close()) })
	w.state, err = state.Open(t.Context(), reg.DB())
	check(t, err)
	w.reopen()
	t.Cleanup(w.close)
	return w
}

func (w *world) reopen() {
	w.t.Helper()
	var err error
	w.store, err = w.backend.open()
	check(w.t, err)
	w.cfg = config(w.dir, w.backend, w.state, w.store)
	w.cfg.Snapshot = func() *registry.Snapshot { return w.snap }
	w.cfg.Now = func() time.Time { return w.now }
	w.cfg.Changed = func() { w.changed++ }
	w.svc = materialize.New(w.cfg)
}

func (w *world) close() {
	if w.store != nil {
		check(w.t, w.store.Close())
		w.store = nil
	}
}

// config is what a process of the project's works with.
func config(dir string, b backend, st *state.Store, s online.Store) materialize.Config {
	return materialize.Config{
		State: st, Online: s, RegistryID: "registry-1", StoreName: b.URL,
		Files: source.New(dir, map[string]string{"lake": "data"}),
		By:    fmt.Sprintf("test:%d", os.Getpid()), BatchRows: 2, Writers: 2, Workers: 2,
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, "data", "s", name) }

// write makes or replaces a file of the source, row groups of three rows.
func (w *world) write(name string, rows ...fact) {
	w.t.Helper()
	tmp := w.path("_" + name)
	f, err := os.Create(tmp)
	check(w.t, err)
	out := pq.NewGenericWriter[fact](f, pq.MaxRowsPerRowGroup(3))
	_, err = out.Write(rows)
	check(w.t, err)
	check(w.t, out.Close())
	check(w.t, f.Close())
	check(w.t, os.Rename(tmp, w.path(name)))
}

// size is what files of the source take together.
func (w *world) size(names ...string) (sum int64) {
	w.t.Helper()
	for _, name := range names {
		info, err := os.Stat(w.path(name))
		check(w.t, err)
		sum += info.Size()
	}
	return sum
}

func (w *world) remove(name string) {
	w.t.Helper()
	check(w.t, os.Remove(w.path(name)))
}

// run materializes v and returns the record.
func (w *world) run(req materialize.Request) materialize.Run {
	w.t.Helper()
	runs, err := w.svc.Run(w.t.Context(), req, nil)
	check(w.t, err)
	if len(runs) != 1 || runs[0].State != materialize.RunSucceeded || runs[0].Error != "" {
		w.t.Fatalf("runs %+v", runs)
	}
	return runs[0]
}

// fails materializes v and returns the error, which has a class.
func (w *world) fails(req materialize.Request, code problem.Code, parts ...string) error {
	w.t.Helper()
	_, err := w.svc.Run(w.t.Context(), req, nil)
	if err == nil {
		w.t.Fatal("the run succeeded")
	}
	if got := problem.CodeOf(err); got != code {
		w.t.Errorf("class %d, want %d: %v", got, code, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			w.t.Errorf("error %q lacks %q", err, p)
		}
	}
	return err
}

func (w *world) status() materialize.ViewStatus {
	w.t.Helper()
	st, err := w.svc.Status(w.t.Context(), []string{"v"})
	check(w.t, err)
	return st[0]
}

func (w *world) wantState(state string) materialize.ViewStatus {
	w.t.Helper()
	st := w.status()
	if st.State != state {
		w.t.Errorf("state %q, want %q: %+v", st.State, state, st)
	}
	return st
}

func (w *world) verify(req materialize.VerifyRequest) materialize.VerifyReport {
	w.t.Helper()
	reports, err := w.svc.Verify(w.t.Context(), req, nil)
	check(w.t, err)
	return reports[0]
}

// clean checks that online equals offline in full, up to T, read then and now, and returns the comparison at now.
func (w *world) clean() materialize.VerifyReport {
	w.t.Helper()
	report := w.verify(materialize.VerifyRequest{Full: true})
	for _, r := range []materialize.VerifyReport{
		report, w.verify(materialize.VerifyRequest{Full: true, Now: report.T}), w.verify(materialize.VerifyRequest{}),
	} {
		if !r.Sound() || r.Equal+r.Behind != r.Cells || len(r.Diffs) > 0 || r.Note != "" {
			w.t.Errorf("verify: %+v", r)
		}
	}
	return report
}

// values is what the store answers at the read time: "f n" of each entity, its status where there is no row alive.
func (w *world) values(keys ...string) string {
	w.t.Helper()
	return strings.Join(w.read(w.now, keys...), " | ")
}

func (w *world) read(when time.Time, keys ...string) []string {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	if len(live) != 1 {
		w.t.Fatalf("live %+v", live)
	}
	group := online.Group{Keyspace: live[0].Keyspace, Generations: []online.GenerationID{live[0].ID}}
	for _, k := range keys {
		group.Keys = append(group.Keys, row.AppendStringKey(nil, []byte(k)))
	}
	var rows online.Rows
	check(w.t, w.store.Read(w.t.Context(), []online.Group{group}, &rows))
	view := w.snap.Views["v"]
	whole := view.Layout.Project([]int{0, 1})
	var out []string
	for i := range keys {
		stored := rows.Row(0, i, 0, 1)
		if stored == nil {
			out = append(out, "-")
			continue
		}
		cols := []*columnar.Vector{
			columnar.NewVector(columnar.Type{Kind: columnar.Float64}, 1), columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1),
		}
		event, _, err := whole.Append(cols, stored)
		check(w.t, err)
		if st := columnar.Judge(event, when.UnixMicro(), view.TTLMicros); st != columnar.Present {
			out = append(out, st.String())
			continue
		}
		out = append(out, string(columnar.AppendJSON(nil, cols[0], 0))+" "+string(columnar.AppendJSON(nil, cols[1], 0)))
	}
	return out
}

func (w *world) want(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// intercepted is a store whose calls a test can act before.
type intercepted struct {
	online.Store
	mu     sync.Mutex
	before func(ctx context.Context, call string) error
}

func (i *intercepted) act(ctx context.Context, call string) error {
	i.mu.Lock()
	before := i.before
	i.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, call)
}

func (i *intercepted) Write(ctx context.Context, gen online.Generation, entries []online.Entry, win online.Win) (online.WriteResult, error) {
	if err := i.act(ctx, "write"); err != nil {
		return online.WriteResult{}, err
	}
	return i.Store.Write(ctx, gen, entries, win)
}

func (i *intercepted) Identity(ctx context.Context) (online.Identity, error) {
	if err := i.act(ctx, "identity"); err != nil {
		return online.Identity{}, err
	}
	return i.Store.Identity(ctx)
}

func (i *intercepted) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	if err := i.act(ctx, "read"); err != nil {
		return err
	}
	return i.Store.Read(ctx, groups, out)
}

func (i *intercepted) DropGeneration(ctx context.Context, gen online.Generation) error {
	if err := i.act(ctx, "drop"); err != nil {
		return err
	}
	return i.Store.DropGeneration(ctx, gen)
}

// service returns another service on the world's state and store, as another process has it.
func (w *world) service(s online.Store, change func(*materialize.Config)) *materialize.Service {
	cfg := w.cfg
	cfg.Online = s
	cfg.By = "other:1"
	if change != nil {
		change(&cfg)
	}
	return materialize.New(cfg)
}

const childEnv = "PROVENDER_TEST_CHILD"

// childSpec is what a child process does: one run.
type childSpec struct {
	Dir     string
	Backend backend
	Now     time.Time
	Full    bool
	Replace bool
	// RoundRows of its run; 0: the default.
	RoundRows int64
}

// killed runs one run in a process that kills itself at a failpoint, and reports whether it did.
func (w *world) killed(point string, spec childSpec) bool {
	w.t.Helper()
	w.close() // the embedded store belongs to one process
	defer w.reopen()
	spec.Dir, spec.Backend, spec.Now = w.dir, backend{URL: w.backend.URL}, w.now
	b, err := json.Marshal(spec)
	check(w.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(b), failpoint.Env+"="+point+"=kill")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	w.t.Fatalf("child: %v\n%s", err, out)
	return false
}

func child(spec string) int {
	var c childSpec
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := c.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c childSpec) run(ctx context.Context) (err error) {
	reg, err := store.Open(ctx, "sqlite://registry.db", c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	st, err := state.Open(ctx, reg.DB())
	if err != nil {
		return err
	}
	s, err := c.Backend.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	cfg := config(c.Dir, c.Backend, st, s)
	snap := snapshot(nil)
	if c.Replace {
		snap = snapshot(replace)
	}
	cfg.Snapshot = func() *registry.Snapshot { return snap }
	cfg.Now = func() time.Time { return c.Now }
	cfg.RoundRows = c.RoundRows
	_, err = materialize.New(cfg).Run(ctx, materialize.Request{Full: c.Full}, nil)
	return err
}

func replace(_ *registry.FeatureView, s *registry.Source) { s.Rewrites = registry.RewritesReplace }

// facts returns random facts of few entities, many of them equal in time, around noon.
func facts(rnd *rand.Rand, n int) []fact {
	out := make([]fact, n)
	for i := range out {
		f := at(fmt.Sprintf("e%d", rnd.IntN(12)), float64(rnd.IntN(2*13*60))/2-30, float64(rnd.IntN(5)))
		if rnd.IntN(3) == 0 {
			f = f.created(float64(rnd.IntN(3)))
		}
		if rnd.IntN(10) == 0 {
			f.F = nil
		}
		if rnd.IntN(20) == 0 {
			f.K = nil
		}
		out[i] = f
	}
	return out
}

func names(diffs []materialize.Difference) []string {
	var out []string
	for _, d := range diffs {
		out = append(out, d.Entity+" "+d.Feature+": "+d.Online+" / "+d.Offline)
	}
	slices.Sort(out)
	return out
}

type onlineID = online.GenerationID

// status0 is the error of listing a source without files.
func (w *world) status0() error {
	_, err := w.cfg.Files.List(w.t.Context(), []string{"lake:s/**"})
	if err == nil {
		w.t.Fatal("the source has files")
	}
	return err
}

func newColumns(v *registry.View) []*columnar.Vector {
	cols := make([]*columnar.Vector, len(v.Features))
	for i, f := range v.Features {
		cols[i] = columnar.NewVector(f.Type, 1)
	}
	return cols
}
