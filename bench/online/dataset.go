package main

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
	viewCount = 5
	perType   = 5
	maxInt    = 1_000_000
	joinKey   = "entity_id"
)

var lastEvent = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)

// dataset is what is looked up. Its JSON form is left beside the files, to tell what is there.
type dataset struct {
	Entities int    `json:"entities"`
	Seed     uint64 `json:"seed"`
}

// row is the newest row of one entity in one view.
type row struct {
	event  int64 // whole seconds, in microseconds
	floats [perType]float64
	ints   [perType]int64
}

// row returns what the files have for an entity in a view; anybody who has the seed can say.
func (d dataset) row(entity int64, view int) row {
	r := rand.New(rand.NewPCG(d.Seed, uint64(entity)*viewCount+uint64(view)))
	x := row{event: lastEvent.Add(-time.Duration(r.IntN(86_400)) * time.Second).UnixMicro()}
	for i := range perType {
		x.floats[i], x.ints[i] = r.NormFloat64(), r.Int64N(maxInt)
	}
	return x
}

func viewName(view int) string         { return fmt.Sprintf("view%d", view) }
func floatName(view, index int) string { return fmt.Sprintf("v%d_float%d", view, index) }
func intName(view, index int) string   { return fmt.Sprintf("v%d_int%d", view, index) }

// write fills the folder with a Parquet file per view, unless it has them already. parameters.json comes last, so that
// a folder with it is whole.
func (d dataset) write(dir string) error {
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
	for view := range viewCount {
		if err := d.writeView(dir, view); err != nil {
			return err
		}
	}
	return os.WriteFile(marker, want, 0o644)
}

func (d dataset) writeView(dir string, view int) (err error) {
	folder := filepath.Join(dir, viewName(view))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	nodes := pq.Group{joinKey: pq.Int(64), "event_timestamp": table.Instant()}
	for i := range perType {
		nodes[floatName(view, i)] = pq.Leaf(pq.DoubleType)
		nodes[intName(view, i)] = pq.Int(64)
	}
	t, err := table.Create(filepath.Join(folder, "part-0.parquet"), nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	key, event := t.Column(joinKey), t.Column("event_timestamp")
	var floats, ints [perType]int
	for i := range perType {
		floats[i], ints[i] = t.Column(floatName(view, i)), t.Column(intName(view, i))
	}
	for entity := range int64(d.Entities) {
		x := d.row(entity, view)
		t.Set(key, pq.Int64Value(entity))
		t.Set(event, pq.Int64Value(x.event))
		for i := range perType {
			t.Set(floats[i], pq.DoubleValue(x.floats[i]))
			t.Set(ints[i], pq.Int64Value(x.ints[i]))
		}
		if err := t.EndRow(); err != nil {
			return err
		}
	}
	return nil
}

// project is a Provender project over the data.
type project struct {
	online string // URL of the store
	extra  int    // further views of the same data, which stay empty
}

// write makes the project's folder; data is the folder of the files.
func (p project) write(dir, data string) error {
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf("version: 1\nproject: bench\nroots: {lake: %q}\nonline: %q\n", data, p.online)
	if err := os.WriteFile(filepath.Join(dir, "provender.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "definitions.yaml"), p.definitions(), 0o644)
}

// definitions are an entity, the views, and a service for each width of workload.
func (p project) definitions() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "kind: Entity\nname: entity\njoin_keys: [{name: %s, type: int64}]\n", joinKey)
	view := func(name string, source int) {
		fmt.Fprintf(&b, "---\nkind: FeatureView\nname: %s\nentities: [entity]\n", name)
		fmt.Fprintf(&b, "source: {parquet: \"lake:%s/**\", event_time: event_timestamp}\nfeatures:\n", viewName(source))
		for i := range perType {
			fmt.Fprintf(&b, "  - {name: %s, type: float64}\n", floatName(source, i))
		}
		for i := range perType {
			fmt.Fprintf(&b, "  - {name: %s, type: int64}\n", intName(source, i))
		}
	}
	for v := range viewCount {
		view(viewName(v), v)
	}
	for i := range p.extra {
		view(fmt.Sprintf("extra%d", i), i%viewCount)
	}
	for _, views := range []int{1, viewCount} {
		fmt.Fprintf(&b, "---\nkind: FeatureService\nname: %s\nfeatures:\n", serviceName(views))
		for v := range views {
			fmt.Fprintf(&b, "  - {view: %s}\n", viewName(v))
		}
	}
	return b.Bytes()
}

// serviceName names the service of all features of the first views.
func serviceName(views int) string { return fmt.Sprintf("w%d", views) }
