package pit

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/registry"
)

// form is what decides an export's bytes, besides its inputs.
type form struct {
	Spine, Out  offline.Format
	Time        string // how the spine has its times: instant, text, integer
	Compression string
	GroupRows   int
	PartRows    int64
	Features    []int // of the view facts, in place of the service
	Stdout      bool
}

func randomForm(rng *rand.Rand, v *View) form {
	f := form{
		Spine: []offline.Format{offline.Parquet, offline.CSV, offline.Arrow}[rng.IntN(3)],
		Out:   []offline.Format{offline.Parquet, offline.Parquet, offline.Arrow, offline.ArrowStream}[rng.IntN(4)],
		Time:  []string{"instant", "text", "integer"}[rng.IntN(3)],
	}
	if f.Spine == offline.CSV && f.Time == "instant" {
		f.Time = "text"
	}
	f.Compression = []string{"", "none", "zstd"}[rng.IntN(3)]
	if f.Out == offline.Parquet {
		f.Compression = []string{"", "none", "zstd", "snappy", "gzip", "lz4"}[rng.IntN(6)]
	}
	f.GroupRows = []int{0, 1, 2, 3, 8}[rng.IntN(5)]
	f.PartRows = []int64{0, 0, 1, 2, 5, 1000}[rng.IntN(6)]
	if f.Stdout = f.PartRows == 0 && rng.IntN(5) == 0; f.Stdout && f.Out == offline.Arrow {
		f.Out = offline.ArrowStream
	}
	if rng.IntN(5) == 0 {
		f.Features = rng.Perm(len(v.Features))[:1+rng.IntN(len(v.Features))]
	}
	return f
}

// spine is a spine as a file, and what its columns hold.
type spine struct {
	path    string
	columns []column
	options offline.SpineOptions
}

// spineFile writes the asks as a spine: times, the keys under both names, and columns that nothing reads.
func (w *world) spineFile(t *testing.T, f form) spine {
	t.Helper()
	rng, n := w.rng, len(w.asks)
	s := spine{options: offline.SpineOptions{Time: "at"}}
	columns := []column{
		{"at", "instant", func(r int) Value { return Value{Bits: uint64(w.asks[r].At)} }},
		{"label", "int64", func(r int) Value { return Value{Bits: uint64(r)} }},
	}
	switch f.Time {
	case "text":
		columns[0] = column{"at", "string", func(r int) Value {
			zone := time.FixedZone("", 3600*(r%3-1))
			return Value{Str: time.Unix(0, int64(w.asks[r].At)).In(zone).Format(time.RFC3339Nano)}
		}}
	case "integer":
		columns[0].typ, s.options.Unit = "int64", "ns"
	}
	for i, k := range w.c.View.Keys {
		columns = append(columns, column{k.Name, k.Type, func(r int) Value { return w.asks[r].Keys[i] }})
		if f.Features == nil { // else it is no key, and CSV does not know its type
			columns = append(columns, column{"other_" + k.Name, k.Type, func(r int) Value { return other(w.asks, r).Keys[i] }})
		}
	}
	for i := range rng.IntN(4) {
		columns = append(columns, w.extraColumn(fmt.Sprint("more", i), f.Spine))
	}
	rng.Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
	s.columns = columns
	switch f.Spine {
	case offline.CSV:
		s.path = filepath.Join(w.dir, "spine.csv")
		writeBytes(t, s.path, csvSpine(t, columns, n))
	case offline.Arrow:
		s.path = filepath.Join(w.dir, "spine.arrow")
		writeBytes(t, s.path, arrowIPC(t, rng, columns, n))
	default:
		s.path = filepath.Join(w.dir, "spine.parquet")
		writeBytes(t, s.path, arrowGoParquet(t, rng, columns, n))
		if rng.IntN(2) == 0 {
			slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.name, b.name) }) // as parquet-go has them
			writeParquet(t, s.path, n, slices.Clone(columns), randomLayout(rng))
		}
	}
	return s
}

// extraColumn is one that an export has only to keep.
func (w *world) extraColumn(name string, format offline.Format) column {
	rng := w.rng
	if format == offline.CSV {
		typ := []string{"int64", "float64", "bool", "string"}[rng.IntN(4)]
		values := make([]Value, len(w.asks))
		for r := range values {
			switch values[r] = randomValue(rng, typ); {
			case values[r].Null:
			case typ == "float64":
				values[r] = Value{Bits: math.Float64bits([]float64{0.5, -1.1, 1e-7, 0.1, 1.7976931348623157e308}[rng.IntN(5)])}
			case typ == "string":
				values[r] = Value{Str: []string{"", "007", "a,b", "quo\"te", "two\nlines", " 1", "é", "-", "0x1", "+1"}[rng.IntN(10)]}
			}
		}
		return column{name, typ, func(r int) Value { return values[r] }}
	}
	typ := featureTypes[rng.IntN(len(featureTypes))]
	values := make([]Value, len(w.asks))
	for r := range values {
		values[r] = randomValue(rng, typ)
	}
	return column{name, typ, func(r int) Value { return values[r] }}
}

// csvSpine writes columns as CSV: nulls as nothing, text in quotes.
func csvSpine(t *testing.T, columns []column, rows int) []byte {
	t.Helper()
	var out bytes.Buffer
	var header []string
	for _, c := range columns {
		header = append(header, c.name)
	}
	if err := csv.NewWriter(&out).WriteAll([][]string{header}); err != nil {
		t.Fatal(err)
	}
	for r := range rows {
		for i, c := range columns {
			if i > 0 {
				out.WriteByte(',')
			}
			v := c.at(r)
			switch {
			case v.Null:
			case c.typ == "string":
				out.WriteString(`"` + strings.ReplaceAll(v.Str, `"`, `""`) + `"`)
			case c.typ == "bool":
				out.WriteString(strconv.FormatBool(v.Bits != 0))
			case c.typ == "float64":
				out.WriteString(strconv.FormatFloat(math.Float64frombits(v.Bits), 'g', -1, 64))
			default:
				out.WriteString(strconv.FormatInt(int64(v.Bits), 10))
			}
		}
		out.WriteString([]string{"\n", "\r\n"}[r%2])
	}
	return out.Bytes()
}

// effort is what must not decide any byte.
type effort struct {
	workers int
	memory  int64
}

func randomEffort(rng *rand.Rand) effort {
	return effort{1 + rng.IntN(4), []int64{0, 1, 300, 1 << 20}[rng.IntN(4)]}
}

// made is an export's files, by name, and its report.
type made struct {
	files  map[string][]byte
	report *offline.ExportReport
	path   string
}

// export makes a training set.
func (w *world) export(t *testing.T, f form, s spine, e effort) made {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out."+map[offline.Format]string{offline.Parquet: "parquet", offline.Arrow: "arrow", offline.ArrowStream: "bin"}[f.Out])
	req := offline.ExportRequest{
		Service: w.asked(t, f), Snapshot: w.snapshot, Source: w.files, Spine: s.path, SpineOptions: s.options,
		Out: out, OutFormat: f.Out, Compression: f.Compression, GroupRows: f.GroupRows, PartRows: f.PartRows,
		Memory: e.memory, Workers: e.workers,
	}
	var stdout bytes.Buffer
	if f.Stdout {
		req.Out, req.Stdout = "-", &stdout
	}
	m := made{files: map[string][]byte{}, path: out}
	var err error
	if m.report, err = offline.Export(t.Context(), req); err != nil {
		t.Fatalf("export as %+v by %+v: %v", f, e, err)
	}
	if f.Stdout {
		m.files[""] = stdout.Bytes()
		return m
	}
	m.files = filesOf(t, out)
	return m
}

// filesOf returns a file, or those of a folder.
func filesOf(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(path, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[strings.TrimPrefix(name, path)], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// asked is the service of an export.
func (w *world) asked(t *testing.T, f form) *registry.Service {
	t.Helper()
	if f.Features == nil {
		return w.service
	}
	var names []string
	for _, i := range f.Features {
		names = append(names, "facts:"+w.c.View.Features[i].Name)
	}
	svc, err := w.snapshot.AdHoc(names)
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// wanted is an output of a service with the reading that answers it.
type wanted struct {
	output
	reading reading
}

func (w *world) wanted(f form) (list []wanted) {
	for _, r := range w.readings {
		if f.Features == nil {
			for _, o := range r.outputs {
				list = append(list, wanted{o, r})
			}
		} else if r.name == "facts" && !r.other {
			for _, i := range f.Features {
				list = append(list, wanted{r.outputs[i], r})
			}
		}
	}
	return list
}

// checkExport compares an export with the reference.
func (w *world) checkExport(t *testing.T, rows []Row, f form, s spine, m made) {
	t.Helper()
	var got frame
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		switch f.Out {
		case offline.Parquet:
			got.readParquet(t, m.files[name])
		default:
			got.readArrow(t, m.files[name], f.Out == offline.ArrowStream)
		}
	}
	outputs := w.wanted(f)
	var names []string
	for _, c := range s.columns {
		names = append(names, c.name)
	}
	for _, o := range outputs {
		names = append(names, o.name)
	}
	if diff := cmp.Diff(names, got.names); diff != "" {
		t.Fatalf("columns of %+v: (-want +got)\n%s", f, diff)
	}
	if parts := int64(len(m.files)); f.PartRows > 0 && parts != (int64(len(w.asks))+f.PartRows-1)/f.PartRows {
		t.Errorf("%d parts of %d rows for %d", parts, f.PartRows, len(w.asks))
	}
	for i, c := range s.columns {
		if c.name == "at" && c.typ == "string" && len(got.chunks[i]) > 0 && got.chunks[i][0].DataType().ID() == arrow.TIMESTAMP {
			c = column{"at", "instant", func(r int) Value { return Value{Bits: uint64(w.asks[r].At)} }}
		}
		w.sameColumn(t, c.name, got.values(i, c.typ), c.at)
	}
	for i, o := range outputs {
		typ := o.reading.view.Features[o.feature].Type
		counts := offline.FeatureCounts{Name: o.name}
		projected := w.project(o.reading, rows)
		want := make([]Value, len(w.asks))
		for r, a := range w.asks {
			cell := o.reading.view.Answer(projected, w.keysOf(o.reading, r), a.At, NoCutoff)[o.feature]
			want[r] = cell.Value
			switch cell.Status {
			case "PRESENT":
				counts.Present++
			case "NULL":
				counts.Null++
			case "EXPIRED":
				counts.Expired++
			default:
				counts.NotFound++
			}
		}
		w.sameColumn(t, o.name, got.values(len(s.columns)+i, typ), func(r int) Value { return want[r] })
		if diff := cmp.Diff(counts, m.report.Features[i]); diff != "" {
			t.Errorf("counts of %s: (-want +got)\n%s", o.name, diff)
		}
		read := w.asked(t, f).Outputs[i].Read
		w.checkRead(t, o.reading, projected, m.report.Reads[read])
	}
}

func (w *world) sameColumn(t *testing.T, name string, got []Value, want func(r int) Value) {
	t.Helper()
	if len(got) != len(w.asks) {
		t.Fatalf("column %s: %d rows of %d", name, len(got), len(w.asks))
	}
	for r := range got {
		if !got[r].Equal(want(r)) {
			t.Errorf("column %s, row %d: %+v, want %+v", name, r, got[r], want(r))
		}
	}
}

// checkRead compares what a report says of a read with the reference.
func (w *world) checkRead(t *testing.T, r reading, rows []Row, got offline.ReadReport) {
	t.Helper()
	want := offline.ReadReport{Name: got.Name, Stats: got.Stats, Newest: math.MaxInt64}
	slots := map[string]bool{}
	for i, a := range w.asks {
		keys := w.keysOf(r, i)
		found := r.view.Find(rows, keys, a.At, NoCutoff)
		status := "NOT_FOUND"
		if found != nil {
			status = r.view.status(floorMicros(a.At) - ceilMicros(found.Event))
		}
		switch status {
		case "PRESENT":
			want.Present++
			age := floorMicros(a.At) - ceilMicros(found.Event)
			want.Newest, want.Oldest = min(want.Newest, age), max(want.Oldest, age)
		case "EXPIRED":
			want.Expired++
		default:
			want.NotFound++
		}
		slots[fmt.Sprintf("%v %d", keys, floorMicros(a.At))] = true
	}
	if want.Present == 0 {
		want.Newest = 0
	}
	want.Stats.Ties = w.ties(r, rows)
	if seen := got.Stats.RowsRead + got.Stats.RowsSkipped; got.Stats.RowsRead > 0 && seen != int64(len(rows)) {
		t.Errorf("read %s: %d rows read and skipped of %d", got.Name, seen, len(rows))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read %s: (-want +got)\n%s", got.Name, diff)
	}
}

// ties counts the rows that equal, in entity, event and created time, the newest row between two instants at which the
// spine asks for the entity, where that row can answer the later one.
func (w *world) ties(r reading, rows []Row) (n int64) {
	times := map[string][]int64{}
	keyed := map[string][]Value{}
	for i, a := range w.asks {
		keys := w.keysOf(r, i)
		if !sameKeys(keys, keys) {
			continue
		}
		id := fmt.Sprintf("%v", keys)
		times[id], keyed[id] = append(times[id], floorMicros(a.At)), keys
	}
	for id, list := range times {
		slices.Sort(list)
		after := int64(math.MinInt64)
		for _, at := range slices.Compact(list) {
			var newest *Row
			equal := int64(0)
			for i := range rows {
				row := &rows[i]
				e := ceilMicros(row.Event)
				if !sameKeys(row.Keys, keyed[id]) || e > at || e <= after || r.view.status(at-e) == "NOT_FOUND" {
					continue
				}
				order := 1
				if newest != nil {
					order = compareTimes(row, newest)
				}
				if order > 0 {
					newest, equal = row, 0
				} else if order == 0 {
					equal++
				}
			}
			n += equal
			after = at
		}
	}
	return n
}

// checkLookup compares lookups at the asks' times with the reference.
func (w *world) checkLookup(t *testing.T, rows []Row) {
	t.Helper()
	byTime := map[int64][]int{}
	for r, a := range w.asks {
		byTime[floorMicros(a.At)] = append(byTime[floorMicros(a.At)], r)
	}
	for _, at := range slices.Sorted(maps.Keys(byTime)) {
		list := byTime[at]
		if len(w.service.RequestKeys) == 0 {
			list = list[:1]
		}
		keys := make([]*columnar.Vector, len(w.service.RequestKeys))
		for i, k := range w.service.RequestKeys {
			name, isOther := strings.CutPrefix(k.Name, "other_")
			key := slices.IndexFunc(w.c.View.Keys, func(c Column) bool { return c.Name == name })
			keys[i] = columnar.NewVector(columnar.Type{Kind: k.Kind}, len(list))
			for _, r := range list {
				appendTo(keys[i], w.keysOf(reading{other: isOther}, r)[key])
			}
		}
		got, err := offline.Lookup(context.Background(), offline.LookupRequest{
			Service: w.service, Source: w.files, Keys: keys, At: at, Workers: 1 + w.rng.IntN(4),
		})
		if err != nil {
			t.Fatalf("lookup: %v", err)
		}
		for i, o := range w.wanted(form{}) {
			projected := w.project(o.reading, rows)
			for n, r := range list {
				want := o.reading.view.Answer(projected, w.keysOf(o.reading, r), w.asks[r].At, NoCutoff)[o.feature]
				cell := Cell{Status: got.Status[i][n].String(), Value: fromVector(got.Columns[i], n)}
				if !cell.Equal(want) {
					t.Errorf("lookup of %s, row %d: %+v, want %+v", o.name, r, cell, want)
				}
			}
		}
	}
}
