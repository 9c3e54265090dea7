package control_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// truth reads every row of a view's files and keeps the newest of each entity, encoded.
func truth(t *testing.T, w *lake, v *registry.View) plan.Estimate {
	t.Helper()
	files, err := w.Files.List(t.Context(), v.Source.Parquet)
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Estimate{View: v.Name, Files: int64(len(files))}
	columns, newest := offline.ViewColumns(v), map[string][]byte{}
	keys := len(v.KeyColumns)
	for _, file := range files {
		handle, err := w.Files.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		footer, err := parquet.Open(t.Context(), handle, file, w.Limits)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := footer.Bind(columns)
		if err != nil {
			t.Fatal(err)
		}
		for g := range reader.RowGroups() {
			e.Rows += int64(reader.Rows(g))
			vectors := make([]*columnar.Vector, len(columns))
			for c := range columns {
				vectors[c] = columnar.NewVector(columns[c].Type, 0)
				if err := reader.Read(t.Context(), g, c, vectors[c]); err != nil {
					t.Fatal(err)
				}
				e.ReadBytes += reader.Stored(g, c)
			}
			for i := range reader.Rows(g) {
				key, ok := row.AppendKey(nil, vectors[:keys], i)
				if !ok {
					continue
				}
				created := int64(row.NoCreated)
				if v.Source.CreatedTime != "" {
					created = vectors[len(columns)-1].Int64s[i]
				}
				stored := v.Layout.AppendRow(nil, vectors[keys].Int64s[i], created, vectors[keys+1:], i)
				if old := newest[string(key)]; old == nil || row.Compare(stored, old) > 0 {
					newest[string(key)] = stored
				}
			}
		}
		if err := handle.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e.Keys = int64(len(newest))
	for key, stored := range newest {
		e.StoredBytes += int64(len(key) + len(stored))
	}
	return e
}

// estimates plans definitions and holds what the plan expects against the truth: within a factor, exact where it is 1.
func estimates(t *testing.T, w *lake, files []definition.File, factor float64) {
	t.Helper()
	made, warnings, err := w.Plan(t.Context(), files, 0)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	snapshot, err := registry.Compile(1, made.Target)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Estimates) != len(made.Generations) {
		t.Fatalf("estimates of %d views of %d", len(made.Estimates), len(made.Generations))
	}
	for i, got := range made.Estimates {
		want := truth(t, w, snapshot.Views[made.Generations[i]])
		t.Logf("%+v, in truth %+v", got, want)
		for name, pair := range map[string][2]int64{
			"files": {got.Files, want.Files}, "rows": {got.Rows, want.Rows}, "keys": {got.Keys, want.Keys}, "read": {got.ReadBytes, want.ReadBytes},
		} {
			within(t, name, pair[0], pair[1], factor)
		}
		// A row's size is known from some rows alone.
		within(t, "stored", got.StoredBytes, want.StoredBytes, max(factor, 1.25))
	}
}

func within(t *testing.T, what string, got, want int64, factor float64) {
	t.Helper()
	if g, w := float64(got), float64(want); g > w*factor || g < w/factor {
		t.Errorf("%s: %d, in truth %d", what, got, want)
	}
}

// The flights of the example: few files, so that rows and keys are exact.
func TestEstimateOfFlights(t *testing.T) {
	dir := filepath.Join("..", "examples", "flights")
	data, err := filepath.Abs(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := definition.Read(filepath.Join(dir, "definitions"))
	if err != nil {
		t.Fatal(err)
	}
	estimates(t, newLake(t, data), files, 1)
}

// deal is a row with a key of two columns, a created time, and values of each length.
type deal struct {
	Shop    int64    `parquet:"shop"`
	Item    *string  `parquet:"item,optional,dict"`
	Event   int64    `parquet:"event,timestamp(microsecond)"`
	Created int64    `parquet:"created,timestamp(microsecond)"`
	Note    string   `parquet:"note"`
	Tags    []string `parquet:"tags,list"`
	Count   int32    `parquet:"count"`
}

const deals = `
kind: Entity
name: deal
join_keys: [{name: shop, type: int64}, {name: item, type: string}]
---
kind: FeatureView
name: v
entities: [deal]
source: {parquet: "lake:v/**", event_time: event, created_time: created}
features: [{name: note, type: string}, {name: tags, type: list<string>}, {name: count, type: int32}]
`

func someDeal(r *rand.Rand, shop int64, item int) deal {
	d := deal{Shop: shop, Event: r.Int64N(1e15), Created: r.Int64N(1e9) * 1e6, Count: r.Int32N(1000), Note: strings.Repeat("x", r.IntN(60))}
	if item >= 0 {
		name := fmt.Sprintf("item-%d", item)
		d.Item = &name
	}
	for range r.IntN(4) {
		d.Tags = append(d.Tags, "tag")
	}
	return d
}

// Generated files: what is exact where all is read, and within a factor of the truth where some of it is.
func TestEstimateOfGeneratedFiles(t *testing.T) {
	r := testenv.Rand(t)
	sizes := slices.Repeat([]int{1000}, 60)
	for i := range 20 {
		sizes[i*59/19] = 200 // those that are looked at
	}
	for _, test := range []struct {
		name        string
		files, rows int
		make        func(file, row int) deal
		factor      float64
	}{
		{"one file, some null keys", 1, 3000, func(int, int) deal { return someDeal(r, r.Int64N(20), r.IntN(20)-1) }, 1},
		{"the same entities in every file", 60, 300, func(_, i int) deal { return someDeal(r, int64(i), 0) }, 1.1},
		{"some entities in every file", 60, 300, func(int, int) deal { return someDeal(r, r.Int64N(30), r.IntN(50)) }, 1.2},
		{"many entities, few in a file", 60, 300, func(int, int) deal { return someDeal(r, r.Int64N(100), r.IntN(100)) }, 1.5},
		{"new entities in every file", 60, 200, func(f, i int) deal { return someDeal(r, int64(f), i) }, 1.1},
		{"small files among large ones", 60, 0, func(int, int) deal { return someDeal(r, r.Int64N(30), r.IntN(10)) }, 1.2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLake(t, "")
			for f := range test.files {
				rows := make([]deal, cmp.Or(test.rows, sizes[f]))
				for i := range rows {
					rows[i] = test.make(f, i)
				}
				put(t, w, fmt.Sprintf("v/%03d.parquet", f), rows)
			}
			estimates(t, w, []definition.File{{Name: "f.yaml", Content: []byte(deals)}}, test.factor)
		})
	}
}

// What is too large to be looked into is not known; the rest is.
func TestEstimateOfLargeValues(t *testing.T) {
	plan := func(w *lake, definitions string) plan.Estimate {
		made, _, problems := w.plan(t.Context(), t, definitions)
		if len(problems) > 0 || len(made.Estimates) != 1 {
			t.Fatalf("%q", problems)
		}
		return made.Estimates[0]
	}
	type text struct {
		K     int64  `parquet:"k"`
		Event int64  `parquet:"event,timestamp(microsecond)"`
		S     string `parquet:"s,dict"`
	}
	const texts = `
kind: Entity
name: thing
join_keys: [{name: k, type: int64}]
---
kind: FeatureView
name: v
entities: [thing]
source: {parquet: "lake:v/**", event_time: event}
features: [{name: s, type: string}]
`
	w := newLake(t, "")
	long := make([]text, 200)
	for i := range long {
		long[i] = text{int64(i), 0, strings.Repeat("long", 1<<18)}
	}
	put(t, w, "v/a.parquet", long)
	if e := plan(w, texts); e.Rows != 200 || e.Keys != 200 || e.StoredBytes != 0 {
		t.Errorf("long values: %+v", e)
	}
	// Of very many keys a part is counted.
	many := make([]text, 300_000)
	for i := range many {
		many[i].K = int64(i)
	}
	w = newLake(t, "")
	put(t, w, "v/a.parquet", many)
	within(t, "keys", plan(w, texts).Keys, 300_000, 1.02)
	// Of keys in too many rows, integers are known by their bounds.
	many = make([]text, 2<<20+1)
	for i := range many {
		many[i].K = int64(i % 100)
	}
	w = newLake(t, "")
	put(t, w, "v/a.parquet", many)
	if e := plan(w, texts); e.Rows != 2<<20+1 || e.Keys != 100 || e.StoredBytes < 100*8 || e.StoredBytes > 100*32 {
		t.Errorf("many rows: %+v", e)
	}
}

// Nothing of what is in the way of an estimate is in the way of the plan.
func TestPlanWithoutEstimate(t *testing.T) {
	w := newLake(t, "")
	put(t, w, "v/a.parquet", make([]fact, 100))
	path := filepath.Join(w.dir, "v", "a.parquet")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4; i < 40; i++ {
		raw[i] ^= 0xff // in the first page, of keys
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	made, warnings, problems := w.plan(t.Context(), t, view)
	if made == nil || len(made.Generations) != 1 || len(made.Estimates) > 0 || len(warnings)+len(problems) > 0 {
		t.Errorf("%+v %q %q", made, warnings, problems)
	}
	// No rows, and no need for any.
	put(t, w, "v/a.parquet", []fact{})
	if made, _, _ := w.plan(t.Context(), t, view); len(made.Estimates) != 1 || made.Estimates[0].Rows != 0 || made.Estimates[0].Keys != 0 {
		t.Errorf("%+v", made.Estimates)
	}
	if made, _, _ := w.plan(t.Context(), t, strings.Replace(view, "features:", "online: false\nfeatures:", 1)); len(made.Estimates) != 0 {
		t.Errorf("of a view that is not online: %+v", made.Estimates)
	}
}
