// Package lookups has the data, the project and the requests of online lookups.
package lookups

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/bench/internal/table"
)

// The shape of the data: each view has so many float64 features, and as many int64 features below maxInt.
const (
	ViewCount = 5
	PerType   = 5
	maxInt    = 1_000_000
	JoinKey   = "entity_id"
)

var lastEvent = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)

// Dataset is what is looked up. Its JSON form is left beside the files, to tell what is there.
type Dataset struct {
	Entities int    `json:"entities"`
	Seed     uint64 `json:"seed"`
}

// Row is the newest row of one entity in one view.
type Row struct {
	Event  int64 // whole seconds, in microseconds
	Floats [PerType]float64
	Ints   [PerType]int64
}

// Row returns what the files have for an entity in a view; anybody who has the seed can say.
func (d Dataset) Row(entity int64, view int) Row {
	r := rand.New(rand.NewPCG(d.Seed, uint64(entity)*ViewCount+uint64(view)))
	x := Row{Event: lastEvent.Add(-time.Duration(r.IntN(86_400)) * time.Second).UnixMicro()}
	for i := range PerType {
		x.Floats[i], x.Ints[i] = r.NormFloat64(), r.Int64N(maxInt)
	}
	return x
}

// ViewName names a view, and the folder of its files.
func ViewName(view int) string { return fmt.Sprintf("view%d", view) }

// FloatName names a float64 feature of a view.
func FloatName(view, index int) string { return fmt.Sprintf("v%d_float%d", view, index) }

// IntName names an int64 feature of a view.
func IntName(view, index int) string { return fmt.Sprintf("v%d_int%d", view, index) }

// Write fills the folder with a Parquet file per view, unless it has them already. parameters.json comes last, so that
// a folder with it is whole.
func (d Dataset) Write(dir string) error {
	marker := filepath.Join(dir, "parameters.json")
	want, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	switch have, err := os.ReadFile(marker); {
	case err == nil && bytes.Equal(have, want):
		return nil
	case err == nil:
		return fmt.Errorf("%s holds other data: name another folder with -dir, or remove this one", dir)
	}
	for view := range ViewCount {
		if err := d.writeView(dir, view); err != nil {
			return err
		}
	}
	return os.WriteFile(marker, want, 0o644)
}

func (d Dataset) writeView(dir string, view int) (err error) {
	folder := filepath.Join(dir, ViewName(view))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	nodes := pq.Group{JoinKey: pq.Int(64), "event_timestamp": table.Instant()}
	for i := range PerType {
		nodes[FloatName(view, i)] = pq.Leaf(pq.DoubleType)
		nodes[IntName(view, i)] = pq.Int(64)
	}
	t, err := table.Create(filepath.Join(folder, "part-0.parquet"), nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	key, event := t.Column(JoinKey), t.Column("event_timestamp")
	var floats, ints [PerType]int
	for i := range PerType {
		floats[i], ints[i] = t.Column(FloatName(view, i)), t.Column(IntName(view, i))
	}
	for entity := range int64(d.Entities) {
		x := d.Row(entity, view)
		t.Set(key, pq.Int64Value(entity))
		t.Set(event, pq.Int64Value(x.Event))
		for i := range PerType {
			t.Set(floats[i], pq.DoubleValue(x.Floats[i]))
			t.Set(ints[i], pq.Int64Value(x.Ints[i]))
		}
		if err := t.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
