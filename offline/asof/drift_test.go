package asof

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// TestDrift reads every pair of files whose feature column may differ, as every type: widening is done, anything else
// is an error that names the file, the column and what the other file has.
func TestDrift(t *testing.T) {
	columns := []struct {
		name string // as errors have it
		node pq.Node
		is   columnar.Kind
		list bool
	}{
		{"INT32 int32", pq.Leaf(pq.Int32Type), columnar.Int32, false},
		{"INT64 int64", pq.Leaf(pq.Int64Type), columnar.Int64, false},
		{"FLOAT", pq.Leaf(pq.FloatType), columnar.Float32, false},
		{"DOUBLE", pq.Leaf(pq.DoubleType), columnar.Float64, false},
		{"BOOLEAN", pq.Leaf(pq.BooleanType), columnar.Bool, false},
		{"BYTE_ARRAY string", pq.String(), columnar.String, false},
		{"INT64 timestamp[us, UTC]", pq.Timestamp(pq.Microsecond), columnar.Timestamp, false},
		{"list of INT64 int64", pq.Repeated(pq.Leaf(pq.Int64Type)), columnar.Int64, true},
		{"no such column", nil, columnar.Invalid, false},
	}
	widens := func(from, to columnar.Kind) bool {
		return from == to || from == columnar.Int32 && to == columnar.Int64 || from == columnar.Float32 && to == columnar.Float64
	}
	for _, declared := range []columnar.Kind{columnar.Int32, columnar.Int64, columnar.Float64, columnar.String, columnar.Timestamp} {
		s := shape{keys: ints, features: []columnar.Type{{Kind: declared}}}
		for _, a := range columns {
			for _, b := range columns {
				dir := t.TempDir()
				for name, node := range map[string]pq.Node{"a.parquet": a.node, "b.parquet": b.node} {
					writeNulls(t, filepath.Join(dir, name), node)
				}
				src := source.New(dir, nil)
				files, err := src.List(t.Context(), []string{"."})
				if err != nil {
					t.Fatal(err)
				}
				in := Input{View: s.view(t), Source: src, Cutoff: NoCutoff, Files: files}
				_, err = Join(t.Context(), s.spine([]question{{k(1), 0}}), in, []int{0}, Options{Workers: 1})
				okA := !a.list && widens(a.is, declared)
				okB := !b.list && widens(b.is, declared)
				what := fmt.Sprintf("%s and %s as %s", a.name, b.name, declared)
				if okA && okB {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					continue
				}
				if err == nil || problem.CodeOf(err) != problem.Precondition {
					t.Errorf("%s: %v", what, err)
					continue
				}
				bad, other, otherHas := "a.parquet", "b.parquet", b.name
				if okA || !okB && strings.HasPrefix(err.Error(), "b.parquet") { // of two bad ones, either
					bad, other, otherHas = "b.parquet", "a.parquet", a.name
				}
				if !strings.HasPrefix(err.Error(), bad+`: column "f0"`) {
					t.Errorf("%s: the error does not begin with %s and its column: %v", what, bad, err)
				}
				tells := strings.Contains(err.Error(), fmt.Sprintf("; %s has %s, and the files of one source must agree", other, otherHas))
				if tells != (a.name != b.name) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	}
}

// writeNulls makes a file of one row with a feature of a type, or without it.
func writeNulls(t *testing.T, path string, feature pq.Node) {
	t.Helper()
	group := pq.Group{"event": pq.Timestamp(pq.Microsecond), keyName(0): pq.Int(64)}
	r := pq.Row{pq.ValueOf(base).Level(0, 0, 0)}
	if feature != nil {
		group[featureName(0)] = pq.Optional(feature)
		if feature.Repeated() {
			group[featureName(0)] = feature
		}
		r = append(r, pq.NullValue().Level(0, 0, 1))
	}
	r = append(r, pq.ValueOf(int64(1)).Level(0, 0, len(r)))
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pq.NewGenericWriter[any](f, pq.NewSchema("facts", group))
	if _, err := w.WriteRows([]pq.Row{r}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
