package offline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
)

// messagesOf calls use with the messages of a stream, until it returns an error.
func messagesOf(t *testing.T, stream []byte, use func(metadata, body []byte) error) error {
	t.Helper()
	r := ipc.NewMessageReader(bytes.NewReader(stream))
	defer r.Release()
	for {
		m, err := r.Message()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		size := binary.LittleEndian.Uint32(stream[4:])
		metadata := bytes.Clone(stream[8 : 8+size])
		body := stream[8+size : 8+int64(size)+m.BodyLen()]
		if err := use(metadata, body); err != nil {
			return err
		}
		stream = stream[8+int(size)+len(body):]
	}
}

// sent sends the messages of a stream.
func sent(t *testing.T, stream []byte) *SentSpine {
	t.Helper()
	s, err := NewSentSpine(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := messagesOf(t, stream, s.Append); err != nil {
		t.Fatal(err)
	}
	return s
}

// collected are batches as a stream.
type collected struct {
	bytes.Buffer
	w       *ipc.Writer
	batches int
	fail    error // of the next batch
}

func (c *collected) Begin(schema *arrow.Schema) error {
	c.w = ipc.NewWriter(&c.Buffer, ipc.WithSchema(schema))
	return nil
}

func (c *collected) Write(rows arrow.RecordBatch) error {
	c.batches++
	if c.fail != nil {
		return c.fail
	}
	return c.w.Write(rows)
}

// asStream is a request whose output is an Arrow stream on standard output, which is returned.
func (w *world) asStream(t *testing.T, req ExportRequest) []byte {
	t.Helper()
	var out bytes.Buffer
	req.Out, req.Stdout = "-", &out
	w.export(t, req)
	return out.Bytes()
}

// asBatches is a request of a spine that is sent, whose rows are returned as a stream.
func (w *world) asBatches(t *testing.T, req ExportRequest, spine []byte) ([]byte, *ExportReport) {
	t.Helper()
	c := &collected{}
	req.Sent, req.Out, req.Batches, req.Spine = sent(t, spine), "", c, ""
	report := w.export(t, req)
	if err := c.w.Close(); err != nil {
		t.Fatal(err)
	}
	return c.Bytes(), report
}

// streamOf writes the batches of an Arrow file or stream as a stream without compression.
func streamOf(t *testing.T, path string) []byte {
	t.Helper()
	b := readFile(t, path)
	if !bytes.HasPrefix(b, ipc.Magic) {
		return b
	}
	r, err := ipc.NewFileReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(r.Schema()))
	for i := range r.NumRecords() {
		batch, err := r.RecordBatch(i)
		if err == nil {
			err = w.Write(batch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What is sent and comes back in batches is, byte for byte, the Arrow stream that an export of the same file writes:
// whatever the types, however few rows a row group has, and however little memory there is.
func TestBatchesOfAllTypes(t *testing.T) {
	folder := t.TempDir()
	engines(t, "types", folder)
	engines(t, "pandas", folder)
	w := newWorld(t)
	tried := 0
	for _, name := range entries(t, folder) {
		path := filepath.Join(folder, name)
		if spineFormat(name, "") != Arrow {
			continue
		}
		stream := streamOf(t, path)
		tried++
		for _, rows := range []int{0, 1, 2, 5} {
			req := w.request("one", w.path("spine.ipc"))
			if err := os.WriteFile(req.Spine, stream, 0o644); err != nil {
				t.Fatal(err)
			}
			req.GroupRows, req.Memory = rows, 1
			want := w.asStream(t, req)
			if got, _ := w.asBatches(t, req, stream); !bytes.Equal(got, want) {
				t.Errorf("%s in groups of %d rows: %d bytes, want %d", name, rows, len(got), len(want))
			}
		}
	}
	if tried < 5 {
		t.Errorf("only %d files", tried)
	}
}

// randomSpine returns a stream of rows with texts of all lengths, lists and dictionaries.
func randomSpine(rnd *rand.Rand, rows int) []byte {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "t", Type: arrow.FixedWidthTypes.Timestamp_us},
		{Name: "airport", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String}, Nullable: true},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema), ipc.WithDictionaryDeltas(rnd.IntN(2) == 0))
	for row := 0; row < rows; {
		for n := rnd.IntN(rows/3 + 1); n >= 0 && row < rows; n-- {
			row++
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(noon + rnd.Int64N(8*hour) - 4*hour))
			if rnd.IntN(9) == 0 {
				b.Field(1).AppendNull()
				b.Field(2).AppendNull()
				b.Field(3).AppendNull()
				continue
			}
			_ = b.Field(1).(*array.BinaryDictionaryBuilder).AppendString([]string{"JFK", "SFO", "XXX", fmt.Sprint(row)}[rnd.IntN(4)])
			length := rnd.IntN(20)
			if rnd.IntN(50) == 0 {
				length *= 1000
			}
			b.Field(2).(*array.StringBuilder).Append(strings.Repeat("x", length))
			list := b.Field(3).(*array.ListBuilder)
			list.Append(true)
			for range rnd.IntN(4) {
				list.ValueBuilder().(*array.Int64Builder).Append(rnd.Int64())
			}
		}
		batch := b.NewRecordBatch()
		_ = w.Write(batch) // into memory
		batch.Release()
	}
	_ = w.Close()
	return out.Bytes()
}

func TestBatchesAtRandom(t *testing.T) {
	rnd, rounds := testenv.Rand(t), 20
	if testenv.Long() {
		rounds *= 20
	}
	defer func(before int) { groupBytes = before }(groupBytes)
	w := newWorld(t)
	for range rounds {
		groupBytes = 1 << (10 + rnd.IntN(12))
		spine := randomSpine(rnd, rnd.IntN(3000))
		req := w.request("one", w.path("spine.ipc"))
		if err := os.WriteFile(req.Spine, spine, 0o644); err != nil {
			t.Fatal(err)
		}
		req.GroupRows, req.Memory, req.Workers = 1+rnd.IntN(2000), 1+rnd.Int64N(1<<20), 1+rnd.IntN(4)
		want := w.asStream(t, req)
		got, report := w.asBatches(t, req, spine)
		if !bytes.Equal(got, want) {
			t.Fatalf("%d rows: %d bytes, want %d", report.Rows, len(got), len(want))
		}
	}
}

// The manifest of what was sent tells all but paths.
func TestBatchesManifest(t *testing.T) {
	w := newWorld(t)
	req := w.request("one", "")
	req.Location, req.Commit = nil, "abc"
	spine := arrowSpine(t, true, 2, arrowFields{})
	_, report := w.asBatches(t, req, spine)
	var m manifest
	if err := json.Unmarshal([]byte(report.Manifest), &m); err != nil {
		t.Fatal(err)
	}
	if m.Output.Format != ArrowFlight || m.Output.Rows != 6 || m.Output.Path != "" || m.Output.Compression != "" || m.Output.GroupRows != 0 {
		t.Errorf("output %+v", m.Output)
	}
	if m.Spine.Format != ArrowFlight || m.Spine.Rows != 6 || m.Spine.Path != "" || m.Spine.Bytes == 0 || len(m.Spine.SHA256) != 64 {
		t.Errorf("spine %+v", m.Spine)
	}
	path := w.path("sent.manifest.json")
	if err := os.WriteFile(path, []byte(report.Manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	again := ReproduceRequest{Manifest: path, Revisions: revisions{w.snapshot.Definitions}, Source: w.files, Out: w.path("again.parquet")}
	_, err := Reproduce(t.Context(), again)
	if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "was sent over Arrow Flight") || !strings.Contains(err.Error(), "--check") {
		t.Error(err)
	}
	again.CheckOnly = true
	if checked, err := Reproduce(t.Context(), again); err != nil || !checked.Reproducible() {
		t.Errorf("%+v, %v", checked, err)
	}
	if err := os.Remove(w.path("hourly/a.parquet")); err != nil {
		t.Fatal(err)
	}
	if checked, err := Reproduce(t.Context(), again); err != nil || checked.Reproducible() {
		t.Errorf("%+v, %v", checked, err)
	}
	if m.Service != "one" || len(m.Features) != 4 || len(m.Views) != 1 || len(m.Views[0].Files) != 1 || report.Rows != 6 {
		t.Errorf("manifest %+v", m)
	}
}

// Errors call the spine that was sent what it is, and name no file.
func TestSentSpineRefused(t *testing.T) {
	w := newWorld(t)
	good := arrowSpine(t, true, 1, arrowFields{})
	for name, c := range map[string]struct {
		spine func(s *SentSpine) error
		edit  func(*ExportRequest)
		code  problem.Code
		field string
		want  string
	}{
		"nothing":   {func(*SentSpine) error { return nil }, nil, problem.Invalid, "spine", "no spine was sent"},
		"time":      {nil, func(r *ExportRequest) { r.Time = "time" }, problem.Invalid, "time", `the spine has no time column "time"; it has airport, t`},
		"key":       {nil, func(r *ExportRequest) { r.Service = w.snapshot.Services["all"] }, problem.Invalid, "spine", "the spine has no key column"},
		"rows":      {nil, func(r *ExportRequest) { r.SpineRows = 2 }, problem.Exhausted, "spine", "the spine: more rows than the limit of 2 (limits.spine_rows)"},
		"columns":   {nil, func(r *ExportRequest) { r.SpineColumns = 1 }, problem.Exhausted, "spine", "the spine: 2 columns are over the limit"},
		"batch":     {nil, func(r *ExportRequest) { r.ArrowBatch = 100 }, problem.Exhausted, "spine", "a record batch takes 128 bytes, over the limit of 100"},
		"no schema": {skipping(t, good, 0), nil, problem.Invalid, "spine", "the spine: "},
		"twice": {func(s *SentSpine) error {
			return errors.Join(messagesOf(t, good, s.Append), messagesOf(t, good, s.Append))
		}, nil, problem.Invalid, "spine", "the spine: "},
		"collision":  {withColumn(t, "delay"), nil, problem.Invalid, "spine", "output delay is named like a column of the spine"},
		"wrong type": {withColumn(t, "departures"), func(r *ExportRequest) { r.Time = "airport" }, problem.Invalid, "time", "the spine: time column airport"},
	} {
		s, err := NewSentSpine(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if c.spine == nil {
			c.spine = func(s *SentSpine) error { return messagesOf(t, good, s.Append) }
		}
		if err := c.spine(s); err != nil {
			t.Fatal(err)
		}
		req := w.request("one", "")
		req.Out, req.Sent, req.Batches = "", s, &collected{}
		if c.edit != nil {
			c.edit(&req)
		}
		_, err = Export(t.Context(), req)
		var p *problem.Error
		if !errors.As(err, &p) || p.Code != c.code || p.Field != c.field || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), os.TempDir()) {
			t.Errorf("%s: %+v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// skipping sends the messages of a stream but one.
func skipping(t *testing.T, stream []byte, but int) func(*SentSpine) error {
	return func(s *SentSpine) error {
		at := -1
		return messagesOf(t, stream, func(metadata, body []byte) error {
			if at++; at == but {
				return nil
			}
			return s.Append(metadata, body)
		})
	}
}

func withColumn(t *testing.T, name string) func(*SentSpine) error {
	return func(s *SentSpine) error {
		spine := arrowSpine(t, true, 1, arrowFields{
			fields: []arrow.Field{{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true}},
			fill:   func(b *array.RecordBuilder) { b.Field(2).AppendNulls(3) },
		})
		return messagesOf(t, spine, s.Append)
	}
}

// A message that lies, or is one too many, is refused when it comes.
func TestSentSpineMessages(t *testing.T) {
	good := arrowSpine(t, true, 3, oddFields)
	for name, c := range map[string]struct {
		change func(metadata, body []byte) ([]byte, []byte)
		code   problem.Code
		want   string
	}{
		"short":       {func(m, b []byte) ([]byte, []byte) { return m, b[:len(b)/2] }, problem.Invalid, "a message says that its body has"},
		"long":        {func(m, b []byte) ([]byte, []byte) { return m, append(bytes.Clone(b), 0) }, problem.Invalid, "a message says that its body has"},
		"no metadata": {func(_, b []byte) ([]byte, []byte) { return nil, b }, problem.Invalid, "metadata is damaged"},
		"cut":         {func(m, b []byte) ([]byte, []byte) { return m[:len(m)/2], b }, problem.Invalid, "metadata is damaged"},
		"large":       {func(m, b []byte) ([]byte, []byte) { return m, b }, problem.Exhausted, "larger than 1,000 bytes (limits.spine_bytes)"},
	} {
		s, err := NewSentSpine(1000)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		err = messagesOf(t, good, func(metadata, body []byte) error {
			if at++; at == 2 {
				metadata, body = c.change(metadata, body)
			}
			return s.Append(metadata, body)
		})
		if problem.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "the spine") {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A full disk is told as such, with what to do.
func TestSentSpineFindsNoRoom(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &SentSpine{file: full, buffer: bufio.NewWriterSize(full, 16), limit: 1 << 20}
	defer s.Close()
	err = messagesOf(t, arrowSpine(t, true, 1, arrowFields{}), s.Append)
	if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(err.Error(), "TMPDIR") {
		t.Error(err)
	}
}

// An error of who takes the rows ends the export, and is told as it is.
func TestBatchesRefused(t *testing.T) {
	w := newWorld(t)
	full := errors.New("full")
	c := &collected{fail: full}
	req := w.request("one", "")
	req.Out, req.Sent, req.Batches, req.GroupRows = "", sent(t, arrowSpine(t, true, 20, arrowFields{})), c, 1
	if _, err := Export(t.Context(), req); !errors.Is(err, full) || c.batches != 1 {
		t.Errorf("after %d batches: %v", c.batches, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req.Sent, req.Batches = sent(t, arrowSpine(t, true, 20, arrowFields{})), canceling{cancel}
	if _, err := Export(ctx, req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// canceling cancels the export that gives it rows.
type canceling struct{ cancel func() }

func (c canceling) Begin(*arrow.Schema) error     { return nil }
func (c canceling) Write(arrow.RecordBatch) error { c.cancel(); return nil }

// Any messages are a training set or an error that callers are shown, and take no memory beyond the limit.
func FuzzSentSpine(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	f.Add(randomSpine(rnd, 10), uint16(0), byte(0))
	f.Add(randomSpine(rnd, 10), uint16(100), byte(0xff))
	f.Add(randomSpine(rnd, 0), uint16(40), byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, at uint16, flip byte) {
		s, err := NewSentSpine(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if len(stream) > 0 {
			stream = bytes.Clone(stream)
			stream[int(at)%len(stream)] ^= flip
		}
		for len(stream) >= 16 && err == nil {
			metadata := min(int(binary.LittleEndian.Uint32(stream[4:])), len(stream)-8)
			rest := stream[8+metadata:]
			told, _ := s.check.Message(bytes.Clone(stream[8 : 8+metadata]))
			body := min(max(told, 0), int64(len(rest)))
			err = s.Append(bytes.Clone(stream[8:8+metadata]), rest[:body])
			stream = rest[body:]
		}
		if err == nil {
			req := ExportRequest{Sent: s, SpineLimits: SpineLimits{ArrowBatch: 1 << 22}}
			var spine *spine
			if spine, err = openSpine(t.Context(), &req); err == nil {
				err = spine.read(t.Context(), SpineOptions{Time: "t"}, nil)
				if err := spine.close(); err != nil {
					t.Error(err)
				}
			}
		}
		if err != nil && problem.CodeOf(err) == problem.Internal {
			t.Error(err)
		}
	})
}
