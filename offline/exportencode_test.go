package offline

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

// randomHistory replaces the hourly features by random ones, notes and tags of up to wide bytes, and writes a spine.
func (w *world) randomHistory(t *testing.T, rng *rand.Rand, rows, wide int) {
	t.Helper()
	names := []string{"JFK", "SFO", "LAX", "BOS"}
	null := func(v *columnar.Vector, add func()) {
		if rng.IntN(8) == 0 {
			v.AppendNull()
		} else {
			add()
		}
	}
	const facts = 300
	airports, hours := columnar.NewVector(stringType, facts), columnar.NewVector(timeType, facts)
	departures, delays := columnar.NewVector(int64Type, facts), columnar.NewVector(floatType, facts)
	tags, notes := columnar.NewVector(listType, facts), columnar.NewVector(stringType, facts)
	text := func() string { return strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(wide)) }
	for range facts {
		airports.AppendString(names[rng.IntN(len(names))])
		hours.AppendInt64(noon + rng.Int64N(100*hour))
		null(departures, func() { departures.AppendInt64(rng.Int64N(500)) })
		null(delays, func() { delays.AppendFloat64(rng.NormFloat64()) })
		null(tags, func() {
			for range rng.IntN(3) {
				tags.Elem.AppendString(text())
			}
			tags.EndList()
		})
		null(notes, func() { notes.AppendString(text()) })
	}
	writeFile(t, w.path("hourly/a.parquet"), 70,
		field{"airport", airports}, field{"hour", hours}, field{"departures", departures}, field{"delay", delays},
		field{"tags", tags}, field{"note", notes})

	times, keys, labels := columnar.NewVector(timeType, rows), columnar.NewVector(stringType, rows), columnar.NewVector(floatType, rows)
	for range rows {
		times.AppendInt64(noon + rng.Int64N(110*hour))
		null(keys, func() { keys.AppendString(names[rng.IntN(len(names))]) })
		null(labels, func() { labels.AppendFloat64(rng.Float64()) })
	}
	writeFile(t, w.path("spine.parquet"), 900, field{"t", times}, field{"airport", keys}, field{"label", labels})
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes of an output depend on the inputs and its options: not on workers, memory or what goes to a temporary file.
// Wide rows make smaller row groups of the same values.
func TestExportSameBytes(t *testing.T) {
	before := groupBytes
	t.Cleanup(func() { groupBytes = before })
	rng := testenv.Rand(t)
	types := map[string]columnar.Type{
		"label": floatType, "departures": int64Type, "delay": floatType, "tags": listType, "note": stringType,
	}
	for _, limit := range []int{before, 10_000} {
		w := newWorld(t)
		w.randomHistory(t, rng, 2000, 50+rng.IntN(200))
		groupBytes = before
		plain := w.request("one", w.path("spine.parquet"))
		plain.Out = w.path("plain.parquet")
		w.export(t, plain)
		groupBytes = limit
		for _, codec := range parquet.CodecNames() {
			var first []byte
			for i, memory := range []int64{1, 1 << 30, 100_000, 30_000} {
				req := w.request("one", w.path("spine.parquet"))
				req.Workers, req.Memory, req.Compression, req.GroupRows = i+1, memory, codec, 600
				w.export(t, req)
				b := readFile(t, req.Out)
				if first == nil {
					first = b
					wantSameColumns(t, req.Out, plain.Out, types)
				}
				if !bytes.Equal(first, b) {
					t.Errorf("%s, at most %d bytes in a row group: other bytes with %d workers and memory of %d", codec, limit, i+1, memory)
				}
			}
		}
		reader, err := openFile(t, w.path("out.parquet")).Bind([]parquet.Column{{Name: "t", Type: timeType}})
		if err != nil {
			t.Fatal(err)
		}
		if groups := reader.RowGroups(); (limit == before) != (groups == 4) {
			t.Errorf("at most %d bytes in a row group: %d row groups", limit, groups)
		}
	}
}

// Wide rows make smaller Arrow batches, too: one is in memory at a time.
func TestExportWideArrow(t *testing.T) {
	before := groupBytes
	t.Cleanup(func() { groupBytes = before })
	w := newWorld(t)
	w.randomHistory(t, testenv.Rand(t), 2000, 100)
	groupBytes = 10_000
	req := w.request("one", w.path("spine.parquet"))
	w.export(t, req)
	reader, err := openFile(t, req.Out).Bind([]parquet.Column{{Name: "t", Type: timeType}})
	if err != nil {
		t.Fatal(err)
	}
	req.Out, req.GroupRows = w.path("out.arrow"), math.MaxInt
	w.export(t, req)
	r, err := ipc.NewFileReader(bytes.NewReader(readFile(t, req.Out)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if groups := reader.RowGroups(); groups < 10 || r.NumRecords() != groups {
		t.Errorf("%d batches of %d row groups", r.NumRecords(), groups)
	}
}

// Every codec is read back by pyarrow, DuckDB and Polars, checksums verified.
func TestExportCodecsInOtherEngines(t *testing.T) {
	w := newWorld(t)
	w.randomHistory(t, testenv.Rand(t), 5000, 40)
	var outs []string
	for _, codec := range parquet.CodecNames() {
		req := w.request("one", w.path("spine.parquet"))
		req.Compression, req.GroupRows = codec, 2000
		req.Out = w.path(codec + ".parquet")
		w.export(t, req)
		outs = append(outs, req.Out)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Python(t, ".."), append([]string{filepath.Join("testdata", "outputs.py")}, outs...)...)
	if log, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("outputs.py: %v\n%s", err, log)
	}
}

// Progress never goes back, comes one call at a time, and ends with the whole.
func TestExportProgress(t *testing.T) {
	w := newWorld(t)
	w.randomHistory(t, testenv.Rand(t), 4000, 40)
	req := w.request("one", w.path("spine.parquet"))
	req.GroupRows, req.Memory, req.Workers = 500, 1, 4
	var calls []Progress
	req.Progress = func(p Progress) { calls = append(calls, p) } // the race detector sees calls that overlap
	w.export(t, req)
	var stages []string
	between := 0
	for i, p := range calls {
		if i > 0 && p.Part < calls[i-1].Part || p.Part < 0 || p.Part > 1 {
			t.Errorf("%+v after %+v", p, calls[i-1])
		}
		if p.Part > 0.1 && p.Part < 0.9 {
			between++
		}
		if !slices.Contains(stages, p.Stage) {
			stages = append(stages, p.Stage)
		}
	}
	if last := calls[len(calls)-1]; last.Part != 1 || last.Done != 4000 || last.Size != 4000 {
		t.Errorf("the last is %+v", last)
	}
	if want := []string{"hourly", "hourly, features", "write"}; !slices.Equal(stages, want) || between < 10 {
		t.Errorf("stages %q, want %q; %d calls between", stages, want, between)
	}
}

// Ages and counts are those of the rows.
func TestExportReads(t *testing.T) {
	w := newWorld(t)
	writeFile(t, w.path("spine.parquet"), 100,
		field{"t", vec(timeType, noon+3, noon+hour+5, noon, noon, noon-5*hour)},
		field{"airport", vec(stringType, "JFK", "JFK", "SFO", "XXX", "SFO")})
	report := w.export(t, w.request("one", w.path("spine.parquet")))
	got := report.Reads[0]
	got.Stats = report.Reads[0].Stats
	if got.Name != "hourly" || got.Present != 3 || got.Expired != 1 || got.NotFound != 1 || got.Newest != 3 || got.Oldest != 5*hour {
		t.Errorf("%+v", got)
	}
	if report.Bytes != fileSize(t, w.path("out.parquet")) {
		t.Errorf("%d bytes", report.Bytes)
	}
}

func TestExportBadOptions(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*ExportRequest)
		want   []string
	}{
		{"compression", func(r *ExportRequest) { r.Compression = "lzo" }, []string{`"lzo"`, "zstd, snappy, gzip, lz4 or none"}},
		{"compression", func(r *ExportRequest) { r.Compression, r.OutFormat = "gzip", Arrow }, []string{`"gzip" of Arrow`, "none, zstd or lz4"}},
		{"out_format", func(r *ExportRequest) { r.OutFormat = CSV }, []string{`"csv"`, "parquet, arrow or arrow-stream"}},
		{"group_rows", func(r *ExportRequest) { r.GroupRows = -1 }, []string{"at least 1"}},
		{"part_rows", func(r *ExportRequest) { r.PartRows = -1 }, []string{"at least 1"}},
		{"memory", func(r *ExportRequest) { r.Memory = -1 }, []string{"at least 1"}},
		{"out", func(r *ExportRequest) { r.Out = "" }, []string{"name a file"}},
		{"out", func(r *ExportRequest) { r.Out = "-" }, []string{"no standard output"}},
		{"part_rows", func(r *ExportRequest) { r.Out, r.Stdout, r.PartRows = "-", &bytes.Buffer{}, 1 }, []string{"parts make a folder"}},
		{"part_rows", func(r *ExportRequest) { r.Out, r.PartRows = "s3://bucket/key", 10 }, []string{"no folders"}},
		{"group_rows", func(r *ExportRequest) { r.GroupRows = 1 }, []string{"at most 32768", "want at least 2"}},
	} {
		w := newWorld(t)
		bigSpine(t, w.path("spine.parquet"), 40_000)
		req := w.request("one", w.path("spine.parquet"))
		tt.change(&req)
		before := entries(t, w.dir)
		_, err := Export(context.Background(), req)
		wantProblem(t, err, tt.field, tt.want...)
		if after := entries(t, w.dir); !slices.Equal(after, before) {
			t.Errorf("%v: left %v, there was %v", err, after, before)
		}
	}
}

// Many small parts need no more than their own row groups.
func TestExportSmallGroups(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 10)
	for _, rows := range []int{1, 3, 10, 11, 1 << 50, math.MaxInt} {
		req := w.request("one", w.path("spine.parquet"))
		req.GroupRows = rows
		w.export(t, req)
		reader, err := openFile(t, req.Out).Bind([]parquet.Column{{Name: "label", Type: int64Type}})
		if err != nil {
			t.Fatal(err)
		}
		if want := (10-1)/rows + 1; reader.RowGroups() != want {
			t.Errorf("%d row groups of %d rows, want %d", reader.RowGroups(), rows, want)
		}
		wantColumn(t, req.Out, "label", vec(int64Type, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
	}
}

// runWithin takes whole rows, at least one.
func TestRunWithin(t *testing.T) {
	for _, tt := range []struct {
		sizes []uint32
		want  int
	}{
		{nil, 0},
		{[]uint32{11}, 1},
		{[]uint32{5, 5, 1}, 2},
		{[]uint32{5, 5}, 2},
		{[]uint32{0, 11}, 1},
		{[]uint32{1<<32 - 1, 1}, 1},
	} {
		if got := runWithin(tt.sizes, 10); got != tt.want {
			t.Errorf("%v: %d rows, want %d", tt.sizes, got, tt.want)
		}
	}
	var s rowSizes
	s.rows = make([]uint32, 2)
	s.add(1, []uint32{1<<32 - 2})
	s.add(0, []uint32{1, 7})
	if want := fmt.Sprint([]uint32{1, 1<<32 - 1}); fmt.Sprint(s.rows) != want {
		t.Errorf("sizes %v, want %s", s.rows, want)
	}
}
