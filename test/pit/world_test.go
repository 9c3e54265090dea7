package pit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// world is a case in one of many forms: what the files' columns are called and where they lie, where event times come
// from, which views read them and how a service binds those. None of it is the reference's concern.
type world struct {
	c     *Case
	rows  []Row
	asks  []*Ask
	rng   *rand.Rand
	shape shape

	dir      string
	defs     *registry.Definitions
	snapshot *registry.Snapshot
	files    *source.Files
	service  *registry.Service
	readings []reading
}

// shape is how the sources hold a case.
type shape struct {
	created bool              // there is a created time
	day     string            // event times are the start or the end of the days that folders name; "": a column
	fold    bool              // the first key is a folder's
	columns map[string]string // of a key or a feature, where the name differs
	root    string            // of the files: "" for the project's folder
}

// reading is one `- view:` of the service.
type reading struct {
	name string // of the view
	view *View
	take []int // per feature of the view the case's
	// other: bound to the columns other_….
	other   bool
	outputs []output
}

// output is a feature of a reading.
type output struct {
	name    string
	feature int
}

// newWorld puts a case, which it changes, into a form. The asks are all that it has, with the files as they are then.
func newWorld(t *testing.T, rng *rand.Rand, c *Case) *world {
	t.Helper()
	w := &world{c: c, rng: rng, dir: t.TempDir()}
	w.choose()
	for _, s := range c.Steps {
		if s.Row != nil {
			w.rows = append(w.rows, *s.Row)
		}
		if s.Ask != nil {
			w.asks = append(w.asks, s.Ask)
		}
	}
	w.define(t)
	w.files = source.New(w.dir, map[string]string{"lake": filepath.Join(w.dir, "lake")})
	return w
}

func (w *world) define(t *testing.T) {
	t.Helper()
	text := w.definitions()
	writeBytes(t, filepath.Join(w.dir, "provender.yaml"), []byte("version: 1\nproject: pit\nroots: {lake: ./lake}\n"))
	writeBytes(t, filepath.Join(w.dir, "definitions.yaml"), []byte(text))
	var err error
	if w.defs, _, err = definition.Load(w.dir); err != nil {
		t.Fatalf("definitions:\n%s\n%v", text, err)
	}
	if w.snapshot, err = registry.Compile(1, w.defs); err != nil {
		t.Fatal(err)
	}
	if w.service, err = w.snapshot.FeatureService("model"); err != nil {
		t.Fatal(err)
	}
}

// choose makes up the shape and the readings.
func (w *world) choose() {
	rng, v := w.rng, &w.c.View
	w.shape = shape{created: rng.IntN(4) > 0, columns: map[string]string{}, root: []string{"", "lake:"}[rng.IntN(2)]}
	if rng.IntN(4) == 0 {
		w.shape.day = []string{"start", "end"}[rng.IntN(2)]
		v.TTL = []int64{0, 1, 24 * 3600e6, 36 * 3600e6}[rng.IntN(4)]
	}
	w.shape.fold = len(v.Keys) > 0 && v.Keys[0].Type == "int64" && rng.IntN(5) == 0
	for i, s := range w.c.Steps {
		if s.Row == nil {
			continue
		}
		r := *s.Row
		if !w.shape.created {
			r.Created = nil
		}
		if w.shape.day != "" {
			r.Event = Instant(base.AddDate(0, 0, rng.IntN(6)).UnixNano())
			if w.shape.day == "end" {
				r.Event += Instant(24 * time.Hour)
			}
		}
		w.c.Steps[i].Row = &r
	}
	if w.shape.day != "" {
		for i, s := range w.c.Steps {
			if s.Ask != nil {
				a := *s.Ask
				a.At = Instant(base.AddDate(0, 0, rng.IntN(10)-1).UnixNano() + []int64{0, 0, -1, 1, -1000, 3600e9}[rng.IntN(6)])
				w.c.Steps[i].Ask = &a
			}
		}
	}
	for _, name := range w.named() {
		switch rng.IntN(6) {
		case 0:
			w.shape.columns[name] = "col_" + name
		case 1:
			w.shape.columns[name] = "deep." + name
		}
	}
	for i := range v.Features {
		w.defaults(&v.Features[i])
	}
	all := make([]int, len(v.Features))
	for i := range all {
		all[i] = i
	}
	facts := reading{name: "facts", view: v, take: all}
	for i, f := range v.Features {
		facts.outputs = append(facts.outputs, output{f.Name, i})
	}
	other := reading{name: "facts", view: v, take: all, other: true}
	for i, f := range v.Features {
		other.outputs = append(other.outputs, output{"other_" + f.Name, i})
	}
	w.readings = []reading{facts, other, w.again()}
	rng.Shuffle(len(w.readings), func(i, j int) { w.readings[i], w.readings[j] = w.readings[j], w.readings[i] })
}

// named returns the names of keys and features whose columns are in the files.
func (w *world) named() (names []string) {
	for i, k := range w.c.View.Keys {
		if i > 0 || !w.shape.fold {
			names = append(names, k.Name)
		}
	}
	for _, f := range w.c.View.Features {
		names = append(names, f.Name)
	}
	return names
}

func (w *world) column(name string) string {
	if c, ok := w.shape.columns[name]; ok {
		return c
	}
	return name
}

// again is another view of the same files: of some of the features in another order, perhaps wider, under another ttl.
func (w *world) again() reading {
	rng, v := w.rng, &w.c.View
	r := reading{name: "again", other: rng.IntN(2) == 0, view: &View{Keys: v.Keys, TTL: []int64{0, 1, v.TTL, 2 * v.TTL, 1e6}[rng.IntN(5)]}}
	r.take = rng.Perm(len(v.Features))[:1+rng.IntN(len(v.Features))]
	for i, from := range r.take {
		f := v.Features[from]
		f.Default, f.Literal = nil, ""
		for narrow, wide := range map[string]string{"int32": "int64", "float32": "float64"} {
			if rng.IntN(2) == 0 {
				f.Type = strings.Replace(f.Type, narrow, wide, 1)
			}
		}
		w.defaults(&f)
		r.view.Features = append(r.view.Features, f)
		r.outputs = append(r.outputs, output{[]string{"again_", "alias_"}[rng.IntN(2)] + f.Name, i})
	}
	return r
}

// defaults gives a feature a default, or not.
func (w *world) defaults(f *Column) {
	if w.rng.IntN(3) > 0 {
		return
	}
	v := randomValue(w.rng, f.Type)
	v.List = slices.DeleteFunc(v.List, func(e Value) bool { return e.Null })
	if v.Null {
		return
	}
	if len(v.List) == 0 {
		v.List = nil
	}
	f.Default, f.Literal = &v, literal(f.Type, v)
}

// literal writes a value as definition files do.
func literal(typ string, v Value) string {
	if elem, list := strings.CutPrefix(typ, "list<"); list {
		var elems []string
		for _, e := range v.List {
			elems = append(elems, literal(strings.TrimSuffix(elem, ">"), e))
		}
		return "[" + strings.Join(elems, ", ") + "]"
	}
	float := func(f float64, size int) string {
		switch {
		case math.IsNaN(f):
			return `"NaN"`
		case math.IsInf(f, 1):
			return `"Infinity"`
		case math.IsInf(f, -1):
			return `"-Infinity"`
		}
		if s := fmt.Sprintf("%g", f); size == 64 && strings.ContainsAny(s, ".e") {
			return s
		}
		if size == 32 {
			return fmt.Sprintf("%.1f", f)
		}
		return fmt.Sprintf("%.1f", f)
	}
	switch typ {
	case "bool":
		return fmt.Sprint(v.Bits != 0)
	case "int32", "int64":
		return fmt.Sprint(int64(v.Bits))
	case "float32":
		f := math.Float32frombits(uint32(v.Bits))
		if f == math.SmallestNonzeroFloat32 {
			return "1e-45"
		}
		return float(float64(f), 32)
	case "float64":
		return float(math.Float64frombits(v.Bits), 64)
	case "timestamp":
		return `"` + time.UnixMicro(int64(v.Bits)).UTC().Format(time.RFC3339Nano) + `"`
	case "bytes":
		return `"` + base64.StdEncoding.EncodeToString([]byte(v.Str)) + `"`
	}
	b, err := json.Marshal(v.Str)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (w *world) definitions() string {
	var b strings.Builder
	entities := "[]"
	if len(w.c.View.Keys) > 0 {
		entities = "[thing]"
		b.WriteString("kind: Entity\nname: thing\njoin_keys:\n")
		for _, k := range w.c.View.Keys {
			fmt.Fprintf(&b, "  - {name: %s, type: %s}\n", k.Name, k.Type)
		}
		b.WriteString("---\n")
	}
	event := "happened"
	if w.shape.day != "" {
		event = "{column: day, at: " + w.shape.day + "}"
	}
	fmt.Fprintf(&b, "kind: Source\nname: files\nparquet: \"%sfacts/**\"\nevent_time: %s\n", w.shape.root, event)
	if w.shape.created {
		b.WriteString("created_time: written\n")
	}
	done := map[string]bool{}
	for _, r := range w.readings {
		if done[r.name] {
			continue
		}
		done[r.name] = true
		fmt.Fprintf(&b, "---\nkind: FeatureView\nname: %s\nentities: %s\nsource: files\n", r.name, entities)
		if len(r.view.Keys) > 0 {
			b.WriteString("keys: {")
			for i, k := range r.view.Keys {
				fmt.Fprintf(&b, "%s%s: %s", []string{"", ", "}[boolInt(i > 0)], k.Name, w.column(k.Name))
			}
			b.WriteString("}\n")
		}
		if r.view.TTL > 0 {
			fmt.Fprintf(&b, "ttl: %dus\n", r.view.TTL)
		}
		b.WriteString("features:\n")
		for _, f := range r.view.Features {
			fmt.Fprintf(&b, "  - {name: %s, type: %s, column: %s", f.Name, f.Type, w.column(f.Name))
			if f.Default != nil {
				fmt.Fprintf(&b, ", default: %s", f.Literal)
			}
			b.WriteString("}\n")
		}
	}
	b.WriteString("---\nkind: FeatureService\nname: model\nfeatures:\n")
	for _, r := range w.readings {
		fmt.Fprintf(&b, "  - view: %s\n", r.name)
		if len(r.view.Keys) > 0 && r.other {
			b.WriteString("    join:\n")
			for _, k := range r.view.Keys {
				fmt.Fprintf(&b, "      %s: other_%s\n", k.Name, k.Name)
			}
		}
		prefix, _, prefixed := strings.Cut(r.outputs[0].name, r.view.Features[r.outputs[0].feature].Name)
		for _, o := range r.outputs {
			prefixed = prefixed && o.name == prefix+r.view.Features[o.feature].Name
		}
		if prefixed {
			fmt.Fprintf(&b, "    prefix: %q\n", prefix)
			continue
		}
		b.WriteString("    features:\n")
		for _, o := range r.outputs {
			fmt.Fprintf(&b, "      - {name: %s, as: %s}\n", r.view.Features[o.feature].Name, o.name)
		}
	}
	return b.String()
}

// project returns a row as a reading has it: some of the features, in types that may be wider.
func (w *world) project(r reading, rows []Row) []Row {
	out := slices.Clone(rows)
	for i := range out {
		values := make([]Value, len(r.take))
		for f, from := range r.take {
			values[f] = widened(rows[i].Values[from], w.c.View.Features[from].Type, r.view.Features[f].Type)
		}
		out[i].Values = values
	}
	return out
}

func widened(v Value, from, to string) Value {
	if from == to || !strings.Contains(from, "float32") || v.Null {
		return v
	}
	if strings.HasPrefix(from, "list<") {
		list := Value{}
		for _, e := range v.List {
			list.List = append(list.List, widened(e, "float32", "float64"))
		}
		return list
	}
	return Value{Bits: math.Float64bits(float64(math.Float32frombits(uint32(v.Bits))))}
}

// keysOf returns the keys that a reading has of ask r.
func (w *world) keysOf(r reading, ask int) []Value {
	if r.other {
		return other(w.asks, ask).Keys
	}
	return w.asks[ask].Keys
}

// folder is where the files are.
func (w *world) folder() string {
	return filepath.Join(w.dir, strings.TrimSuffix(w.shape.root, ":"), "facts")
}

// write replaces all files by rows, each in the file it names.
func (w *world) write(t *testing.T, rows []Row) {
	t.Helper()
	if err := os.RemoveAll(w.folder()); err != nil {
		t.Fatal(err)
	}
	files := map[string][]Row{w.path(Row{File: "nothing", Event: Instant(base.UnixNano()), Keys: []Value{{Bits: 1}}}): nil}
	for _, r := range rows {
		path := w.path(r)
		files[path] = append(files[path], r)
	}
	var extra []Column
	for i := range w.rng.IntN(3) {
		extra = append(extra, Column{Name: fmt.Sprint("extra", i), Type: featureTypes[w.rng.IntN(len(featureTypes))]})
	}
	for path, rows := range files {
		w.writeFile(t, path, rows, extra)
	}
	if w.rng.IntN(3) == 0 {
		writeBytes(t, filepath.Join(w.folder(), "_spark_metadata", "0.parquet"), []byte("not Parquet"))
	}
}

// path is where a row lies: in its file, below the folders of its day and its key.
func (w *world) path(r Row) string {
	var at []string
	if w.shape.day != "" {
		day := time.Unix(0, int64(r.Event)).UTC()
		if w.shape.day == "end" {
			day = day.AddDate(0, 0, -1)
		}
		at = append(at, "day="+day.Format(time.DateOnly))
	}
	if w.shape.fold {
		value := "__HIVE_DEFAULT_PARTITION__"
		if !r.Keys[0].Null {
			value = fmt.Sprint(int64(r.Keys[0].Bits))
		}
		at = append(at, w.c.View.Keys[0].Name+"="+url.PathEscape(value))
	}
	return filepath.Join(w.folder(), filepath.Join(at...), r.File+".parquet")
}

func (w *world) writeFile(t *testing.T, path string, rows []Row, extra []Column) {
	t.Helper()
	var columns []column
	if w.shape.day == "" {
		columns = append(columns, column{"happened", "instant", func(r int) Value { return Value{Bits: uint64(rows[r].Event)} }})
	}
	if w.shape.created {
		columns = append(columns, column{"written", "instant", func(r int) Value {
			if rows[r].Created == nil {
				return Value{Null: true}
			}
			return Value{Bits: uint64(*rows[r].Created)}
		}})
	}
	for i, k := range w.c.View.Keys {
		if i > 0 || !w.shape.fold {
			columns = append(columns, column{w.column(k.Name), k.Type, func(r int) Value { return rows[r].Keys[i] }})
		}
	}
	for i, f := range w.c.View.Features {
		columns = append(columns, column{w.column(f.Name), f.Type, func(r int) Value { return rows[r].Values[i] }})
	}
	for _, x := range extra {
		values := make([]Value, len(rows))
		for r := range values {
			values[r] = randomValue(w.rng, x.Type)
		}
		columns = append(columns, column{x.Name, x.Type, func(r int) Value { return values[r] }})
	}
	writeAnyhow(t, w.rng, path, len(rows), columns)
}

// shuffled deals rows to other files, in another order.
func (w *world) shuffled(rows []Row) []Row {
	out := slices.Clone(rows)
	w.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	for i := range out {
		out[i].File = fmt.Sprint("dealt", w.rng.IntN(5))
	}
	return out
}

// revisions is a registry that has the world's definitions as revision 1.
type revisions struct{ *world }

func (r revisions) revision() registry.Revision {
	return registry.Revision{Number: 1, Digest: r.snapshot.Digest}
}

func (r revisions) At(_ context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	if number != 1 {
		return registry.Revision{}, nil, problem.New(problem.NotFound, "no revision %d", number)
	}
	return r.revision(), r.defs, nil
}

func (r revisions) History(context.Context, int) ([]registry.Revision, error) {
	return []registry.Revision{r.revision()}, nil
}
