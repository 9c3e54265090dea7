package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

// enginesProcess runs testdata/spines.py in the virtual environment that scripts/test makes, once for all tests: what it
// imports takes longer than what it does. It ends with this process, which closes its standard input.
var enginesProcess = sync.OnceValues(func() (call func(args []string) (string, error), err error) {
	python := os.Getenv("PROVENDER_TEST_PYTHON")
	if python == "" {
		python = filepath.Join("..", ".cache", "engines", "bin", "python")
	}
	if _, err := os.Stat(python); err != nil {
		return nil, fmt.Errorf("no Python with Arrow's engines: run ./scripts/test once, which installs it in .cache/engines (%w)", err)
	}
	cmd := exec.CommandContext(context.Background(), python, filepath.Join("testdata", "spines.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	commands, answers := json.NewEncoder(in), json.NewDecoder(out)
	return func(args []string) (failure string, err error) {
		if err := commands.Encode(args); err != nil {
			return "", err
		}
		err = answers.Decode(&failure)
		return failure, err
	}, nil
})

// engines runs a command of testdata/spines.py.
func engines(t *testing.T, args ...string) {
	t.Helper()
	call, err := enginesProcess()
	if err != nil {
		t.Fatal(err)
	}
	failure, err := call(args)
	if err != nil {
		t.Fatalf("spines.py: %v", err)
	}
	if failure != "" {
		t.Fatalf("spines.py %q:\n%s", args, failure)
	}
}

// wantSameColumns fails unless two files have the same values in some columns.
func wantSameColumns(t *testing.T, got, want string, types map[string]columnar.Type) {
	t.Helper()
	for name, typ := range types {
		g, w := readColumn(t, got, name, typ), readColumn(t, want, name, typ)
		if g.Len() != w.Len() {
			t.Fatalf("%s: %d rows, want %d", name, g.Len(), w.Len())
		}
		for i := range w.Len() {
			if !g.EqualAt(i, w, i) {
				t.Fatalf("%s, row %d: %s, want %s", name, i, columnar.AppendJSON(nil, g, i), columnar.AppendJSON(nil, w, i))
			}
		}
	}
}

// One table, in every format and by every engine that writes it, gives one training set.
func TestSpinesOfAllFormats(t *testing.T) {
	folder := t.TempDir()
	engines(t, "tables", folder)
	w := newWorld(t)
	first := w.path("first.parquet")
	columns := map[string]columnar.Type{
		"departures": int64Type, "delay": floatType, "tags": listType, "note": stringType, "weather": int32Type, "vip": boolType,
		"label": floatType, "user": int64Type, "t": timeType, "airport": stringType, "count": int64Type, "good": boolType, "remark": stringType,
	}
	for i, name := range append([]string{"pyarrow.parquet"}, entries(t, folder)...) {
		req := w.request("mixed", filepath.Join(folder, name))
		if i == 0 {
			req.Out = first
		}
		t.Run(name, func(t *testing.T) {
			if report := w.export(t, req); report.Rows != 500 {
				t.Fatalf("%d rows", report.Rows)
			}
			wantSameColumns(t, req.Out, first, columns)
		})
	}
}

// The columns of a spine come out in the types that they had, as Parquet and as Arrow, whatever they came as.
func TestSpinesOfAllTypes(t *testing.T) {
	folder := t.TempDir()
	engines(t, "types", folder)
	w := newWorld(t)
	for _, spine := range []string{"types.arrow", "types.ipc", "types.parquet", "hidden.arrow"} {
		req := w.request("one", filepath.Join(folder, spine))
		req.Out = w.path(spine + ".parquet")
		w.export(t, req)
		var outs []string
		for i, o := range []arrowOptions{{}, {Stream: true}, {Compression: "zstd", BatchRows: 2}, {Stream: true, Compression: "lz4", BatchRows: 3}} {
			out := w.path(fmt.Sprintf("%s-%d.arrow", spine, i))
			toArrow(t, req.Out, out, o)
			outs = append(outs, out)
		}
		engines(t, append([]string{"compare", req.Spine, req.Out}, outs...)...)
		engines(t, append([]string{"compare", req.Out}, outs...)...)
	}
}

// pandas gives back a data frame's index and dtypes, with the features in theirs; also one of no rows, or of no columns
// but time and key.
func TestSpinesOfPandas(t *testing.T) {
	folder := t.TempDir()
	engines(t, "pandas", folder)
	w := newWorld(t)
	for _, name := range entries(t, folder) {
		compared := []string{"pandas_compare", filepath.Join(folder, name)}
		for _, format := range []string{".parquet", ".arrow"} {
			req := w.request("mixed", compared[1])
			req.Out = w.path(name + ".out" + format)
			w.export(t, req)
			compared = append(compared, req.Out)
		}
		engines(t, compared...)
	}
}

func toArrow(t *testing.T, from, to string, o arrowOptions) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := writeArrow(context.Background(), in, fileSize(t, from), out, o); err != nil {
		t.Fatal(err)
	}
}

// What Polars reads of an Arrow output is what pyarrow reads, and both read what the Parquet says; also of no rows.
func TestArrowOutputInPolars(t *testing.T) {
	w := newWorld(t)
	for _, rows := range []int{0, 1, groupRows + 1} {
		bigSpine(t, w.path("spine.parquet"), rows)
		req := w.request("one", w.path("spine.parquet"))
		req.Out = w.path(fmt.Sprintf("%d.parquet", rows))
		w.export(t, req)
		file, stream := req.Out+".arrow", req.Out+".arrows"
		toArrow(t, req.Out, file, arrowOptions{Compression: "lz4"})
		toArrow(t, req.Out, stream, arrowOptions{Stream: true})
		engines(t, "compare", req.Out, file, stream)
		engines(t, "polars", file, stream)
	}
}

// Random CSV files, with odd quotes, line ends and types, come out cell for cell.
func TestRandomCSV(t *testing.T) {
	seed, rounds := testenv.Seed(t), 100
	if testenv.Long() {
		rounds *= 50
	}
	folder := t.TempDir()
	engines(t, "csv", folder, fmt.Sprint(seed), fmt.Sprint(rounds))
	for i := range rounds {
		var want struct {
			Header []string
			Rows   [][]*string
		}
		b, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("%d.json", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(folder, fmt.Sprintf("%d.csv", i))
		cells := make([][]*string, len(want.Header))
		for _, row := range want.Rows {
			for c, cell := range row {
				cells[c] = append(cells[c], cell)
			}
		}
		path := filepath.Join(folder, "converted.parquet")
		header := convertedCSV(t, name, path)
		if len(header) != len(want.Header) {
			t.Fatalf("file %d: columns %q, want %q", i, header, want.Header)
		}
		for c, name := range want.Header {
			if header[c] != name {
				t.Fatalf("file %d: columns %q, want %q", i, header, want.Header)
			}
			wantCells(t, fmt.Sprintf("file %d, column %q", i, name), path, c, cells[c])
		}
	}
}

// convertedCSV writes a CSV file as Parquet and returns its columns' names.
func convertedCSV(t *testing.T, from, to string) []string {
	t.Helper()
	s, err := openSpine(context.Background(), &ExportRequest{Spine: from, SpineFormat: CSV})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.convert(context.Background(), SpineOptions{}, nil); err != nil {
		t.Fatalf("%s: %v", from, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(s.parquet, 0, s.parquet.size))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := openFile(t, to).Passthrough(int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return p.Names()
}

// wantCells fails unless the cells of a column mean what their text does, and text is kept where its type could lose it.
func wantCells(t *testing.T, what, path string, column int, want []*string) {
	t.Helper()
	f := openFile(t, path)
	info := f.Columns()[column]
	r, err := f.Bind([]parquet.Column{{Name: info.Name, Type: info.Type}})
	if err != nil {
		t.Fatal(err)
	}
	v := columnar.NewVector(info.Type, 0)
	for g := range r.RowGroups() {
		if err := r.Read(context.Background(), g, 0, v); err != nil {
			t.Fatal(err)
		}
	}
	if v.Len() != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, v.Len(), len(want))
	}
	plain := wantType(want)
	if info.Type != plain {
		t.Fatalf("%s is %s, want %s", what, info.Type, plain)
	}
	for i, text := range want {
		if v.IsNull(i) != (text == nil) {
			t.Fatalf("%s, row %d: null is %t", what, i, v.IsNull(i))
		}
		if text == nil {
			continue
		}
		var same bool
		switch plain.Kind {
		case columnar.Int64:
			same = strconv.FormatInt(v.Int64s[i], 10) == *text
		case columnar.Float64:
			x, err := strconv.ParseFloat(*text, 64)
			same = err == nil && x == v.Float64s[i] && strings.HasPrefix(*text, "-") == (1/x < 0 || x < 0)
		case columnar.Bool:
			same = v.Bools[i] == strings.EqualFold(*text, "true")
		default:
			same = string(v.BytesAt(i)) == *text
		}
		if !same {
			t.Fatalf("%s, row %d: %s, want %q", what, i, columnar.AppendJSON(nil, v, i), *text)
		}
	}
}

// wantType is the rule of docs/how-to/spines.md, in other words.
func wantType(cells []*string) columnar.Type {
	ints, floats, bools, any := true, true, true, false
	for _, cell := range cells {
		if cell == nil {
			continue
		}
		any = true
		n, err := strconv.ParseInt(*cell, 10, 64)
		isInt := err == nil && strconv.FormatInt(n, 10) == *cell
		ints = ints && isInt
		var x json.Number
		x, isFloat := json.Number(*cell), json.Valid([]byte(*cell)) && strings.ContainsAny((*cell)[:1], "-0123456789")
		if isFloat {
			value, err := x.Float64()
			isFloat = err == nil && roundTrips(*cell, value)
		}
		floats = floats && isFloat
		lower := strings.ToLower(*cell)
		bools = bools && (lower == "true" || lower == "false")
	}
	switch {
	case any && ints:
		return int64Type
	case any && floats:
		return floatType
	case any && bools:
		return boolType
	}
	return stringType
}

// roundTrips compares numbers as numbers of decimal digits.
func roundTrips(text string, x float64) bool {
	digits := strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(strings.Split(strings.ToLower(text), "e")[0]), "0")
	if digits == "" {
		return x == 0
	}
	again := strconv.FormatFloat(x, 'e', len(digits)-1, 64)
	return digits == strings.NewReplacer("-", "", ".", "").Replace(strings.Split(again, "e")[0])
}
