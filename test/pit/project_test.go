package pit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/store"
)

// project is a case as a user would have it: a folder with definitions and files.
type project struct {
	dir      string
	view     *View
	rng      *rand.Rand
	snapshot *registry.Snapshot
	files    *source.Files
	written  map[string]string // file -> its rows, to leave unchanged files alone
}

func newProject(t *testing.T, v *View, rng *rand.Rand) *project {
	t.Helper()
	p := &project{dir: t.TempDir(), view: v, rng: rng, written: map[string]string{}}
	for name, content := range map[string]string{
		"provender.yaml":   "version: 1\nproject: pit\n",
		"definitions.yaml": definitions(v),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	defs, _, err := definition.Load(p.dir)
	if err != nil {
		t.Fatalf("definitions:\n%s\n%v", definitions(v), err)
	}
	if p.snapshot, err = registry.Compile(1, defs); err != nil {
		t.Fatal(err)
	}
	p.files = source.New(p.dir, nil)
	p.sync(t, nil)
	return p
}

func definitions(v *View) string {
	var b strings.Builder
	entities := "[]"
	if len(v.Keys) > 0 {
		entities = "[thing]"
		b.WriteString("kind: Entity\nname: thing\njoin_keys:\n")
		for _, k := range v.Keys {
			fmt.Fprintf(&b, "  - {name: %s, type: %s}\n", k.Name, k.Type)
		}
		b.WriteString("---\n")
	}
	fmt.Fprintf(&b, "kind: FeatureView\nname: facts\nentities: %s\nsource:\n  parquet: facts/**\n  event_time: happened\n", entities)
	b.WriteString("  created_time: written\n")
	if v.Rewrites != "" {
		fmt.Fprintf(&b, "  rewrites: %s\n", v.Rewrites)
	}
	if v.TTL > 0 {
		fmt.Fprintf(&b, "ttl: %dus\n", v.TTL)
	}
	b.WriteString("features:\n")
	for _, f := range v.Features {
		fmt.Fprintf(&b, "  - {name: %s, type: %s", f.Name, f.Type)
		if f.Default != nil {
			fmt.Fprintf(&b, ", default: %s", f.Literal)
		}
		b.WriteString("}\n")
	}
	b.WriteString("---\nkind: FeatureService\nname: model\nfeatures:\n  - view: facts\n  - view: facts\n    prefix: other_\n")
	if len(v.Keys) > 0 {
		b.WriteString("    join:\n")
		for _, k := range v.Keys {
			fmt.Fprintf(&b, "      %s: other_%s\n", k.Name, k.Name)
		}
	}
	return b.String()
}

// sync makes the folder hold exactly these files, leaving alone those whose rows are the same.
func (p *project) sync(t *testing.T, files map[string][]Row) {
	t.Helper()
	path := func(name string) string { return filepath.Join(p.dir, "facts", name+".parquet") }
	if _, ok := p.written[""]; !ok {
		// A file without rows, so that there is always one to find.
		writeSource(t, path("nothing"), p.view, nil, layout{rowsPerGroup: 1, codec: nil, pageBytes: 256})
		p.written[""] = ""
	}
	for name := range p.written {
		if _, ok := files[name]; !ok && name != "" {
			if err := os.Remove(path(name)); err != nil {
				t.Fatal(err)
			}
			delete(p.written, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rows := files[name]
		if was, ok := p.written[name]; ok && was == content(rows) {
			continue
		}
		p.written[name] = content(rows)
		rows = slices.Clone(rows)
		p.rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		writeSource(t, path(name), p.view, rows, randomLayout(p.rng))
	}
}

// deal gives the rows to other files, some of them twice: no answer depends on that (R4).
func (p *project) deal(files map[string][]Row) map[string][]Row {
	if p.rng.IntN(2) == 0 {
		return files
	}
	dealt := map[string][]Row{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, r := range files[name] {
			for range 1 + p.rng.IntN(5)/4 {
				to := fmt.Sprint("dealt", p.rng.IntN(5))
				dealt[to] = append(dealt[to], r)
			}
		}
	}
	return dealt
}

func (p *project) service(t *testing.T) *registry.Service {
	t.Helper()
	svc, err := p.snapshot.FeatureService("model")
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// answer is the cells of one ask under both bindings.
type answer struct{ own, other []Cell }

// export answers asks by a training set; statuses come from the kernel alone.
func (p *project) export(t *testing.T, asks []*Ask) []answer {
	t.Helper()
	ctx := context.Background()
	spine, out := filepath.Join(p.dir, "spine.parquet"), filepath.Join(p.dir, "out.parquet")
	writeSpine(t, spine, p.view, asks, randomLayout(p.rng))
	svc := p.service(t)
	report, err := offline.Export(ctx, offline.ExportRequest{
		Service: svc, Snapshot: p.snapshot, Source: p.files, Spine: spine,
		SpineOptions: offline.SpineOptions{Time: "at"}, Out: out, Workers: 1 + p.rng.IntN(4),
	})
	if err != nil {
		t.Fatalf("export: %v", err)
	}
	if int(report.Rows) != len(asks) {
		t.Fatalf("export: %d rows of a spine of %d", report.Rows, len(asks))
	}
	columns := []parquet.Column{{Name: "label", Type: columnar.Type{Kind: columnar.Int64}}}
	for _, o := range svc.Outputs {
		read := svc.Reads[o.Read]
		columns = append(columns, parquet.Column{Name: o.Name, Type: read.View.Features[o.Feature].Type})
	}
	vectors := p.readAll(t, out, columns)
	answers := make([]answer, len(asks))
	statuses := [2][][]Cell{p.join(t, asks), p.join(t, rotated(asks))}
	n := len(p.view.Features)
	for r := range asks {
		if got := vectors[0].Int64s[r]; got != int64(r) {
			t.Fatalf("export: row %d is spine row %d", r, got)
		}
		for f := range n {
			for b, cells := range []*[]Cell{&answers[r].own, &answers[r].other} {
				cell := Cell{Status: statuses[b][r][f].Status, Value: fromVector(vectors[1+b*n+f], r)}
				if direct := statuses[b][r][f]; cell.Status == "PRESENT" && !cell.Equal(direct) {
					t.Fatalf("export gives %+v, the kernel %+v", cell, direct)
				}
				*cells = append(*cells, cell)
			}
		}
	}
	return answers
}

// rotated gives every ask the keys of the one after.
func rotated(asks []*Ask) []*Ask {
	out := make([]*Ask, len(asks))
	for i, a := range asks {
		out[i] = &Ask{At: a.At, Keys: other(asks, i).Keys}
	}
	return out
}

// readAll reads columns of a Parquet file as one run of rows.
func (p *project) readAll(t *testing.T, path string, columns []parquet.Column) []*columnar.Vector {
	t.Helper()
	ctx := context.Background()
	files, err := p.files.List(ctx, []string{filepath.Base(path)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.files.Open(ctx, files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	f, err := parquet.Open(ctx, h, files[0], parquet.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Bind(columns)
	if err != nil {
		t.Fatal(err)
	}
	vectors := make([]*columnar.Vector, len(columns))
	for i, c := range columns {
		vectors[i] = columnar.NewVector(c.Type, 0)
		for g := range r.RowGroups() {
			if err := r.Read(ctx, g, i, vectors[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return vectors
}

// join answers asks by the kernel itself.
func (p *project) join(t *testing.T, asks []*Ask) [][]Cell {
	t.Helper()
	ctx := context.Background()
	view, err := p.snapshot.FeatureView("facts")
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.files.List(ctx, view.Source.Parquet)
	if err != nil {
		t.Fatal(err)
	}
	p.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	spine := asof.Spine{Keys: p.keys(asks)}
	for _, a := range asks {
		spine.Times = append(spine.Times, floorMicros(a.At))
	}
	features := make([]int, len(p.view.Features))
	for i := range features {
		features[i] = i
	}
	res, err := asof.Join(ctx, spine, asof.Input{View: view, Source: p.files, Files: files, Cutoff: asof.NoCutoff},
		features, asof.Options{Workers: 1 + p.rng.IntN(4)})
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	out := make([][]Cell, len(asks))
	for f, feature := range p.view.Features {
		typ, err := columnar.ParseType(feature.Type)
		if err != nil {
			t.Fatal(err)
		}
		v := columnar.NewVector(typ, 0)
		res.Cells(f, 0, len(asks), v)
		for r := range asks {
			cell := Cell{Status: res.Status[r].String(), Value: fromVector(v, r)}
			if cell.Status == "PRESENT" && cell.Value.Null {
				cell.Status = "NULL"
			}
			out[r] = append(out[r], cell)
		}
	}
	return out
}

func (p *project) keys(asks []*Ask) []*columnar.Vector {
	out := make([]*columnar.Vector, len(p.view.Keys))
	for i, k := range p.view.Keys {
		kind := columnar.Int64
		if k.Type == "string" {
			kind = columnar.String
		}
		out[i] = columnar.NewVector(columnar.Type{Kind: kind}, len(asks))
		for _, a := range asks {
			switch v := a.Keys[i]; {
			case v.Null:
				out[i].AppendNull()
			case kind == columnar.String:
				out[i].AppendString(v.Str)
			default:
				out[i].AppendInt64(int64(v.Bits))
			}
		}
	}
	return out
}

func fromVector(v *columnar.Vector, i int) Value {
	if v.IsNull(i) {
		return Value{Null: true}
	}
	if v.Type.List {
		out := Value{}
		for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
			out.List = append(out.List, fromVector(v.Elem, int(j)))
		}
		return out
	}
	switch v.Type.Kind {
	case columnar.Bool:
		return Value{Bits: uint64(boolInt(v.Bools[i]))}
	case columnar.Int32:
		return Value{Bits: uint64(int64(v.Int32s[i]))}
	case columnar.Float32:
		return Value{Bits: uint64(math.Float32bits(v.Float32s[i]))}
	case columnar.Float64:
		return Value{Bits: math.Float64bits(v.Float64s[i])}
	case columnar.String, columnar.Bytes:
		return Value{Str: string(v.BytesAt(i))}
	default:
		return Value{Bits: uint64(v.Int64s[i])}
	}
}

// live is a project with an online store.
type live struct {
	*project
	store   online.Store
	cut     *cutting // in front of store, for runs
	service *materialize.Service
}

// afterAll is the wall clock of materializations: later than every time of every case.
var afterAll = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *project) live(t *testing.T, s online.Store) *live {
	t.Helper()
	ctx := context.Background()
	reg, err := store.Open(ctx, "sqlite://registry.db", p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	st, err := state.Open(ctx, reg.DB())
	if err != nil {
		t.Fatal(err)
	}
	l := &live{project: p, store: s, cut: &cutting{Store: s}}
	l.service = materialize.New(materialize.Config{
		State: st, Online: l.cut, Files: p.files, Now: func() time.Time { return afterAll }, By: "pit",
		Snapshot:  func() *registry.Snapshot { return p.snapshot },
		BatchRows: 1 + p.rng.IntN(4), Writers: 1 + p.rng.IntN(3),
	})
	return l
}

// errCut is why a run fails that a case cuts off.
var errCut = errors.New("cut off")

// cutting is a store that fails one write.
type cutting struct {
	online.Store
	mu     sync.Mutex
	left   int    // writes until then; 0: none fails
	cancel func() // instead of the failure, where it is set
}

func (c *cutting) Write(ctx context.Context, gen online.Generation, entries []online.Entry, win online.Win) (online.WriteResult, error) {
	c.mu.Lock()
	fails := c.left == 1
	c.left = max(0, c.left-1)
	c.mu.Unlock()
	if fails && c.cancel == nil {
		return online.WriteResult{}, errCut
	}
	if fails {
		c.cancel()
	}
	return c.Store.Write(ctx, gen, entries, win)
}

// run materializes; a run that is cut off is repeated.
func (l *live) run(t *testing.T, run *Run) {
	t.Helper()
	if run.Cut > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if l.cut.left, l.cut.cancel = run.Cut, nil; l.rng.IntN(2) == 0 {
			l.cut.cancel = cancel
		}
		err := l.materialize(ctx, run)
		if err != nil && !errors.Is(err, errCut) && !errors.Is(err, context.Canceled) {
			t.Fatalf("materialize, cut off: %v", err)
		}
		l.cut.left = 0
	}
	if err := l.materialize(context.Background(), run); err != nil {
		t.Fatalf("materialize: %v", err)
	}
}

func (l *live) materialize(ctx context.Context, run *Run) error {
	_, err := l.service.Run(ctx, materialize.Request{
		To: time.UnixMicro(floorMicros(run.To)), Full: run.Full, Trigger: "command",
	}, nil)
	return err
}

// state is what status says of the view.
func (l *live) state(t *testing.T) string {
	t.Helper()
	status, err := l.service.Status(context.Background(), nil)
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	return status[0].State
}

// verify is the product's own comparison of online with offline.
func (l *live) verify(t *testing.T, at Instant) {
	t.Helper()
	reports, err := l.service.Verify(context.Background(), materialize.VerifyRequest{
		Full: true, Now: time.UnixMicro(floorMicros(at)),
	}, func(materialize.Progress) {})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, r := range reports {
		if r.Wrong+r.Missing+r.Extra > 0 {
			t.Fatalf("verify: %+v", r)
		}
	}
}

// lookup answers asks of one instant from the online store.
func (l *live) lookup(t *testing.T, at Instant, asks []*Ask) []answer {
	t.Helper()
	ctx := context.Background()
	generations, err := l.service.Live(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMicro(floorMicros(at))
	srv := serving.New(l.store, serving.Options{Now: func() time.Time { return now }, Fixed: true})
	srv.Update(l.snapshot, generations)
	req := &serving.Request{Service: "model", Keys: slices.Concat(l.keys(asks), l.keys(rotated(asks)))}
	for _, prefix := range []string{"", "other_"} {
		for _, k := range l.view.Keys {
			req.KeyNames = append(req.KeyNames, prefix+k.Name)
		}
	}
	got, err := srv.Lookup(ctx, req)
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	defer got.Release()
	n := len(l.view.Features)
	answers := make([]answer, len(asks))
	for r := range asks {
		for f := range 2 * n {
			at := r
			if got.Columns[f].Len() == 1 && len(asks) > 1 {
				at = 0 // a global view answers once for all
			}
			cell := Cell{Status: got.Status[f][at].String(), Value: fromVector(got.Columns[f], at)}
			if f < n {
				answers[r].own = append(answers[r].own, cell)
			} else {
				answers[r].other = append(answers[r].other, cell)
			}
		}
	}
	return answers
}
