package engines

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
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
	seed := rand.Uint64() >> 1
	if s, err := strconv.ParseUint(os.Getenv("PROVENDER_SEED"), 10, 63); err == nil {
		seed = s
	}
	t.Logf("PROVENDER_SEED=%d", seed)
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), python(t), "write_parquet.py", dir, fmt.Sprint(seed)).CombinedOutput(); err != nil {
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
			if got := text(all, i); !equal(got, want.Values[first+i]) {
				return fmt.Errorf("%s: row group %d: column %q: row %d is %v, the engine says %v", file, group, name, i, got, want.Values[first+i])
			}
		}
		for i, row := range rows {
			if got := text(some, i); !equal(got, want.Values[first+int(row)]) {
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

// text returns value i of a vector as expected.json has it: an exact text, nil for a null, a slice for a list.
func text(v *columnar.Vector, i int) any {
	if v.IsNull(i) {
		return nil
	}
	if v.Type.List {
		list := []any{}
		for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
			list = append(list, text(v.Elem, int(j)))
		}
		return list
	}
	switch v.Type.Kind {
	case columnar.Bool:
		return strconv.FormatBool(v.Bools[i])
	case columnar.Int32:
		return strconv.Itoa(int(v.Int32s[i]))
	case columnar.Int64, columnar.Timestamp:
		return strconv.FormatInt(v.Int64s[i], 10)
	case columnar.Float32:
		return fmt.Sprintf("%08x", math.Float32bits(v.Float32s[i]))
	case columnar.Float64:
		return fmt.Sprintf("%016x", math.Float64bits(v.Float64s[i]))
	case columnar.String:
		return string(v.BytesAt(i))
	default:
		return hex.EncodeToString(v.BytesAt(i))
	}
}
