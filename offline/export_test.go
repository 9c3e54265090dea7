package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

var (
	boolType   = columnar.Type{Kind: columnar.Bool}
	int32Type  = columnar.Type{Kind: columnar.Int32}
	int64Type  = columnar.Type{Kind: columnar.Int64}
	floatType  = columnar.Type{Kind: columnar.Float64}
	stringType = columnar.Type{Kind: columnar.String}
	timeType   = columnar.Type{Kind: columnar.Timestamp}
	listType   = columnar.Type{Kind: columnar.String, List: true}
)

// noon is an instant the tests count from, in microseconds.
var noon = time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC).UnixMicro()

const hour = int64(time.Hour / time.Microsecond)

// vec returns a vector of values; nil is a null. A list is []string.
func vec(t columnar.Type, values ...any) *columnar.Vector {
	v := columnar.NewVector(t, len(values))
	for _, x := range values {
		switch x := x.(type) {
		case nil:
			v.AppendNull()
		case bool:
			v.AppendBool(x)
		case int32:
			v.AppendInt32(x)
		case int:
			v.AppendInt64(int64(x))
		case int64:
			v.AppendInt64(x)
		case float64:
			v.AppendFloat64(x)
		case string:
			v.AppendString(x)
		case []string:
			for _, s := range x {
				v.Elem.AppendString(s)
			}
			v.EndList()
		}
	}
	return v
}

type field struct {
	name   string
	values *columnar.Vector
}

// writeFile writes a Parquet file in row groups of step rows.
func writeFile(t *testing.T, path string, step int, fields ...field) {
	t.Helper()
	var schema parquet.Schema
	for _, f := range fields {
		schema.Add(f.name, f.values.Type)
	}
	var out bytes.Buffer
	w, err := parquet.NewWriter(&out, &schema)
	if err != nil {
		t.Fatal(err)
	}
	rows := fields[0].values.Len()
	for lo := 0; lo < rows; lo += step {
		var group []*parquet.Encoded
		for i, f := range fields {
			part := columnar.NewVector(f.values.Type, step)
			for r := lo; r < min(lo+step, rows); r++ {
				part.AppendFrom(f.values, r)
			}
			c := parquet.NewChunk(schema.Leaves()[i], step)
			c.Append(part)
			e, err := parquet.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			group = append(group, e)
		}
		if err := w.WriteRowGroup(group); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readColumn reads a column of a file.
func readColumn(t *testing.T, path, name string, typ columnar.Type) *columnar.Vector {
	t.Helper()
	f := openFile(t, path)
	r, err := f.Bind([]parquet.Column{{Name: name, Type: typ}})
	if err != nil {
		t.Fatal(err)
	}
	v := columnar.NewVector(typ, 0)
	for g := range r.RowGroups() {
		if err := r.Read(context.Background(), g, 0, v); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func openFile(t *testing.T, path string) *parquet.File {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.Open(context.Background(), bytes.NewReader(b), source.File{Path: path, Size: int64(len(b))}, parquet.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantColumn(t *testing.T, path, name string, want *columnar.Vector) {
	t.Helper()
	got := readColumn(t, path, name, want.Type)
	if got.Len() != want.Len() {
		t.Fatalf("%s has %d rows, want %d", name, got.Len(), want.Len())
	}
	for i := range want.Len() {
		if !got.EqualAt(i, want, i) {
			t.Errorf("%s, row %d: %s, want %s", name, i, columnar.AppendJSON(nil, got, i), columnar.AppendJSON(nil, want, i))
		}
	}
}

// world is a project folder with a view by airport, one by user and a global one.
type world struct {
	dir      string
	files    *source.Files
	snapshot *registry.Snapshot
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.files = source.New(w.dir, nil)
	nan, zero := math.NaN(), math.Copysign(0, -1)
	writeFile(t, filepath.Join(w.dir, "hourly/a.parquet"), 2,
		field{"airport", vec(stringType, "JFK", "JFK", "SFO", nil, "JFK")},
		field{"hour", vec(timeType, noon-2*hour, noon, noon-10*hour, noon, noon+hour)},
		field{"departures", vec(int64Type, 3, nil, 7, 1, 9)},
		field{"delay", vec(floatType, nan, zero, math.Inf(1), 1.0, 2.5)},
		field{"tags", vec(listType, []string{"x", ""}, []string{}, nil, []string{"n"}, []string{"late"})},
		field{"note", vec(stringType, "", "b", "c", "d", "e")},
	)
	writeFile(t, filepath.Join(w.dir, "users/a.parquet"), 10,
		field{"user", vec(int64Type, 1, 2)}, field{"at", vec(timeType, noon-hour, noon-hour)},
		field{"vip", vec(boolType, true, nil)}, field{"seen", vec(timeType, noon-3, noon)},
	)
	writeFile(t, filepath.Join(w.dir, "world/a.parquet"), 10,
		field{"at", vec(timeType, noon-hour)}, field{"weather", vec(int32Type, int32(4))},
	)
	feature := func(name string, typ columnar.Type, byDefault string) *registry.Feature {
		f := &registry.Feature{Name: name, Type: typ}
		if byDefault != "" {
			f.Default = json.RawMessage(byDefault)
		}
		return f
	}
	parquetSource := func(name, event string) *registry.Source {
		return &registry.Source{
			Name: name, Parquet: []string{name}, EventTime: registry.TimeColumn{Column: event}, Timezone: "UTC",
			Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
		}
	}
	defs := &registry.Definitions{
		Entities: []*registry.Entity{
			{Name: "airport", JoinKeys: []registry.JoinKey{{Name: "airport", Type: stringType}}},
			{Name: "user", JoinKeys: []registry.JoinKey{{Name: "user", Type: int64Type}}},
		},
		Sources: []*registry.Source{parquetSource("hourly", "hour"), parquetSource("users", "at"), parquetSource("world", "at")},
		Views: []*registry.FeatureView{
			{Name: "hourly", Entities: []string{"airport"}, Source: "hourly", TTL: 6 * time.Hour, Features: []*registry.Feature{
				feature("departures", int64Type, "0"), feature("delay", floatType, ""),
				feature("tags", listType, `["none"]`), feature("note", stringType, ""),
			}},
			{Name: "users", Entities: []string{"user"}, Source: "users", Features: []*registry.Feature{
				feature("vip", boolType, "false"), feature("seen", timeType, ""),
			}},
			{Name: "world", Entities: []string{}, Source: "world", Features: []*registry.Feature{feature("weather", int32Type, "")}},
		},
		Services: []*registry.FeatureService{
			{Name: "one", Features: []registry.ServiceView{{View: "hourly"}}},
			{Name: "all", Features: []registry.ServiceView{
				{View: "users", Features: []registry.ServiceFeature{{Name: "seen", As: "user_seen"}}},
				{View: "hourly", Prefix: "to_", Join: map[string]string{"airport": "destination"}},
				{View: "hourly", Prefix: "from_", Join: map[string]string{"airport": "airport"}},
				{View: "world"},
				{View: "users", Features: []registry.ServiceFeature{{Name: "vip"}}},
			}},
			{Name: "mixed", Features: []registry.ServiceView{
				{View: "hourly"}, {View: "users", Features: []registry.ServiceFeature{{Name: "vip"}}}, {View: "world"},
			}},
			{Name: "global", Features: []registry.ServiceView{{View: "world"}}},
		},
	}
	var err error
	if w.snapshot, err = registry.Compile(3, defs); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) request(service, spine string) ExportRequest {
	return ExportRequest{
		Service: w.snapshot.Services[service], Snapshot: w.snapshot, Source: w.files, Tool: "test",
		Spine: spine, SpineOptions: SpineOptions{Time: "t"}, Out: w.path("out.parquet"),
	}
}

func (w *world) export(t *testing.T, req ExportRequest) *ExportReport {
	t.Helper()
	report, err := Export(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// entries lists a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestExportCells(t *testing.T) {
	w := newWorld(t)
	// Out of order, with duplicates, null keys, an unknown airport, and ages on both sides of ttl and 2 × ttl.
	times := []any{noon + hour, noon, noon, noon - 1, noon, noon, noon - 3*hour, noon - 4*hour - 1, noon + 2*hour, noon + 2*hour + 1, noon}
	airports := []any{"JFK", "JFK", "JFK", "JFK", nil, "XXX", "SFO", "SFO", "SFO", "SFO", "SFO"}
	writeFile(t, w.path("spine.parquet"), 3,
		field{"z", vec(int64Type, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, nil)},
		field{"t", vec(timeType, times...)},
		field{"airport", vec(stringType, airports...)},
		field{"label", vec(floatType, math.NaN(), math.Copysign(0, -1), 0.0, nil, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)},
	)
	report := w.export(t, w.request("one", w.path("spine.parquet")))
	out := w.path("out.parquet")
	nan, zero := math.NaN(), math.Copysign(0, -1)
	inf := math.Inf(1)
	none := []string{"none"}
	wantColumn(t, out, "z", vec(int64Type, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, nil))
	wantColumn(t, out, "label", vec(floatType, nan, zero, 0.0, nil, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0))
	// A null stays a null, a default fills what is expired or not found.
	wantColumn(t, out, "departures", vec(int64Type, 9, nil, nil, 3, 0, 0, 0, 7, 0, 0, 0))
	wantColumn(t, out, "delay", vec(floatType, 2.5, zero, zero, nan, nil, nil, nil, inf, nil, nil, nil))
	wantColumn(t, out, "tags", vec(listType, []string{"late"}, []string{}, []string{}, []string{"x", ""}, none, none, none, nil, none, none, none))
	wantColumn(t, out, "note", vec(stringType, "e", "b", "b", "", nil, nil, nil, "c", nil, nil, nil))
	want := []FeatureCounts{
		{Name: "departures", Present: 3, Null: 2, Expired: 3, NotFound: 3},
		{Name: "delay", Present: 5, Expired: 3, NotFound: 3},
		{Name: "tags", Present: 4, Null: 1, Expired: 3, NotFound: 3},
		{Name: "note", Present: 5, Expired: 3, NotFound: 3},
	}
	if !reflect.DeepEqual(report.Features, want) {
		t.Errorf("counts %+v, want %+v", report.Features, want)
	}
	if report.Rows != 11 {
		t.Errorf("%d rows", report.Rows)
	}
}

func TestExportReadsAViewTwice(t *testing.T) {
	w := newWorld(t)
	writeFile(t, w.path("spine.parquet"), 100,
		field{"destination", vec(stringType, "SFO", "JFK")},
		field{"user", vec(int32Type, int32(2), int32(1))},
		field{"airport", vec(stringType, "JFK", "SFO")},
		field{"t", vec(timeType, noon-5*hour, noon-5*hour)},
	)
	req := w.request("all", w.path("spine.parquet"))
	var stages []string
	req.Progress = func(p Progress) {
		if !slices.Contains(stages, p.Stage) {
			stages = append(stages, p.Stage)
		}
	}
	w.export(t, req)
	out := w.path("out.parquet")
	passthrough, err := openFile(t, out).Passthrough(fileSize(t, out))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{
		"destination", "user", "airport", "t", "user_seen", "to_departures", "to_delay", "to_tags", "to_note",
		"from_departures", "from_delay", "from_tags", "from_note", "weather", "vip",
	}
	if got := passthrough.Names(); !slices.Equal(got, names) {
		t.Errorf("columns %v, want %v", got, names)
	}
	wantColumn(t, out, "to_departures", vec(int64Type, 7, 0))
	wantColumn(t, out, "from_departures", vec(int64Type, 0, 7))
	wantColumn(t, out, "from_note", vec(stringType, nil, "c"))
	wantColumn(t, out, "weather", vec(int32Type, nil, nil)) // it lies in the future
	wantColumn(t, out, "vip", vec(boolType, false, false))
	for _, stage := range []string{"hourly as destination", "hourly as airport", "world", "write"} {
		if !slices.Contains(stages, stage) {
			t.Errorf("no stage %q among %q", stage, stages)
		}
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Columns of types that Provender has no vector for come through bit for bit.
func TestExportRepeatsEveryType(t *testing.T) {
	w := newWorld(t)
	spines, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(spines) == 0 {
		t.Fatal(spines, err)
	}
	for _, spine := range spines {
		req := w.request("one", spine)
		req.Time = "zone"
		w.export(t, req)
		in, err := openFile(t, spine).Passthrough(fileSize(t, spine))
		if err != nil {
			t.Fatal(err)
		}
		out, err := openFile(t, req.Out).Passthrough(fileSize(t, req.Out))
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Names()[:len(in.Names())]; !slices.Equal(got, in.Names()) {
			t.Errorf("%s: columns %v, want %v", spine, got, in.Names())
		}
		for i, leaf := range in.Schema().Leaves() {
			want, got := parquet.NewChunk(leaf, 0), parquet.NewChunk(leaf, 0)
			for chunk, p := range map[*parquet.Chunk]*parquet.Passthrough{want: in, got: out} {
				c := p.Cursor(i)
				if err := c.Next(context.Background(), 7, chunk); err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: column %d: %+v, want %+v", spine, i, got, want)
			}
		}
	}
}

func TestExportEmptySpine(t *testing.T) {
	w := newWorld(t)
	writeFile(t, w.path("spine.parquet"), 100, field{"t", vec(timeType)}, field{"airport", vec(stringType)})
	if report := w.export(t, w.request("one", w.path("spine.parquet"))); report.Rows != 0 {
		t.Errorf("%d rows", report.Rows)
	}
	if f := openFile(t, w.path("out.parquet")); f.NumRows() != 0 || len(f.Columns()) != 6 {
		t.Errorf("%d rows, %d columns", f.NumRows(), len(f.Columns()))
	}
}

// bigSpine is longer than a row group.
func bigSpine(t *testing.T, path string, rows int) {
	t.Helper()
	times, airports, labels := columnar.NewVector(timeType, rows), columnar.NewVector(stringType, rows), columnar.NewVector(int64Type, rows)
	names := []string{"JFK", "SFO", "XXX"}
	for i := range rows {
		times.AppendInt64(noon + int64(i*7919%1_000_003)*100_000 - 20*hour)
		airports.AppendString(names[i%3])
		labels.AppendInt64(int64(i))
	}
	writeFile(t, path, 50_000, field{"t", times}, field{"airport", airports}, field{"label", labels})
}

func TestExportSameBytesForAnyWorkers(t *testing.T) {
	w := newWorld(t)
	const rows = groupRows + 12_345
	bigSpine(t, w.path("spine.parquet"), rows)
	var first []byte
	for workers := 1; workers <= 4; workers++ {
		req := w.request("one", w.path("spine.parquet"))
		req.Workers = workers
		if report := w.export(t, req); report.Rows != rows {
			t.Fatalf("%d rows", report.Rows)
		}
		b, err := os.ReadFile(req.Out)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(first, b) {
			t.Errorf("other bytes with %d workers", workers)
		}
	}
	labels := readColumn(t, w.path("out.parquet"), "label", int64Type)
	for i := range rows {
		if labels.Int64s[i] != int64(i) {
			t.Fatalf("row %d is row %d of the spine", i, labels.Int64s[i])
		}
	}
}

func TestExportManifest(t *testing.T) {
	w := newWorld(t)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 100, field{"t", vec(timeType, noon, noon)}, field{"airport", vec(stringType, "JFK", "XXX")})
	report := w.export(t, w.request("one", spine))
	b, err := os.ReadFile(report.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m.Version != 1 || m.Provender != "test" || m.Revision != 3 || m.Definitions != w.snapshot.Digest || m.Service != "one" {
		t.Errorf("manifest %+v", m)
	}
	for path, sum := range map[string]string{spine: m.Spine.SHA256, w.path("out.parquet"): m.Output.SHA256} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if digest := sha256.Sum256(b); hex.EncodeToString(digest[:]) != sum {
			t.Errorf("digest of %s", path)
		}
	}
	if size := fileSize(t, w.path("out.parquet")); m.Output.Bytes != size || m.Output.Rows != 2 || m.Spine.Rows != 2 {
		t.Errorf("output %+v, %d bytes", m.Output, size)
	}
	want := manifestFeature{
		Name: "departures", Feature: "hourly:departures", Type: int64Type, Default: json.RawMessage("0"), Null: 1, NotFound: 1,
	}
	if len(m.Features) != 4 || !reflect.DeepEqual(m.Features[0], want) {
		t.Errorf("features %+v", m.Features)
	}
	v := m.Views[0]
	if v.View != "hourly" || v.TTL != "6h" || v.Keys["airport"] != "airport" || v.NullKeys != 0 || v.RowsRead != 2 || v.RowsSkipped != 3 ||
		len(v.Files) != 1 || v.Files[0].Bytes == 0 || v.Files[0].Identity == "" {
		t.Errorf("view %+v", v)
	}
	// An age of 0 is told, and where no row is found there is none.
	if found := v.Present > 0; (v.NewestAge != nil) != found || (v.OldestAge != nil) != found {
		t.Errorf("ages %v and %v of %d rows", v.NewestAge, v.OldestAge, v.Present)
	}
}

func TestExportFailures(t *testing.T) {
	spine := []field{{"t", vec(timeType, noon)}, {"airport", vec(stringType, "JFK")}}
	for _, tt := range []struct {
		name   string
		fields []field
		change func(w *world, req *ExportRequest)
		want   []string
	}{
		{
			"output named like a column", append(slices.Clone(spine), field{"delay", vec(floatType, 1.0)}), nil,
			[]string{"delay", "named like a column"},
		},
		{
			"missing key",
			[]field{{"t", vec(timeType, noon)}, {"airports", vec(stringType, "JFK")}},
			nil,
			[]string{"no key column \"airport\"", "airports, t", "did you mean \"airports\""},
		},
		{"float key", []field{{"t", vec(timeType, noon)}, {"airport", vec(floatType, 1.0)}}, nil, []string{"DOUBLE", "needs string"}},
		{"bool key", []field{{"t", vec(timeType, noon)}, {"airport", vec(boolType, true)}}, nil, []string{"BOOLEAN", "needs string"}},
		{"integer for a string key", []field{{"t", vec(timeType, noon)}, {"airport", vec(int64Type, 1)}}, nil, []string{"INT64", "needs string"}},
		{"missing time", []field{{"T", vec(timeType, noon)}, {"airport", vec(stringType, "JFK")}}, nil, []string{"no time column \"t\""}},
		{"null time", []field{{"t", vec(timeType, noon, nil)}, {"airport", vec(stringType, "JFK", "JFK")}}, nil, []string{"time column t is null in row 1"}},
		{
			"null text",
			[]field{{"t", vec(stringType, "2001-01-01T00:00:00Z", nil)}, {"airport", vec(stringType, "JFK", "JFK")}},
			nil,
			[]string{"time column t is null in row 1"},
		},
		{"integer time without a unit", []field{{"t", vec(int64Type, 1)}, {"airport", vec(stringType, "JFK")}}, nil, []string{"--time-unit"}},
		{"float time", []field{{"t", vec(floatType, 1.0)}, {"airport", vec(stringType, "JFK")}}, nil, []string{"DOUBLE", "timestamp"}},
		{
			"text that is no time",
			[]field{{"t", vec(stringType, "2001-01-01T00:00:00 Z")}, {"airport", vec(stringType, "JFK")}},
			nil,
			[]string{"row 0", "\"2001-01-01T00:00:00 Z\" is not a time"},
		},
		{"no spine", spine, func(w *world, req *ExportRequest) { req.Spine = w.path("nowhere.parquet") }, []string{"nowhere.parquet"}},
		{"spine is a folder", spine, func(w *world, req *ExportRequest) { req.Spine = w.dir }, []string{"one Parquet, CSV or Arrow file"}},
		{"out is the spine", spine, func(_ *world, req *ExportRequest) { req.Out = req.Spine }, []string{"the spine itself"}},
		{
			"out in a missing folder", spine, func(w *world, req *ExportRequest) { req.Out = w.path("no/such/out.parquet") },
			[]string{"no/such does not exist"},
		},
		{"out is a folder", spine, func(w *world, req *ExportRequest) { req.Out = w.path("hourly") }, []string{"is a folder"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			writeFile(t, w.path("spine.parquet"), 100, tt.fields...)
			req := w.request("one", w.path("spine.parquet"))
			if tt.change != nil {
				tt.change(w, &req)
			}
			before := entries(t, w.dir)
			_, err := Export(context.Background(), req)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if problem.CodeOf(err) == problem.Internal {
				t.Errorf("%v has no code", err)
			}
			if after := entries(t, w.dir); !slices.Equal(after, before) {
				t.Errorf("left %v, there was %v", after, before)
			}
		})
	}
}

// TestExportManifestOfTies: rows that tie are counted, and the newest event time is that of the rows that were read.
func TestExportManifestOfTies(t *testing.T) {
	w := newWorld(t)
	writeFile(t, w.path("hourly/b.parquet"), 2,
		field{"airport", vec(stringType, "JFK")}, field{"hour", vec(timeType, noon)}, field{"departures", vec(int64Type, 8)},
		field{"delay", vec(floatType, nil)}, field{"tags", vec(listType, nil)}, field{"note", vec(stringType, "z")},
	)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 100, field{"t", vec(timeType, noon)}, field{"airport", vec(stringType, "JFK")})
	b, err := os.ReadFile(w.export(t, w.request("one", spine)).Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	newest := string(columnar.AppendTimestamp(nil, noon))
	if v := m.Views[0]; v.Ties != 1 || v.NewestEvent != newest || len(v.Files) != 2 {
		t.Errorf("view %+v, want 1 tie, newest event %s", v, newest)
	}
}
