package parquet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// want is a column of testdata/expected.json: what the engine that wrote the file reads back.
type want struct {
	Type   columnar.Type
	At     registry.DayEnd
	Round  string
	Values []any
	Error  string // instead of values: what binding the column says
}

func (w want) column(name string) parquet.Column {
	return parquet.Column{Name: name, Type: w.Type, At: w.At, Round: map[string]parquet.Rounding{
		"": parquet.Exact, "up": parquet.RoundUp, "down": parquet.RoundDown,
	}[w.Round]}
}

func expected(t testing.TB) map[string]map[string]want {
	t.Helper()
	files := map[string]map[string]want{}
	for _, folder := range []string{"", "spark/"} {
		var here map[string]map[string]want
		if err := json.Unmarshal(load(t, folder+"expected.json"), &here); err != nil {
			t.Fatal(err)
		}
		for name, columns := range here {
			files[folder+name] = columns
		}
	}
	return files
}

func texts(v *columnar.Vector) []any {
	all := []any{}
	for i := range v.Len() {
		all = append(all, testenv.Exact(v, i))
	}
	return all
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte, name string, partition ...source.Partition) (*parquet.File, error) {
	return parquet.Open(context.Background(), bytes.NewReader(b),
		source.File{Path: name, Size: int64(len(b)), Partition: partition}, parquet.Limits{})
}

func bind(t testing.TB, b []byte, name string, columns ...parquet.Column) *parquet.Reader {
	t.Helper()
	f, err := open(b, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Bind(columns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fromPages puts together what Pages calls with.
func fromPages(ctx context.Context, r *parquet.Reader, group, column int, dst *columnar.Vector) error {
	var dictionary *columnar.Vector
	return r.Pages(ctx, group, column, func(p parquet.Page) error {
		if p.Index == nil {
			if p.Values.Len() != p.Rows {
				return fmt.Errorf("a page of %d rows has %d values", p.Rows, p.Values.Len())
			}
			for i := range p.Rows {
				dst.AppendFrom(p.Values, i)
			}
			return nil
		}
		if dictionary != nil && dictionary != p.Values {
			return fmt.Errorf("the dictionary is another from page to page")
		}
		dictionary = p.Values
		if len(p.Index) != p.Rows {
			return fmt.Errorf("a page of %d rows has %d indexes", p.Rows, len(p.Index))
		}
		for _, at := range p.Index {
			if at < 0 {
				dst.AppendNull()
			} else {
				dst.AppendFrom(p.Values, int(at))
			}
		}
		return nil
	})
}

func TestFilesOfOtherWriters(t *testing.T) {
	ctx := context.Background()
	rnd := testenv.Rand(t)
	files := expected(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			b := load(t, name)
			names := slices.Sorted(maps.Keys(files[name]))
			f, err := open(b, name)
			if err != nil {
				t.Fatal(err)
			}
			names = slices.DeleteFunc(names, func(c string) bool {
				w := files[name][c]
				if w.Error == "" {
					return false
				}
				if _, err := f.Bind([]parquet.Column{w.column(c)}); err == nil || !strings.Contains(err.Error(), w.Error) {
					t.Errorf("%s: %v, want %s", c, err, w.Error)
				}
				return true
			})
			var columns []parquet.Column
			for _, c := range names {
				columns = append(columns, files[name][c].column(c))
			}
			r := bind(t, b, name, columns...)
			for i, c := range names {
				w := files[name][c]
				read, pages, gathered := columnar.NewVector(w.Type, 0), columnar.NewVector(w.Type, 0), columnar.NewVector(w.Type, 0)
				var picked []any
				for g := range r.RowGroups() {
					first := read.Len()
					if err := r.Read(ctx, g, i, read); err != nil {
						t.Fatal(err)
					}
					if read.Len()-first != r.Rows(g) {
						t.Fatalf("%s: row group %d has %d rows, %d were read", c, g, r.Rows(g), read.Len()-first)
					}
					if err := fromPages(ctx, r, g, i, pages); err != nil {
						t.Fatal(err)
					}
					rows, share := []int32{}, rnd.IntN(4)
					for row := range r.Rows(g) {
						if rnd.IntN(4) <= share {
							rows = append(rows, int32(row))
							picked = append(picked, w.Values[first+row])
						}
					}
					if err := r.Gather(ctx, g, i, rows, gathered); err != nil {
						t.Fatal(err)
					}
				}
				for how, pair := range map[string][2][]any{
					"Read": {w.Values, texts(read)}, "Pages": {w.Values, texts(pages)}, "Gather": {picked, texts(gathered)},
				} {
					if len(pair[0])+len(pair[1]) == 0 {
						continue
					}
					if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
						t.Errorf("%s: %s differs (-engine +ours):\n%s", c, how, diff)
					}
				}
			}
		})
	}
}

func TestBoundsHoldValues(t *testing.T) {
	ctx := context.Background()
	files := expected(t)
	seen := 0
	for name, columns := range files {
		for c, w := range columns {
			if w.Error != "" || w.Type.List || w.Type.Kind != columnar.Int64 && w.Type.Kind != columnar.Timestamp {
				continue
			}
			r := bind(t, load(t, name), name, w.column(c))
			for g := range r.RowGroups() {
				least, greatest, ok := r.Bounds(g, 0)
				if !ok {
					continue
				}
				seen++
				v := columnar.NewVector(w.Type, 0)
				if err := r.Read(ctx, g, 0, v); err != nil {
					t.Fatal(err)
				}
				for i := range v.Len() {
					if !v.IsNull(i) && (v.Int64s[i] < least || v.Int64s[i] > greatest) {
						t.Errorf("%s: %s: %d is outside [%d, %d]", name, c, v.Int64s[i], least, greatest)
					}
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d row groups had bounds", seen)
	}
}

func column(name, typ string) parquet.Column {
	t, err := columnar.ParseType(typ)
	if err != nil {
		panic(err)
	}
	return parquet.Column{Name: name, Type: t}
}

func TestTextWithoutLogicalType(t *testing.T) {
	r := bind(t, load(t, "unreadable.parquet"), "u.parquet", column("latin1", "bytes"), column("latin1", "string"))
	v := columnar.NewVector(columnar.Type{Kind: columnar.Bytes}, 0)
	if err := r.Read(context.Background(), 0, 0, v); err != nil || string(v.BytesAt(0)) != "caf\xe9" {
		t.Errorf("bytes: %v, %q", err, v.Data)
	}
	const want = `u.parquet: row group 0: column "latin1": row 0: a string that is not valid UTF-8`
	s := columnar.NewVector(columnar.Type{Kind: columnar.String}, 0)
	if err := r.Read(context.Background(), 0, 1, s); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("string: %v", err)
	}
}

func TestExact(t *testing.T) {
	ctx := context.Background()
	b := load(t, "time-ns.parquet")
	exact := column("up", "timestamp")
	rounded := exact
	rounded.Round = parquet.RoundDown
	r := bind(t, b, "ns.parquet", exact, rounded)
	v := columnar.NewVector(exact.Type, 0)
	want := `ns.parquet: row group 0: column "up": row 1: a timestamp finer than a microsecond`
	if err := r.Read(ctx, 0, 0, v); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("exact: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.Read(canceled, 0, 1, v); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("canceled: %v", err)
	}
}

func TestPartitionsAndAbsentColumns(t *testing.T) {
	ctx := context.Background()
	b := load(t, "fallback.parquet")
	ny, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	partition := []source.Partition{
		{Name: "day", Value: "2001-07-04"},
		{Name: "hour", Value: "2001-07-04 13:30:00.0000001"},
		{Name: "n", Value: "-7"},
		{Name: "s", Value: "a b"},
		{Name: "none", Null: true},
		{Name: "k", Value: "the file's own column wins"},
	}
	f, err := open(b, "p.parquet", partition...)
	if err != nil {
		t.Fatal(err)
	}
	day := parquet.Column{Name: "day", Type: columnar.Type{Kind: columnar.Timestamp}, Location: ny, At: registry.AtEnd}
	hour := parquet.Column{Name: "hour", Type: columnar.Type{Kind: columnar.Timestamp}, Location: ny, Round: parquet.RoundUp}
	absent := column("absent", "list<string>")
	absent.Optional = true
	columns := []parquet.Column{day, hour, column("n", "int64"), column("n", "int32"), column("s", "string"), column("none", "string"), absent}
	r, err := f.Bind(columns)
	if err != nil {
		t.Fatal(err)
	}
	wants := []any{
		strconv.FormatInt(time.Date(2001, 7, 5, 0, 0, 0, 0, ny).UnixMicro(), 10),
		strconv.FormatInt(time.Date(2001, 7, 4, 13, 30, 0, 1000, ny).UnixMicro(), 10), "-7", "-7", "a b", nil, nil,
	}
	for i, w := range wants {
		for how, read := range map[string]func(*columnar.Vector) error{
			"Read":   func(v *columnar.Vector) error { return r.Read(ctx, 0, i, v) },
			"Pages":  func(v *columnar.Vector) error { return fromPages(ctx, r, 0, i, v) },
			"Gather": func(v *columnar.Vector) error { return r.Gather(ctx, 0, i, []int32{0, 5}, v) },
		} {
			v := columnar.NewVector(columns[i].Type, 0)
			if err := read(v); err != nil {
				t.Fatal(err)
			}
			rows := r.Rows(0)
			if how == "Gather" {
				rows = 2
			}
			if v.Len() != rows || testenv.Exact(v, 0) != w || testenv.Exact(v, rows-1) != w {
				t.Errorf("%s: %s: %d rows of %v, want %v", columns[i].Name, how, v.Len(), testenv.Exact(v, 0), w)
			}
		}
	}
	if least, greatest, ok := r.Bounds(0, 0); !ok || least != greatest || strconv.FormatInt(least, 10) != wants[0] {
		t.Errorf("bounds of a partition: %d, %d, %t", least, greatest, ok)
	}
	for _, bad := range []parquet.Column{
		column("s", "int64"), column("s", "timestamp"), column("s", "float64"), column("absent", "int64"), column("day", "timestamp"),
	} {
		if _, err := f.Bind([]parquet.Column{bad}); err == nil || !strings.HasPrefix(err.Error(), "p.parquet: column \""+bad.Name) {
			t.Errorf("%s as %s: %v", bad.Name, bad.Type, err)
		}
	}
}

// Row groups and columns are read from several goroutines; the memory they share must not mix values.
func TestConcurrentReads(t *testing.T) {
	files := expected(t)
	var group sync.WaitGroup
	for _, name := range []string{"zstd-v2-dict.parquet", "gzip-v2-dict.parquet", "lz4-v2-plain.parquet", "brotli-v1-plain.parquet"} {
		b := load(t, name)
		for c, w := range files[name] {
			r := bind(t, b, name, w.column(c))
			group.Go(func() {
				for range 3 {
					v := columnar.NewVector(w.Type, 0)
					for g := range r.RowGroups() {
						if err := r.Read(context.Background(), g, 0, v); err != nil {
							t.Error(err)
						}
					}
					if diff := cmp.Diff(w.Values, texts(v)); diff != "" {
						t.Errorf("%s: %s (-engine +ours):\n%s", name, c, diff)
					}
				}
			})
		}
	}
	group.Wait()
}
