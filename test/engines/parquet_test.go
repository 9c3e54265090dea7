package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// engineColumn is what the engine that wrote a file reads back of a column, as write_parquet.py tells it.
type engineColumn struct {
	Type   columnar.Type
	At     registry.DayEnd
	Round  string
	Values []any
}

// TestParquet reads files that pyarrow, DuckDB and Polars write now, in all their codecs, page versions and encodings,
// and compares every value, bit for bit.
func TestParquet(t *testing.T) {
	seed := testenv.Seed(t)
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), testenv.Python(t, "../.."), "write_parquet.py", dir, fmt.Sprint(seed)).CombinedOutput(); err != nil {
		t.Fatalf("write_parquet.py: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]engineColumn
	if err := json.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range slices.Sorted(maps.Keys(files[name])) {
			if err := compare(t.Context(), rnd, b, name, c, files[name][c]); err != nil {
				t.Error(err)
			}
		}
	}
	if len(files) != 62 {
		t.Errorf("only %d files", len(files))
	}
}

// compare reads a column whole, and some rows of it singly.
func compare(ctx context.Context, rnd *rand.Rand, b []byte, file, name string, want engineColumn) error {
	f, err := parquet.Open(ctx, bytes.NewReader(b), source.File{Path: file, Size: int64(len(b))}, parquet.Limits{})
	if err != nil {
		return err
	}
	r, err := f.Bind([]parquet.Column{{Name: name, Type: want.Type, At: want.At, Round: map[string]parquet.Rounding{
		"": parquet.Exact, "up": parquet.RoundUp, "down": parquet.RoundDown,
	}[want.Round]}})
	if err != nil {
		return err
	}
	first := 0
	for group := range r.RowGroups() {
		rows, every := []int32{}, 1+rnd.IntN(20)
		for row := range r.Rows(group) {
			if rnd.IntN(every) == 0 {
				rows = append(rows, int32(row))
			}
		}
		all, some := columnar.NewVector(want.Type, 0), columnar.NewVector(want.Type, 0)
		if err := r.Read(ctx, group, 0, all); err != nil {
			return err
		}
		if err := r.Gather(ctx, group, 0, rows, some); err != nil {
			return err
		}
		if all.Len() != r.Rows(group) || some.Len() != len(rows) || first+all.Len() > len(want.Values) {
			return fmt.Errorf("%s: row group %d: column %q: %d and %d rows", file, group, name, all.Len(), some.Len())
		}
		for i := range all.Len() {
			if got := testenv.Exact(all, i); !equal(got, want.Values[first+i]) {
				return fmt.Errorf("%s: row group %d: column %q: row %d is %v, the engine says %v", file, group, name, i, got, want.Values[first+i])
			}
		}
		for i, row := range rows {
			if got := testenv.Exact(some, i); !equal(got, want.Values[first+int(row)]) {
				return fmt.Errorf("%s: row group %d: column %q: row %d alone is %v, the engine says %v", file, group, name, row, got, want.Values[first+int(row)])
			}
		}
		first += all.Len()
	}
	if first != len(want.Values) {
		return fmt.Errorf("%s: column %q: %d of %d rows", file, name, first, len(want.Values))
	}
	return nil
}

// equal compares values as text returns them.
func equal(a, b any) bool {
	x, xs := a.([]any)
	y, ys := b.([]any)
	if xs && ys {
		return slices.EqualFunc(x, y, equal)
	}
	return xs == ys && a == b
}
