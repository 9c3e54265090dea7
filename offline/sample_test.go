package offline

import (
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// The key is of the last row group of the last file, of the first row there whose keys can be shown.
func TestSampleKey(t *testing.T) {
	dir := t.TempDir()
	files := source.New(dir, nil)
	view := &registry.View{
		FeatureView: &registry.FeatureView{Name: "v"}, Source: &registry.Source{Parquet: []string{"*.parquet"}},
		KeyColumns: []registry.KeyColumn{{Name: "user", Kind: columnar.Int64, Column: "user"}, {Name: "airport", Kind: columnar.String, Column: "iata"}},
	}
	sample := func() []*columnar.Vector {
		t.Helper()
		key, err := SampleKey(t.Context(), files, parquet.Limits{}, view)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	if key, err := SampleKey(t.Context(), files, parquet.Limits{}, view); err == nil {
		t.Errorf("a key of no file: %v", key)
	}
	writeFile(t, dir+"/a.parquet", 10, field{"user", vec(int64Type, 1)}, field{"iata", vec(stringType, "AAA")})
	writeFile(t, dir+"/b.parquet", 6, field{"user", vec(int64Type, 2, 2, 2, 2, 2, 2, nil, 4, 5, 6, 7, 8)},
		field{"iata", vec(stringType, "B", "B", "B", "B", "B", "B", "C", "\x1b[2J", "", nil, strings.Repeat("x", 201), "JFK")})
	key := sample()
	if len(key) != 2 || !equalVectors(key[0], vec(int64Type, 8)) || !equalVectors(key[1], vec(stringType, "JFK")) {
		t.Errorf("key %v", key)
	}
	writeFile(t, dir+"/c.parquet", 10, field{"user", vec(int64Type, nil)}, field{"iata", vec(stringType, "CCC")})
	if key := sample(); key != nil {
		t.Errorf("a key with a null: %v", key)
	}
}
