package asof

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

// base is the instant that the tests' times count from, in microseconds.
var base = time.Date(2001, 3, 4, 5, 0, 0, 0, time.UTC).UnixMicro()

const second = int64(1_000_000)

// fact is a row of a source as a test states it. A nil is a null.
type fact struct {
	keys           []any // int64 or string per key column
	event, created any   // int64 microseconds after base
	values         []any // float64, int64, string, []int64
}

// shape is what a test's view looks like.
type shape struct {
	keys     []columnar.Kind
	features []columnar.Type
	ttl      int64 // microseconds
	created  bool
	narrow   bool // int64 keys lie in the files as int32
	unsigned bool // or as uint64, of which negative ones can't be represented
	plain    bool // texts have no dictionary
}

var (
	float64Type = columnar.Type{Kind: columnar.Float64}
	int64Type   = columnar.Type{Kind: columnar.Int64}
	stringType  = columnar.Type{Kind: columnar.String}
	listType    = columnar.Type{Kind: columnar.Int64, List: true}
)

func keyName(i int) string     { return fmt.Sprintf("k%d", i) }
func featureName(i int) string { return fmt.Sprintf("f%d", i) }

// view compiles the shape as definitions of a project would be.
func (s shape) view(t testing.TB) *registry.View {
	t.Helper()
	defs := &registry.Definitions{
		Sources: []*registry.Source{{
			Name: "s", Parquet: []string{"."}, EventTime: registry.TimeColumn{Column: "event"}, Timezone: "UTC",
			Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
		}},
	}
	if s.created {
		defs.Sources[0].CreatedTime = "created"
	}
	fv := &registry.FeatureView{Name: "v", Source: "s", TTL: time.Duration(s.ttl) * time.Microsecond}
	for i, kind := range s.keys {
		name := fmt.Sprintf("e%d", i)
		defs.Entities = append(defs.Entities, &registry.Entity{
			Name: name, JoinKeys: []registry.JoinKey{{Name: keyName(i), Type: columnar.Type{Kind: kind}}},
		})
		fv.Entities = append(fv.Entities, name)
	}
	for i, typ := range s.features {
		fv.Features = append(fv.Features, &registry.Feature{Name: featureName(i), Type: typ})
	}
	defs.Views = []*registry.FeatureView{fv}
	snapshot, err := registry.Compile(1, defs)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Views["v"]
}

func (s shape) node(typ columnar.Type) pq.Node {
	var n pq.Node
	switch typ.Kind {
	case columnar.Float64:
		n = pq.Leaf(pq.DoubleType)
	case columnar.Int64:
		n = pq.Int(64)
	default:
		n = pq.String()
		if !s.plain {
			n = pq.Encoded(n, &pq.RLEDictionary)
		}
	}
	if typ.List {
		return pq.Optional(pq.List(pq.Optional(n)))
	}
	return pq.Optional(n)
}

// column is one leaf of a test's file: its name, and its value of a fact.
type column struct {
	name string
	node pq.Node
	of   func(fact) any
}

func (s shape) columns(dictionary bool) []column {
	instant := pq.Optional(pq.Timestamp(pq.Microsecond))
	cols := []column{{"event", instant, func(f fact) any { return shifted(f.event) }}}
	if s.created {
		cols = append(cols, column{"created", instant, func(f fact) any { return shifted(f.created) }})
	}
	for i, kind := range s.keys {
		node := pq.String()
		switch {
		case kind == columnar.Int64 && s.narrow:
			node = pq.Int(32)
		case kind == columnar.Int64 && s.unsigned:
			node = pq.Uint(64)
		case kind == columnar.Int64:
			node = pq.Int(64)
		}
		if dictionary {
			node = pq.Encoded(node, &pq.RLEDictionary)
		}
		cols = append(cols, column{keyName(i), pq.Optional(node), func(f fact) any {
			if x, ok := f.keys[i].(int64); ok && s.narrow {
				return int32(x)
			} else if ok && s.unsigned {
				return uint64(x)
			}
			return f.keys[i]
		}})
	}
	for i, typ := range s.features {
		cols = append(cols, column{featureName(i), s.node(typ), func(f fact) any { return f.values[i] }})
	}
	return cols
}

func shifted(x any) any {
	if x == nil {
		return nil
	}
	return base + x.(int64)
}

// write makes a Parquet file of facts.
func (s shape) write(t testing.TB, path string, facts []fact, groupRows int, dictionary bool) {
	t.Helper()
	cols := s.columns(dictionary)
	group := pq.Group{}
	for _, c := range cols {
		group[c.name] = c.node
	}
	slices.SortFunc(cols, func(a, b column) int { return strings.Compare(a.name, b.name) }) // as a Group orders them
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pq.NewGenericWriter[any](f, pq.NewSchema("facts", group), pq.PageBufferSize(256), pq.Compression(&pq.Snappy))
	for n, fact := range facts {
		var r pq.Row
		for i, c := range cols {
			r = appendValue(r, i, c.of(fact))
		}
		if _, err := w.WriteRows([]pq.Row{r}); err != nil {
			t.Fatal(err)
		}
		if (n+1)%groupRows == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendValue(r pq.Row, column int, x any) pq.Row {
	switch x := x.(type) {
	case nil:
		return append(r, pq.NullValue().Level(0, 0, column))
	case []int64:
		if len(x) == 0 {
			return append(r, pq.NullValue().Level(0, 1, column))
		}
		for i, e := range x {
			r = append(r, pq.Int64Value(e).Level(min(i, 1), 3, column))
		}
		return r
	default:
		return append(r, pq.ValueOf(x).Level(0, 1, column))
	}
}

// input writes one file per list of facts and lists them.
func (s shape) input(t testing.TB, files [][]fact, groupRows int) Input {
	t.Helper()
	return s.inputIn(t, t.TempDir(), files, groupRows)
}

// inputIn is input below dir/data.
func (s shape) inputIn(t testing.TB, dir string, files [][]fact, groupRows int) Input {
	t.Helper()
	for i, facts := range files {
		s.write(t, filepath.Join(dir, "data", fmt.Sprintf("part-%03d.parquet", i)), facts, groupRows, i%2 == 0)
	}
	src := source.New(dir, nil)
	in := Input{View: s.view(t), Source: src, Cutoff: NoCutoff}
	if len(files) > 0 {
		var err error
		if in.Files, err = src.List(t.Context(), []string{"data"}); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// question is a row of a spine.
type question struct {
	keys []any
	time int64 // microseconds after base
}

func (s shape) spine(questions []question) Spine {
	var spine Spine
	for _, kind := range s.keys {
		spine.Keys = append(spine.Keys, columnar.NewVector(columnar.Type{Kind: kind}, 0))
	}
	for _, q := range questions {
		spine.Times = append(spine.Times, base+q.time)
		for i, key := range q.keys {
			appendAny(spine.Keys[i], key)
		}
	}
	return spine
}

func appendAny(v *columnar.Vector, x any) {
	switch x := x.(type) {
	case nil:
		v.AppendNull()
	case int64:
		v.AppendInt64(x)
	case float64:
		v.AppendFloat64(x)
	case string:
		v.AppendString(x)
	case []int64:
		for _, e := range x {
			v.Elem.AppendInt64(e)
		}
		v.EndList()
	default:
		panic(fmt.Sprintf("value of %T", x))
	}
}

// text writes a value so that texts are equal exactly where values are (R10).
func text(x any) string {
	switch x := x.(type) {
	case nil:
		return "null"
	case float64:
		if x != x || math.Signbit(x) {
			return fmt.Sprintf("%g/%x", x, math.Float64bits(x))
		}
		return fmt.Sprintf("%g", x)
	default:
		return fmt.Sprintf("%#v", x)
	}
}

// textAt is text of value i of a vector.
func textAt(v *columnar.Vector, i int) string {
	switch {
	case v.IsNull(i):
		return text(nil)
	case v.Type.List:
		list := []int64{}
		for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
			list = append(list, v.Elem.Int64s[j])
		}
		return text(list)
	case v.Type.Kind == columnar.Float64:
		return text(v.Float64s[i])
	case v.Type.Kind == columnar.Int64:
		return text(v.Int64s[i])
	default:
		return text(string(v.BytesAt(i)))
	}
}

// encoding is the canonical encoding of a fact.
func (s shape) encoding(layout *row.Layout, f fact) []byte {
	cols := make([]*columnar.Vector, len(s.features))
	for i, typ := range s.features {
		cols[i] = columnar.NewVector(typ, 1)
		appendAny(cols[i], f.values[i])
	}
	return layout.AppendBody(nil, cols, 0)
}

// answers writes a result as one line per spine row: status, event time after base, values.
func answers(r *Result, view *registry.View, features []int) []string {
	n := len(r.Status)
	cells := make([]*columnar.Vector, len(features))
	for i, f := range features {
		cells[i] = columnar.NewVector(view.Features[f].Type, n)
		// In parts, as callers do who write batches.
		r.Cells(i, 0, n/3, cells[i])
		r.Cells(i, n/3, n, cells[i])
	}
	lines := make([]string, n)
	for i := range lines {
		lines[i] = r.Status[i].String()
		if r.Event[i] != math.MinInt64 {
			lines[i] += fmt.Sprintf(" @%d", r.Event[i]-base)
		}
		for _, v := range cells {
			lines[i] += " " + textAt(v, i)
		}
	}
	return lines
}
