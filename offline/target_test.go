package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// wantProblem fails unless an error is the caller's to mend, names the field and says all of want.
func wantProblem(t *testing.T, err error, field string, want ...string) {
	t.Helper()
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.Invalid || e.Field != field {
		t.Errorf("%v: want an error of %s", err, field)
		return
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestExportParts(t *testing.T) {
	w := newWorld(t)
	const rows = 2500
	bigSpine(t, w.path("spine.parquet"), rows)
	whole := w.request("one", w.path("spine.parquet"))
	w.export(t, whole)
	for _, name := range []string{"parts", "empty", "slash/"} {
		for _, partRows := range []int64{1000, 2500, 1 << 40} {
			t.Run(fmt.Sprint(name, partRows), func(t *testing.T) {
				req := w.request("one", w.path("spine.parquet"))
				req.Out, req.PartRows, req.GroupRows = w.path("")+"/"+name, partRows, 300
				if name == "empty" {
					if err := os.Mkdir(req.Out, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				report := w.export(t, req)
				defer os.RemoveAll(req.Out)
				n := int((rows + min(partRows, rows) - 1) / min(partRows, rows))
				if got := entries(t, req.Out); len(got) != n || got[0] != "part-00000.parquet" {
					t.Fatalf("parts %v", got)
				}
				var labels []int64
				for _, part := range entries(t, req.Out) {
					values := readColumn(t, filepath.Join(req.Out, part), "label", int64Type).Int64s
					if len(values) != int(min(partRows, int64(rows-len(labels)))) {
						t.Errorf("%s has %d rows", part, len(values))
					}
					labels = append(labels, values...)
				}
				if want := readColumn(t, whole.Out, "label", int64Type).Int64s; !slices.Equal(labels, want) || report.Rows != rows {
					t.Errorf("%d rows, reported %d", len(labels), report.Rows)
				}
				if want := filepath.Clean(req.Out) + ".manifest.json"; report.Manifest != want {
					t.Errorf("manifest %s, want %s", report.Manifest, want)
				}
				var m manifest
				if err := json.Unmarshal(readFile(t, report.Manifest), &m); err != nil {
					t.Fatal(err)
				}
				if len(m.Output.Parts) != n || m.Output.Rows != rows || m.Output.Bytes != report.Bytes || m.Output.Parts[0].Path != "part-00000.parquet" {
					t.Errorf("output %+v", m.Output)
				}
			})
		}
	}
	if left := entries(t, w.dir); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, ".") }) {
		t.Errorf("left %v", left)
	}
}

// No rows make one part without rows, so that readers of the folder know its columns.
func TestExportPartsOfNoRows(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 0)
	req := w.request("one", w.path("spine.parquet"))
	req.Out, req.PartRows = w.path("parts"), 10
	w.export(t, req)
	if f := openFile(t, w.path("parts/part-00000.parquet")); f.NumRows() != 0 || len(f.Columns()) != 7 {
		t.Errorf("%d rows, %d columns", f.NumRows(), len(f.Columns()))
	}
}

func TestExportPartsRefused(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 10)
	req := w.request("one", w.path("spine.parquet"))
	req.PartRows = 5
	for out, want := range map[string]string{
		"hourly":        "not empty", // a source's
		"spine.parquet": "the spine itself",
		"no/such":       "no does not exist",
	} {
		req.Out = w.path(out)
		before := entries(t, w.dir)
		_, err := Export(context.Background(), req)
		wantProblem(t, err, "out", want)
		if after := entries(t, w.dir); !slices.Equal(after, before) {
			t.Errorf("%s: left %v, there was %v", out, after, before)
		}
	}
	if err := os.WriteFile(w.path("file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	req.Out = w.path("file")
	_, err := Export(context.Background(), req)
	wantProblem(t, err, "out", "not a directory")
}

// A folder that fills up while an export runs is left as it is, and the export's parts go.
func TestExportPartsOverwriteNothing(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 10)
	req := w.request("one", w.path("spine.parquet"))
	req.Out, req.PartRows = w.path("parts"), 5
	req.Progress = func(p Progress) {
		if p.Part == 1 {
			if err := errors.Join(os.MkdirAll(req.Out, 0o755), os.WriteFile(req.Out+"/mine", nil, 0o644)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Export(context.Background(), req); err == nil {
		t.Error("no error")
	}
	if got := entries(t, req.Out); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("the folder has %v", got)
	}
	if left := entries(t, w.dir); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, ".") }) {
		t.Errorf("left %v", left)
	}
}

// Standard output gets the same bytes as a file, an Arrow stream unless told otherwise, and no manifest.
func TestExportToStdout(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 3000)
	for _, format := range []Format{Parquet, Arrow, ArrowStream} {
		req := w.request("one", w.path("spine.parquet"))
		req.OutFormat, req.Memory = format, 1
		w.export(t, req)
		var out bytes.Buffer
		req.Out, req.Stdout = "-", &out
		if format == ArrowStream {
			req.OutFormat = ""
		}
		before := entries(t, w.dir)
		report := w.export(t, req)
		if report.Manifest != "" || !slices.Equal(entries(t, w.dir), before) {
			t.Errorf("manifest %q; %v, before %v", report.Manifest, entries(t, w.dir), before)
		}
		if b := readFile(t, w.path("out.parquet")); !bytes.Equal(b, out.Bytes()) || report.Bytes != int64(len(b)) {
			t.Errorf("%s: %d bytes, reported %d, in a file %d", format, out.Len(), report.Bytes, len(b))
		}
		if format == ArrowStream {
			r, err := ipc.NewReader(&out)
			if err != nil {
				t.Fatal(err)
			}
			rows := int64(0)
			for r.Next() {
				rows += r.RecordBatch().NumRows()
			}
			if r.Err() != nil || rows != 3000 {
				t.Errorf("%d rows: %v", rows, r.Err())
			}
			r.Release()
		}
	}
}

// Arrow goes by the output's name, also in parts.
func TestExportArrowParts(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 30)
	req := w.request("one", w.path("spine.parquet"))
	req.Out, req.PartRows, req.OutFormat = w.path("parts"), 10, Arrow
	w.export(t, req)
	got := entries(t, req.Out)
	if want := []string{"part-00000.arrow", "part-00001.arrow", "part-00002.arrow"}; !slices.Equal(got, want) {
		t.Fatalf("parts %v", got)
	}
	for _, name := range got {
		r, err := ipc.NewFileReader(bytes.NewReader(readFile(t, filepath.Join(req.Out, name))))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := r.RecordBatchAt(0)
		if err != nil || batch.NumRows() != 10 {
			t.Errorf("%s: %v, %v", name, batch, err)
		}
	}
}

type brokenPipe struct{ room int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func TestExportToBrokenStdout(t *testing.T) {
	for _, format := range []Format{Parquet, ArrowStream} {
		w := newWorld(t)
		bigSpine(t, w.path("spine.parquet"), groupRows+1)
		req := w.request("one", w.path("spine.parquet"))
		req.Out, req.Stdout, req.OutFormat = "-", &brokenPipe{1000}, format
		if _, err := Export(context.Background(), req); err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// What killed exports to the same name left goes after a day, unless somebody still writes it.
func TestExportSweeps(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 10)
	old := time.Now().Add(-2 * staleAge)
	stale, busy := ".out.parquet.tmp-ABCDEFGHIJ", ".out.parquet.tmp-BCDEFGHIJK"
	keep := []string{busy, ".out.parquet.tmp-CDEFGHIJKL", ".out.parquet.tmp-mine", ".other.parquet.tmp-ABCDEFGHIJ"}
	for i, name := range append([]string{stale}, keep...) {
		if err := os.WriteFile(w.path(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if i != 2 { // the youngest
			if err := os.Chtimes(w.path(name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.MkdirAll(w.path(".out.parquet.tmp-FOLDERFOLD/x"), 0o755), os.Chtimes(w.path(".out.parquet.tmp-FOLDERFOLD"), old, old)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(w.path(busy))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock(f)
	w.export(t, w.request("one", w.path("spine.parquet")))
	var left []string
	for _, name := range entries(t, w.dir) {
		if strings.HasPrefix(name, ".") {
			left = append(left, name)
		}
	}
	slices.Sort(keep)
	if !slices.Equal(left, keep) {
		t.Errorf("left %v, want %v", left, keep)
	}
}

// A chunk that can't be read back ends the export with what is to be done, and nothing wrong is written.
func TestSpillLost(t *testing.T) {
	var schema parquet.Schema
	schema.Add("x", int64Type)
	chunk := parquet.NewChunk(schema.Leaves()[0], 1)
	chunk.Append(vec(int64Type, 1, 2, 3))
	s := spill{folder: t.TempDir()}
	e, err := parquet.Encode(chunk)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keep(e); err != nil {
		t.Fatal(err)
	}
	if err := s.file.file.Truncate(5); err != nil {
		t.Fatal(err)
	}
	w, err := parquet.NewWriter(&bytes.Buffer{}, &schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup([]*parquet.Encoded{e}); err == nil || !strings.Contains(err.Error(), "read back") {
		t.Errorf("cut short: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup([]*parquet.Encoded{e}); problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), s.folder) {
		t.Errorf("closed: %v", err)
	}
	missing := spill{folder: filepath.Join(t.TempDir(), "gone")}
	if e, err = parquet.Encode(chunk); err != nil {
		t.Fatal(err)
	}
	if err := missing.keep(e); problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("no folder: %v", err)
	}
}

func TestIsURL(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 10)
	req := w.request("one", w.path("spine.parquet"))
	req.Out = "gopher://hole/out.parquet"
	_, err := Export(context.Background(), req)
	if !source.IsURL(req.Out) || problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), "s3") {
		t.Errorf("%v", err)
	}
}
